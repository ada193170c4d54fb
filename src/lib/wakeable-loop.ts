/** Background work that sleeps until something is due, and is woken when there is something new. */

import { AbortScope } from "./abort-scope.js";

export interface WakeableLoopOptions {
  /**
   * Does what is due.
   *
   * @returns after how many milliseconds something is due again; undefined when nothing is left. Must not reject.
   */
  readonly step: (signal: AbortSignal) => Promise<number | undefined>;
  /** Resolves after a time in milliseconds; rejects when aborted. */
  readonly sleep: (durationMs: number, signal: AbortSignal) => Promise<void>;
}

export class WakeableLoop {
  readonly #options: WakeableLoopOptions;
  readonly #closing = new AbortScope();
  #pause: AbortScope | undefined;
  #wanted = false;
  #running: Promise<void> | undefined;

  constructor(options: WakeableLoopOptions) {
    this.#options = options;
  }

  /** There may be something to do: a step begins after this call. */
  wake(): void {
    if (this.#closing.signal.aborted) return;
    this.#wanted = true;
    this.#pause?.abort();
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#wanted) this.wake(); // Asked for between the last look and the end of the loop.
    });
  }

  /** Aborts the step that runs and waits for it. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#wanted = false;
      const nextInMs = await this.#options.step(this.#closing.signal);
      if (this.#closing.signal.aborted) return;
      if (this.#wanted) continue;
      if (nextInMs === undefined) return;
      await this.#sleep(nextInMs);
    }
  }

  async #sleep(durationMs: number): Promise<void> {
    using pause = new AbortScope(this.#closing.signal);
    this.#pause = pause;
    await this.#options.sleep(Math.max(0, durationMs), pause.signal).catch(() => undefined);
    this.#pause = undefined;
  }
}
