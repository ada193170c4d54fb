/**
 * Durations and sizes as people write them: `300ms`, `2s`, `1h30m`, `16MiB`, `10GiB`, `100` (bytes).
 *
 * `lib/amount-text.ts` has the other direction.
 */

import { type ByteCount, byteCount, GIB, KIB, MIB, TIB } from "../domain/bytes.js";
import { type Milliseconds, ms } from "../domain/time.js";

const durationUnits = [
  { name: "d", ms: 86_400_000 },
  { name: "h", ms: 3_600_000 },
  { name: "m", ms: 60_000 },
  { name: "s", ms: 1000 },
  { name: "ms", ms: 1 },
] as const;

const sizeUnits = [
  { name: "TiB", bytes: TIB },
  { name: "GiB", bytes: GIB },
  { name: "MiB", bytes: MIB },
  { name: "KiB", bytes: KIB },
] as const;

const durationPattern = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/;
const durationTermPattern = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g;
const sizePattern = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB|TiB)?$/;

/**
 * A duration such as `300ms`, `2s`, `10m`, `24h`, `2d` or `1h30m`, rounded to the millisecond; `0` needs no unit.
 *
 * @throws RangeError for anything else, saying what it should look like.
 */
export function parseDuration(text: string): Milliseconds {
  const trimmed = text.trim();
  if (trimmed === "0") return ms(0);
  if (!durationPattern.test(trimmed)) {
    throw new RangeError("a duration is a number with a unit, such as 300ms, 2s, 10m, 24h or 2d");
  }
  let total = 0;
  for (const [, amount, unit] of trimmed.matchAll(durationTermPattern)) {
    total += Number(amount) * durationUnits.find(({ name }) => name === unit)!.ms;
  }
  if (!Number.isSafeInteger(Math.round(total))) throw new RangeError("the duration is too long");
  return ms(Math.round(total));
}

/**
 * A size such as `512KiB`, `16MiB`, `1.5GiB`, `1TiB` or `100` (bytes).
 *
 * Units of ten (`MB`) and bare letters (`16M`) are refused: tools disagree on what they mean.
 *
 * @throws RangeError for anything else, saying what it should look like.
 */
export function parseSize(text: string): ByteCount {
  const [, amount, unit = "B"] = sizePattern.exec(text.trim()) ?? [];
  if (amount === undefined) {
    throw new RangeError("a size is a number of bytes or a number with KiB, MiB, GiB or TiB, such as 16MiB");
  }
  const factor = sizeUnits.find(({ name }) => name === unit)?.bytes ?? 1;
  const bytes = Number(amount) * factor;
  if (!Number.isSafeInteger(bytes)) throw new RangeError("a size is a whole number of bytes below 8192TiB");
  return byteCount(bytes);
}
