/** The real clock. */

import type { Clock, Instant } from "../domain/time.js";
import { realSleep } from "../lib/real-sleep.js";

export const systemClock: Clock = { now: () => Date.now() as Instant, sleep: realSleep };
