/**
 * What the service does by itself when its time comes: forget what has expired, take inventories, announce finished
 * jobs, begin copies.
 *
 * One loop sleeps until the earliest moment at which a duty has something to do. A request asks `catchUp()` first,
 * which compares two numbers unless the clock has passed that moment before the loop woke up: whatever was due before
 * a request has happened when the request is looked at.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { describeError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import { type Clock, ms } from "../domain/time.js";
import { WakeableLoop } from "../lib/wakeable-loop.js";

/** Something that is due now and then. */
export interface Duty {
  readonly name: string;
  /**
   * Does what is due, or, when that is much, a part of it; does not wait for anything.
   *
   * @returns when there is something to do again, in milliseconds; a moment that has passed means at once, undefined
   * means not before `Background.expect` says so.
   */
  run(): number | undefined;
}

export interface BackgroundOptions {
  readonly clock: Clock;
  readonly observer?: Observer | undefined;
}

// A duty that fails, because the disk is full for instance, is tried again after this time.
const retryMs = 10_000;

export class Background {
  #duties: readonly Duty[] = [];
  readonly #options: BackgroundOptions;
  readonly #loop: WakeableLoop;
  #dueAtMs = 0;
  /** When the duties ran last. */
  #ranAtMs = 0;

  constructor(options: BackgroundOptions) {
    this.#options = options;
    this.#loop = new WakeableLoop({
      step: () => this.#step(),
      sleep: (durationMs, signal) => options.clock.sleep(ms(durationMs), { signal }),
    });
  }

  /** Does what is due, and goes on with it as time passes. */
  start(duties: readonly Duty[]): void {
    this.#duties = duties;
    this.#runDuties();
    this.#loop.wake();
  }

  /** There will be something to do at that moment. */
  expect(atMs: number): void {
    if (atMs >= this.#dueAtMs) return;
    this.#dueAtMs = atMs;
    this.#loop.wake();
  }

  /** Does what is due by now, if the loop has not done it yet; what is due is asked again when the clock was set back. */
  catchUp(): void {
    const now = this.#options.clock.now();
    if (now < this.#dueAtMs && now >= this.#ranAtMs) return;
    this.#runDuties();
    this.#loop.wake();
  }

  async close(): Promise<void> {
    await this.#loop.close();
  }

  async #step(): Promise<number | undefined> {
    // Many due things take many steps; requests have their turn between them.
    await nextTurn();
    if (this.#options.clock.now() >= this.#dueAtMs) this.#runDuties();
    return this.#dueAtMs === Number.POSITIVE_INFINITY ? undefined : this.#dueAtMs - this.#options.clock.now();
  }

  #runDuties(): void {
    this.#ranAtMs = this.#options.clock.now();
    // A duty may itself expect something while it runs.
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    let next = Number.POSITIVE_INFINITY;
    for (const duty of this.#duties) next = Math.min(next, this.#run(duty));
    this.#dueAtMs = Math.min(this.#dueAtMs, next);
  }

  #run(duty: Duty): number {
    try {
      return duty.run() ?? Number.POSITIVE_INFINITY;
    } catch (error) {
      this.#options.observer?.({ type: "warning", message: `${duty.name} failed: ${describeError(error)}` });
      return this.#options.clock.now() + retryMs;
    }
  }
}
