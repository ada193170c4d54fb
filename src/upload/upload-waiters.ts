/** Who waits for a content to be archived, and which failure ends the waiting. The upload itself goes on in any case. */

import { isTransient } from "../domain/errors.js";
import type { Instant, Milliseconds } from "../domain/time.js";
import { type Deferred, deferred } from "../lib/deferred.js";

/** What one waiter can bear. */
export interface WaitPatience {
  /**
   * How long failures are borne that pass by themselves, counted from the last confirmed part or the beginning of the
   * waiting; null: for ever. All other failures end the waiting at once, unless this is null.
   */
  readonly patienceMs: Milliseconds | null;
}

interface Waiter extends WaitPatience {
  readonly answer: Deferred<void>;
  since: Instant;
}

export class UploadWaiters {
  readonly #waiters = new Set<Waiter>();

  /** @returns the promise of the answer, and how to leave. */
  add({ patienceMs }: WaitPatience, now: Instant): { readonly promise: Promise<void>; readonly leave: () => void } {
    const waiter: Waiter = { patienceMs, since: now, answer: deferred<void>() };
    this.#waiters.add(waiter);
    return { promise: waiter.answer.promise, leave: () => void this.#waiters.delete(waiter) };
  }

  /** A part was confirmed: whoever waits has a reason to. */
  progressed(now: Instant): void {
    for (const waiter of this.#waiters) waiter.since = now;
  }

  /** An attempt has failed: some have waited long enough. */
  attemptFailed(error: unknown, now: Instant): void {
    for (const waiter of this.#waiters) {
      const { patienceMs, since, answer } = waiter;
      if (patienceMs === null || (isTransient(error) && now - since < patienceMs)) continue;
      this.#waiters.delete(waiter);
      answer.reject(error);
    }
  }

  archived(): void {
    for (const { answer } of this.#waiters) answer.resolve();
    this.#waiters.clear();
  }

  /** Nothing will come of it any more. */
  rejectAll(reason: unknown): void {
    for (const { answer } of this.#waiters) answer.reject(reason);
    this.#waiters.clear();
  }
}
