import { expect, test } from "vitest";
import { mountShape } from "../../src/config/config.js";
import { parseByteLimit, parseCostLimit } from "../../src/config/recall-limits.js";
import { GIB } from "../../src/domain/bytes.js";
import { hours } from "../../src/domain/time.js";

test("a limit is an amount and a period with a name, or a duration", () => {
  expect(parseByteLimit("10GiB/day")).toEqual({ max: 10 * GIB, periodMs: hours(24) });
  expect(parseByteLimit("512MiB/12h")).toEqual({ max: GIB / 2, periodMs: hours(12) });
  expect(parseCostLimit("2.50/month")).toEqual({ max: 2.5, periodMs: hours(720) });
  expect(parseByteLimit("0/hour")).toEqual({ max: 0, periodMs: hours(1) });
});

test("`none` is no limit; what is shipped is 10 GiB a day and no limit of money", () => {
  expect(parseByteLimit("none")).toBeNull();
  expect(mountShape.recallLimit.parse(undefined)).toEqual({ max: 10 * GIB, periodMs: hours(24) });
  expect(mountShape.recallCostLimit.parse(undefined)).toBeNull();
});

test.each([
  ["10GiB", "it must be an amount and a period such as 10GiB/day, or none"],
  ["10GiB/fortnight", "a duration is a number with a unit"],
  ["10GiB/10s", "a duration of at least 1m"],
  ["10GB/day", "a size is a number of bytes"],
])("%s is refused: %s", (text, reason) => expect(() => parseByteLimit(text)).toThrow(reason));

test("an amount of money is a number", () => {
  expect(() => parseCostLimit("5CNY/day")).toThrow("an amount of money is a number such as 5 or 0.25");
});
