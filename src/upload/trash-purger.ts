/** Deletes for good what has been in the trash as long as it costs nothing. */

import { describeError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import { type Clock, hours, type Instant, minutes, ms } from "../domain/time.js";
import { WakeableLoop } from "../lib/wakeable-loop.js";

export interface TrashJournal {
  /** When the next file goes; undefined when none does, or all wait for what replaces them. */
  nextPurgeAt(): Instant | undefined;
  /** Removes at most `limit` files whose time has come; their archives are then deleted like others. @returns how many. */
  purgeTrash(limit: number): Promise<number>;
}

/** Files of one transaction: a few milliseconds. */
const filesPerStep = 100;
/** Nobody minds an hour, and a clock that was set has its effect within one. */
const pauseMsMax = hours(1);

export class TrashPurger {
  readonly #loop: WakeableLoop;

  constructor(parts: { readonly journal: TrashJournal; readonly clock: Clock; readonly observer: Observer }) {
    const { journal, clock, observer } = parts;
    this.#loop = new WakeableLoop({
      step: async () => {
        try {
          const purged = await journal.purgeTrash(filesPerStep);
          if (purged === filesPerStep) return 0;
          const next = journal.nextPurgeAt();
          if (next === undefined) return undefined;
          // What our clock calls due may have to wait for an inventory that says so too.
          return next <= clock.now() ? pauseMsMax : Math.min(pauseMsMax, next - clock.now());
        } catch (error) {
          observer({ type: "warning", message: `Cannot empty the trash: ${describeError(error)}` });
          return minutes(5);
        }
      },
      sleep: (durationMs, signal) => clock.sleep(ms(durationMs), { signal }),
    });
  }

  /** There may be something to purge: at start, and whenever the trash has changed. */
  wake(): void {
    this.#loop.wake();
  }

  async close(): Promise<void> {
    await this.#loop.close();
  }
}
