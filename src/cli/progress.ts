/** What a person sees while a command works: bytes that move, or the time that a job takes. Nothing when piped. */

import { systemClock } from "../app/system-clock.js";
import type { Instant } from "../domain/time.js";
import { formatDuration } from "../lib/amount-text.js";
import { printable } from "../lib/printable.js";
import { progressLine } from "./progress-text.js";
import type { Terminal } from "./terminal.js";

const redrawMs = 100;
const waitRedrawMs = 1000;
/** The rate is that of the last seconds, so that it follows the line and does not jump with each part. */
const rateWindowMs = 8000;

/** A bar for the bytes of one transfer; removed when disposed. */
export class TransferProgress implements Disposable {
  readonly #terminal: Terminal;
  readonly #label: string;
  readonly #samples: { readonly at: Instant; readonly bytes: number }[] = [];
  #shownAt = 0;

  constructor(terminal: Terminal, label: string) {
    this.#terminal = terminal;
    this.#label = printable(label);
  }

  update(doneBytes: number, totalBytes: number): void {
    const now = systemClock.now();
    if (!this.#terminal.hasStatus || (now - this.#shownAt < redrawMs && doneBytes < totalBytes)) return;
    this.#shownAt = now;
    this.#samples.push({ at: now, bytes: doneBytes });
    while (this.#samples.length > 2 && now - this.#samples[0]!.at > rateWindowMs) this.#samples.shift();
    const progress = { label: this.#label, doneBytes, totalBytes, bytesPerSecond: this.#rate() };
    this.#terminal.showStatus(progressLine(progress, this.#terminal.statusWidth));
  }

  [Symbol.dispose](): void {
    this.#terminal.showStatus("");
  }

  #rate(): number | null {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    if (first === undefined || last === undefined || last.at - first.at < redrawMs) return null;
    return Math.max(0, ((last.bytes - first.bytes) / (last.at - first.at)) * 1000);
  }
}

/** Says every second for how long `what` has been waited for; removed when disposed. */
export function showWaiting(terminal: Terminal, what: string): Disposable {
  const begin = systemClock.now();
  const show = () => {
    const waited = formatDuration(Math.floor((systemClock.now() - begin) / 1000) * 1000);
    terminal.showStatus(`${what}: ${waited}`.slice(0, terminal.statusWidth));
  };
  if (terminal.hasStatus) show();
  const timer = setInterval(show, waitRedrawMs);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      terminal.showStatus("");
    },
  };
}
