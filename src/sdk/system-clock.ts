/** The clock of an SDK client: real pauses, and the time of day from its user. */

import type { Clock, Instant } from "../domain/time.js";
import { realSleep } from "../lib/real-sleep.js";

/** @param now Gives the time of signatures; the computer's clock unless given. */
export function clientClock(now: () => Date = () => new Date()): Clock {
  return { now: () => now().getTime() as Instant, sleep: realSleep };
}
