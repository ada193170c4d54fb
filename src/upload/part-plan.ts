/** How a content of a given size is sent: in one request, or in parts. Pure. */

import { type ByteCount, type ByteRange, byteCount, byteRange, MIB } from "../domain/bytes.js";
import { invariant } from "../lib/invariant.js";
import { clientPartSizeBytesMin, partCountMax, partSizeBytesMax, singleUploadBytesMax } from "../protocol/limits.js";
import { uploadPartSize } from "../protocol/part-size.js";

export interface PartPlanOptions {
  /** Up to this size a content is sent in one request. */
  readonly multipartThresholdBytes: number;
  /** Wanted size of a part: 1 MiB times a power of two. Larger ones are taken when 10,000 parts would not do. */
  readonly partSizeBytes: number;
}

export type PartPlan =
  | { readonly kind: "single" }
  | { readonly kind: "multipart"; readonly partSizeBytes: ByteCount; readonly partCount: number };

/** @throws RangeError for a content that is larger than the largest archive (cas-api section 5). */
export function planParts(sizeBytes: number, options: PartPlanOptions): PartPlan {
  invariant(sizeBytes > 0, "there is no empty archive");
  const threshold = Math.min(options.multipartThresholdBytes, singleUploadBytesMax);
  // Below the smallest part there is nothing to divide.
  if (sizeBytes <= Math.max(threshold, clientPartSizeBytesMin)) return { kind: "single" };
  const partSizeBytes = byteCount(uploadPartSize(sizeBytes, usablePartSize(sizeBytes, options.partSizeBytes)));
  return { kind: "multipart", partSizeBytes, partCount: partCount(sizeBytes, partSizeBytes) };
}

/** Consecutive ranges; all but the last have the part size. Made one by one: there may be 10,000. */
export function* partRanges(sizeBytes: number, partSizeBytes: number): Generator<ByteRange> {
  for (let start = 0; start < sizeBytes; start += partSizeBytes) {
    yield byteRange(start, Math.min(start + partSizeBytes, sizeBytes));
  }
}

export function partCount(sizeBytes: number, partSizeBytes: number): number {
  return Math.ceil(sizeBytes / partSizeBytes);
}

/**
 * The largest part size, in bytes, that is not above the wanted one and that the service takes: a power of two
 * (section 10.1). A part is not larger than the whole.
 */
export function usablePartSize(sizeBytes: number, wantedBytes: number): number {
  let partSizeBytes: number = clientPartSizeBytesMin;
  const largest = Math.min(wantedBytes, sizeBytes, partSizeBytesMax);
  while (partSizeBytes * 2 <= largest) partSizeBytes *= 2;
  invariant(partSizeBytes % MIB === 0, "parts are whole leaves of the tree hash");
  return partSizeBytes;
}

/** How a file is uploaded that is still written, so that nobody knows its size. */
export interface StreamPlan {
  /** 1 MiB times a power of two. */
  readonly partSizeBytes: number;
  /** The largest file that fits its 10,000 parts. */
  readonly sizeBytesMax: number;
  /** A file that outgrows this begins its upload before it is closed; Infinity: only one for which there is no room. */
  readonly thresholdBytes: number;
}

/**
 * Parts are as large as the largest file needs; but two of them must fit into staging, one that is sent and one that is
 * written, so that with a small staging area the largest file is smaller.
 *
 * @returns undefined when not even two of the smallest parts fit: such files have to fit wholly.
 */
export function planStream(options: {
  readonly stagingBytes: number | null;
  readonly sizeBytesMax: number;
  readonly thresholdBytes: number | undefined;
}): StreamPlan | undefined {
  const { stagingBytes, sizeBytesMax, thresholdBytes } = options;
  const largest = Math.min(stagingBytes === null ? partSizeBytesMax : stagingBytes / 2, partSizeBytesMax);
  if (largest < MIB) return undefined;
  let partSizeBytes = MIB;
  while (partSizeBytes * partCountMax < sizeBytesMax && partSizeBytes * 2 <= largest) partSizeBytes *= 2;
  return {
    partSizeBytes,
    sizeBytesMax: Math.min(sizeBytesMax, partSizeBytes * partCountMax),
    thresholdBytes: thresholdBytes ?? (stagingBytes === null ? Number.POSITIVE_INFINITY : stagingBytes / 2),
  };
}
