/** The pause before a failed step of a recall is tried again. */

import { describeError, isTransient } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import { type Clock, type Instant, ms } from "../domain/time.js";
import { type BackoffLimits, backoffDelayMs } from "../lib/backoff.js";

export interface RetryPauseParts {
  readonly clock: Clock;
  /** Numbers from 0 to 1, as `Math.random`. */
  readonly random: () => number;
  readonly observer: Observer;
  readonly signal: AbortSignal;
  /** Hears of each failure that is followed by another attempt. */
  readonly onTrouble: (trouble: RecallTrouble) => void;
}

/** What goes wrong with a recall that goes on. */
export interface RecallTrouble {
  readonly message: string;
  /** In the past while it is being tried. */
  readonly nextAttemptAt: Instant;
}

/** When to give up: after so many attempts, and not before `until`. */
export interface Patience {
  readonly attemptsMax: number;
  readonly until?: Instant;
}

/** Sleeps, or throws `error` when it will not pass or patience is at its end. @param attempt 1 after the first failure. */
export async function pauseOrThrow(
  { clock, random, observer, signal, onTrouble }: RetryPauseParts,
  error: unknown,
  attempt: number,
  { attemptsMax, until = 0 as Instant }: Patience,
  limits: BackoffLimits,
): Promise<void> {
  signal.throwIfAborted();
  if (!isTransient(error) || (attempt >= attemptsMax && clock.now() >= until)) throw error;
  const message = describeError(error);
  observer({ type: "warning", message: `${message}; it will be tried again` });
  const delayMs = ms(backoffDelayMs(attempt, limits, random));
  onTrouble({ message, nextAttemptAt: (clock.now() + delayMs) as Instant });
  await clock.sleep(delayMs, { signal });
}
