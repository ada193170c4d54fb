/**
 * Which recall may order its job now: no more than the line can fetch and the cache can take.
 *
 * The output of a job lives for a day. What is ordered faster than it can be fetched expires, and is paid for twice.
 * Relies on: `leave` for everything that has entered or joined, however it ended.
 */

import { MIB, rangeLength } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import type { ArchiveKey } from "../domain/ids.js";
import { type Clock, type Milliseconds, ms, seconds } from "../domain/time.js";
import { abortable } from "../lib/abort-scope.js";
import { type Deferred, deferred } from "../lib/deferred.js";
import { WakeableLoop } from "../lib/wakeable-loop.js";
import type { LineRate } from "./line-rate.js";
import type { ContentSink, RecalledBytes, RecallOrigin } from "./ports.js";

/** Why a recall has not ordered its job yet: enough is under way for the line, or for the cache and its disk. */
export type HeldBy = "line" | "room";

/** What the queue knows of a recall. The last two may change while it waits. */
export interface QueuedRecall extends RecalledBytes {
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
  /** Among which it waits. */
  urgency: RecallOrigin;
  /** Since when nothing but room is missing, and nothing is under way that could make some. */
  hopelessSince: number | undefined;
}

const byUrgency: readonly RecallOrigin[] = ["open", "restore", "ahead"];
/** The event loop is let go after so many. */
const startsPerTurn = 32;
const grantBytes = 256 * MIB;
/** Room comes without notice: files are read, closed, unpinned, removed by others. */
const lookAgainMs = seconds(2);
/** An open waits for so long when nothing goes on that could make room; then its caller is told. */
const hopelessMs = seconds(60);

export class RecallQueue {
  readonly #parts: RecallQueueParts;
  readonly #underWay = new Set<QueuedRecall>();
  #underWayBytes = 0;
  /** In the order of coming, for each urgency: a hundred thousand may wait. */
  readonly #waiting: Record<RecallOrigin, Set<Place>> = { open: new Set(), restore: new Set(), ahead: new Set() };
  readonly #places = new Map<QueuedRecall, Place>();
  #grant = { bytes: 0, until: 0 };
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
    if (this.#underWay.has(recall)) return;
    const place: Place = { recall, turn: deferred(), urgency: recall.origin, hopelessSince: undefined };
    this.#places.set(recall, place);
    this.#waiting[place.urgency].add(place);
    this.#loop.wake();
    try {
      await abortable(place.turn.promise, signal);
    } finally {
      this.#forget(place);
      recall.heldBy = null;
    }
  }

  /** A job that exists already needs no turn; it counts all the same. */
  join(recall: QueuedRecall): void {
    if (this.#underWay.has(recall)) return;
    this.#underWay.add(recall);
    this.#underWayBytes += rangeLength(recall.window);
  }

  leave(recall: QueuedRecall): void {
    if (!this.#underWay.delete(recall)) return;
    this.#underWayBytes -= rangeLength(recall.window);
    this.#loop.wake();
  }

  /** The origin of a recall has changed. */
  moved(recall: QueuedRecall): void {
    const place = this.#places.get(recall);
    if (place === undefined || place.urgency === recall.origin) return;
    this.#waiting[place.urgency].delete(place);
    place.urgency = recall.origin;
    this.#waiting[place.urgency].add(place);
    this.#loop.wake();
  }

  close(): Promise<void> {
    return this.#loop.close();
  }

  /** Never rejects. @returns when to look again. */
  async #step(): Promise<number | undefined> {
    let started = 0;
    for (let next = this.#mostUrgent(); next !== undefined; next = this.#mostUrgent()) {
      const verdict = await this.#verdictOn(next);
      if (verdict === "start") this.#start(next);
      else if (verdict instanceof FileSystemError) {
        this.#forget(next);
        next.turn.reject(verdict);
      } else {
        next.recall.heldBy = verdict;
        return lookAgainMs;
      }
      started += 1;
      if (started % startsPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    return undefined;
  }

  #start(place: Place): void {
    // It may have been given up while the disk was asked.
    if (!this.#forget(place)) return;
    this.join(place.recall);
    place.turn.resolve();
  }

  #mostUrgent(): Place | undefined {
    for (const origin of byUrgency) {
      for (const place of this.#waiting[origin]) return place;
    }
    return undefined;
  }

  #forget(place: Place): boolean {
    this.#places.delete(place.recall);
    return this.#waiting[place.urgency].delete(place);
  }

  async #verdictOn(place: Place): Promise<"start" | HeldBy | FileSystemError> {
    const { archive, window, origin } = place.recall;
    const sizeBytes = rangeLength(window);
    if (this.#underWay.size > 0 && this.#underWayBytes + sizeBytes > this.#lineBytes) return "line";
    const reason = await this.#whyNoRoom(archive.key, sizeBytes);
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

  /** Asks for room for many at a time: for a tree of small files, one look at cache and disk for each would take long. */
  async #whyNoRoom(archive: ArchiveKey, sizeBytes: number): Promise<string | null> {
    const now = this.#parts.clock.now();
    if (now >= this.#grant.until) this.#grant = { bytes: 0, until: 0 };
    if (sizeBytes > this.#grant.bytes) {
      const wanted = Math.max(sizeBytes, grantBytes);
      const { sink } = this.#parts;
      if (wanted > sizeBytes && (await sink.whyNoRoom(wanted, this.#underWayBytes)) === null) {
        this.#grant = { bytes: wanted, until: now + lookAgainMs };
      } else {
        return sink.whyNoRoom(sizeBytes, this.#underWayBytes, archive);
      }
    }
    this.#grant.bytes -= sizeBytes;
    return null;
  }

  /** What the line fetches in half the life of an output. */
  get #lineBytes(): number {
    return (this.#parts.rate.bytesPerMs * this.#parts.outputLifetimeMs) / 2;
  }
}
