/**
 * Which recall may order its job now: no more than the line can fetch and the cache can take.
 *
 * The output of a job lives for a day. What is ordered faster than it can be fetched expires, and is paid for twice.
 * Relies on: `leave` for everything that has entered or joined, however it ended.
 */

import { FileSystemError } from "../domain/errors.js";
import type { ArchiveKey } from "../domain/ids.js";
import { type Clock, type Milliseconds, ms, seconds } from "../domain/time.js";
import { abortable } from "../lib/abort-scope.js";
import { type Deferred, deferred } from "../lib/deferred.js";
import { WakeableLoop } from "../lib/wakeable-loop.js";
import type { LineRate } from "./line-rate.js";
import type { ColdArchive, ContentSink, RecallOrigin } from "./ports.js";

/** Why a recall has not ordered its job yet: enough is under way for the line, or for the cache and its disk. */
export type HeldBy = "line" | "room";

/** What the queue knows of a recall. Both may change while it waits. */
export interface QueuedRecall {
  readonly archive: ColdArchive;
  readonly origin: RecallOrigin;
  heldBy: HeldBy | null;
}

export interface RecallQueueParts {
  readonly sink: Pick<ContentSink, "whyNoRoom">;
  readonly rate: LineRate;
  readonly clock: Clock;
  /** How long the service keeps the output of a job. */
  readonly outputLifetimeMs: Milliseconds;
}

interface Place {
  readonly recall: QueuedRecall;
  readonly turn: Deferred<void>;
  /** Since when nothing but room is missing, and nothing is under way that could make some. */
  hopelessSince: number | undefined;
}

const urgency: Record<RecallOrigin, number> = { open: 0, restore: 1, ahead: 2 };
/** Room comes without notice: files are read, closed, unpinned, removed by others. */
const lookAgainMs = seconds(2);
/** An open waits for so long when nothing goes on that could make room; then its caller is told. */
const hopelessMs = seconds(60);

export class RecallQueue {
  readonly #parts: RecallQueueParts;
  readonly #underWay = new Map<ArchiveKey, number>();
  readonly #waiting = new Set<Place>();
  readonly #loop: WakeableLoop;

  constructor(parts: RecallQueueParts) {
    this.#parts = parts;
    this.#loop = new WakeableLoop({
      step: () => this.#step(),
      sleep: (durationMs, signal) => parts.clock.sleep(ms(durationMs), { signal }),
    });
  }

  /**
   * Resolves when a job for `recall` may be ordered; the most urgent first, then in the order of coming.
   *
   * @throws FileSystemError "no-space" when somebody waits for it and there is no prospect of room.
   */
  async enter(recall: QueuedRecall, signal: AbortSignal): Promise<void> {
    if (this.#underWay.has(recall.archive.key)) return;
    const place: Place = { recall, turn: deferred(), hopelessSince: undefined };
    this.#waiting.add(place);
    this.#loop.wake();
    try {
      await abortable(place.turn.promise, signal);
    } finally {
      this.#waiting.delete(place);
      recall.heldBy = null;
    }
  }

  /** A job that exists already needs no turn; it counts all the same. */
  join({ archive }: QueuedRecall): void {
    this.#underWay.set(archive.key, archive.sizeBytes);
  }

  leave(archive: ArchiveKey): void {
    if (this.#underWay.delete(archive)) this.#loop.wake();
  }

  /** A recall has become more urgent. */
  wake(): void {
    this.#loop.wake();
  }

  close(): Promise<void> {
    return this.#loop.close();
  }

  /** Never rejects. @returns when to look again. */
  async #step(): Promise<number | undefined> {
    for (let next = this.#mostUrgent(); next !== undefined; next = this.#mostUrgent()) {
      const verdict = await this.#verdictOn(next);
      if (verdict === "start") this.#start(next);
      else if (verdict instanceof FileSystemError) {
        this.#waiting.delete(next);
        next.turn.reject(verdict);
      } else {
        next.recall.heldBy = verdict;
        return lookAgainMs;
      }
    }
    return undefined;
  }

  #start(place: Place): void {
    // It may have been given up while the disk was asked.
    if (!this.#waiting.delete(place)) return;
    this.join(place.recall);
    place.turn.resolve();
  }

  #mostUrgent(): Place | undefined {
    let first: Place | undefined;
    for (const place of this.#waiting) {
      if (first === undefined || urgency[place.recall.origin] < urgency[first.recall.origin]) first = place;
    }
    return first;
  }

  async #verdictOn(place: Place): Promise<"start" | HeldBy | FileSystemError> {
    const { archive, origin } = place.recall;
    const underWayBytes = [...this.#underWay.values()].reduce((sum, bytes) => sum + bytes, 0);
    if (this.#underWay.size > 0 && underWayBytes + archive.sizeBytes > this.#lineBytes) return "line";
    const reason = await this.#parts.sink.whyNoRoom(archive.sizeBytes, underWayBytes);
    if (reason === null) return "start";
    const now = this.#parts.clock.now();
    if (this.#underWay.size > 0) place.hopelessSince = undefined;
    else place.hopelessSince ??= now;
    const isHopeless = place.hopelessSince !== undefined && now - place.hopelessSince >= hopelessMs;
    if (!isHopeless || origin !== "open") return "room";
    return new FileSystemError("no-space", `Cannot recall archive ${archive.id}: ${reason}`, {
      hint: "Evict or unpin cached files, or raise --cache-size",
    });
  }

  /** What the line fetches in half the life of an output. */
  get #lineBytes(): number {
    return (this.#parts.rate.bytesPerMs * this.#parts.outputLifetimeMs) / 2;
  }
}
