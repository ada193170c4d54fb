/** Background work with an owner: pieces known by a key, a bounded number of them at a time, all ended by `close`. */

import { AbortScope } from "./abort-scope.js";
import { invariant } from "./invariant.js";

export class WorkSlots<K> {
  readonly #slots: number;
  readonly #running = new Map<K, Promise<void>>();
  readonly #closing = new AbortScope();

  constructor(slots: number) {
    this.#slots = slots;
  }

  get free(): number {
    return this.#closing.signal.aborted ? 0 : Math.max(0, this.#slots - this.#running.size);
  }

  has(key: K): boolean {
    return this.#running.has(key);
  }

  /** Starts `work`, which must not reject; there has to be a free slot. Its slot is free when `onEnd` is called. */
  start(key: K, work: (signal: AbortSignal) => Promise<void>, onEnd: () => void): void {
    invariant(this.free > 0 && !this.has(key), "there is a slot for the work, and it is not going on already");
    const run = work(this.#closing.signal).finally(() => {
      this.#running.delete(key);
      if (!this.#closing.signal.aborted) onEnd();
    });
    this.#running.set(key, run);
  }

  /** Aborts what is running and waits for its end. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#running.values());
  }
}
