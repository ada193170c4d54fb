/**
 * The parts of an archive that can be verified alone: the nodes of its tree of hashes (cas-api section 13.3). Pure.
 *
 * A retrieval may begin and end at any MiB, but the service gives a hash only of what is a node; of other parts nobody
 * could tell whether the bytes are right.
 */

import { type ByteRange, byteRange } from "../domain/bytes.js";
import { retrievalAlignmentBytes } from "./limits.js";
import { isTreeHashAligned } from "./tree-hash.js";

/** A range of one archive that is a node of its tree; the whole archive is one, too. */
export type ArchiveWindow = ByteRange & { readonly __window: "ArchiveWindow" };

/** @throws RangeError unless `range` is a node of the tree of an archive of that size. */
export function archiveWindow(range: ByteRange, archiveSizeBytes: number): ArchiveWindow {
  if (isTreeHashAligned(range, archiveSizeBytes)) return range as ArchiveWindow;
  throw new RangeError(`Cannot verify bytes ${range.start}-${range.end} of ${archiveSizeBytes} alone`);
}

export function wholeArchive(archiveSizeBytes: number): ArchiveWindow {
  return byteRange(0, archiveSizeBytes) as ArchiveWindow;
}

export function isWholeArchive({ start, end }: ByteRange, archiveSizeBytes: number): boolean {
  return start === 0 && end === archiveSizeBytes;
}

/** The bytes of `range` and what lies with them in their MiBs; nothing of it is behind the end of the archive. */
export function mebibytesAround({ start, end }: ByteRange, archiveSizeBytes: number): ByteRange {
  const first = Math.min(start - (start % retrievalAlignmentBytes), archiveSizeBytes);
  const last = Math.ceil(end / retrievalAlignmentBytes) * retrievalAlignmentBytes;
  return byteRange(first, Math.max(first, Math.min(last, archiveSizeBytes)));
}

/**
 * The MiBs around `range` in as few windows as possible, in order.
 *
 * @param bytesMax Of one window; at least a MiB.
 */
export function* windowsAround(
  range: ByteRange,
  archiveSizeBytes: number,
  bytesMax = Number.POSITIVE_INFINITY,
): Generator<ArchiveWindow> {
  const { start, end } = mebibytesAround(range, archiveSizeBytes);
  for (let position: number = start; position < end; ) {
    const window = windowFrom(position, { archiveSizeBytes, end, bytesMax });
    yield window;
    position = window.end;
  }
}

/**
 * The largest window from `start` on that ends at `limits.end` or before it, and has at most `limits.bytesMax`.
 *
 * @param start A multiple of 1 MiB. The window has a MiB in any case, or what the archive has left.
 */
export function windowFrom(
  start: number,
  limits: { readonly archiveSizeBytes: number; readonly end: number; readonly bytesMax: number },
): ArchiveWindow {
  const { archiveSizeBytes, end, bytesMax } = limits;
  let nodeBytes = retrievalAlignmentBytes;
  while (start % (2 * nodeBytes) === 0 && start + nodeBytes < archiveSizeBytes) {
    const nextEnd = Math.min(start + 2 * nodeBytes, archiveSizeBytes);
    if (nextEnd > end || nextEnd - start > bytesMax) break;
    nodeBytes *= 2;
  }
  return byteRange(start, Math.min(start + nodeBytes, archiveSizeBytes)) as ArchiveWindow;
}
