/** Times of answers as `Date`. */

import type { JsonFields } from "../protocol/json-fields.js";

/** @throws WireFormatError unless the field is a time. */
export function dateOf(fields: JsonFields, name: string): Date {
  return new Date(fields.time(name));
}

/** Null for null, an absent field and the empty text. @throws WireFormatError unless it is one of these or a time. */
export function dateOrNull(fields: JsonFields, name: string): Date | null {
  const instant = fields.timeOrNull(name);
  return instant === null ? null : new Date(instant);
}
