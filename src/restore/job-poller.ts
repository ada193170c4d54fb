/**
 * Waits for jobs, which take from seconds to half a day: one List Jobs loop per vault while anybody waits.
 *
 * Never: starts a job, nor gives up waiting because the service cannot be reached for a while.
 */

import { describeError, isTransient } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { JobId, VaultName } from "../domain/ids.js";
import { type Clock, type Instant, type Milliseconds, minutes, ms, seconds } from "../domain/time.js";
import { AbortScope, abortable } from "../lib/abort-scope.js";
import { type Deferred, deferred } from "../lib/deferred.js";
import { nextMarker } from "../protocol/next-marker.js";
import type { CasService, JobDescription } from "../protocol/service.js";
import type { JobCallbacks } from "./job-callbacks.js";
import type { RecallTrouble } from "./retry-pause.js";

export interface JobPollerParts {
  readonly service: Pick<CasService, "listJobs" | "describeJob">;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Vaults that report the end of their jobs; without it all are asked. */
  readonly callbacks?: Pick<JobCallbacks, "claim" | "isOurs"> | undefined;
}

interface JobWait {
  readonly signal?: AbortSignal | undefined;
  /** Hears why the service cannot be asked, and null when it can be asked again. */
  readonly onTrouble?: ((trouble: RecallTrouble | null) => void) | undefined;
}

interface Waiter extends Pick<JobWait, "onTrouble"> {
  readonly job: JobId;
  readonly since: Instant;
  readonly answer: Deferred<JobDescription>;
}

const pollDelayMsMin = ms(200);
const pollDelayMsMax = minutes(5);
/** Where the end of a job is reported, it is asked for only in case the message is lost. */
const reportedDelayMsMin = seconds(30);
const reportedDelayMsMax = minutes(30);
/** Asking takes a tenth of the time at most, unless a question takes longer than half a second. */
const restFactor = 10;
const restMsMax = seconds(5);
/** Messages come from anybody who knows the address: they make nobody ask more often than this. */
const nudgeDelayMsMin = ms(200);

/**
 * The pause before the next question: a twentieth of the time waited so far.
 *
 * A job of a local test server is noticed within a fraction of a second, one of half a day within minutes, and the
 * number of questions grows only with the logarithm of the time.
 */
export function pollDelayMs(elapsedMs: number): Milliseconds {
  return ms(Math.min(pollDelayMsMax, Math.max(pollDelayMsMin, elapsedMs / 20)));
}

export class JobPoller {
  readonly #parts: JobPollerParts;
  readonly #loops = new Map<VaultName, VaultLoop>();
  readonly #closing = new AbortScope();

  constructor(parts: JobPollerParts) {
    this.#parts = parts;
  }

  /**
   * Resolves with the job once it is no longer in progress. An abort rejects with `signal.reason`; the job goes on.
   *
   * @throws ServiceError "missing" when the service has forgotten the job, or what else it says that will not pass.
   */
  async wait(vault: VaultName, job: JobId, { signal, onTrouble }: JobWait = {}): Promise<JobDescription> {
    signal?.throwIfAborted();
    let loop = this.#loops.get(vault);
    if (loop === undefined) {
      loop = new VaultLoop(this.#parts, vault, this.#closing.signal, () => this.#loops.delete(vault));
      this.#loops.set(vault, loop);
    }
    void this.#parts.callbacks?.claim(vault);
    const waiter: Waiter = { job, since: this.#parts.clock.now(), answer: deferred(), onTrouble };
    loop.add(waiter);
    try {
      return await abortable(waiter.answer.promise, signal);
    } finally {
      loop.remove(waiter);
    }
  }

  /** Somebody says that a job of `vault` has ended: the service is asked soon, and what it says is what counts. */
  nudge(vault: VaultName): void {
    this.#loops.get(vault)?.nudge();
  }

  /** Rejects whoever still waits with `reason`, and waits for requests in flight. */
  async close(reason: unknown): Promise<void> {
    const loops = [...this.#loops.values()];
    this.#closing.abort(reason);
    await Promise.all(loops.map((loop) => loop.ended));
  }
}

class VaultLoop {
  ended: Promise<void> = Promise.resolve();
  readonly #parts: JobPollerParts;
  readonly #vault: VaultName;
  readonly #closing: AbortSignal;
  readonly #onEnd: () => void;
  readonly #waiters = new Set<Waiter>();
  /** Not looked for among the waiters: many thousand may come one after the other. */
  #lastCameAt = 0;
  #running = false;
  #pause: AbortScope | undefined;
  #nudged = false;
  /** After a question that took long: a list of many thousand jobs is work for both sides. */
  #restMs = 0;
  /** Failed questions in a row. */
  #failures = 0;

  constructor(parts: JobPollerParts, vault: VaultName, closing: AbortSignal, onEnd: () => void) {
    this.#parts = parts;
    this.#vault = vault;
    this.#closing = closing;
    this.#onEnd = onEnd;
  }

  add(waiter: Waiter): void {
    this.#waiters.add(waiter);
    this.#lastCameAt = waiter.since;
    this.#pause?.abort(); // A new waiter asks sooner than the old ones.
    if (this.#running) return;
    this.#running = true;
    this.ended = this.#run();
  }

  nudge(): void {
    this.#nudged = true;
    this.#pause?.abort();
  }

  remove(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    if (this.#waiters.size === 0) this.#pause?.abort();
  }

  /** Never rejects; what goes wrong goes to the waiters. */
  async #run(): Promise<void> {
    let lastAskedAt: number | undefined;
    while (this.#waiters.size > 0 && !this.#closing.aborted) {
      const now = this.#parts.clock.now();
      const nextAt = lastAskedAt === undefined ? now : this.#nextAt(lastAskedAt);
      if (now < nextAt) {
        await this.#sleep(ms(nextAt - now));
        continue;
      }
      lastAskedAt = now;
      this.#nudged = false;
      await this.#ask();
    }
    this.#running = false;
    this.#onEnd();
    if (this.#closing.aborted) this.#rejectAll(this.#closing.reason);
  }

  /** Who came last has waited least, and asks most often. */
  #nextAt(lastAskedAt: number): number {
    const youngest = this.#lastCameAt;
    const from = Math.max(lastAskedAt, youngest);
    // After failures the service is not asked sooner than their number suggests.
    const afterFailures = this.#failures === 0 ? 0 : pollDelayMsMin * 2 ** Math.min(this.#failures, 10);
    if (this.#nudged) return lastAskedAt + Math.max(nudgeDelayMsMin, afterFailures);
    return Math.max(lastAskedAt + this.#restMs, from + Math.max(this.#delayMs(from - youngest), afterFailures));
  }

  #delayMs(elapsedMs: number): number {
    const delayMs = pollDelayMs(elapsedMs);
    if (!this.#parts.callbacks?.isOurs(this.#vault)) return delayMs;
    return Math.min(reportedDelayMsMax, Math.max(reportedDelayMsMin, 10 * delayMs));
  }

  async #sleep(duration: Milliseconds): Promise<void> {
    using pause = new AbortScope(this.#closing);
    this.#pause = pause;
    await this.#parts.clock.sleep(duration, { signal: pause.signal }).catch(() => undefined);
    this.#pause = undefined;
  }

  async #ask(): Promise<void> {
    const { clock } = this.#parts;
    const startedAt = clock.now();
    try {
      const unseen = await this.#answerFromList(new Set(this.#waiters));
      // A list may lag behind a job that was just started; only the job's own description says that it is gone.
      for (const waiter of unseen) await this.#answerFromDescription(waiter);
      if (this.#failures > 0) for (const waiter of this.#waiters) waiter.onTrouble?.(null);
      this.#failures = 0;
      this.#restMs = Math.min(restMsMax, restFactor * (clock.now() - startedAt));
    } catch (error) {
      if (this.#closing.aborted) return;
      if (!isTransient(error)) return this.#rejectAll(error);
      this.#failures += 1;
      const message = `Cannot ask for the jobs of vault ${this.#vault}: ${describeError(error)}`;
      this.#parts.observer({ type: "warning", message: `${message}; it will be tried again` });
      const nextAttemptAt = this.#nextAt(this.#parts.clock.now()) as Instant;
      for (const waiter of this.#waiters) waiter.onTrouble?.({ message, nextAttemptAt });
    }
  }

  /** Answers whoever's job is done; page by page, until all were seen. @returns those whose job is not listed. */
  async #answerFromList(asked: ReadonlySet<Waiter>): Promise<Iterable<Waiter>> {
    const unseen = byJob(asked);
    let marker: string | undefined;
    do {
      const page = await this.#parts.service.listJobs(this.#vault, { marker }, { signal: this.#closing });
      for (const job of page.items) {
        const waiters = unseen.get(job.id);
        if (waiters === undefined) continue;
        unseen.delete(job.id);
        if (job.status !== "in-progress") for (const { answer } of waiters) answer.resolve(job);
      }
      marker = nextMarker(page, marker);
    } while (marker !== undefined && unseen.size > 0);
    return [...unseen.values()].flat();
  }

  async #answerFromDescription(waiter: Waiter): Promise<void> {
    try {
      const job = await this.#parts.service.describeJob(this.#vault, waiter.job, { signal: this.#closing });
      if (job.status !== "in-progress") waiter.answer.resolve(job);
    } catch (error) {
      if (isTransient(error) || this.#closing.aborted) throw error;
      waiter.answer.reject(error);
    }
  }

  #rejectAll(reason: unknown): void {
    for (const { answer } of this.#waiters) answer.reject(reason);
    this.#waiters.clear();
  }
}

function byJob(waiters: Iterable<Waiter>): Map<JobId, Waiter[]> {
  const found = new Map<JobId, Waiter[]>();
  for (const waiter of waiters) {
    const others = found.get(waiter.job);
    if (others === undefined) found.set(waiter.job, [waiter]);
    else others.push(waiter);
  }
  return found;
}
