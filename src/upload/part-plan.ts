/** How a content of a given size is sent: in one request, or in parts. Pure. */

import { type ByteCount, type ByteRange, byteCount, byteRange, MIB } from "../domain/bytes.js";
import { invariant } from "../lib/invariant.js";
import { clientPartSizeBytesMin, partSizeBytesMax, singleUploadBytesMax } from "../protocol/limits.js";
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
