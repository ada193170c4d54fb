/**
 * A range of a file in blocks, read one ahead: the disk works while the block before is being sent.
 *
 * A block is lent until the next one is asked for; then its memory is read into again. A new buffer for every block makes
 * the garbage collector look at the whole heap some forty times for a gigabyte, which takes more processor time than
 * sending the bytes.
 */

export interface BlockOptions {
  /** Offsets in the file, half-open. */
  readonly start: number;
  readonly end: number;
  readonly blockBytes: number;
  /** Reads all of `block` from `offset` on, or throws. */
  readonly fill: (block: Buffer, offset: number) => Promise<void>;
}

/** @throws what `fill` throws, when the block's turn comes. */
export async function* lentBlocks(options: BlockOptions): AsyncGenerator<Buffer, void, undefined> {
  const { start, end, blockBytes, fill } = options;
  const sizeAt = (offset: number) => Math.max(0, Math.min(blockBytes, end - offset));
  const begin = async (memory: Buffer, offset: number) => {
    const block = memory.subarray(0, sizeAt(offset));
    if (block.length > 0) await fill(block, offset);
    return block;
  };
  let [present, spare] = [start, start + blockBytes].map((offset) => Buffer.allocUnsafeSlow(sizeAt(offset))) as [
    Buffer,
    Buffer,
  ];
  let ahead = begin(present, start);
  try {
    for (let offset = start; offset < end; offset += blockBytes) {
      const block = await ahead;
      ahead = begin(spare, offset + blockBytes);
      // Its failure is seen when its turn comes; until then it must not count as unhandled.
      ahead.catch(() => undefined);
      yield block;
      [present, spare] = [spare, present];
    }
  } finally {
    // Whoever leaves early may close the file.
    await ahead.catch(() => undefined);
  }
}
