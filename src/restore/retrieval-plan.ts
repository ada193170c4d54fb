/** What to ask for, whether an existing job will do, and in which pieces to fetch it. Pure. */

import { type ByteRange, byteRange } from "../domain/bytes.js";
import type { Instant } from "../domain/time.js";
import { windowsAround } from "../protocol/archive-window.js";
import { expeditedSizeBytesMax } from "../protocol/limits.js";
import { readyIn } from "../protocol/prices.js";
import { type JobDescription, type RetrievalTier, retrievalTiers } from "../protocol/service.js";
import { isTreeHashAligned } from "../protocol/tree-hash.js";
import type { ColdArchive } from "./ports.js";

export type ArchiveJob = Extract<JobDescription, { readonly action: "retrieve-archive" }>;

/** The service refuses Expedited for large archives (cas-api section 11.1); they are asked for as Standard. */
export function acceptedTier(tier: RetrievalTier, sizeBytes: number): RetrievalTier {
  return tier === "expedited" && sizeBytes > expeditedSizeBytesMax ? "standard" : tier;
}

/** Whether a job of `tier` may be done before one of `than`. */
export function isFasterTier(tier: RetrievalTier, than: RetrievalTier): boolean {
  return retrievalTiers.indexOf(tier) < retrievalTiers.indexOf(than);
}

/** Whether a job has its output by now, or will have it as soon as one of `tier`. */
export function isAsFast(job: ArchiveJob, tier: RetrievalTier): boolean {
  return job.status === "succeeded" || !isFasterTier(tier, job.tier);
}

/**
 * The job that will have, or has, all of `range` first; a retrieval that exists is not paid for twice.
 *
 * @param range A part of `archive`; all of it when absent.
 */
export function jobToJoin(
  jobs: Iterable<JobDescription>,
  archive: ColdArchive,
  range: ByteRange = byteRange(0, archive.sizeBytes),
): ArchiveJob | undefined {
  let best: ArchiveJob | undefined;
  for (const job of jobs) {
    if (!isRetrievalOf(job, archive, range) || job.status === "failed") continue;
    if (best === undefined || isSooner(job, best)) best = job;
  }
  return best;
}

/** The service gives hashes only with the output of a job whose own range is a node of the tree (section 11.4). */
function isRetrievalOf(job: JobDescription, archive: ColdArchive, range: ByteRange): job is ArchiveJob {
  if (job.action !== "retrieve-archive" || job.archiveId !== archive.id) return false;
  if (job.range.start > range.start || job.range.end < range.end) return false;
  return isTreeHashAligned(job.range, archive.sizeBytes);
}

/** A finished job is there at once, the latest of them longest; of running ones the faster tier, then the older. */
function isSooner(job: ArchiveJob, than: ArchiveJob): boolean {
  if (job.status !== than.status) return job.status === "succeeded";
  if (job.status === "succeeded") return (job.completedAt ?? 0) > (than.completedAt ?? 0);
  const tiers = retrievalTiers.indexOf(job.tier) - retrievalTiers.indexOf(than.tier);
  return tiers === 0 ? job.createdAt < than.createdAt : tiers < 0;
}

/** The missing bytes in pieces that start and end at multiples of `pieceBytes`, where they are subtrees. */
export function* piecesOf(missing: readonly ByteRange[], pieceBytes: number): Generator<ByteRange> {
  for (const range of missing) {
    for (let start: number = range.start; start < range.end; ) {
      const end = Math.min(range.end, start - (start % pieceBytes) + pieceBytes);
      yield byteRange(start, end);
      start = end;
    }
  }
}

/** When a job of `tier` asked for at `requestedAt` is done at the latest, as published; a guess for people. */
export function expectedJobEnd(tier: RetrievalTier, requestedAt: Instant): Instant {
  return (requestedAt + readyIn[tier].to) as Instant;
}

/** The missing bytes of a window in pieces of at most `pieceBytes`, each of which can be verified alone. */
export function* windowPiecesOf(
  missing: readonly ByteRange[],
  archiveSizeBytes: number,
  pieceBytes: number,
): Generator<ByteRange> {
  for (const range of missing) yield* windowsAround(range, archiveSizeBytes, pieceBytes);
}
