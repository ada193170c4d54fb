/** A clock that moves only when a test moves it: half a day of retrieval takes a millisecond. */

import type { Clock, Instant, Milliseconds } from "../../src/domain/time.js";

interface Sleeper {
  wakeAt: number;
  readonly wake: () => void;
}

export class FakeClock implements Clock {
  #now: number;
  readonly #sleepers = new Set<Sleeper>();
  readonly #autoAdvance: boolean;

  /** @param options.autoAdvance Every sleep moves the clock to its own end at once: nothing ever waits. */
  constructor({
    startMs = Date.UTC(2026, 0, 1),
    autoAdvance = false,
  }: { readonly startMs?: number; readonly autoAdvance?: boolean } = {}) {
    this.#now = startMs;
    this.#autoAdvance = autoAdvance;
  }

  now(): Instant {
    return this.#now as Instant;
  }

  get sleepers(): number {
    return this.#sleepers.size;
  }

  async sleep(duration: Milliseconds, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    signal?.throwIfAborted();
    if (this.#autoAdvance) {
      this.#now += duration;
      // A real pause, however short: loops that only sleep must not starve everything else.
      await new Promise((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
      return;
    }
    if (duration <= 0) return;
    // Whole milliseconds, as the time of day has.
    await this.#parked(Math.ceil(this.#now + duration), signal);
  }

  /** The time of day is set, forwards or backwards; who sleeps goes on for as long as before. */
  jump(durationMs: number): void {
    this.#now += durationMs;
    for (const sleeper of this.#sleepers) sleeper.wakeAt += durationMs;
  }

  /** Moves the clock and wakes, in order, whoever's time has come; what they do then has run when this resolves. */
  async advance(durationMs: number): Promise<void> {
    const target = this.#now + durationMs;
    for (;;) {
      await settled();
      const due = [...this.#sleepers].filter(({ wakeAt }) => wakeAt <= target).sort((a, b) => a.wakeAt - b.wakeAt)[0];
      if (due === undefined) break;
      this.#now = Math.max(this.#now, due.wakeAt);
      this.#sleepers.delete(due);
      due.wake();
    }
    this.#now = target;
    await settled();
  }

  #parked(wakeAt: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper = {
        wakeAt,
        wake: () => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      const onAbort = () => {
        this.#sleepers.delete(sleeper);
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#sleepers.add(sleeper);
    });
  }
}

/** Lets everything that is ready to run, run. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}
