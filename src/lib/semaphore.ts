/** A bounded number of holders at a time, served in the order of asking. */

import { abortable } from "./abort-scope.js";
import { type Deferred, deferred } from "./deferred.js";

export class Semaphore {
  #free: number;
  readonly #waiting = new Set<Deferred<void>>();

  constructor(permits: number) {
    this.#free = permits;
  }

  /** Runs `work` while holding a permit. An abort while waiting rejects with `signal.reason`. */
  async run<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    await this.#acquire(signal);
    try {
      return await work();
    } finally {
      this.#release();
    }
  }

  async #acquire(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    const turn = deferred<void>();
    this.#waiting.add(turn);
    try {
      await abortable(turn.promise, signal);
    } catch (error) {
      // The permit may have been handed over in the same turn as the abort; then it has to go on to the next.
      if (!this.#waiting.delete(turn)) this.#release();
      throw error;
    }
  }

  #release(): void {
    const next = this.#waiting.values().next();
    if (next.done) {
      this.#free += 1;
      return;
    }
    this.#waiting.delete(next.value);
    next.value.resolve();
  }
}
