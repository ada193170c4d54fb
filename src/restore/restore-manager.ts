/**
 * One recall per archive, or per window of one, however many readers wait for it.
 *
 * Relies on: the journal, by which a recall goes on after a restart. A recall has no single owner among its callers:
 * who stops waiting leaves it to the others, and when nobody waits it lands all the same, because it is paid for and
 * CAS cannot cancel a job.
 * Never: orders anything for bytes that are here or on their way (`LocalBytes`, `RunningRecalls`; `RecallJobs` asks the
 * service), nor shows bytes whose tree hash is wrong (`ArchiveLanding`).
 */

import { type ByteRange, rangeLength } from "../domain/bytes.js";
import { CancelledError, describeError, isMissing } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ArchiveKey, JobId, VaultName } from "../domain/ids.js";
import { type Clock, hours, type Milliseconds } from "../domain/time.js";
import { AbortScope } from "../lib/abort-scope.js";
import { type ArchiveWindow, wholeArchive } from "../protocol/archive-window.js";
import { downloadPieceBytes } from "../protocol/limits.js";
import type { CasService } from "../protocol/service.js";
import { ArchiveLanding } from "./archive-landing.js";
import type { JobPoller } from "./job-poller.js";
import { LineRate } from "./line-rate.js";
import { LocalBytes, type WindowsToRecall } from "./local-bytes.js";
import type { ColdArchive, ContentSink, JournaledRecall, RecalledBytes, RestoreJournal, WindowSink } from "./ports.js";
import {
  advance,
  begunRecall,
  chargeOf,
  intentOf,
  isOfWhole,
  type Recall,
  type RecallBeginning,
  type RecallStatus,
  statusOfRecall,
} from "./recall.js";
import type { RecallAllowance } from "./recall-budget.js";
import { RecallJobs } from "./recall-jobs.js";
import { RecallQueue } from "./recall-queue.js";
import { type RecallWish, RecallWishes } from "./recall-wishes.js";
import { type JobLookup, RetrievalOrders } from "./retrieval-orders.js";
import { acceptedTier, isFasterTier } from "./retrieval-plan.js";
import { RunningRecalls } from "./running-recalls.js";

export interface RestoreManagerParts {
  readonly service: Pick<CasService, "initiateJob" | "listJobs" | "getJobOutput">;
  readonly journal: RestoreJournal;
  readonly sink: ContentSink;
  readonly windows: WindowSink;
  readonly budget: RecallAllowance;
  readonly poller: Pick<JobPoller, "wait">;
  readonly clock: Clock;
  /** Numbers from 0 to 1, as `Math.random`. */
  readonly random: () => number;
  readonly observer: Observer;
}

export interface RestoreManagerOptions {
  /** Pieces of one content that are fetched at a time. */
  readonly downloadConcurrency?: number;
  /** Contents that land at a time; of small ones some more. */
  readonly landingConcurrency?: number;
  /** Jobs that are started at a time. */
  readonly requestConcurrency?: number;
  readonly pieceBytes?: number;
  /** How long the service keeps the output of a job. */
  readonly outputLifetimeMs?: Milliseconds;
}

/** A job that is gone before its output was fetched is replaced so often. */
const replacementJobsMax = 1;

export class RestoreManager {
  readonly #parts: RestoreManagerParts;
  readonly #recalls = new RunningRecalls();
  readonly #closing = new AbortScope();
  readonly #orders: RetrievalOrders;
  readonly #queue: RecallQueue;
  readonly #landing: ArchiveLanding;
  readonly #local: LocalBytes;
  readonly #jobs: RecallJobs;
  readonly #wishes = new RecallWishes({
    unwanted: (recall) => this.#withdraw(recall),
    kept: (recall) => this.#parts.journal.willKeep(recall).catch((error: unknown) => this.#warn(describeError(error))),
  });
  /** Of recalls that were taken back. */
  readonly #leaving = new Set<Promise<unknown>>();

  constructor(parts: RestoreManagerParts, options: RestoreManagerOptions = {}) {
    this.#parts = parts;
    const { pieceBytes = downloadPieceBytes, outputLifetimeMs = hours(24) } = options;
    const { downloadConcurrency = 4, landingConcurrency = 2, requestConcurrency = 8 } = options;
    const { signal } = this.#closing;
    const rate = new LineRate(parts.clock);
    this.#orders = new RetrievalOrders(parts.service, { concurrency: requestConcurrency, signal });
    this.#queue = new RecallQueue({ ...parts, rate, outputLifetimeMs });
    const landingOptions = { pieceBytes, outputLifetimeMs, downloadConcurrency, landingConcurrency };
    this.#landing = new ArchiveLanding({ ...parts, rate }, landingOptions);
    this.#local = new LocalBytes(parts);
    this.#jobs = new RecallJobs({ ...parts, orders: this.#orders, queue: this.#queue, wishes: this.#wishes });
  }

  /**
   * Goes on with the recalls that the journal knows. Those for which somebody had waited are joined where they have a
   * job; without one they are dropped, unless somebody opens the file before that is known.
   */
  resume(): void {
    for (const journaled of this.#parts.journal.unfinished()) {
      const { key } = journaled.archive;
      if (this.#recalls.of(key).some(({ window }) => isSameRange(window, journaled.window))) continue;
      const { jobId, chargedAt } = journaled;
      const isOpen = jobId === null && chargedAt !== null;
      const charge = isOpen ? this.#parts.budget.resume(chargeOf(journaled), chargedAt) : null;
      this.#begin(journaled, { origin: "restore", charge, isNew: false, insists: false });
    }
  }

  /**
   * Starts a recall or joins the one that runs; resolves when the content is in the cache.
   *
   * Callers that may lose patience wait with `abortable()`. It is fine not to wait: a failure is journaled and reported.
   * What is asked for by `origin` "restore" has been confirmed and is not bound by the budget.
   *
   * @throws FileSystemError "over-budget" at once, before anything begins.
   * @throws CorruptError when the bytes stay wrong; ServiceError, with the service's own message, when the job failed
   * or the service refuses; FileSystemError "no-space"; CancelledError when the manager is closed.
   */
  recall(archive: ColdArchive, wish: RecallWish): Promise<void> {
    return this.#recall({ archive, window: wholeArchive(archive.sizeBytes) }, wish);
  }

  /**
   * As `recall`, for a part that can be verified alone: resolves when it is in the cache. The budget is charged for the
   * window; a recall that brings all of it, of the whole archive perhaps, is joined, and a window that is here is not
   * recalled again. It does not ask whether parts of the window are here, or under way: see `windowsToRecall`.
   */
  recallWindow(archive: ColdArchive, window: ArchiveWindow, wish: RecallWish): Promise<void> {
    return this.#recall({ archive, window }, wish);
  }

  /**
   * What has to be recalled so that the MiBs around `range` are here, in windows that do not overlap: those that
   * `running` recalls bring (a recall of the whole archive is one window), and those for which a job would be `new`.
   *
   * @param bytesMax Of one new window; at least a MiB.
   */
  windowsToRecall(archive: ColdArchive, range: ByteRange, bytesMax?: number): WindowsToRecall {
    return this.#local.windowsToRecall(archive, range, { running: this.#recalls.of(archive.key), bytesMax });
  }

  #recall(bytes: RecalledBytes, { tier, origin = "open", faster = false, signal }: RecallWish): Promise<void> {
    if (this.#closing.signal.aborted) return unattended(Promise.reject(this.#closing.signal.reason));
    if (signal?.aborted) return unattended(Promise.reject(signal.reason));
    const { archive, window } = bytes;
    const accepted = acceptedTier(tier, archive.sizeBytes);
    const running = this.#recalls.covering(archive.key, window);
    if (running !== undefined) {
      this.#wishes.add(running, signal);
      return this.#join(running, { tier: accepted, origin, faster });
    }
    if (this.#local.has(bytes)) return Promise.resolve();
    const charge = origin === "restore" ? null : this.#parts.budget.take(chargeOf({ ...bytes, tier: accepted }));
    // Only of what begins: a refused open may be repeated for ever.
    if (accepted !== tier) {
      this.#warn(`Archive ${archive.id} is too large for tier ${tier}: it is recalled as ${accepted}`);
    }
    const requestedAt = this.#parts.clock.now();
    const isKept = signal === undefined;
    const chargedAt = charge?.chargedAt ?? null;
    const begun = { ...bytes, tier: accepted, requestedAt, jobId: null, replaced: 0, isKept, chargedAt };
    const recall = this.#begin(begun, { origin, charge, isNew: true, insists: faster });
    if (signal !== undefined) this.#wishes.add(recall, signal);
    return recall.landed.promise;
  }

  /** Of the recall that brings the whole archive, or all of `range` of it. */
  status(archive: ArchiveKey, range?: ByteRange): RecallStatus | undefined {
    const recall = range === undefined ? this.#recalls.whole(archive) : this.#recalls.covering(archive, range);
    return recall === undefined ? undefined : statusOfRecall(recall, this.#parts.clock);
  }

  /** In fewer words, for extended attributes; without a recall of the whole, of the window that was asked for first. */
  recallOf(archive: ArchiveKey): Pick<RecallStatus, "job" | "tier" | "expectedAt" | "trouble"> | undefined {
    const recall = this.#recalls.whole(archive) ?? this.#recalls.of(archive)[0];
    return recall === undefined ? undefined : statusOfRecall(recall, this.#parts.clock);
  }

  /**
   * Jobs of `vault` that a recall would join instead of paying for another, running or finished, whoever ordered them.
   *
   * One question for all archives; what is recalled already is not left out.
   */
  jobsIn(vault: VaultName): Promise<JobLookup> {
    return this.#orders.existing(vault);
  }

  snapshot(): RecallStatus[] {
    return [...this.#recalls].map((recall) => statusOfRecall(recall, this.#parts.clock));
  }

  /** Stops what is in flight and waits for it. The journal keeps the recalls for the next start. */
  async close(): Promise<void> {
    const reason = new CancelledError("The recall");
    this.#closing.abort(reason);
    for (const { scope } of this.#recalls) scope.abort(reason);
    await this.#queue.close();
    await Promise.all([...[...this.#recalls].map((recall) => recall.task), ...this.#leaving]);
  }

  #begin(journaled: JournaledRecall, beginning: RecallBeginning): Recall {
    const recall = begunRecall(journaled, beginning);
    unattended(recall.landed.promise);
    this.#recalls.add(recall);
    recall.task = this.#run(recall, beginning.isNew);
    return recall;
  }

  #join(recall: Recall, { tier, origin, faster }: Required<Omit<RecallWish, "signal">>): Promise<void> {
    if (origin === "open" || recall.origin === "ahead") {
      recall.origin = origin;
      this.#queue.moved(recall);
    }
    if (!faster || !isFasterTier(tier, recall.tier)) return recall.landed.promise;
    return unattended(this.#jobs.hasten(recall, tier).then(() => recall.landed.promise));
  }

  /** Never rejects. */
  async #run(recall: Recall, isNew: boolean): Promise<void> {
    const { landed } = recall;
    try {
      await this.#recallNow(recall, isNew);
      this.#end(recall);
      landed.resolve();
    } catch (error) {
      if (recall.isWithdrawn) return;
      await this.#fail(recall, error);
      this.#end(recall);
      landed.reject(error);
    }
  }

  #end(recall: Recall): void {
    this.#recalls.delete(recall);
    this.#queue.leave(recall);
  }

  /** Nobody wants it, and nothing was ordered. At once: who asks for the same bytes from here on begins anew. */
  #withdraw(recall: Recall): void {
    const { archive, charge, landed, scope } = recall;
    if (this.#closing.signal.aborted || recall.isWithdrawn) return;
    recall.isWithdrawn = true;
    charge?.refund();
    this.#end(recall);
    this.#parts.observer({ type: "recall-withdrawn", archiveId: archive.id });
    const journaled = this.#parts.journal.didWithdraw(recall);
    const reason = new CancelledError(`The recall of archive ${archive.id}`);
    scope.abort(reason);
    landed.reject(reason);
    const left = Promise.all([recall.task, journaled])
      .catch((error: unknown) => this.#warn(describeError(error)))
      .finally(() => this.#leaving.delete(left));
    this.#leaving.add(left);
  }

  async #recallNow(recall: Recall, isNew: boolean): Promise<void> {
    const { journal, clock, observer } = this.#parts;
    const { archive, window } = recall;
    if (isNew) await journal.willRequest(recall, intentOf(recall));
    // After a crash between publishing the content and journaling it, there is nothing left to do.
    if (await this.#local.hasAfterAll(recall)) {
      recall.state = "landed";
      recall.charge?.refund();
    } else {
      await this.#requestAndLand(recall);
      if (!isOfWhole(recall)) await this.#local.completeWindows(archive);
    }
    await journal.didLand(recall);
    const durationMs = clock.now() - recall.startedAt;
    observer({ type: "recall-landed", archiveId: archive.id, sizeBytes: rangeLength(window), durationMs });
  }

  async #requestAndLand(recall: Recall): Promise<void> {
    for (let gone: JobId | undefined; ; ) {
      await this.#jobs.obtain(recall, gone);
      try {
        const job = await this.#jobs.output(recall);
        // A recall of the whole may have been faster than that of a window.
        if (isOfWhole(recall) || !this.#local.has(recall)) await this.#landing.land(recall, job);
        advance(recall, "verified");
        return;
      } catch (error) {
        if (!isOfWhole(recall) && this.#local.has(recall)) return;
        // A second time nothing is paid for what nobody wants.
        if (!isMissing(error) || recall.replaced >= replacementJobsMax || !this.#wishes.isWanted(recall)) throw error;
        gone = recall.job!;
        await this.#jobs.replace(recall, gone);
      }
    }
  }

  async #fail(recall: Recall, error: unknown): Promise<void> {
    if (this.#closing.signal.aborted) return; // Not a failure: it goes on at the next start.
    if (recall.mayHaveStarted) recall.charge?.spend();
    else recall.charge?.refund();
    const message = describeError(error);
    if (recall.state !== "failed" && recall.state !== "landed") advance(recall, "gave-up");
    this.#parts.observer({ type: "recall-failed", archiveId: recall.archive.id, message });
    try {
      await this.#parts.journal.didFail(recall, message);
    } catch (journalError) {
      this.#warn(`Cannot record that the recall of ${recall.archive.id} failed: ${describeError(journalError)}`);
    }
  }

  #warn(message: string): void {
    this.#parts.observer({ type: "warning", message });
  }
}

/** Nobody has to wait for `promise`; its failure is reported elsewhere. */
function unattended(promise: Promise<void>): Promise<void> {
  promise.catch(() => undefined);
  return promise;
}

function isSameRange(one: ByteRange, other: ByteRange): boolean {
  return one.start === other.start && one.end === other.end;
}
