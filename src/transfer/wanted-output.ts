/** What a finished job has to offer, and what of it is wanted. Pure. */

import { type ByteRange, byteRange } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import type { ArchiveId, VaultName } from "../domain/ids.js";
import type { JobDescription, TreeHashHex } from "../protocol/service.js";
import { isTreeHashAligned } from "../protocol/tree-hash.js";
import type { OutputPlace } from "./output-pieces.js";

export interface WantedOutput {
  /** For messages. */
  readonly name: string;
  /** One word that two downloads share only when they are of the same bytes. */
  readonly identity: string;
  /** Of the job's output. */
  readonly range: ByteRange;
  /** Of the wanted range within its archive; null when the service gives no hashes of ranges (section 11.4). */
  readonly place: OutputPlace | null;
  /** Of all bytes of `range`; null when the service does not give it. */
  readonly treeHash: TreeHashHex | null;
  readonly archiveId: ArchiveId | undefined;
}

/**
 * @param wanted Bytes of the output; all of it by default.
 * @throws FileSystemError "not-ready" for a job that is in progress; "invalid" for one that failed, that has no output,
 * or whose output does not reach to the wanted range.
 */
export function wantedOutput(job: JobDescription, vault: VaultName, wanted: ByteRange | undefined): WantedOutput {
  if (job.status === "in-progress") {
    throw new FileSystemError("not-ready", `Cannot download the output of job ${job.id}: it is in progress`);
  }
  if (job.status === "failed") throw unusable(job, `it failed: ${job.statusMessage}`);
  switch (job.action) {
    case "retrieve-archive":
      return archiveOutput(job, vault, clipped(job, wanted, job.range.end - job.range.start));
    case "retrieve-inventory": {
      const range = clipped(job, wanted, job.inventorySizeBytes);
      const identity = `job:${vault}:${job.id}:${range.start}-${range.end}`;
      return { name: `job ${job.id}`, identity, range, place: null, treeHash: null, archiveId: undefined };
    }
    case "other":
      throw unusable(job, "it has none");
  }
}

function archiveOutput(
  job: Extract<JobDescription, { readonly action: "retrieve-archive" }>,
  vault: VaultName,
  range: ByteRange,
): WantedOutput {
  const { archiveId, archiveSizeBytes, archiveTreeHash } = job;
  const inArchive = byteRange(job.range.start + range.start, job.range.start + range.end);
  const isAll = inArchive.end - inArchive.start === job.range.end - job.range.start;
  return {
    name: `archive ${archiveId}`,
    // Not the job: it lasts a day, and the next one for the same bytes may go on.
    identity: `archive:${vault}:${archiveId}:${archiveTreeHash}:${inArchive.start}-${inArchive.end}`,
    range,
    place: isTreeHashAligned(job.range, archiveSizeBytes) ? { start: inArchive.start, archiveSizeBytes } : null,
    treeHash: isAll ? job.rangeTreeHash : null,
    archiveId,
  };
}

function clipped(job: JobDescription, wanted: ByteRange | undefined, sizeBytes: number): ByteRange {
  const start = wanted?.start ?? 0;
  const end = Math.min(wanted?.end ?? sizeBytes, sizeBytes);
  if (start >= end) throw unusable(job, `it has ${sizeBytes} bytes, and none of the wanted range`);
  return byteRange(start, end);
}

function unusable({ id }: JobDescription, reason: string): FileSystemError {
  return new FileSystemError("invalid", `Cannot download the output of job ${id}: ${reason}`);
}
