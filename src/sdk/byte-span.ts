/** Ranges of bytes as the SDK's users write them. */

import { type ByteRange, byteRange } from "../domain/bytes.js";
import { parseInclusiveRange } from "../protocol/multipart-wire.js";

/** Half-open: includes `start`, excludes `end`; in bytes. */
export interface ByteSpan {
  readonly start: number;
  readonly end: number;
}

/** A range, or the text of the CAS SDK documentation: `"first-last"`, both included. */
export type ByteSpanLike = ByteSpan | string;

/** Reads `"first-last"`, both included. @throws RangeError for anything else (cas-api section 17.8). */
export function parseRangeFromStr(text: string): ByteSpan {
  const { start, end } = parseInclusiveRange(text);
  return { start, end };
}

/** @throws RangeError unless it is a range of at least one byte. */
export function toByteRange(span: ByteSpanLike): ByteRange {
  const { start, end } = typeof span === "string" ? parseRangeFromStr(span) : span;
  if (start === end) throw new RangeError(`Cannot use ${start}..${end} as a range: it is empty`);
  return byteRange(start, end);
}
