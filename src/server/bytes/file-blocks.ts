/**
 * Reads a piece of a file in blocks, one ahead: the disk works while the block before is being sent.
 *
 * A block is lent until the next one is asked for; then its memory is read into again. A new MiB for every block made
 * the garbage collector half of what a download costs.
 */

import type { FileHandle } from "node:fs/promises";
import { type ByteRange, MIB, rangeLength, splitRange } from "../../domain/bytes.js";
import { CorruptError } from "../../domain/errors.js";

const blockBytes = MIB;

/** @throws CorruptError, which calls the file `name`, when it ends before `range` does. */
export async function* fileBlocks(
  handle: FileHandle,
  name: string,
  range: ByteRange,
): AsyncGenerator<Buffer, void, undefined> {
  const blocks = splitRange(range, blockBytes);
  const memory = blocks.slice(0, 2).map((block) => Buffer.allocUnsafeSlow(rangeLength(block)));
  const read = (index: number) =>
    index < blocks.length ? readBlock(handle, name, blocks[index]!, memory[index % 2]!) : undefined;
  let ahead = read(0);
  try {
    for (let index = 0; index < blocks.length; index++) {
      const block = await ahead!;
      ahead = read(index + 1);
      // Its failure is seen when its turn comes; until then it must not count as unhandled.
      ahead?.catch(() => undefined);
      yield block;
    }
  } finally {
    await ahead?.catch(() => undefined);
  }
}

async function readBlock(handle: FileHandle, name: string, range: ByteRange, memory: Buffer): Promise<Buffer> {
  const block = memory.subarray(0, rangeLength(range));
  let filled = 0;
  while (filled < block.length) {
    const { bytesRead } = await handle.read(block, filled, block.length - filled, range.start + filled);
    if (bytesRead === 0) throw new CorruptError(`${name} ends before byte ${range.end}`);
    filled += bytesRead;
  }
  return block;
}
