/** Times as they travel: ISO 8601 UTC with milliseconds (cas-api section 2.4). */

import type { Instant } from "../domain/time.js";

export function formatTime(instant: Instant): string {
  return new Date(instant).toISOString();
}

/** `YYYY-MM-DDThh:mm:ssZ`, the form of the date filters of an inventory (section 12.3). */
export function formatTimeInSeconds(instant: Instant): string {
  return `${new Date(instant).toISOString().slice(0, 19)}Z`;
}

const exactPattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const pattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

/** RFC 3339, cut to milliseconds. @throws RangeError for anything else, impossible dates included. */
export function parseTime(text: string): Instant {
  // The form of the service itself; inventories have a million of them.
  if (exactPattern.test(text)) return checkedTime(text, Date.parse(text));
  const match = pattern.exec(text);
  if (!match) throw noTime(text);
  const [, moment, fraction = "", zone] = match;
  const exact = `${moment}.${fraction.padEnd(3, "0").slice(0, 3)}`;
  checkedTime(text, Date.parse(`${exact}Z`));
  return checkedTime(text, Date.parse(exact + zone));
}

/** `Date.parse` turns the 30th of February into a day of March; up to the 28th every day is one. */
function checkedTime(text: string, value: number): Instant {
  const day = Number(text.slice(8, 10));
  if (Number.isNaN(value) || (day > 28 && text.endsWith("Z") && new Date(value).getUTCDate() !== day))
    throw noTime(text);
  return value as Instant;
}

function noTime(text: string): RangeError {
  return new RangeError(`Cannot read ${JSON.stringify(text.slice(0, 80))} as a time`);
}
