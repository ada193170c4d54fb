/** The real clock. Long sleeps are cut: setTimeout takes at most 2^31 ms. */

import { setTimeout as delay } from "node:timers/promises";
import type { Clock, Instant } from "../domain/time.js";

const sleepMsMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now() as Instant,
  async sleep(duration, { signal } = {}) {
    for (let left: number = duration; left > 0 || left === duration; left -= sleepMsMax) {
      // An AbortError would hide why: callers are promised the signal's own reason.
      await delay(Math.max(0, Math.min(left, sleepMsMax)), undefined, signal ? { signal } : {}).catch((error) => {
        throw signal?.aborted ? signal.reason : error;
      });
      if (left <= sleepMsMax) return;
    }
  },
};
