/** Pure: what has become of a job by now (cas-api section 11.5). No timer runs for a job; its state is computed when asked. */

import type { Instant } from "../domain/time.js";

export interface ScheduledJob {
  readonly readyAt: Instant;
  /** End of the output's life, and of the job's. */
  readonly expiresAt: Instant;
  /** The archive was deleted before the job was ready (9.2). */
  readonly sourceLost: boolean;
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
