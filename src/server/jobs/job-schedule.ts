/**
 * Pure: what has become of a job by now (cas-api section 11.5).
 *
 * The state of a retrieval or an inventory follows from its times; a copy from or to COS says itself when it ended.
 */

import type { Instant } from "../../domain/time.js";

export interface ScheduledJob {
  readonly readyAt: Instant;
  /** End of the output's life, and of the job's. */
  readonly expiresAt: Instant;
  /** The archive was deleted before the job was ready (9.2). */
  readonly sourceLost: boolean;
}

/** A job that does something when its time has come. */
export interface CopyJob {
  /** Null while it is waiting or copying. */
  readonly finishedAt: Instant | null;
  readonly failed: boolean;
  /** Out of reach until it is finished. */
  readonly expiresAt: Instant;
}

export type JobState =
  | { readonly status: "in-progress" }
  | { readonly status: "succeeded" | "failed"; readonly completedAt: Instant }
  | { readonly status: "expired" };

/** A job for lost bytes fails when it would have succeeded, as a real retrieval finds out late. */
export function jobState(job: ScheduledJob, now: Instant): JobState {
  if (now >= job.expiresAt && now >= job.readyAt) return { status: "expired" };
  if (now < job.readyAt) return { status: "in-progress" };
  return { status: job.sourceLost ? "failed" : "succeeded", completedAt: job.readyAt };
}

/** A copy ends when it ends, and only then its day begins. */
export function copyState({ finishedAt, failed, expiresAt }: CopyJob, now: Instant): JobState {
  if (finishedAt === null) return { status: "in-progress" };
  if (now >= expiresAt) return { status: "expired" };
  return { status: failed ? "failed" : "succeeded", completedAt: finishedAt };
}
