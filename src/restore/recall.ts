/** One recall while it goes on: what is known of it, and what people may know. */

import { rangeLength } from "../domain/bytes.js";
import type { JobId } from "../domain/ids.js";
import type { Clock, Instant } from "../domain/time.js";
import { AbortScope } from "../lib/abort-scope.js";
import { type Deferred, deferred } from "../lib/deferred.js";
import { type ArchiveWindow, isWholeArchive } from "../protocol/archive-window.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { ColdArchive, JournaledRecall, RecalledBytes, RecallIntent, RecallOrigin } from "./ports.js";
import type { RecallCharge, RecallRequest } from "./recall-budget.js";
import type { HeldBy } from "./recall-queue.js";
import { nextRestoreState, type RestoreEvent, type RestoreState } from "./restore-state.js";
import { expectedJobEnd } from "./retrieval-plan.js";
import type { RecallTrouble } from "./retry-pause.js";

export interface Recall extends RecalledBytes {
  readonly startedAt: Instant;
  readonly landed: Deferred<void>;
  /** Ends what is in flight. One for each recall: a signal that a hundred thousand listen to is slow to be listened to. */
  readonly scope: AbortScope;
  tier: RetrievalTier;
  origin: RecallOrigin;
  /** Somebody wants it who does not wait for it. */
  isKept: boolean;
  /** Who waits for it. */
  waiters: number;
  /** A job is known, or being asked for: from here on it lands whoever wants it, because it is paid for. */
  isOrdered: boolean;
  /** Taken back: nobody wanted it, and no job was ordered. */
  isWithdrawn: boolean;
  /** Somebody has agreed to pay for this tier, so a job of a slower one is not joined while no job is known. */
  readonly insists: boolean;
  /** What it has taken off the budget, while that may be given back. */
  charge: RecallCharge | null;
  /** A request of ours whose answer is lost may have started a job: one that is found then is not free. */
  mayHaveStarted: boolean;
  /** The job that was asked for last. */
  job: JobId | null;
  /** All jobs that may bring the bytes: more than one only after a faster one was asked for. */
  readonly jobs: Set<JobId>;
  /** Resolves when another job was added. */
  jobAdded: Deferred<void>;
  /** Jobs that took the place of one whose output was gone. */
  replaced: number;
  state: RestoreState;
  heldBy: HeldBy | null;
  /** What went wrong last, while that has not been got over. */
  trouble: RecallTrouble | null;
  landedBytes: number;
  landingSince: { readonly at: Instant; readonly bytes: number } | undefined;
  task: Promise<void>;
}

/** How a recall begins that was asked for now, or goes on that an earlier process has journaled. */
export interface RecallBeginning extends Pick<Recall, "origin" | "charge" | "insists"> {
  /** Nothing is journaled of it, so no request for a job can have been made. */
  readonly isNew: boolean;
}

export interface RecallStatus {
  readonly archive: ColdArchive;
  /** The whole archive, or the part that is recalled alone. */
  readonly window: ArchiveWindow;
  readonly tier: RetrievalTier;
  readonly origin: RecallOrigin;
  readonly job: JobId | null;
  /** It is ordered, or will be, whoever stops waiting for it. */
  readonly isCertain: boolean;
  readonly state: RestoreState;
  /** Why no job is ordered yet; null when one is, or when that is just being found out. */
  readonly heldBy: HeldBy | null;
  /** What went wrong last and is tried again; null when all is well. */
  readonly trouble: RecallTrouble | null;
  readonly landedBytes: number;
  readonly startedAt: Instant;
  /** A guess: the tier's usual time, then what the download's speed so far suggests; null when nothing is known. */
  readonly expectedAt: Instant | null;
}

export function begunRecall(
  { archive, window, tier, jobId, requestedAt, replaced, isKept }: JournaledRecall,
  { origin, charge, isNew, insists }: RecallBeginning,
): Recall {
  return {
    archive,
    window,
    tier,
    origin,
    insists,
    isKept,
    waiters: 0,
    isOrdered: jobId !== null,
    isWithdrawn: false,
    startedAt: requestedAt,
    landed: deferred(),
    scope: new AbortScope(),
    job: jobId,
    jobs: new Set(jobId === null ? [] : [jobId]),
    jobAdded: deferred(),
    replaced,
    charge,
    // Of an earlier process nobody knows.
    mayHaveStarted: !isNew,
    state: "requesting",
    heldBy: null,
    trouble: null,
    landedBytes: 0,
    landingSince: undefined,
    task: Promise.resolve(),
  };
}

export function advance(recall: Recall, event: RestoreEvent): void {
  recall.state = nextRestoreState(recall.state, event);
  recall.trouble = null;
}

/** Takes down what goes wrong with `recall`. */
export function troubleOf(recall: Recall): (trouble: RecallTrouble | null) => void {
  return (trouble) => {
    recall.trouble = trouble;
  };
}

/** What the journal keeps of it before a job is ordered. */
export function intentOf({ tier, isKept, charge }: Recall): RecallIntent {
  return { tier, isKept, chargedAt: charge?.chargedAt ?? null };
}

/** What a job for these bytes takes off the budget. */
export function chargeOf({ archive: { id }, window, tier }: RecalledBytes & Pick<Recall, "tier">): RecallRequest {
  return { sizeBytes: rangeLength(window), tier, name: `archive ${id}` };
}

export function isOfWhole({ archive, window }: RecalledBytes): boolean {
  return isWholeArchive(window, archive.sizeBytes);
}

export function statusOfRecall(recall: Recall, clock: Clock): RecallStatus {
  const { archive, window, tier, origin, job, state, heldBy, trouble, landedBytes, startedAt } = recall;
  const expectedAt = expectedEnd(recall, clock.now());
  const isCertain = recall.isOrdered || recall.isKept;
  return { archive, window, tier, origin, job, isCertain, state, heldBy, trouble, landedBytes, startedAt, expectedAt };
}

function expectedEnd({ window, tier, state, landedBytes, startedAt, landingSince }: Recall, now: Instant) {
  if (state === "queued") return null;
  if (state === "requesting" || state === "retrieving") {
    return Math.max(now, expectedJobEnd(tier, startedAt)) as Instant;
  }
  if (landingSince === undefined) return null;
  const bytesPerMs = (landedBytes - landingSince.bytes) / (now - landingSince.at);
  if (!(bytesPerMs > 0) || !Number.isFinite(bytesPerMs)) return null;
  return Math.round(now + (rangeLength(window) - landedBytes) / bytesPerMs) as Instant;
}
