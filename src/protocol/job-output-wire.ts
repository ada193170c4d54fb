/** The output of a job: the `Range` that is asked for and the headers that answer it (cas-api section 11.4). */

import { type ByteCount, type ByteRange, byteCount, byteRange } from "../domain/bytes.js";
import { invalidParameter } from "./error-wire.js";
import { WireFormatError } from "./json-fields.js";
import type { HeaderLookup, HeaderRecord } from "./message-headers.js";
import { formatContentRange, formatInclusiveRange, parseContentRange } from "./multipart-wire.js";
import type { TreeHashHex } from "./service.js";
import { treeHashHex } from "./tree-hash.js";

/** The value of the `Range` header. */
export function formatRange(range: ByteRange): string {
  return `bytes=${formatInclusiveRange(range)}`;
}

/**
 * The asked part of an output of `totalBytes`: `first-last`, `first-` or `-suffix`, a last position beyond the end cut.
 *
 * @throws WireError for a range that begins beyond the end, for several ranges, and for nonsense.
 */
export function parseRange(text: string, totalBytes: number): ByteRange {
  const match = /^bytes=(\d{1,15})?-(\d{1,15})?$/i.exec(text.trim());
  const [, first, last] = match ?? [];
  if (!match || (first === undefined && last === undefined)) throw invalidParameter("Range is not `bytes=first-last`");
  const start = first === undefined ? Math.max(0, totalBytes - Number(last)) : Number(first);
  const end = first === undefined || last === undefined ? totalBytes : Math.min(Number(last) + 1, totalBytes);
  if (start >= totalBytes || end <= start) throw invalidParameter("Range is not within the output");
  return byteRange(start, end);
}

export type OutputContentType = "application/octet-stream" | "application/json" | "text/csv";

/** Status and headers of an output. `range` is present exactly when the request had a Range. */
export function formatOutputHeaders(output: {
  readonly contentType: OutputContentType;
  readonly totalBytes: number;
  readonly range: ByteRange | undefined;
  /** Of the bytes that are sent; null when they are no subtree of the archive. */
  readonly treeHash: TreeHashHex | null;
}): { readonly status: 200 | 206; readonly headers: HeaderRecord } {
  const { range, totalBytes } = output;
  const headers = {
    "content-type": output.contentType,
    "content-length": String(range === undefined ? totalBytes : range.end - range.start),
    "accept-ranges": "bytes",
    ...(range === undefined ? {} : { "content-range": formatContentRange(range, totalBytes) }),
    ...(output.treeHash === null ? {} : { "x-cas-sha256-tree-hash": output.treeHash }),
  };
  return { status: range === undefined ? 200 : 206, headers };
}

/**
 * What an answer with output promises.
 *
 * @param asked The range of the request; the answer must be of exactly that range (cut at the end of the output).
 * @throws WireFormatError
 */
export function parseOutputHeaders(
  status: number,
  headers: HeaderLookup,
  asked: ByteRange | undefined,
): { readonly sizeBytes: ByteCount; readonly treeHash: TreeHashHex | null } {
  const sizeBytes = outputLength(headers);
  if (asked === undefined) checkWholeOutput(status, headers, sizeBytes);
  else checkOutputRange(status, headers, asked, sizeBytes);
  const treeHash = headers("x-cas-sha256-tree-hash");
  try {
    return { sizeBytes, treeHash: treeHash ? treeHashHex(treeHash) : null };
  } catch (cause) {
    throw new WireFormatError("Cannot read the output: its tree hash is malformed", { cause });
  }
}

function outputLength(headers: HeaderLookup): ByteCount {
  const text = headers("content-length") ?? "";
  if (!/^\d{1,15}$/.test(text)) throw new WireFormatError("Cannot read the output: it has no Content-Length");
  return byteCount(Number(text));
}

/** A part of it must not pass for the whole. */
function checkWholeOutput(status: number, headers: HeaderLookup, sizeBytes: ByteCount): void {
  if (status === 200) return;
  const contentRange = headers("content-range") ?? "";
  if (status === 206 && contentRange.trim() === `bytes 0-${sizeBytes - 1}/${sizeBytes}`) return;
  throw new WireFormatError("Cannot read the output: the service answered a part of it");
}

function checkOutputRange(status: number, headers: HeaderLookup, asked: ByteRange, sizeBytes: ByteCount): void {
  const contentRange = headers("content-range");
  if (status !== 206 || contentRange === undefined) {
    // Some services answer 200 when the range is all there is.
    if (status === 200 && asked.start === 0 && sizeBytes === asked.end) return;
    throw new WireFormatError("Cannot read the output: the service ignored the asked range");
  }
  let answered: { readonly range: ByteRange; readonly totalBytes: number | null };
  try {
    answered = parseContentRange(contentRange);
  } catch (cause) {
    throw new WireFormatError("Cannot read the output: its Content-Range is malformed", { cause });
  }
  const { range, totalBytes } = answered;
  const expectedEnd = Math.min(asked.end, totalBytes ?? asked.end);
  if (range.start !== asked.start || range.end !== expectedEnd || range.end - range.start !== sizeBytes) {
    throw new WireFormatError(
      `Cannot read the output: asked for ${formatRange(asked)}, got ${contentRange.slice(0, 80)}`,
    );
  }
}
