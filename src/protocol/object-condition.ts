/**
 * When an object of COS is to be copied into a vault: `Condition` of pull-from-cos (cas-api section 11.1).
 *
 * The four names are those of HTTP's conditional requests, one of them misspelt in the API; the meaning is that of
 * RFC 9110, section 13.
 */

import type { Instant } from "../domain/time.js";
import { JsonFields } from "./json-fields.js";
import { parseTime } from "./wire-time.js";

/** As ordered, null where not given. Times are ISO 8601 or the dates of HTTP. */
export interface ObjectCondition {
  readonly ifModifiedSince: string | null;
  readonly ifUnmodifiedSince: string | null;
  readonly ifMatch: string | null;
  readonly ifNoneMatch: string | null;
}

/** The key of the second is what the service calls it. */
export interface ObjectConditionWire {
  readonly "If-Modified-Since": string | null;
  readonly "If-Umodified-Since": string | null;
  readonly "If-Match": string | null;
  readonly "If-None-Match": string | null;
}

export const noCondition: ObjectCondition = {
  ifModifiedSince: null,
  ifUnmodifiedSince: null,
  ifMatch: null,
  ifNoneMatch: null,
};

/** Null for a condition that asks for nothing. */
export function formatObjectCondition(condition: ObjectCondition): ObjectConditionWire | null {
  if (Object.values(condition).every((value) => value === null)) return null;
  return {
    "If-Modified-Since": condition.ifModifiedSince,
    "If-Umodified-Since": condition.ifUnmodifiedSince,
    "If-Match": condition.ifMatch,
    "If-None-Match": condition.ifNoneMatch,
  };
}

/** Takes the correct spelling too. @throws WireFormatError */
export function parseObjectCondition(value: unknown): ObjectCondition {
  if (value === undefined || value === null || value === "") return noCondition;
  const fields = new JsonFields(value, "Condition");
  const time = (name: string) => {
    const text = fields.textOrNull(name);
    if (text !== null) fields.parsed(name, conditionTime);
    return text;
  };
  return {
    ifModifiedSince: time("If-Modified-Since"),
    ifUnmodifiedSince: time("If-Umodified-Since") ?? time("If-Unmodified-Since"),
    ifMatch: fields.textOrNull("If-Match"),
    ifNoneMatch: fields.textOrNull("If-None-Match"),
  };
}

/** What a condition is judged on; the entity tag without quotes. */
export interface ConditionedObject {
  readonly etag: string;
  readonly modifiedAt: Instant;
}

/** The name of the first term that `object` does not meet; undefined when it meets all. */
export function unmetCondition(condition: ObjectCondition, object: ConditionedObject): string | undefined {
  const { ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince } = condition;
  const modified = wholeSeconds(object.modifiedAt);
  // A term on the tag makes the term on the date that belongs to it void (RFC 9110, 13.2.2).
  if (ifMatch !== null) {
    if (!matchesTag(ifMatch, object.etag)) return "If-Match";
  } else if (ifUnmodifiedSince !== null && modified > wholeSeconds(conditionTime(ifUnmodifiedSince))) {
    return "If-Unmodified-Since";
  }
  if (ifNoneMatch !== null) {
    if (matchesTag(ifNoneMatch, object.etag)) return "If-None-Match";
  } else if (ifModifiedSince !== null && modified <= wholeSeconds(conditionTime(ifModifiedSince))) {
    return "If-Modified-Since";
  }
  return undefined;
}

/** Whether judging the condition needs the object's entity tag. */
export function needsTag({ ifMatch, ifNoneMatch }: ObjectCondition): boolean {
  return ifMatch !== null || ifNoneMatch !== null;
}

const httpDate = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;

/** @throws RangeError */
function conditionTime(text: string): Instant {
  if (!httpDate.test(text)) return parseTime(text);
  const value = Date.parse(text);
  if (Number.isNaN(value)) throw new RangeError(`Cannot read ${JSON.stringify(text)} as a time`);
  return value as Instant;
}

function wholeSeconds(instant: Instant): number {
  return Math.floor(instant / 1000);
}

function matchesTag(list: string, etag: string): boolean {
  const tags = list.split(",").map((tag) =>
    tag
      .trim()
      .replace(/^W\//, "")
      .replace(/^"(.*)"$/, "$1"),
  );
  return tags.includes("*") || tags.includes(etag);
}
