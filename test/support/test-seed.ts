/**
 * The seed of everything random in the tests: always the same, so that every machine runs what was run before.
 *
 * CASFS_SEED=123 takes another one, CASFS_SEED=random one that no run has had: to look for bugs, and to repeat what was
 * found. A test whose failure does not show the seed by itself says it in its message.
 */

import { randomInt } from "node:crypto";

const seedMax = 2 ** 31;

export const testSeed: number = seedOf(process.env.CASFS_SEED ?? "1");

function seedOf(text: string): number {
  if (text === "random") return randomInt(seedMax);
  if (/^-?\d+$/.test(text) && Math.abs(Number(text)) <= seedMax) return Number(text);
  throw new RangeError(`CASFS_SEED is a whole number or "random", not ${text}`);
}

/** A generator of numbers in [0, 1) that its seed repeats (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
