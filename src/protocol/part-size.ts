/** Which part size an upload of a given size uses (cas-api section 13.4). Pure. */

import { MIB } from "../domain/bytes.js";
import { archiveSizeBytesMax, clientPartSizeBytesMin, downloadPieceBytes, partCountMax } from "./limits.js";

/**
 * The part size of the official client, in bytes.
 *
 * @param requestedBytes Ignored unless it is a multiple of 1 MiB, at least 16 MiB and at most the whole size. It is
 * not rounded to a power of two; the service refuses others (section 16, row 2), so callers ask only for those.
 * @throws RangeError below 16 MiB (such content is uploaded in one piece) and above the largest archive.
 */
export function uploadPartSize(sizeBytes: number, requestedBytes: number = clientPartSizeBytesMin): number {
  if (sizeBytes > archiveSizeBytesMax) throw new RangeError(`Cannot upload ${sizeBytes} bytes: too big for an archive`);
  if (sizeBytes < clientPartSizeBytesMin) throw new RangeError(`Cannot upload ${sizeBytes} bytes in parts: too small`);
  const usable = requestedBytes % MIB === 0 && requestedBytes >= clientPartSizeBytesMin && requestedBytes <= sizeBytes;
  const wanted = usable ? requestedBytes : clientPartSizeBytesMin;
  return Math.ceil(sizeBytes / wanted) <= partCountMax ? wanted : smallestFittingPartSize(sizeBytes);
}

/**
 * The size of the pieces in which an output of `sizeBytes` is downloaded: 32 MiB, more above 10,000 pieces.
 *
 * The official client divides with integers and gets 10,001 pieces just above a boundary; this one does not.
 */
export function downloadPartSize(sizeBytes: number): number {
  return Math.ceil(sizeBytes / downloadPieceBytes) <= partCountMax
    ? downloadPieceBytes
    : smallestFittingPartSize(sizeBytes);
}

function smallestFittingPartSize(sizeBytes: number): number {
  const mebibytes = Math.ceil(sizeBytes / partCountMax / MIB);
  let partSizeBytes = MIB;
  while (partSizeBytes < mebibytes * MIB) partSizeBytes *= 2;
  return partSizeBytes;
}
