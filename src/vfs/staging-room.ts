/**
 * Room for bytes that are not archived yet: who takes it, and who waits until an upload has freed some.
 *
 * Staged bytes are the only copy there is, so they are never dropped to make room. Writers wait instead, in the order
 * of their coming, as long as uploads make progress. An upload frees staging when its archive is confirmed, and the
 * disk because its copy may be evicted then. A file that nobody else can make room for frees its own sent parts.
 * Relies on: a wait never happening under the lock of an inode, so that everybody else may open, read and close.
 * Never: polls. It looks again when something was freed, has left the queue, or is sealed.
 */

import { CancelledError, FileSystemError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ContentId, InodeNumber } from "../domain/ids.js";
import { type Clock, type Instant, type Milliseconds, ms, seconds } from "../domain/time.js";
import { AbortScope, abortable } from "../lib/abort-scope.js";
import { formatDuration, formatSize } from "../lib/amount-text.js";
import { type Deferred, deferred } from "../lib/deferred.js";
import { SharedRun } from "../lib/shared-run.js";
import type { UploadWatcher } from "../upload/ports.js";
import type { Caller } from "./cold-opens.js";
import type { LocalDisk, StagedBytes, StagedRange, UploadRequests } from "./ports.js";

export interface StagingRoomParts {
  readonly budget: StagedBytes;
  readonly disk: LocalDisk;
  readonly uploads: Pick<UploadRequests, "hurry" | "size">;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly settings: { readonly stallTimeoutMs: Milliseconds };
  readonly streams: RoomFromStreams;
  /** Brings forward what is held back before a commit: a content that is being sealed can be uploaded then. */
  readonly sealNow: () => void;
}

/** Room that files which are still written give back, as the service confirms parts of them. */
export interface RoomFromStreams {
  readonly hasRoomComing: boolean;
  /** Whether another file is on its way while it is written: its writer will need room itself, or close it. */
  hasOther(content: ContentId): boolean;
  /** Nothing else makes room for that writer. @returns whether its own file will. */
  spill(writer: { readonly ino: InodeNumber; readonly content: ContentId }): boolean;
}

export interface WaitingWriter {
  readonly pid: number;
  readonly ino: InodeNumber;
  readonly since: Instant;
}

interface Waiter extends WaitingWriter {
  readonly content: ContentId;
  readonly range: StagedRange;
  readonly admitted: Deferred<void>;
}

/** Who waits, and for which file. */
export interface RoomSeeker {
  readonly ino: InodeNumber;
  readonly caller: Caller;
}

// Writers come and go many times while one file is written; for so long without any the pressure is over.
const calmMs = seconds(5);
const repeatedRefusalMs = seconds(60);

export class StagingRoom {
  readonly #parts: StagingRoomParts;
  readonly #waiters = new Set<Waiter>();
  readonly #serving = new SharedRun(() => this.#serve());
  #sealing = 0;
  #lastReservation = 0;
  /** Hears how uploads go on. */
  readonly watcher: UploadWatcher = {
    progressed: () => this.#progressed(),
    left: () => this.#look(),
    hasRoomComing: () => this.#parts.budget.isLeaving || this.#parts.streams.hasRoomComing,
  };
  /** Ends the hurry of the uploads; undefined while they may rest. */
  #hurry: (() => void) | undefined;
  /** Nothing was freed and nothing was sent for the whole timeout: nobody waits again before something is. */
  #stalled = false;
  #progressAt: Instant;
  #stallTimer: AbortScope | undefined;
  #pressureSince: Instant | undefined;
  #calmTimer: AbortScope | undefined;
  #lastRefusal: { readonly why: string; readonly at: Instant } | undefined;

  constructor(parts: StagingRoomParts) {
    this.#parts = parts;
    this.#progressAt = parts.clock.now();
    parts.budget.onFreed((bytes) => {
      if (bytes > 0) this.#progressed();
      this.#look();
    });
  }

  /** Before `range` of a content is written. @returns false when there is no room, or others wait for it: `wait`. */
  take(content: ContentId, range: StagedRange): boolean {
    const { budget, disk } = this.#parts;
    if (this.#waiters.size > 0 && budget.grows(content, range)) return false;
    return disk.take(range.end - range.start) && budget.take(content, range);
  }

  /**
   * Resolves when there is room for `range`, and has taken it.
   *
   * @throws FileSystemError "no-space" when no upload can free any, or none has made progress for the stall timeout;
   *   CancelledError when the caller was interrupted.
   */
  async wait({ ino, caller }: RoomSeeker, content: ContentId, range: StagedRange): Promise<void> {
    const { pid, signal } = caller;
    const waiter: Waiter = { pid, ino, since: this.#now(), content, range, admitted: deferred() };
    // Who was interrupted hears nothing more.
    waiter.admitted.promise.catch(() => undefined);
    this.#waiters.add(waiter);
    this.#calmTimer?.abort();
    try {
      this.#look();
      await abortable(waiter.admitted.promise, signal);
    } catch (error) {
      if (signal.aborted) throw new CancelledError(`Writing inode ${ino}`, { cause: error });
      throw error;
    } finally {
      this.#waiters.delete(waiter);
      if (this.#waiters.size === 0) this.#end();
      else this.#look();
    }
  }

  /**
   * Takes room for `bytes` of a content that has no number yet; see `settle`. Without a `caller` it does not wait.
   *
   * @throws as `wait`.
   */
  async reserve(ino: InodeNumber, bytes: number, caller: Caller | undefined): Promise<RoomReservation> {
    this.#lastReservation -= 1;
    const place = this.#lastReservation as ContentId;
    const range = { start: 0, end: bytes };
    const { budget } = this.#parts;
    const giveBack = () => budget.release(place);
    if (!this.take(place, range)) {
      if (caller === undefined) throw noSpace(`Cannot copy ${bytes} bytes of inode ${ino}: ${this.#shortage()}`);
      await this.wait({ ino, caller }, place, range).catch((error: unknown) => {
        // It may have been admitted in the moment of its interruption.
        giveBack();
        throw error;
      });
    }
    return { bytes, settle: (content) => budget.move(place, content), [Symbol.dispose]: giveBack };
  }

  /** A content may be sealed by `work`: until it ends there is something to wait for. */
  async sealing<T>(work: Promise<T>): Promise<T> {
    this.#sealing += 1;
    if (this.#waiters.size > 0) this.#parts.sealNow();
    try {
      return await work;
    } finally {
      this.#sealing -= 1;
      this.#look();
    }
  }

  /** Writers that wait, in the order in which they get room. */
  waiting(): readonly WaitingWriter[] {
    return [...this.#waiters];
  }

  /** "stalled": writers get ENOSPC at once until an upload makes progress. */
  get state(): "roomy" | "waiting" | "stalled" {
    if (this.#stalled) return "stalled";
    return this.#waiters.size > 0 ? "waiting" : "roomy";
  }

  /** What may be written now. What uploads will free, and copies that may be evicted, do not count. */
  space(): ReturnType<LocalDisk["space"]> {
    const { blockSizeBytes, blocks, blocksFree } = this.#parts.disk.space();
    const { usedBytes, limitBytes } = this.#parts.budget.usage();
    if (limitBytes === null) return { blockSizeBytes, blocks, blocksFree };
    const below = Math.floor(Math.max(0, limitBytes - usedBytes) / blockSizeBytes);
    const free = Math.min(blocksFree, below);
    // As if the limit were the disk: what is used is what is staged.
    return { blockSizeBytes, blocks: Math.ceil(usedBytes / blockSizeBytes) + free, blocksFree: free };
  }

  /** Stops its timers. */
  close(): void {
    this.#stopHurrying();
    this.#stallTimer?.abort();
    this.#calmTimer?.abort();
  }

  #end(): void {
    this.#stallTimer?.abort();
    this.#stallTimer = undefined;
    // After a stall the uploads go on without rest until one gets through: who comes next would only be refused.
    if (!this.#stalled) this.#stopHurrying();
    // Of several who got room together each comes here.
    this.#calmTimer?.abort();
    if (this.#pressureSince !== undefined) this.#calmTimer = this.#sleep(calmMs, () => this.#calm());
  }

  #progressed(): void {
    this.#progressAt = this.#now();
    if (!this.#stalled) return;
    this.#stalled = false;
    if (this.#waiters.size === 0) this.#stopHurrying();
  }

  #look(): void {
    if (this.#waiters.size > 0) void this.#serving.request();
  }

  /** Admits who fits, in order, up to the first who has to wait; tells those for whom that is in vain. Never rejects. */
  async #serve(): Promise<void> {
    for (const waiter of this.#waiters) {
      try {
        if (await this.#admit(waiter)) this.#welcome(waiter);
        else if (this.#waiters.has(waiter) && !this.#refused(waiter)) return this.#press();
      } catch (error) {
        this.#waiters.delete(waiter);
        waiter.admitted.reject(error);
      }
    }
  }

  #welcome(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    this.#stalled = false;
    waiter.admitted.resolve();
  }

  async #admit(waiter: Waiter): Promise<boolean> {
    const { budget, disk } = this.#parts;
    const { content, range } = waiter;
    const bytes = range.end - range.start;
    if (!this.#hasBudget(waiter)) return false;
    if (!disk.take(bytes) && !(await disk.reclaim(bytes))) return false;
    // Interrupted while copies were evicted.
    return this.#waiters.has(waiter) && budget.take(content, range);
  }

  #hasBudget({ content, range }: Waiter): boolean {
    const { budget } = this.#parts;
    if (budget.fits(content, range)) return true;
    budget.measure();
    return budget.fits(content, range);
  }

  #whyInVain(waiter: Waiter): string | undefined {
    const { budget, uploads, settings, streams } = this.#parts;
    const fits = budget.couldFit(waiter.content, waiter.range);
    if (!fits && !streams.spill(waiter)) return "the file alone would be larger than --staging-size";
    if (budget.isLeaving || this.#sealing > 0) return undefined;
    const isHopeless = () => !streams.hasRoomComing && !this.#spillAny(waiter) && !streams.hasOther(waiter.content);
    if (fits && uploads.size === 0 && isHopeless()) {
      return "nothing that is closed waits for its upload, so nothing will free any";
    }
    if (this.#stalled) return `no upload has made progress for ${formatDuration(settings.stallTimeoutMs)}`;
    return undefined;
  }

  /** Of several who wait, another's file may be the one that has all the room. */
  #spillAny(first: Waiter): boolean {
    const { streams } = this.#parts;
    return streams.spill(first) || [...this.#waiters].some((waiter) => waiter !== first && streams.spill(waiter));
  }

  /** @returns whether waiting is in vain, which the waiter is told then. */
  #refused(waiter: Waiter): boolean {
    const why = this.#whyInVain(waiter);
    if (why === undefined) return false;
    const at = this.#now();
    const isRepeated = this.#lastRefusal?.why === why && at - this.#lastRefusal.at < repeatedRefusalMs;
    const message = `Cannot stage more of inode ${waiter.ino}: ${this.#shortage()}, and ${why}`;
    if (!isRepeated) {
      this.#lastRefusal = { why, at };
      this.#parts.observer({ type: "warning", message });
    }
    this.#waiters.delete(waiter);
    waiter.admitted.reject(noSpace(message));
    return true;
  }

  /** Somebody really waits: nothing rests meanwhile. */
  #press(): void {
    const { uploads, observer, settings, sealNow } = this.#parts;
    if (this.#pressureSince === undefined) {
      this.#pressureSince = this.#now();
      observer({ type: "writers-waiting", reason: this.#shortage() });
    }
    sealNow();
    this.#hurry = uploads.hurry(this.watcher);
    if (this.#stallTimer !== undefined) return;
    this.#progressAt = this.#now();
    this.#watchForStall(settings.stallTimeoutMs);
  }

  #stopHurrying(): void {
    this.#hurry?.();
    this.#hurry = undefined;
  }

  #watchForStall(durationMs: Milliseconds): void {
    this.#stallTimer = this.#sleep(durationMs, () => {
      const restMs = this.#progressAt + this.#parts.settings.stallTimeoutMs - this.#now();
      if (restMs > 0) return this.#watchForStall(ms(restMs));
      this.#stalled = true;
      this.#look();
    });
  }

  #calm(): void {
    const waitedMs = this.#now() - this.#pressureSince!;
    this.#pressureSince = undefined;
    this.#parts.observer({ type: "writers-continue", afterMs: ms(waitedMs) });
  }

  #sleep(durationMs: Milliseconds, onEnd: () => void): AbortScope {
    const scope = new AbortScope();
    const ended = () => {
      if (!scope.signal.aborted) onEnd();
    };
    this.#parts.clock.sleep(durationMs, { signal: scope.signal }).then(ended, () => {});
    return scope;
  }

  #shortage(): string {
    const { usedBytes, limitBytes } = this.#parts.budget.usage();
    const { blockSizeBytes, blocksFree } = this.#parts.disk.space();
    const free = `${formatSize(blockSizeBytes * blocksFree)} of the disk are free`;
    if (limitBytes === null) return `${formatSize(usedBytes)} are staged and ${free}`;
    return `${formatSize(usedBytes)} of the ${formatSize(limitBytes)} of --staging-size are in use and ${free}`;
  }

  #now(): Instant {
    return this.#parts.clock.now();
  }
}

/** Room that belongs to nobody yet; given back when disposed of before it was settled. */
export interface RoomReservation extends Disposable {
  readonly bytes: number;
  /** The bytes belong to `content` from now on. */
  settle(content: ContentId): void;
}

function noSpace(message: string): FileSystemError {
  return new FileSystemError("no-space", message, {
    hint: "See `casfs status` for uploads that fail; raise --staging-size, or free some of the local disk",
  });
}
