/**
 * The jobs of one recall: found or ordered, hastened, replaced when the output is gone, and waited for.
 *
 * Relies on: the journal, which knows of an order before it is made and of the job as soon as there is an answer.
 * Never: starts a job while the service has one for the same bytes (but for a faster tier that somebody asked for), nor
 * more jobs than line and cache can take.
 */

import { rangeLength } from "../domain/bytes.js";
import { CorruptError, ServiceError } from "../domain/errors.js";
import type { JobId } from "../domain/ids.js";
import { hours, type Instant } from "../domain/time.js";
import { AbortScope, abortable } from "../lib/abort-scope.js";
import type { BackoffLimits } from "../lib/backoff.js";
import { deferred } from "../lib/deferred.js";
import type { JobDescription, RetrievalTier } from "../protocol/service.js";
import type { JobPoller } from "./job-poller.js";
import type { ColdArchive, RecalledBytes, RestoreJournal } from "./ports.js";
import { advance, chargeOf, intentOf, type Recall, troubleOf } from "./recall.js";
import type { RecallAllowance } from "./recall-budget.js";
import type { RecallQueue } from "./recall-queue.js";
import type { RecallWishes } from "./recall-wishes.js";
import type { RetrievalOrders } from "./retrieval-orders.js";
import { type ArchiveJob, isAsFast } from "./retrieval-plan.js";
import { type Patience, pauseOrThrow, type RetryPauseParts } from "./retry-pause.js";

interface RecallJobsParts extends Omit<RetryPauseParts, "signal" | "onTrouble"> {
  readonly journal: Pick<RestoreJournal, "willRequest" | "willReplace" | "didRequest">;
  readonly budget: Pick<RecallAllowance, "take">;
  readonly poller: Pick<JobPoller, "wait">;
  readonly orders: RetrievalOrders;
  readonly queue: RecallQueue;
  readonly wishes: RecallWishes;
}

const requestRetry: BackoffLimits = { delayMsMin: 1_000, delayMsMax: 30_000 };
const requestAttemptsMax = 4;
/** Nobody waits for it, so an outage is waited for. */
const backgroundPatienceMs = hours(24);

export class RecallJobs {
  readonly #parts: RecallJobsParts;

  constructor(parts: RecallJobsParts) {
    this.#parts = parts;
  }

  /**
   * Resolves when a job is known for the recall.
   *
   * @param gone A job that may still be listed, and whose output is not there any more.
   */
  async obtain(recall: Recall, gone: JobId | undefined): Promise<void> {
    if (recall.job === null) await this.#findOrStart(recall, gone);
    else this.#parts.queue.join(recall);
    advance(recall, "job-known");
  }

  /** Waits until the output of one of its jobs is there. */
  async output(recall: Recall): Promise<ArchiveJob> {
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
        advance(recall, "job-succeeded");
        return job;
      }
      recall.jobs.delete(ended.id);
      if (recall.jobs.size === 0) throw jobFailed(recall.archive, ended);
    }
  }

  /** @param gone The job whose output is not there any more. @throws FileSystemError "over-budget". */
  async replace(recall: Recall, gone: JobId): Promise<void> {
    const message = `Job ${gone} of archive ${recall.archive.id} has expired; another one takes its place`;
    this.#parts.observer({ type: "warning", message });
    // Nobody has agreed to pay a second time, whoever asked for the first job.
    recall.charge = this.#parts.budget.take(chargeOf(recall));
    recall.mayHaveStarted = false;
    await this.#parts.journal.willReplace(recall, { chargedAt: recall.charge.chargedAt });
    advance(recall, "job-gone");
    recall.isOrdered = false;
    recall.replaced += 1;
    recall.job = null;
    recall.jobs.clear();
  }

  /** A second job, at a faster tier, for a recall whose first one runs. The bytes come from the one that is done first. */
  async hasten(recall: Recall, tier: RetrievalTier): Promise<void> {
    if (recall.state === "landing" || recall.state === "landed") return;
    const former = recall.tier;
    recall.tier = tier;
    try {
      await this.#parts.journal.willRequest(recall, intentOf(recall));
      if (recall.state !== "retrieving") return; // It will order its job at this tier, or has its output by now.
      const found = await abortable(this.#parts.orders.find(recall), recall.scope.signal);
      const isFast = found !== undefined && isAsFast(found, tier);
      const job = isFast ? found.id : await this.#parts.orders.start(recall);
      await this.#didRequest(recall, job, isFast);
    } catch (error) {
      recall.tier = former; // So that asking once more tries again.
      throw error;
    }
    recall.jobAdded.resolve();
  }

  /** A lost answer to Initiate Job may hide a job, so the list comes first, before every attempt. */
  async #findOrStart(recall: Recall, gone: JobId | undefined): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const wish = { gone, atLeast: recall.insists ? recall.tier : undefined };
        let joined = await this.#parts.orders.find(recall, wish);
        // Of an earlier process, and for readers that are gone: they may ask again.
        if (joined === undefined) this.#parts.wishes.review(recall);
        recall.scope.signal.throwIfAborted();
        if (joined !== undefined) this.#parts.queue.join(recall);
        else if (await this.#waitForTurn(recall)) {
          // Somebody else may have ordered it while this recall was queued.
          joined = await this.#parts.orders.find(recall, wish);
          recall.scope.signal.throwIfAborted();
        }
        recall.isOrdered = true;
        if (joined !== undefined) recall.tier = joined.tier;
        const job = joined?.id ?? (await this.#parts.orders.start(recall));
        return await this.#didRequest(recall, job, joined !== undefined);
      } catch (error) {
        if (!recall.mayHaveStarted) {
          recall.isOrdered = false;
          this.#parts.wishes.review(recall);
        }
        await pauseOrThrow(this.#retryParts(recall), error, attempt, this.#patience(recall), requestRetry);
      }
    }
  }

  /** @returns whether it took a while. */
  async #waitForTurn(recall: Recall): Promise<boolean> {
    const since = this.#parts.clock.now();
    advance(recall, "held");
    await this.#parts.queue.enter(recall, recall.scope.signal);
    advance(recall, "let-go");
    return this.#parts.clock.now() > since;
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

  /** undefined when another job was added. */
  #firstToEnd(recall: Recall, signal: AbortSignal): Promise<JobDescription | undefined> {
    const { archive, jobs, jobAdded } = recall;
    const onTrouble = troubleOf(recall);
    const waiting = [...jobs].map((job) => this.#parts.poller.wait(archive.vault, job, { signal, onTrouble }));
    return Promise.race([...waiting, jobAdded.promise.then(() => undefined)]);
  }

  #patience({ origin, startedAt }: Recall): Patience {
    const patienceMs = origin === "open" ? 0 : backgroundPatienceMs;
    return { attemptsMax: requestAttemptsMax, until: (startedAt + patienceMs) as Instant };
  }

  #retryParts(recall: Recall): RetryPauseParts {
    return { ...this.#parts, signal: recall.scope.signal, onTrouble: troubleOf(recall) };
  }
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

function jobFailed(archive: ColdArchive, job: JobDescription): ServiceError {
  return new ServiceError(
    "unavailable",
    `Cannot recall archive ${archive.id}: job ${job.id} failed: ${job.statusMessage}`,
  );
}
