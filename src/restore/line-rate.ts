/**
 * How fast outputs come in, measured while at least one is being fetched; the last quarter of an hour counts most.
 *
 * What it says is what this machine gets done: a tree of small files is slow although the line is fast.
 */

import { type Clock, minutes, seconds } from "../domain/time.js";

/** Until something was measured: slow enough that nothing is ordered in vain. */
const assumedBytesPerMs = 1024;
/** For so long the assumption weighs as much as what is measured. */
const assumptionMs = seconds(10);
const memoryMs = minutes(15);

export class LineRate {
  readonly #clock: Clock;
  #fetching = 0;
  #since = 0;
  #busyMs = 0;
  #bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** An output is being fetched until the result is disposed. */
  fetching(): Disposable {
    this.#count();
    this.#fetching += 1;
    return {
      [Symbol.dispose]: () => {
        this.#count();
        this.#fetching -= 1;
      },
    };
  }

  received(bytes: number): void {
    this.#bytes += bytes;
  }

  get bytesPerMs(): number {
    this.#count();
    return (this.#bytes + assumedBytesPerMs * assumptionMs) / (this.#busyMs + assumptionMs);
  }

  #count(): void {
    const now = this.#clock.now();
    if (this.#fetching > 0) this.#busyMs += now - this.#since;
    this.#since = now;
    if (this.#busyMs < memoryMs) return;
    this.#busyMs /= 2;
    this.#bytes /= 2;
  }
}
