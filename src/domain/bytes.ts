/** Byte counts and ranges. Sizes stay below 2^53 (the largest archive is 4.3e13 bytes), so numbers are exact. */

export type ByteCount = number & { readonly __brand: "ByteCount" };

/** Half-open range within one archive, job output or file: includes `start`, excludes `end`. */
export interface ByteRange {
  readonly start: ByteCount;
  readonly end: ByteCount;
}

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;
export const TIB = 1024 * GIB;

/** @throws RangeError unless `value` is a whole, non-negative, exactly representable number of bytes. */
export function byteCount(value: number): ByteCount {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`Cannot use ${value} as a byte count`);
  return value as ByteCount;
}

/** @throws RangeError unless `0 <= start <= end`. */
export function byteRange(start: number, end: number): ByteRange {
  if (end < start) throw new RangeError(`Cannot use ${start}..${end} as a byte range`);
  return { start: byteCount(start), end: byteCount(end) };
}

export function rangeLength(range: ByteRange): ByteCount {
  return (range.end - range.start) as ByteCount;
}

/** Of ranges that do not overlap, as of parts in the SDK's words. */
export function totalLength(ranges: readonly { readonly start: number; readonly end: number }[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}

export function overlaps(one: ByteRange, other: ByteRange): boolean {
  return one.start < other.end && other.start < one.end;
}

/** Consecutive ranges of `pieceBytes` that cover `range`; the last may be shorter. Empty for an empty range. */
export function splitRange(range: ByteRange, pieceBytes: number): ByteRange[] {
  if (pieceBytes <= 0) throw new RangeError(`Cannot split a range into pieces of ${pieceBytes} bytes`);
  const pieces: ByteRange[] = [];
  for (let start = range.start as number; start < range.end; start += pieceBytes) {
    pieces.push(byteRange(start, Math.min(start + pieceBytes, range.end)));
  }
  return pieces;
}
