/**
 * Empties the outbox of notifications, outside all requests: a few at a time, a few attempts each (cas-api section 8.2).
 *
 * A notification may arrive twice, after a crash at the wrong moment, but none is lost while attempts are left. What is
 * given up leaves a warning, which names the host and nothing else of the URL: paths and queries may hold secrets.
 */

import { describeError } from "../../domain/errors.js";
import type { Observer } from "../../domain/events.js";
import { backoffDelayMs } from "../../lib/backoff.js";
import { WorkSlots } from "../../lib/work-slots.js";
import type { ArchiveStore } from "../store/archive-store.js";
import type { NotificationRow } from "../store/notification-table.js";
import { type TargetOptions, TargetRefusedError } from "./notification-target.js";

export interface NotificationSenderOptions extends TargetOptions {
  readonly observer?: Observer | undefined;
  /** From 0 (included) to 1 (excluded). */
  readonly random: () => number;
  /** Told when `send` may have something to do again before the time it gave. */
  readonly onProgress: () => void;
}

const concurrency = 8;
const attemptsMax = 5;
const postTimeoutMs = 10_000;
const delays = { delayMsMin: 10_000, delayMsMax: 300_000 };
// Long after a running attempt has ended in one way or the other.
const leaseMs = 6 * postTimeoutMs;

export class NotificationSender {
  readonly #store: ArchiveStore;
  readonly #options: NotificationSenderOptions;
  readonly #slots = new WorkSlots<number>(concurrency);

  constructor(store: ArchiveStore, options: NotificationSenderOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Begins to send what is due. @returns when the next will be due; undefined while all hands are busy. */
  send(): number | undefined {
    const { free } = this.#slots;
    if (free === 0) return undefined;
    for (const row of this.#take(free)) {
      const work = (signal: AbortSignal) => this.#attempt(row, signal).catch((error) => this.#stuck(error));
      this.#slots.start(row.notification_key, work, this.#options.onProgress);
    }
    return this.#slots.free === 0 ? undefined : this.#store.notifications.nextDue();
  }

  /** Cuts the attempts that are going on; the next start makes new ones. */
  async close(): Promise<void> {
    await this.#slots.close();
  }

  #take(limit: number): NotificationRow[] {
    const now = this.#store.now();
    const next = this.#store.notifications.nextDue();
    if (next === undefined || next > now) return [];
    const taken = this.#store.transaction(() => this.#store.notifications.take(now, { limit, untilMs: now + leaseMs }));
    return taken.filter((row) => !this.#slots.has(row.notification_key));
  }

  async #attempt(row: NotificationRow, signal: AbortSignal): Promise<void> {
    try {
      // What a notification tells of must not be lost after it was told.
      await this.#store.durable();
      // Most services never notify anybody, and need not load what speaks HTTP to others.
      const { postNotification } = await import("./notification-post.js");
      await postNotification(row, { ...this.#options, timeoutMs: postTimeoutMs, signal });
      this.#forget(row);
    } catch (error) {
      if (signal.aborted) this.#postpone(row, 0);
      else this.#failed(row, error);
    }
  }

  #failed(row: NotificationRow, error: unknown): void {
    const host = new URL(row.url).host;
    if (error instanceof TargetRefusedError) {
      this.#warn(`Did not send a notification to ${host}: it is not among the hosts that may be notified`);
      this.#forget(row);
    } else if (row.attempts >= attemptsMax) {
      this.#warn(`Gave up a notification to ${host} after ${row.attempts} attempts: ${describeError(error)}`);
      this.#forget(row);
    } else {
      this.#postpone(row, backoffDelayMs(row.attempts, delays, this.#options.random));
    }
  }

  /** The outbox itself cannot be written; the row is due again when its lease ends. */
  #stuck(error: unknown): void {
    this.#warn(`Cannot record what became of a notification: ${describeError(error)}`);
  }

  #forget(row: NotificationRow): void {
    this.#store.transaction(() => this.#store.notifications.delete(row.notification_key));
  }

  #postpone(row: NotificationRow, delayMs: number): void {
    this.#store.transaction(() =>
      this.#store.notifications.postpone(row.notification_key, this.#store.now() + delayMs),
    );
  }

  #warn(message: string): void {
    this.#options.observer?.({ type: "warning", message });
  }
}
