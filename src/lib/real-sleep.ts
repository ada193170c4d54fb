/** Sleeping in real time, for the clocks of those who run casfs. */

import { setTimeout as delay } from "node:timers/promises";

// Longer ones would end at once: setTimeout counts in 31 bits.
const sleepMsMax = 2 ** 31 - 1;

/** Resolves after `durationMs`, which may be months. An abort rejects with `signal.reason`. */
export async function realSleep(
  durationMs: number,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  for (let left = durationMs; left > 0 || left === durationMs; left -= sleepMsMax) {
    // An AbortError would hide why: callers are promised the signal's own reason.
    await delay(Math.max(0, Math.min(left, sleepMsMax)), undefined, signal ? { signal } : {}).catch((error) => {
      throw signal?.aborted ? signal.reason : error;
    });
    if (left <= sleepMsMax) return;
  }
}
