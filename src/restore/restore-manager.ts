/**
 * One recall per archive, however many readers wait for it.
 *
 * Relies on: the journal, by which a recall goes on after a restart. A recall has no single owner among its callers:
 * who stops waiting leaves it to the others, and when nobody waits it lands all the same, because it is paid for and
 * CAS cannot cancel a job.
 * Never: starts a job while the service has one for the same bytes, nor shows bytes whose tree hash is wrong.
 */

import { CancelledError, CorruptError, describeError, isMissing, isTransient, ServiceError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ArchiveKey, JobId } from "../domain/ids.js";
import { type Clock, type Instant, ms } from "../domain/time.js";
import { AbortScope } from "../lib/abort-scope.js";
import { type BackoffLimits, backoffDelayMs } from "../lib/backoff.js";
import { type Deferred, deferred } from "../lib/deferred.js";
import { Semaphore } from "../lib/semaphore.js";
import { downloadPieceBytes } from "../protocol/limits.js";
import type { CasService, JobDescription, RetrievalTier } from "../protocol/service.js";
import { JobList } from "./job-list.js";
import type { JobPoller } from "./job-poller.js";
import type { ColdArchive, ContentSink, Landing, RestoreJournal } from "./ports.js";
import { downloadOutput } from "./range-download.js";
import { nextRestoreState, type RestoreEvent, type RestoreState } from "./restore-state.js";
import { acceptedTier, expectedJobEnd, jobToJoin } from "./retrieval-plan.js";

export interface RestoreManagerParts {
  readonly service: Pick<CasService, "initiateJob" | "listJobs" | "getJobOutput">;
  readonly journal: RestoreJournal;
  readonly sink: ContentSink;
  readonly poller: Pick<JobPoller, "wait">;
  readonly clock: Clock;
  /** Numbers from 0 to 1, as `Math.random`. */
  readonly random: () => number;
  readonly observer: Observer;
}

export interface RestoreManagerOptions {
  /** Pieces of one content that are fetched at a time. */
  readonly downloadConcurrency?: number;
  /** Contents that land at a time. */
  readonly landingConcurrency?: number;
  /** Jobs that are started at a time. */
  readonly requestConcurrency?: number;
  readonly pieceBytes?: number;
}

export interface RecallStatus {
  readonly archive: ColdArchive;
  readonly tier: RetrievalTier;
  readonly job: JobId | null;
  readonly state: RestoreState;
  readonly landedBytes: number;
  readonly startedAt: Instant;
  /** A guess: the tier's usual time, then what the download's speed so far suggests; null when nothing is known. */
  readonly expectedAt: Instant | null;
}

interface Recall {
  readonly archive: ColdArchive;
  readonly tier: RetrievalTier;
  readonly startedAt: Instant;
  readonly landed: Deferred<void>;
  job: JobId | null;
  state: RestoreState;
  landedBytes: number;
  landingSince: { readonly at: Instant; readonly bytes: number } | undefined;
  task: Promise<void>;
}

const requestRetry: BackoffLimits = { delayMsMin: 1_000, delayMsMax: 30_000 };
// The retrieval is paid for and its output waits for a day, so an outage of an hour must not lose it.
const landingRetry: BackoffLimits = { delayMsMin: 1_000, delayMsMax: 300_000 };
const requestAttemptsMax = 4;
const landingAttemptsMax = 20;
/** A job that is gone before its output was fetched is replaced so often. */
const replacementJobsMax = 1;
/** Downloads whose whole tree hash may be wrong, though their pieces were right. */
const wrongDownloadsMax = 2;

export class RestoreManager {
  readonly #parts: RestoreManagerParts;
  readonly #recalls = new Map<ArchiveKey, Recall>();
  readonly #closing = new AbortScope();
  readonly #jobList: JobList;
  readonly #requests: Semaphore;
  readonly #landings: Semaphore;
  readonly #downloadConcurrency: number;
  readonly #pieceBytes: number;

  constructor(parts: RestoreManagerParts, options: RestoreManagerOptions = {}) {
    this.#parts = parts;
    this.#jobList = new JobList(parts.service, this.#closing.signal);
    this.#requests = new Semaphore(options.requestConcurrency ?? 8);
    this.#landings = new Semaphore(options.landingConcurrency ?? 2);
    this.#downloadConcurrency = options.downloadConcurrency ?? 4;
    this.#pieceBytes = options.pieceBytes ?? downloadPieceBytes;
  }

  /** Goes on with the recalls that the journal knows. */
  resume(): void {
    for (const { archive, tier, jobId, requestedAt } of this.#parts.journal.unfinished()) {
      if (!this.#recalls.has(archive.key)) this.#begin(archive, tier, requestedAt, jobId);
    }
  }

  /**
   * Starts a recall or joins the one that runs; resolves when the content is in the cache.
   *
   * Callers that may lose patience wait with `abortable()`. It is fine not to wait: a failure is journaled and reported.
   *
   * @throws CorruptError when the bytes stay wrong; ServiceError, with the service's own message, when the job failed
   * or the service refuses; FileSystemError "no-space"; CancelledError when the manager is closed.
   */
  recall(archive: ColdArchive, { tier }: { readonly tier: RetrievalTier }): Promise<void> {
    if (this.#closing.signal.aborted) return unattended(Promise.reject(this.#closing.signal.reason));
    const running = this.#recalls.get(archive.key);
    if (running !== undefined) return running.landed.promise;
    if (this.#parts.sink.has(archive.key)) return Promise.resolve();
    const accepted = acceptedTier(tier, archive.sizeBytes);
    if (accepted !== tier)
      this.#warn(`Archive ${archive.id} is too large for tier ${tier}: it is recalled as ${accepted}`);
    return this.#begin(archive, accepted, this.#parts.clock.now(), undefined).landed.promise;
  }

  status(archive: ArchiveKey): RecallStatus | undefined {
    const recall = this.#recalls.get(archive);
    return recall === undefined ? undefined : this.#statusOf(recall);
  }

  /** The same in fewer words, for extended attributes. */
  recallOf(archive: ArchiveKey): Pick<RecallStatus, "job" | "tier" | "expectedAt"> | undefined {
    return this.status(archive);
  }

  snapshot(): RecallStatus[] {
    return [...this.#recalls.values()].map((recall) => this.#statusOf(recall));
  }

  /** Stops what is in flight and waits for it. The journal keeps the recalls for the next start. */
  async close(): Promise<void> {
    this.#closing.abort(new CancelledError("The recall"));
    await Promise.all([...this.#recalls.values()].map((recall) => recall.task));
  }

  /** @param journaledJob The journal's last word about a recall of an earlier life; undefined for a new one. */
  #begin(
    archive: ColdArchive,
    tier: RetrievalTier,
    startedAt: Instant,
    journaledJob: JobId | null | undefined,
  ): Recall {
    const landed = deferred<void>();
    unattended(landed.promise);
    const recall: Recall = {
      archive,
      tier,
      startedAt,
      landed,
      job: journaledJob ?? null,
      state: "requesting",
      landedBytes: 0,
      landingSince: undefined,
      task: Promise.resolve(),
    };
    this.#recalls.set(archive.key, recall);
    recall.task = this.#run(recall, journaledJob === undefined);
    return recall;
  }

  /** Never rejects. */
  async #run(recall: Recall, isNew: boolean): Promise<void> {
    const { archive, landed } = recall;
    try {
      await this.#recallNow(recall, isNew);
      this.#recalls.delete(archive.key);
      landed.resolve();
    } catch (error) {
      await this.#fail(recall, error);
      this.#recalls.delete(archive.key);
      landed.reject(error);
    }
  }

  async #recallNow(recall: Recall, isNew: boolean): Promise<void> {
    const { journal, sink, clock, observer } = this.#parts;
    const { archive } = recall;
    if (isNew) await journal.willRequest(archive.key, recall.tier);
    // After a crash between publishing the content and journaling it, there is nothing left to do.
    if (!sink.has(archive.key)) await this.#requestAndLand(recall);
    else recall.state = "landed";
    await journal.didLand(archive.key);
    const durationMs = clock.now() - recall.startedAt;
    observer({ type: "recall-landed", archiveId: archive.id, sizeBytes: archive.sizeBytes, durationMs });
  }

  async #requestAndLand(recall: Recall): Promise<void> {
    let gone: JobId | undefined;
    for (let replaced = 0; ; replaced += 1) {
      const job: JobId = recall.job ?? (await this.#findOrStartJob(recall, gone));
      try {
        if (recall.state === "requesting") this.#advance(recall, "job-known");
        await this.#retrieve(recall, job);
        await this.#land(recall, job);
        return;
      } catch (error) {
        if (!isMissing(error) || replaced === replacementJobsMax) throw error;
        this.#warn(`Job ${job} of archive ${recall.archive.id} has expired; another one is started`);
        this.#advance(recall, "job-gone");
        recall.job = null;
        gone = job;
      }
    }
  }

  /**
   * A lost answer to Initiate Job may hide a job, so the list comes first, before every attempt.
   *
   * @param gone A job that may still be listed, and whose output is not there any more.
   */
  async #findOrStartJob(recall: Recall, gone: JobId | undefined): Promise<JobId> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const jobs = await this.#jobList.of(recall.archive.vault);
        const joined = jobToJoin(
          jobs.filter(({ id }) => id !== gone),
          recall.archive,
        );
        const job = joined?.id ?? (await this.#startJob(recall));
        await this.#parts.journal.didRequest(recall.archive.key, job);
        recall.job = job;
        const { id: archiveId, sizeBytes } = recall.archive;
        this.#parts.observer({
          type: "recall-started",
          archiveId,
          jobId: job,
          joined: joined !== undefined,
          sizeBytes,
        });
        return job;
      } catch (error) {
        await this.#pauseOrThrow(error, attempt, requestAttemptsMax, requestRetry);
      }
    }
  }

  #startJob({ archive, tier }: Recall): Promise<JobId> {
    const { signal } = this.#closing;
    const request = { action: "retrieve-archive", archiveId: archive.id, tier, description: "casfs recall" } as const;
    return this.#requests.run(signal, () => this.#parts.service.initiateJob(archive.vault, request, { signal }));
  }

  /** Waits until the output is there. */
  async #retrieve(recall: Recall, jobId: JobId): Promise<void> {
    const { archive } = recall;
    const job = await this.#parts.poller.wait(archive.vault, jobId, { signal: this.#closing.signal });
    if (job.status === "failed") throw jobFailed(archive, job);
    if (job.action === "retrieve-archive" && job.archiveTreeHash !== archive.treeHash) {
      throw new CorruptError(`Cannot recall archive ${archive.id}: the service has other bytes than were archived`);
    }
    this.#advance(recall, "job-succeeded");
  }

  async #land(recall: Recall, job: JobId): Promise<void> {
    const { signal } = this.#closing;
    await this.#landings.run(signal, async () => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          await this.#landOnce(recall, job);
          return;
        } catch (error) {
          await this.#pauseOrThrow(error, attempt, landingAttemptsMax, landingRetry);
        }
      }
    });
    this.#advance(recall, "verified");
  }

  async #landOnce(recall: Recall, job: JobId): Promise<void> {
    for (let wrong = 1; ; wrong += 1) {
      await using landing = await this.#parts.sink.begin(recall.archive);
      await this.#download(recall, job, landing);
      if ((await landing.treeHash()) === recall.archive.treeHash) {
        await landing.commit();
        return;
      }
      await landing.discard();
      const { id, sizeBytes } = recall.archive;
      this.#parts.observer({ type: "piece-corrupt", archiveId: id, start: 0, end: sizeBytes });
      if (wrong === wrongDownloadsMax) {
        throw new CorruptError(`Cannot recall archive ${id}: its bytes came with a wrong tree hash ${wrong} times`);
      }
    }
  }

  async #download(recall: Recall, job: JobId, landing: Landing): Promise<void> {
    const { archive } = recall;
    const missingBytes = landing.missing().reduce((sum, range) => sum + range.end - range.start, 0);
    recall.landedBytes = archive.sizeBytes - missingBytes;
    recall.landingSince = { at: this.#parts.clock.now(), bytes: recall.landedBytes };
    await downloadOutput(
      this.#parts,
      { archive, job, landing },
      {
        pieceBytes: this.#pieceBytes,
        concurrency: this.#downloadConcurrency,
        signal: this.#closing.signal,
        // A piece that is fetched again counts again; a status may say a little too much, never more than the whole.
        onBytes: (count) => {
          recall.landedBytes = Math.min(archive.sizeBytes, recall.landedBytes + count);
        },
      },
    );
  }

  async #fail(recall: Recall, error: unknown): Promise<void> {
    if (this.#closing.signal.aborted) return; // Not a failure: it goes on at the next start.
    const message = describeError(error);
    if (recall.state !== "failed" && recall.state !== "landed") this.#advance(recall, "gave-up");
    this.#parts.observer({ type: "recall-failed", archiveId: recall.archive.id, message });
    try {
      await this.#parts.journal.didFail(recall.archive.key, message);
    } catch (journalError) {
      this.#warn(`Cannot record that the recall of ${recall.archive.id} failed: ${describeError(journalError)}`);
    }
  }

  async #pauseOrThrow(error: unknown, attempt: number, attemptsMax: number, limits: BackoffLimits): Promise<void> {
    const { signal } = this.#closing;
    signal.throwIfAborted();
    if (!isTransient(error) || attempt === attemptsMax) throw error;
    const delayMs = ms(backoffDelayMs(attempt, limits, this.#parts.random));
    this.#warn(`${describeError(error)}; it will be tried again`);
    await this.#parts.clock.sleep(delayMs, { signal });
  }

  #advance(recall: Recall, event: RestoreEvent): void {
    recall.state = nextRestoreState(recall.state, event);
  }

  #warn(message: string): void {
    this.#parts.observer({ type: "warning", message });
  }

  #statusOf(recall: Recall): RecallStatus {
    const { archive, tier, job, state, landedBytes, startedAt } = recall;
    return { archive, tier, job, state, landedBytes, startedAt, expectedAt: this.#expectedAt(recall) };
  }

  #expectedAt({ archive, tier, state, landedBytes, startedAt, landingSince }: Recall): Instant | null {
    const now = this.#parts.clock.now();
    if (state === "requesting" || state === "retrieving")
      return Math.max(now, expectedJobEnd(tier, startedAt)) as Instant;
    if (landingSince === undefined) return null;
    const bytesPerMs = (landedBytes - landingSince.bytes) / (now - landingSince.at);
    if (!(bytesPerMs > 0) || !Number.isFinite(bytesPerMs)) return null;
    return Math.round(now + (archive.sizeBytes - landedBytes) / bytesPerMs) as Instant;
  }
}

/** Nobody has to wait for `promise`; its failure is reported elsewhere. */
function unattended(promise: Promise<void>): Promise<void> {
  promise.catch(() => undefined);
  return promise;
}

function jobFailed(archive: ColdArchive, job: JobDescription): ServiceError {
  return new ServiceError(
    "unavailable",
    `Cannot recall archive ${archive.id}: job ${job.id} failed: ${job.statusMessage}`,
  );
}
