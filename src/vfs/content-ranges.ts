/**
 * Ranges of an open local file: where it has data, and making a range zero.
 *
 * Node can neither ask the system for holes nor make them. A block that reads as zeros is as good as a hole to whoever
 * asks, so they are found by reading; a range is emptied by writing zeros to the blocks that have something else, which
 * takes no more of the disk than before. Blocks that are zero may leave the disk afterwards (`StagingArea.free`).
 */

import { type ByteRange, byteRange, GIB, MIB } from "../domain/bytes.js";
import type { ContentFile, StagedRange } from "./ports.js";

const blockBytes = 4096;
const zeros = Buffer.alloc(MIB);
// Reading goes on for so long; then what lies behind counts as data, which is true of every byte.
const searchedBytesMax = GIB;

/** As `ContentFile.read`. */
type ReadBytes = (offset: number, into: Uint8Array) => Promise<number>;

/** The first byte of `range` that is in no hole; undefined when there is none. */
export async function findData(read: ReadBytes, range: StagedRange): Promise<number | undefined> {
  return findBlock(read, range, (isZero) => !isZero, { otherwise: undefined, unsearched: (at) => at });
}

/** The first byte of `range` that is in a hole; its end, behind which everything is one, when there is none. */
export async function findHole(read: ReadBytes, range: StagedRange): Promise<number> {
  return findBlock(read, range, (isZero) => isZero, { otherwise: range.end, unsearched: () => range.end });
}

async function findBlock<T>(
  read: ReadBytes,
  { start, end }: StagedRange,
  matches: (isZero: boolean) => boolean,
  answers: { readonly otherwise: T; readonly unsearched: (at: number) => number },
): Promise<number | T> {
  const piece = Buffer.allocUnsafe(MIB);
  const first = start - (start % blockBytes);
  for (let offset = first; offset < end; offset += piece.length) {
    if (offset - first > searchedBytesMax) return answers.unsearched(offset);
    const length = Math.min(piece.length, end - offset);
    piece.fill(0, await read(offset, piece.subarray(0, length)), length);
    for (const block of blocksOf(piece, length)) {
      if (matches(block.isZero)) return Math.max(start, offset + block.start);
    }
  }
  return answers.otherwise;
}

/** Makes every byte of `range` zero, as far as the file goes. */
export async function clearRange(file: ContentFile, { start, end }: StagedRange): Promise<void> {
  const piece = Buffer.allocUnsafe(MIB);
  for (let offset = start; offset < end; ) {
    // Pieces end with blocks of the file, so that no hole gets a block for the zeros beside it.
    const wanted = Math.min(piece.length - (offset % blockBytes), end - offset);
    const readBytes = await file.read(offset, piece.subarray(0, wanted));
    if (readBytes === 0) return;
    for (const { start: from, end: to } of dirtyRuns(piece, readBytes, offset % blockBytes)) {
      await file.write(offset + from, zeros.subarray(0, to - from));
    }
    offset += readBytes;
  }
}

/** The blocks that lie in `range` from their first to their last byte. */
export function wholeBlocks({ start, end }: StagedRange): ByteRange {
  const first = Math.ceil(start / blockBytes) * blockBytes;
  return byteRange(first, Math.max(first, end - (end % blockBytes)));
}

/** Stretches of blocks that have something else than zeros. */
function* dirtyRuns(piece: Buffer, length: number, skew: number): Generator<StagedRange> {
  let run: { start: number; end: number } | undefined;
  for (const { start, end, isZero } of blocksOf(piece, length, skew)) {
    if (isZero) {
      if (run !== undefined) yield run;
      run = undefined;
    } else if (run === undefined) run = { start, end };
    else run.end = end;
  }
  if (run !== undefined) yield run;
}

/** @param skew How far into a block of the file the piece begins. */
function* blocksOf(piece: Buffer, length: number, skew = 0): Generator<StagedRange & { readonly isZero: boolean }> {
  for (let start = 0; start < length; ) {
    const end = Math.min(length, start + blockBytes - ((start + skew) % blockBytes));
    yield { start, end, isZero: piece.compare(zeros, 0, end - start, start, end) === 0 };
    start = end;
  }
}
