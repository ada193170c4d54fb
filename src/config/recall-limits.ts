/** Limits as users write them: `10GiB/day`, `5/month`, `1GiB/12h`, `none`. */

import { type Milliseconds, minutes } from "../domain/time.js";
import { namedPeriods, type RecallLimit } from "../restore/recall-budget.js";
import { parseDuration, parseSize } from "./units.js";

const periodMsMin = minutes(1);

/** @throws RangeError, saying what is expected. */
export function parseByteLimit(text: string): RecallLimit | null {
  return parseLimit(text, parseSize, "10GiB/day");
}

/** An amount of the price table's currency. @throws RangeError, saying what is expected. */
export function parseCostLimit(text: string): RecallLimit | null {
  return parseLimit(text, parseMoney, "5/month");
}

function parseLimit(text: string, parseAmount: (text: string) => number, example: string): RecallLimit | null {
  if (text.trim() === "none") return null;
  const [, amount, period] = /^([^/]+)\/([^/]+)$/.exec(text.trim()) ?? [];
  if (amount === undefined || period === undefined) {
    throw new RangeError(`it must be an amount and a period such as ${example}, or none`);
  }
  return { max: parseAmount(amount), periodMs: parsePeriod(period.trim()) };
}

function parsePeriod(text: string): Milliseconds {
  const named = Object.hasOwn(namedPeriods, text) ? namedPeriods[text] : undefined;
  const periodMs = named ?? parseDuration(text);
  if (periodMs < periodMsMin) throw new RangeError("a period is hour, day, week, month or a duration of at least 1m");
  return periodMs;
}

/** @throws RangeError unless it is a number such as 5 or 0.25. */
export function parseMoney(text: string): number {
  const amount = /^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (!Number.isFinite(amount)) throw new RangeError("an amount of money is a number such as 5 or 0.25");
  return amount;
}
