import { expect, test } from "vitest";
import { progressLine } from "../../src/cli/progress-text.js";
import { MIB } from "../../src/domain/bytes.js";
import { fc } from "../support/seeded-fast-check.js";

const half = { label: "backup.tar", doneBytes: 48 * MIB, totalBytes: 96 * MIB, bytesPerSecond: 12 * MIB };

test("a wide line has name, bar, bytes, percent, speed and the time that is left", () => {
  expect(progressLine(half, 100)).toBe(
    "backup.tar  [####################--------------------]  48MiB of 96MiB  50%  12MiB/s  4s left",
  );
});

test("a narrow line leaves out the bar first, then what matters least", () => {
  expect(progressLine(half, 60)).toBe("backup.tar  48MiB of 96MiB  50%  12MiB/s  4s left");
  expect(progressLine({ ...half, label: "a-very-long-name-of-a-file.tar.gz" }, 60)).toMatch(
    /^a-very.*…e\.tar\.gz {2}48MiB/,
  );
  expect(progressLine(half, 20)).toBe("48MiB of 96MiB  50%");
});

test("without a speed nothing is guessed, and the end is a hundred percent", () => {
  expect(progressLine({ ...half, bytesPerSecond: null }, 200)).not.toContain("left");
  expect(progressLine({ ...half, doneBytes: 96 * MIB }, 80)).toContain("100%");
  expect(progressLine({ ...half, doneBytes: 0, totalBytes: 0, bytesPerSecond: null }, 80)).toContain("100%");
});

test("a line never wraps", () => {
  const size = fc.integer({ min: 0, max: 2 ** 43 });
  fc.assert(
    fc.property(fc.string(), size, size, fc.integer({ min: 1, max: 250 }), (label, one, other, width) => {
      const [doneBytes, totalBytes] = one < other ? [one, other] : [other, one];
      const line = progressLine({ label, doneBytes, totalBytes, bytesPerSecond: 12_345 }, width);
      expect(line.length).toBeLessThanOrEqual(width);
    }),
  );
});
