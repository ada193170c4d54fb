/** What the service says about a job: its state at a moment and the facts of its row (cas-api section 11.2). */

import { type ByteRange, byteCount, byteRange } from "../../domain/bytes.js";
import type { ArchiveId, JobId, VaultName } from "../../domain/ids.js";
import type { Instant } from "../../domain/time.js";
import { invariant } from "../../lib/invariant.js";
import type {
  InventoryFacts,
  JobFacts,
  PullFacts,
  PushFacts,
  RetrievalFacts,
} from "../../protocol/job-description-wire.js";
import { noCondition, type ObjectCondition } from "../../protocol/object-condition.js";
import type { TreeHashHex } from "../../protocol/service.js";
import type { ArchiveStore } from "../store/archive-store.js";
import type { JobRow, JobTimes, JobWithArchive } from "../store/job-table.js";
import { copyState, type JobState, jobState } from "./job-schedule.js";

/** The state of a job as of `now`. */
export function stateOfJob(job: JobTimes, now: Instant): JobState {
  const expiresAt = job.expires_at_ms as Instant;
  if (isCopy(job)) {
    return copyState(
      { finishedAt: job.finished_at_ms as Instant | null, failed: job.failure !== null, expiresAt },
      now,
    );
  }
  return jobState({ readyAt: job.ready_at_ms as Instant, expiresAt, sourceLost: job.body_key === null }, now);
}

/** Whether the job copies from or to COS. */
export function isCopy({ action }: Pick<JobRow, "action">): boolean {
  return action === "push-to-cos" || action === "pull-from-cos";
}

/** The ordered part of the archive. */
export function jobRange(job: JobRow): ByteRange {
  return byteRange(job.range_start ?? 0, job.range_end ?? 0);
}

/** The facts of a job of `vault`, in a state that is not "expired". */
export function factsOfJob(store: ArchiveStore, vault: VaultName, job: JobWithArchive, state: JobState): JobFacts {
  invariant(state.status !== "expired", "an expired job is not described");
  const common = {
    id: job.job_id as JobId,
    vault,
    status: state.status,
    statusMessage: state.status === "failed" ? (job.failure ?? "The archive was deleted") : "",
    description: job.description,
    callbackUrl: job.callback_url,
    createdAt: job.created_at_ms as Instant,
    completedAt: state.status === "in-progress" ? null : state.completedAt,
  };
  switch (job.action) {
    case "retrieve-archive":
      return { ...common, ...retrievalFacts(store, job) };
    case "retrieve-inventory":
      return { ...common, ...inventoryFacts(job, state) };
    case "push-to-cos":
      return { ...common, ...pushFacts(job) };
    case "pull-from-cos":
      return { ...common, ...pullFacts(job) };
  }
}

/** The tree hash of a range of the job's archive; the archive's own when it is whole, even if the bytes are gone. */
export function treeHashWithin(store: ArchiveStore, job: JobWithArchive, range: ByteRange): TreeHashHex | null {
  const sizeBytes = job.archive_size_bytes ?? 0;
  if (range.start === 0 && range.end === sizeBytes) {
    return (job.archive_tree_hash?.toString("hex") as TreeHashHex) ?? null;
  }
  return job.body_key === null ? null : store.rangeTreeHash(job.body_key, range, sizeBytes);
}

/** The condition that a pull was ordered with. */
export function conditionOf(job: JobRow): ObjectCondition {
  return job.object_condition === null ? noCondition : (JSON.parse(job.object_condition) as ObjectCondition);
}

function retrievalFacts(store: ArchiveStore, job: JobWithArchive): RetrievalFacts {
  return {
    action: "retrieve-archive",
    ...archivePart(job),
    rangeTreeHash: treeHashWithin(store, job, jobRange(job)),
  };
}

function inventoryFacts(job: JobRow, state: JobState): InventoryFacts {
  return {
    action: "retrieve-inventory",
    format: job.format ?? "json",
    filter: {
      createdFrom: job.created_from_ms as Instant | null,
      createdUntil: job.created_until_ms as Instant | null,
      limit: job.row_limit === 0 ? null : job.row_limit,
      marker: job.marker,
    },
    inventorySizeBytes: state.status === "succeeded" ? (job.output_bytes ?? 0) : 0,
    nextMarker: job.next_marker,
  };
}

function pushFacts(job: JobWithArchive): PushFacts {
  return { action: "push-to-cos", ...archivePart(job), bucket: job.bucket ?? "", object: job.object ?? "" };
}

function pullFacts(job: JobWithArchive): PullFacts {
  return {
    action: "pull-from-cos",
    bucket: job.bucket ?? "",
    object: job.object ?? "",
    condition: conditionOf(job),
    archiveDescription: job.archive_description ?? "",
    archive: job.archive_id === null ? null : archiveOf(job),
  };
}

function archivePart(job: JobWithArchive) {
  invariant(job.tier !== null, "a job about an archive has a tier");
  return { ...archiveOf(job), range: jobRange(job), tier: job.tier };
}

function archiveOf({ archive_id: id, archive_size_bytes: sizeBytes, archive_tree_hash: hash }: JobWithArchive) {
  invariant(id !== null && sizeBytes !== null && hash !== null, "the archive of a job stays known");
  return {
    archiveId: id as ArchiveId,
    archiveSizeBytes: byteCount(sizeBytes),
    archiveTreeHash: hash.toString("hex") as TreeHashHex,
  };
}
