import { describe, expect, test } from "vitest";
import type { Instant } from "../../src/domain/time.js";
import {
  formatObjectCondition,
  noCondition,
  parseObjectCondition,
  unmetCondition,
} from "../../src/protocol/object-condition.js";

const object = { etag: "tag", modifiedAt: Date.parse("2024-03-01T12:00:00.700Z") as Instant };
const condition = (more: object) => ({ ...noCondition, ...more });
const at = "2024-03-01T12:00:00Z";
const before = "2024-03-01T11:59:59Z";

describe("a condition of an object", () => {
  test.each([
    { given: {}, unmet: undefined },
    { given: { ifMatch: "tag" }, unmet: undefined },
    { given: { ifMatch: '"other", "tag"' }, unmet: undefined },
    { given: { ifMatch: "*" }, unmet: undefined },
    { given: { ifMatch: "other" }, unmet: "If-Match" },
    { given: { ifNoneMatch: 'W/"tag"' }, unmet: "If-None-Match" },
    { given: { ifNoneMatch: "*" }, unmet: "If-None-Match" },
    { given: { ifNoneMatch: "other" }, unmet: undefined },
    { given: { ifModifiedSince: before }, unmet: undefined },
    { given: { ifModifiedSince: at }, unmet: "If-Modified-Since" },
    { given: { ifUnmodifiedSince: at }, unmet: undefined },
    { given: { ifUnmodifiedSince: "Fri, 01 Mar 2024 11:59:59 GMT" }, unmet: "If-Unmodified-Since" },
    { given: { ifModifiedSince: before, ifUnmodifiedSince: before }, unmet: "If-Unmodified-Since" },
  ])("$given leaves unmet: $unmet", ({ given, unmet }) => {
    expect(unmetCondition(condition(given), object)).toBe(unmet);
  });

  test("a tag makes the date that goes with it void", () => {
    expect(unmetCondition(condition({ ifMatch: "tag", ifUnmodifiedSince: before }), object)).toBeUndefined();
    expect(unmetCondition(condition({ ifNoneMatch: "other", ifModifiedSince: at }), object)).toBeUndefined();
  });

  test("reads back, takes both spellings, and nothing asked for is no condition", () => {
    const full = condition({ ifModifiedSince: at, ifUnmodifiedSince: before, ifMatch: "a", ifNoneMatch: "b" });
    expect(parseObjectCondition(formatObjectCondition(full))).toEqual(full);
    expect(parseObjectCondition({ "If-Unmodified-Since": at })).toEqual(condition({ ifUnmodifiedSince: at }));
    expect(formatObjectCondition(noCondition)).toBeNull();
    for (const nothing of [undefined, null, "", {}]) expect(parseObjectCondition(nothing)).toEqual(noCondition);
  });

  test.each([{ "If-Match": 5 }, { "If-Modified-Since": "Fri, 99 Mar 2024 11:59:59 GMT" }, [], "If-Match"])(
    "%j is no condition",
    (value) => {
      expect(() => parseObjectCondition(value)).toThrow();
    },
  );
});
