/**
 * Which upload runs next, how many at once, and when a failed one is tried again.
 *
 * Relies on: the journal, which knows every upload again after a restart; nothing here needs to be saved.
 * Never: gives up a content. A failing one waits for its next attempt and holds up no other.
 */

import { CancelledError, describeError, isTransient } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ContentId, VaultName } from "../domain/ids.js";
import { type Clock, hours, type Instant, type Milliseconds, minutes, ms } from "../domain/time.js";
import { AbortScope, abortable } from "../lib/abort-scope.js";
import { type BackoffLimits, backoffDelayMs } from "../lib/backoff.js";
import { MinHeap } from "../lib/min-heap.js";
import type { UploadFailure, UploadJournal, UploadWatcher } from "./ports.js";
import { UploadWaiters, type WaitPatience } from "./upload-waiters.js";
import type { Uploader, UploadProgressReport } from "./uploader.js";

export interface UploadQueueParts {
  readonly uploader: Pick<Uploader, "upload">;
  readonly journal: Pick<UploadJournal, "pending" | "find" | "didFail">;
  readonly clock: Clock;
  /** Numbers from 0 to 1, as `Math.random`. */
  readonly random: () => number;
  readonly observer: Observer;
  /** Whether a content has a name under which it should not be uploaded, if that can be helped. */
  readonly isTemporary?: (content: ContentId) => boolean;
}

export interface UploadQueueOptions {
  /** Contents that are uploaded at a time. */
  readonly concurrency: number;
  /** The longest that anything rests; a day by default. */
  readonly restMsMax?: Milliseconds;
  /** Pauses after failures that pass by themselves. */
  readonly retry?: BackoffLimits;
  /** Pauses after failures that somebody has to repair: a wrong key, a missing vault, a damaged staging file. */
  readonly slowRetry?: BackoffLimits;
}

export interface UploadStatus {
  readonly content: ContentId;
  /** Undefined when the journal no longer knows the content. */
  readonly vault: VaultName | undefined;
  readonly sizeBytes: number;
  /** "settling" until the first attempt is due, "retrying" when one has failed. */
  readonly state: "settling" | "waiting" | "uploading" | "retrying";
  readonly sentBytes: number;
  readonly sentParts: number;
  readonly totalParts: number;
  readonly attempts: number;
  readonly lastError: string | undefined;
  /** Null while uploading. */
  readonly nextAttemptAt: Instant | null;
}

interface Entry {
  readonly content: ContentId;
  dueAt: Instant;
  attempts: number;
  lastError: string | undefined;
  progress: UploadProgressReport | undefined;
  run: Run | undefined;
  readonly waiters: UploadWaiters;
  /** The most bytes that one attempt has handed to the connection: what is sent again is no progress. */
  takenBytesMax: number;
  /** The round of hurrying in which it failed last. */
  failedInRound: number;
}

/** One attempt that is going on. */
interface Run {
  readonly scope: AbortScope;
  /** The content was cancelled: its end is not a failure. */
  cancelled: boolean;
  /** The content was enqueued again meanwhile, with this due time. */
  requeuedAt: Instant | undefined;
  ended: Promise<void>;
}

interface Ticket {
  readonly content: ContentId;
  readonly dueAt: Instant;
}

const restMsMax = hours(24);
/** A clock that was set is noticed within this time, and only if it was set by more than clocks are corrected every day. */
const alarmMsMax = minutes(5);
const setBackMsMin = minutes(1);
const defaultRetry: BackoffLimits = { delayMsMin: 1_000, delayMsMax: 300_000 };
const defaultSlowRetry: BackoffLimits = { delayMsMin: 60_000, delayMsMax: 300_000 };

export class UploadQueue {
  readonly #parts: UploadQueueParts;
  readonly #options: UploadQueueOptions;
  readonly #closing = new AbortScope();
  readonly #entries = new Map<ContentId, Entry>();
  /** Every waiting entry has a ticket with its present due time; tickets with another one are stale. */
  readonly #tickets = new MinHeap<Ticket>((ticket) => ticket.dueAt);
  #runningCount = 0;
  #alarm: { readonly at: Instant; readonly scope: AbortScope; readonly ended: Promise<void> } | undefined;
  #closed = false;
  #pumpedAt = 0;
  readonly #watchers = new Set<UploadWatcher>();
  /** Begins anew when somebody starts to hurry, and with every success: then what has failed may be tried again. */
  #round = 1;

  constructor(parts: UploadQueueParts, options: UploadQueueOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** Takes over what the journal says is pending, and begins. */
  start(): void {
    for (const { content, dueAt, attempts, lastError } of this.#parts.journal.pending()) {
      const entry = this.#add(content, dueAt);
      entry.attempts = attempts;
      entry.lastError = attempts > 0 ? lastError : undefined;
    }
    this.#pump();
  }

  /** A content was sealed. Enqueuing one that waits moves its due time; one that is uploading goes on. */
  enqueue(content: ContentId, dueAt: Instant): void {
    if (this.#closed) return; // The journal has it; the next start finds it there.
    const entry = this.#entries.get(content);
    if (entry?.run !== undefined) entry.run.requeuedAt = dueAt;
    else this.#add(content, dueAt);
    this.#pump();
  }

  /** Due now, whatever it was waiting for. */
  expedite(content: ContentId): void {
    const entry = this.#entries.get(content);
    if (entry === undefined || entry.run !== undefined) return;
    this.#schedule(entry, this.#parts.clock.now());
    this.#pump();
  }

  /**
   * Until the returned function is called nothing rests: what would be due first is sent as soon as there is a hand
   * free, then what has failed before, and what has a temporary name when there is nothing else and no room is coming.
   * Called again with the same watcher it looks again what may go.
   */
  hurry(watcher: UploadWatcher): () => void {
    if (this.#watchers.size === 0) this.#round += 1;
    this.#watchers.add(watcher);
    this.#pump();
    return () => void this.#watchers.delete(watcher);
  }

  /**
   * The content is not wanted any more, or written again: forgets it and aborts what is in flight.
   *
   * @returns when nothing of it is in flight any more. Its waiters are rejected at once.
   */
  async cancel(content: ContentId): Promise<void> {
    const entry = this.#entries.get(content);
    if (entry === undefined) return;
    const reason = new CancelledError(`The upload of content ${content}`);
    entry.waiters.rejectAll(reason);
    if (entry.run === undefined) {
      this.#remove(entry);
      return;
    }
    entry.run.cancelled = true;
    entry.run.requeuedAt = undefined;
    entry.run.scope.abort(reason);
    await entry.run.ended;
  }

  has(content: ContentId): boolean {
    return this.#entries.has(content);
  }

  /**
   * Resolves when the content is archived. An abort rejects with `signal.reason` and changes nothing else.
   *
   * @throws CancelledError when it is not in the queue, is dropped, or the queue is closed; what an attempt failed with
   *   when the waiter's patience is at its end. The upload is tried again all the same.
   */
  async whenArchived(
    content: ContentId,
    { signal, patienceMs = null }: Partial<WaitPatience> & { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    const entry = this.#entries.get(content);
    if (entry === undefined) throw new CancelledError(`The upload of content ${content}`);
    const { promise, leave } = entry.waiters.add({ patienceMs }, this.#parts.clock.now());
    try {
      await abortable(promise, signal);
    } finally {
      leave();
    }
  }

  /** Why a content is not archived yet, when its last attempt has failed. `nextAttemptAt` is null while one runs. */
  failure(content: ContentId): UploadFailure | undefined {
    const entry = this.#entries.get(content);
    if (entry === undefined || entry.lastError === undefined) return undefined;
    const nextAttemptAt = entry.run === undefined ? entry.dueAt : null;
    return { message: entry.lastError, attempts: entry.attempts, nextAttemptAt };
  }

  /** Parts sent and parts in all; undefined when nothing of the content is being sent. */
  progress(content: ContentId): { readonly partsSent: number; readonly parts: number } | undefined {
    const progress = this.#entries.get(content)?.progress;
    return progress === undefined ? undefined : { partsSent: progress.sentParts, parts: progress.totalParts };
  }

  /** Number of contents that are not archived yet, uploading or waiting. */
  get size(): number {
    return this.#entries.size;
  }

  /** Of one content; undefined when it is not in the queue. */
  status(content: ContentId): UploadStatus | undefined {
    const entry = this.#entries.get(content);
    return entry === undefined ? undefined : this.#statusOf(entry);
  }

  snapshot(): UploadStatus[] {
    return [...this.#entries.values()].map((entry) => this.#statusOf(entry));
  }

  /** Aborts what is in flight and waits for it; the journal keeps everything for the next start. */
  async close(): Promise<void> {
    this.#closed = true;
    const reason = new CancelledError("The upload queue");
    this.#closing.abort(reason);
    await this.#alarm?.ended;
    await Promise.all([...this.#entries.values()].map((entry) => entry.run?.ended));
    for (const entry of this.#entries.values()) entry.waiters.rejectAll(reason);
    this.#tickets.clear();
  }

  #add(content: ContentId, dueAt: Instant): Entry {
    let entry = this.#entries.get(content);
    if (entry === undefined) {
      entry = {
        content,
        dueAt,
        attempts: 0,
        lastError: undefined,
        progress: undefined,
        run: undefined,
        waiters: new UploadWaiters(),
        takenBytesMax: 0,
        failedInRound: 0,
      };
      this.#entries.set(content, entry);
    }
    this.#schedule(entry, dueAt);
    return entry;
  }

  #schedule(entry: Entry, dueAt: Instant): void {
    entry.dueAt = dueAt;
    this.#tickets.push({ content: entry.content, dueAt });
  }

  /** Starts what is due, as much as may run at once, and sets the alarm for the next. */
  #pump(): void {
    if (this.#closed) return;
    const now = this.#parts.clock.now();
    this.#noticeClock(now);
    for (let ticket = this.#nextTicket(); ticket !== undefined; ticket = this.#nextTicket()) {
      if (this.#runningCount >= this.#options.concurrency) return; // The end of a run pumps again.
      // Nothing rests longer than that: a clock that was ahead, and was set right, said when it is due.
      if (ticket.dueAt > now && ticket.dueAt <= now + (this.#options.restMsMax ?? restMsMax)) {
        this.#setAlarm(ticket.dueAt);
        break;
      }
      this.#tickets.pop();
      this.#run(this.#entries.get(ticket.content)!);
    }
    if (this.#watchers.size > 0) this.#runResting();
  }

  // A clock that was set back would make everything wait longer by as much.
  #noticeClock(now: Instant): void {
    const back = this.#pumpedAt - now;
    this.#pumpedAt = now;
    if (back < setBackMsMin) return;
    for (const entry of this.#entries.values()) {
      if (entry.run === undefined) this.#schedule(entry, (entry.dueAt - back) as Instant);
    }
  }

  #runResting(): void {
    while (this.#runningCount < this.#options.concurrency) {
      const entry = this.#nextResting();
      if (entry === undefined) return;
      this.#run(entry);
    }
  }

  /** Of what is not due: in the order of their due times, those that have never failed first. */
  #nextResting(): Entry | undefined {
    const passed: Ticket[] = [];
    let failed: Entry | undefined;
    let temporary: Entry | undefined;
    let chosen: Entry | undefined;
    for (let ticket = this.#nextTicket(); ticket !== undefined; ticket = this.#nextTicket()) {
      this.#tickets.pop();
      passed.push(ticket);
      const entry = this.#entries.get(ticket.content)!;
      if (entry.failedInRound === this.#round) continue;
      if (this.#parts.isTemporary?.(entry.content)) temporary ??= entry;
      else if (entry.attempts > 0) failed ??= entry;
      else {
        chosen = entry;
        break;
      }
    }
    chosen ??= failed ?? (this.#mustTakeTemporary() ? temporary : undefined);
    for (const ticket of passed) if (ticket.content !== chosen?.content) this.#tickets.push(ticket);
    return chosen;
  }

  #mustTakeTemporary(): boolean {
    return this.#runningCount === 0 && [...this.#watchers].some((watcher) => !watcher.hasRoomComing());
  }

  /** The first ticket that still counts. */
  #nextTicket(): Ticket | undefined {
    for (let ticket = this.#tickets.peek(); ticket !== undefined; ticket = this.#tickets.peek()) {
      const entry = this.#entries.get(ticket.content);
      if (entry !== undefined && entry.run === undefined && entry.dueAt === ticket.dueAt) return ticket;
      this.#tickets.pop();
    }
    return undefined;
  }

  #setAlarm(at: Instant): void {
    if (this.#alarm !== undefined && this.#alarm.at <= at) return;
    this.#alarm?.scope.abort();
    const scope = new AbortScope(this.#closing.signal);
    const sleepMs = Math.min(at - this.#parts.clock.now(), alarmMsMax);
    const sleep = this.#parts.clock.sleep(ms(sleepMs), { signal: scope.signal });
    const ended = sleep.then(
      () => {
        this.#alarm = undefined;
        scope[Symbol.dispose]();
        this.#pump();
      },
      () => scope[Symbol.dispose](),
    );
    this.#alarm = { at, scope, ended };
  }

  #run(entry: Entry): void {
    const scope = new AbortScope(this.#closing.signal);
    const run: Run = { scope, cancelled: false, requeuedAt: undefined, ended: Promise.resolve() };
    entry.run = run;
    this.#runningCount += 1;
    run.ended = this.#attempt(entry, run).finally(() => {
      scope[Symbol.dispose]();
      this.#runningCount -= 1;
      this.#pump();
    });
  }

  /** Never rejects: whatever happens is recorded, and decides what becomes of the entry. */
  async #attempt(entry: Entry, run: Run): Promise<void> {
    let newParts = 0;
    const onProgress = (progress: UploadProgressReport) => {
      entry.progress = progress;
      if (progress.newParts > 0) {
        entry.attempts = 0;
        entry.lastError = undefined;
      }
      if (progress.newParts > newParts) {
        entry.waiters.progressed(this.#parts.clock.now());
        this.#progressed();
      }
      newParts = progress.newParts;
    };
    try {
      const { signal } = run.scope;
      const onTaken = this.#takenBy(entry);
      const outcome = await this.#parts.uploader.upload(entry.content, { signal, onProgress, onTaken });
      if (outcome.kind === "dropped") this.#leave(entry, run);
      else this.#succeed(entry);
    } catch (error) {
      if (run.cancelled || this.#closed) this.#leave(entry, run);
      else await this.#fail(entry, run, error);
    }
  }

  // A large archive on a slow line goes on for minutes without a part being confirmed. What an attempt sends counts as
  // progress once: a service that takes everything and confirms nothing must not keep writers waiting for ever.
  #takenBy(entry: Entry): (bytes: number) => void {
    const sizeBytes = this.#parts.journal.find(entry.content)?.sizeBytes ?? 0;
    let takenBytes = 0;
    return (bytes) => {
      takenBytes = Math.min(takenBytes + bytes, sizeBytes);
      if (takenBytes <= entry.takenBytesMax) return;
      entry.takenBytesMax = takenBytes;
      this.#progressed();
    };
  }

  #succeed(entry: Entry): void {
    entry.run = undefined;
    this.#round += 1;
    this.#progressed();
    this.#remove(entry);
    entry.waiters.archived();
  }

  #progressed(): void {
    for (const watcher of this.#watchers) watcher.progressed();
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry.content);
    for (const watcher of this.#watchers) watcher.left();
  }

  /** The attempt ended without a result of its own: the content is gone, or was sealed anew meanwhile. */
  #leave(entry: Entry, run: Run): void {
    entry.run = undefined;
    entry.progress = undefined;
    if (run.requeuedAt !== undefined && !this.#closed) {
      this.#schedule(entry, run.requeuedAt);
      return;
    }
    if (this.#closed) return; // `close` answers the waiters.
    this.#remove(entry);
    const reason = new CancelledError(`The upload of content ${entry.content}`);
    entry.waiters.rejectAll(reason);
  }

  async #fail(entry: Entry, run: Run, error: unknown): Promise<void> {
    const { clock, journal, observer, random } = this.#parts;
    const { retry = defaultRetry, slowRetry = defaultSlowRetry } = this.#options;
    entry.attempts += 1;
    entry.failedInRound = this.#round;
    entry.lastError = describeError(error);
    const delayMs = backoffDelayMs(entry.attempts, isTransient(error) ? retry : slowRetry, random);
    const retryAt = (clock.now() + delayMs) as Instant;
    const failure = { content: entry.content, retryInMs: delayMs, message: entry.lastError };
    observer({ type: "upload-failed", ...failure });
    try {
      await journal.didFail(entry.content, { message: entry.lastError, retryAt });
    } catch (journalError) {
      this.#warn(`Cannot record that the upload of content ${entry.content} failed`, journalError);
    }
    entry.run = undefined;
    entry.progress = undefined;
    // It will never be an archive: nobody need wait for another attempt to hear that.
    const isGone = run.requeuedAt === undefined && journal.find(entry.content) === undefined;
    if (isGone) entry.waiters.rejectAll(error);
    if (isGone || (run.cancelled && run.requeuedAt === undefined)) this.#remove(entry);
    else this.#schedule(entry, run.requeuedAt ?? retryAt);
    entry.waiters.attemptFailed(error, clock.now());
  }

  #warn(what: string, error: unknown): void {
    this.#parts.observer({ type: "warning", message: `${what}: ${describeError(error)}` });
  }

  #statusOf(entry: Entry): UploadStatus {
    const known = this.#parts.journal.find(entry.content);
    return {
      content: entry.content,
      vault: known?.vault,
      sizeBytes: known?.sizeBytes ?? 0,
      state: stateOf(entry, this.#parts.clock.now()),
      sentBytes: entry.progress?.sentBytes ?? 0,
      sentParts: entry.progress?.sentParts ?? 0,
      totalParts: entry.progress?.totalParts ?? 0,
      attempts: entry.attempts,
      lastError: entry.lastError,
      nextAttemptAt: entry.run === undefined ? entry.dueAt : null,
    };
  }
}

function stateOf(entry: Entry, now: Instant): UploadStatus["state"] {
  if (entry.run !== undefined) return "uploading";
  if (entry.attempts > 0) return "retrying";
  return entry.dueAt > now ? "settling" : "waiting";
}
