/** Pauses between attempts: exponential, with jitter, so that many who failed together do not come back together. */

export interface BackoffLimits {
  /** Never shorter than this, in milliseconds. */
  readonly delayMsMin: number;
  /** Never longer than this, in milliseconds. */
  readonly delayMsMax: number;
}

/**
 * The pause after failed attempt number `attempt` (1 is the first), in milliseconds.
 *
 * Full jitter: evenly spread between the minimum and the exponentially growing, capped bound.
 *
 * @param random Gives numbers from 0 (included) to 1 (excluded), as `Math.random`.
 */
export function backoffDelayMs(attempt: number, limits: BackoffLimits, random: () => number): number {
  // 2 ** 1024 is Infinity, which Math.min still caps.
  const bound = Math.min(limits.delayMsMax, limits.delayMsMin * 2 ** attempt);
  return Math.round(limits.delayMsMin + random() * Math.max(0, bound - limits.delayMsMin));
}
