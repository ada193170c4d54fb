/** In which pieces an output is fetched, so that as many of them as possible are verified by themselves. Pure. */

import { type ByteRange, byteRange, MIB, rangeLength, splitRange } from "../domain/bytes.js";
import { partCountMax } from "../protocol/limits.js";
import { isTreeHashAligned } from "../protocol/tree-hash.js";

/** Where a job's output lies in its archive. */
export interface OutputPlace {
  readonly start: number;
  readonly archiveSizeBytes: number;
}

/** The size to use for a wanted one: a power of two MiB, and as large as it takes for 10,000 pieces to do. */
export function usablePieceBytes(sizeBytes: number, wantedBytes: number): number {
  let pieceBytes = MIB;
  while (pieceBytes * 2 <= wantedBytes || Math.ceil(sizeBytes / pieceBytes) > partCountMax) pieceBytes *= 2;
  return pieceBytes;
}

/**
 * Consecutive pieces of `range` of an output, at most `pieceBytes` long.
 *
 * @param place Null when the service gives no hashes of ranges of this output: then the pieces are simply equal.
 */
export function outputPieces(range: ByteRange, pieceBytes: number, place: OutputPlace | null): ByteRange[] {
  if (place === null) return splitRange(range, pieceBytes);
  const pieces: ByteRange[] = [];
  for (let start: number = range.start; start < range.end; ) {
    const end = Math.min(range.end, start + nodeLength(byteRange(start, range.end), pieceBytes, place));
    pieces.push(byteRange(start, end));
    start = end;
  }
  return pieces;
}

/** Whether the hash that the service gives with `range` of the output is that of a subtree of the archive (section 13.3). */
export function isSubtreeOfArchive({ start, end }: ByteRange, place: OutputPlace): boolean {
  return isTreeHashAligned(byteRange(place.start + start, place.start + end), place.archiveSizeBytes);
}

/** Whether the tree hashes of `pieces` combine to that of all their bytes: equal powers of two MiB but for the last. */
export function areCombinable(pieces: readonly ByteRange[]): boolean {
  if (pieces.length <= 1) return true;
  const length = rangeLength(pieces[0]!);
  const isNode = length % MIB === 0 && Number.isInteger(Math.log2(length / MIB));
  const rest = pieces.slice(1, -1);
  return isNode && rest.every((piece) => rangeLength(piece) === length) && rangeLength(pieces.at(-1)!) <= length;
}

/** Length of the largest subtree that begins where `rest` does and ends within; less than a leaf where none begins. */
function nodeLength(rest: ByteRange, pieceBytes: number, { start, archiveSizeBytes }: OutputPlace): number {
  const first = start + rest.start;
  const left = rangeLength(rest);
  if (first % MIB !== 0) return MIB - (first % MIB);
  let length = pieceBytes;
  while (length > MIB && first % length !== 0) length /= 2;
  const reachesEnd = first + left === archiveSizeBytes;
  while (length > MIB && length > left && !reachesEnd) length /= 2;
  return length;
}
