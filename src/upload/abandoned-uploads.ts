/** Keeps aborting, in the service, the uploads whose content is gone, until none is left. */

import { describeError } from "../domain/errors.js";
import { type Clock, minutes, ms } from "../domain/time.js";
import { WakeableLoop } from "../lib/wakeable-loop.js";
import { type AbandonedUploadParts, abortAbandonedUploads } from "./recovery.js";

// Nothing waits for it: the service itself drops an upload after a day.
const retryMs = minutes(5);

export class AbandonedUploads {
  readonly #parts: AbandonedUploadParts;
  readonly #loop: WakeableLoop;

  constructor(parts: AbandonedUploadParts & { readonly clock: Clock }) {
    this.#parts = parts;
    this.#loop = new WakeableLoop({
      step: (signal) => this.#abortAll(signal),
      sleep: (durationMs, signal) => parts.clock.sleep(ms(durationMs), { signal }),
    });
  }

  /** There may be something to abort: at start, and whenever a content that was being uploaded is gone. */
  wake(): void {
    this.#loop.wake();
  }

  /** Aborts what is in flight and waits for it. */
  async close(): Promise<void> {
    await this.#loop.close();
  }

  async #abortAll(signal: AbortSignal): Promise<number | undefined> {
    try {
      return (await abortAbandonedUploads(this.#parts, signal)) === 0 ? undefined : retryMs;
    } catch (error) {
      const message = `Cannot abort uploads that nobody wants: ${describeError(error)}`;
      if (!signal.aborted) this.#parts.observer({ type: "warning", message });
      return retryMs;
    }
  }
}
