/**
 * One recall per archive, or per window of one, however many readers wait for it.
 *
 * Relies on: the journal, by which a recall goes on after a restart. A recall has no single owner among its callers:
 * who stops waiting leaves it to the others, and when nobody waits it lands all the same, because it is paid for and
 * CAS cannot cancel a job.
 * Never: starts a job while the service has one for the same bytes (but for a faster tier that somebody asked for), nor
 * more jobs than line and cache can take, nor shows bytes whose tree hash is wrong.
 */

import { type ByteRange, byteRange, rangeLength } from "../domain/bytes.js";
import { CancelledError, CorruptError, describeError, isMissing, ServiceError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ArchiveKey, JobId, VaultName } from "../domain/ids.js";
import { type Clock, hours, type Instant, type Milliseconds } from "../domain/time.js";
import { AbortScope, abortable } from "../lib/abort-scope.js";
import type { BackoffLimits } from "../lib/backoff.js";
import { deferred } from "../lib/deferred.js";
import { IntervalSet } from "../lib/interval-set.js";
import { type ArchiveWindow, mebibytesAround, wholeArchive, windowsAround } from "../protocol/archive-window.js";
import { downloadPieceBytes } from "../protocol/limits.js";
import type { CasService, JobDescription, RetrievalTier } from "../protocol/service.js";
import { ArchiveLanding } from "./archive-landing.js";
import type { JobPoller } from "./job-poller.js";
import { LineRate } from "./line-rate.js";
import type {
  ColdArchive,
  ContentSink,
  JournaledRecall,
  RecalledBytes,
  RecallIntent,
  RecallOrigin,
  RestoreJournal,
  WindowSink,
} from "./ports.js";
import { isOfWhole, type Recall, type RecallStatus, statusOfRecall } from "./recall.js";
import type { RecallAllowance, RecallCharge, RecallRequest } from "./recall-budget.js";
import { RecallQueue } from "./recall-queue.js";
import { RecallWishes } from "./recall-wishes.js";
import { nextRestoreState, type RestoreEvent } from "./restore-state.js";
import { type JobLookup, RetrievalOrders } from "./retrieval-orders.js";
import { type ArchiveJob, acceptedTier, isAsFast, isFasterTier } from "./retrieval-plan.js";
import { type Patience, pauseOrThrow, type RecallTrouble, type RetryPauseParts } from "./retry-pause.js";
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

export interface RecallWish {
  readonly tier: RetrievalTier;
  /** "open" when absent. A recall that goes on takes the more urgent of two. */
  readonly origin?: RecallOrigin;
  /** Order another job when the one that runs, whoever ordered it, has a slower tier: somebody has agreed to pay for it. */
  readonly faster?: boolean;
  /**
   * Of who waits: when it fires before a job was ordered, and nobody else wants the bytes, the recall is taken back and
   * rejects with a CancelledError. Absent: they are wanted, whoever waits.
   */
  readonly signal?: AbortSignal | undefined;
}

const requestRetry: BackoffLimits = { delayMsMin: 1_000, delayMsMax: 30_000 };
const requestAttemptsMax = 4;
/** Nobody waits for it, so an outage is waited for. */
const backgroundPatienceMs = hours(24);
/** A job that is gone before its output was fetched is replaced so often. */
const replacementJobsMax = 1;

export class RestoreManager {
  readonly #parts: RestoreManagerParts;
  readonly #recalls = new RunningRecalls();
  readonly #closing = new AbortScope();
  readonly #orders: RetrievalOrders;
  readonly #queue: RecallQueue;
  readonly #landing: ArchiveLanding;
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
  windowsToRecall(
    archive: ColdArchive,
    range: ByteRange,
    bytesMax?: number,
  ): { readonly running: readonly ArchiveWindow[]; readonly new: readonly ArchiveWindow[] } {
    if (this.#parts.sink.has(archive.key)) return { running: [], new: [] };
    const wanted = mebibytesAround(range, archive.sizeBytes);
    const running = this.#recalls.of(archive.key).filter(({ window }) => overlaps(window, wanted));
    const gaps = new IntervalSet(this.#parts.windows.missing(archive, wanted));
    for (const { window } of running) gaps.remove(window);
    const missing = [...gaps].flatMap(({ start, end }) => [
      ...windowsAround(byteRange(start, end), archive.sizeBytes, bytesMax),
    ]);
    return { running: running.map(({ window }) => window), new: missing };
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
    if (this.#isHere(bytes)) return Promise.resolve();
    const charge = origin === "restore" ? null : this.#charge(bytes, accepted);
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

  #begin(
    { archive, window, tier, jobId, requestedAt, replaced, isKept }: JournaledRecall,
    {
      origin,
      charge,
      isNew,
      insists,
    }: {
      readonly origin: RecallOrigin;
      readonly charge: RecallCharge | null;
      readonly isNew: boolean;
      readonly insists: boolean;
    },
  ) {
    const landed = deferred<void>();
    unattended(landed.promise);
    const recall: Recall = {
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
      landed,
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
    this.#recalls.add(recall);
    recall.task = this.#run(recall, isNew);
    return recall;
  }

  #join(recall: Recall, { tier, origin, faster }: Required<Omit<RecallWish, "signal">>): Promise<void> {
    if (origin === "open" || recall.origin === "ahead") {
      recall.origin = origin;
      this.#queue.moved(recall);
    }
    if (!faster || !isFasterTier(tier, recall.tier)) return recall.landed.promise;
    return unattended(this.#hasten(recall, tier).then(() => recall.landed.promise));
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
    if (await this.#isHereAfterAll(recall)) {
      recall.state = "landed";
      recall.charge?.refund();
    } else {
      await this.#requestAndLand(recall);
      if (!isOfWhole(recall)) await this.#completeWindows(archive);
    }
    await journal.didLand(recall);
    const durationMs = clock.now() - recall.startedAt;
    observer({ type: "recall-landed", archiveId: archive.id, sizeBytes: rangeLength(window), durationMs });
  }

  async #requestAndLand(recall: Recall): Promise<void> {
    for (let gone: JobId | undefined; ; ) {
      if (recall.job === null) await this.#findOrStartJob(recall, gone);
      else this.#queue.join(recall);
      this.#advance(recall, "job-known");
      try {
        const job = await this.#retrieve(recall);
        // A recall of the whole may have been faster than that of a window.
        if (isOfWhole(recall) || !this.#isHere(recall)) await this.#landing.land(recall, job);
        this.#advance(recall, "verified");
        return;
      } catch (error) {
        if (!isOfWhole(recall) && this.#isHere(recall)) return;
        // A second time nothing is paid for what nobody wants.
        if (!isMissing(error) || recall.replaced >= replacementJobsMax || !this.#wishes.isWanted(recall)) throw error;
        gone = recall.job!;
        await this.#replace(recall, gone);
      }
    }
  }

  async #replace(recall: Recall, gone: JobId): Promise<void> {
    this.#warn(`Job ${gone} of archive ${recall.archive.id} has expired; another one takes its place`);
    // Nobody has agreed to pay a second time, whoever asked for the first job.
    recall.charge = this.#charge(recall, recall.tier);
    recall.mayHaveStarted = false;
    await this.#parts.journal.willReplace(recall, { chargedAt: recall.charge.chargedAt });
    this.#advance(recall, "job-gone");
    recall.isOrdered = false;
    recall.replaced += 1;
    recall.job = null;
    recall.jobs.clear();
  }

  /**
   * A lost answer to Initiate Job may hide a job, so the list comes first, before every attempt.
   *
   * @param gone A job that may still be listed, and whose output is not there any more.
   */
  async #findOrStartJob(recall: Recall, gone: JobId | undefined): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const wish = { gone, atLeast: recall.insists ? recall.tier : undefined };
        let joined = await this.#orders.find(recall, wish);
        // Of an earlier process, and for readers that are gone: they may ask again.
        if (joined === undefined) this.#wishes.review(recall);
        recall.scope.signal.throwIfAborted();
        if (joined !== undefined) this.#queue.join(recall);
        else if (await this.#waitForTurn(recall)) {
          // Somebody else may have ordered it while this recall was queued.
          joined = await this.#orders.find(recall, wish);
          recall.scope.signal.throwIfAborted();
        }
        recall.isOrdered = true;
        if (joined !== undefined) recall.tier = joined.tier;
        const job = joined?.id ?? (await this.#orders.start(recall));
        return await this.#didRequest(recall, job, joined !== undefined);
      } catch (error) {
        if (!recall.mayHaveStarted) {
          recall.isOrdered = false;
          this.#wishes.review(recall);
        }
        await pauseOrThrow(this.#retryParts(recall), error, attempt, this.#patience(recall), requestRetry);
      }
    }
  }

  /** @returns whether it took a while. */
  async #waitForTurn(recall: Recall): Promise<boolean> {
    const since = this.#parts.clock.now();
    this.#advance(recall, "held");
    await this.#queue.enter(recall, recall.scope.signal);
    this.#advance(recall, "let-go");
    return this.#parts.clock.now() > since;
  }

  #isHere(bytes: RecalledBytes): boolean {
    const { archive, window } = bytes;
    if (this.#parts.sink.has(archive.key)) return true;
    return !isOfWhole(bytes) && this.#parts.windows.missing(archive, window).length === 0;
  }

  async #isHereAfterAll(recall: Recall): Promise<boolean> {
    try {
      await this.#completeWindows(recall.archive);
    } catch (error) {
      if (!(error instanceof CorruptError)) throw error;
      this.#warn(describeError(error)); // Its windows are gone, so a job has to bring them.
    }
    return this.#isHere(recall);
  }

  /** The last window makes the archive whole, and only then can all of it be verified. @throws CorruptError. */
  async #completeWindows(archive: ColdArchive): Promise<void> {
    const { sink, windows } = this.#parts;
    if (sink.has(archive.key) || windows.missing(archive, wholeArchive(archive.sizeBytes)).length > 0) return;
    await windows.complete(archive);
  }

  /** Takes a new job off the budget. @throws FileSystemError "over-budget". */
  #charge(bytes: RecalledBytes, tier: RetrievalTier): RecallCharge {
    return this.#parts.budget.take(chargeOf({ ...bytes, tier }));
  }

  async #didRequest(recall: Recall, job: JobId, joined: boolean): Promise<void> {
    const { id: archiveId } = recall.archive;
    const sizeBytes = rangeLength(recall.window);
    const isFree = joined && !recall.mayHaveStarted;
    if (isFree) recall.charge?.refund();
    else recall.charge?.spend();
    recall.charge = null;
    await this.#parts.journal.didRequest(recall, job, { isFree });
    recall.job = job;
    recall.jobs.add(job);
    this.#parts.observer({ type: "recall-started", archiveId, jobId: job, joined, sizeBytes });
  }

  /** A second job, at a faster tier, for a recall whose first one runs. The bytes come from the one that is done first. */
  async #hasten(recall: Recall, tier: RetrievalTier): Promise<void> {
    if (recall.state === "landing" || recall.state === "landed") return;
    const former = recall.tier;
    recall.tier = tier;
    try {
      await this.#parts.journal.willRequest(recall, intentOf(recall));
      if (recall.state !== "retrieving") return; // It will order its job at this tier, or has its output by now.
      const found = await abortable(this.#orders.find(recall), recall.scope.signal);
      const isFast = found !== undefined && isAsFast(found, tier);
      const job = isFast ? found.id : await this.#orders.start(recall);
      await this.#didRequest(recall, job, isFast);
    } catch (error) {
      recall.tier = former; // So that asking once more tries again.
      throw error;
    }
    recall.jobAdded.resolve();
  }

  /** Waits until the output of one of its jobs is there. */
  async #retrieve(recall: Recall): Promise<ArchiveJob> {
    for (;;) {
      using scope = new AbortScope(recall.scope.signal);
      const ended = await this.#firstToEnd(recall, scope.signal).finally(() => scope.abort());
      if (ended === undefined) {
        recall.jobAdded = deferred();
        continue;
      }
      recall.job = ended.id;
      if (ended.status === "succeeded") {
        const job = checkedJob(recall, ended);
        this.#advance(recall, "job-succeeded");
        return job;
      }
      recall.jobs.delete(ended.id);
      if (recall.jobs.size === 0) throw jobFailed(recall.archive, ended);
    }
  }

  /** undefined when another job was added. */
  #firstToEnd(recall: Recall, signal: AbortSignal): Promise<JobDescription | undefined> {
    const { archive, jobs, jobAdded } = recall;
    const onTrouble = (trouble: RecallTrouble | null) => this.#troubled(recall, trouble);
    const waiting = [...jobs].map((job) => this.#parts.poller.wait(archive.vault, job, { signal, onTrouble }));
    return Promise.race([...waiting, jobAdded.promise.then(() => undefined)]);
  }

  async #fail(recall: Recall, error: unknown): Promise<void> {
    if (this.#closing.signal.aborted) return; // Not a failure: it goes on at the next start.
    if (recall.mayHaveStarted) recall.charge?.spend();
    else recall.charge?.refund();
    const message = describeError(error);
    if (recall.state !== "failed" && recall.state !== "landed") this.#advance(recall, "gave-up");
    this.#parts.observer({ type: "recall-failed", archiveId: recall.archive.id, message });
    try {
      await this.#parts.journal.didFail(recall, message);
    } catch (journalError) {
      this.#warn(`Cannot record that the recall of ${recall.archive.id} failed: ${describeError(journalError)}`);
    }
  }

  #patience({ origin, startedAt }: Recall): Patience {
    const patienceMs = origin === "open" ? 0 : backgroundPatienceMs;
    return { attemptsMax: requestAttemptsMax, until: (startedAt + patienceMs) as Instant };
  }

  #retryParts(recall: Recall): RetryPauseParts {
    return { ...this.#parts, signal: recall.scope.signal, onTrouble: (trouble) => this.#troubled(recall, trouble) };
  }

  #troubled(recall: Recall, trouble: RecallTrouble | null): void {
    recall.trouble = trouble;
  }

  #advance(recall: Recall, event: RestoreEvent): void {
    recall.state = nextRestoreState(recall.state, event);
    recall.trouble = null;
  }

  #warn(message: string): void {
    this.#parts.observer({ type: "warning", message });
  }
}

function intentOf({ tier, isKept, charge }: Recall): RecallIntent {
  return { tier, isKept, chargedAt: charge?.chargedAt ?? null };
}

function chargeOf({ archive: { id }, window, tier }: RecalledBytes & Pick<Recall, "tier">): RecallRequest {
  return { sizeBytes: rangeLength(window), tier, name: `archive ${id}` };
}

/** Nobody has to wait for `promise`; its failure is reported elsewhere. */
function unattended(promise: Promise<void>): Promise<void> {
  promise.catch(() => undefined);
  return promise;
}

/** @throws CorruptError when the job's archive is not the one that was archived under this id, or it has other bytes. */
function checkedJob({ archive, window }: RecalledBytes, job: JobDescription): ArchiveJob {
  const { id, treeHash } = archive;
  if (job.action !== "retrieve-archive" || job.range.start > window.start || job.range.end < window.end) {
    throw new CorruptError(`Cannot recall archive ${id}: job ${job.id} does not retrieve its bytes`);
  }
  if (job.archiveTreeHash === treeHash) return job;
  throw new CorruptError(`Cannot recall archive ${id}: the service has other bytes than were archived`);
}

function isSameRange(one: ByteRange, other: ByteRange): boolean {
  return one.start === other.start && one.end === other.end;
}

function overlaps(one: ByteRange, other: ByteRange): boolean {
  return one.start < other.end && other.start < one.end;
}

function jobFailed(archive: ColdArchive, job: JobDescription): ServiceError {
  return new ServiceError(
    "unavailable",
    `Cannot recall archive ${archive.id}: job ${job.id} failed: ${job.statusMessage}`,
  );
}
