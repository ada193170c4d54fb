import { describe, expect, test } from "vitest";
import { parseDuration, parseSize } from "../../src/config/units.js";
import { formatDuration, formatSize } from "../../src/lib/amount-text.js";
import { fc } from "../support/seeded-fast-check.js";

describe("durations", () => {
  test.each([
    ["300ms", 300],
    ["2s", 2000],
    ["10m", 600_000],
    ["24h", 86_400_000],
    ["2d", 172_800_000],
    ["1h30m", 5_400_000],
    ["1.5s", 1500],
    ["0", 0],
    [" 5s ", 5000],
  ])("%s is %i milliseconds", (text, expected) => expect(parseDuration(text)).toBe(expected));

  test.each(["", "2", "2 s", "s", "2x", "-1s", "1e3s", "9999999999999999d"])("%j is refused", (text) =>
    expect(() => parseDuration(text)).toThrow(RangeError),
  );

  test.each([
    [0, "0ms"],
    [999, "999ms"],
    [2400, "2.4s"],
    [83_456, "1m23s"],
    [86_400_000, "24h"],
    [172_800_000, "2d"],
    [183_700_000, "2d3h"],
  ])("%i milliseconds are written %s", (duration, expected) => expect(formatDuration(duration)).toBe(expected));

  test("what is written can be read again and is never longer than it was", () =>
    fc.assert(
      fc.property(fc.nat({ max: 1e12 }), (duration) => {
        const again = parseDuration(formatDuration(duration));
        expect(again).toBeLessThanOrEqual(duration);
        expect(formatDuration(again)).toBe(formatDuration(duration));
      }),
    ));
});

describe("sizes", () => {
  test.each([
    ["100", 100],
    ["0", 0],
    ["7B", 7],
    ["512KiB", 524_288],
    ["16MiB", 16_777_216],
    ["1.5GiB", 1_610_612_736],
    ["1TiB", 1_099_511_627_776],
  ])("%s is %i bytes", (text, expected) => expect(parseSize(text)).toBe(expected));

  test.each(["", "16M", "16MB", "16 MiB", "-1", "0.3B", "1e3", "9000TiB", "MiB"])("%j is refused", (text) =>
    expect(() => parseSize(text)).toThrow(RangeError),
  );

  test.each([
    [0, "0B"],
    [1023, "1023B"],
    [16_777_216, "16MiB"],
    [1_610_612_736, "1.5GiB"],
    [1_073_741_823, "1023.9MiB"],
    [42_949_672_960_000, "39TiB"],
  ])("%i bytes are written %s", (bytes, expected) => expect(formatSize(bytes)).toBe(expected));
});
