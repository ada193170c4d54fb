/** Whatever is asked for, it is covered by windows that can be verified alone, and by few of them. */

import { expect, test } from "vitest";
import { byteRange, MIB } from "../../src/domain/bytes.js";
import { archiveWindow, mebibytesAround, windowFrom, windowsAround } from "../../src/protocol/archive-window.js";
import { isTreeHashAligned } from "../../src/protocol/tree-hash.js";
import { fc } from "../support/seeded-fast-check.js";

const inMib = (windows: Iterable<{ readonly start: number; readonly end: number }>) =>
  [...windows].map(({ start, end }) => [start / MIB, end / MIB]);

test("windows are nodes of the tree, follow each other, and cover the MiBs of a range and no more", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 * MIB }), fc.nat(), fc.nat(), fc.nat({ max: 7 }), (size, a, b, power) => {
      const [start, end] = [a % size, b % size].sort((x, y) => x - y) as [number, number];
      const range = byteRange(start, end + 1);
      const bytesMax = 2 ** power * MIB;
      let position: number = start - (start % MIB);
      for (const window of windowsAround(range, size, bytesMax)) {
        expect(window.start).toBe(position);
        expect(isTreeHashAligned(window, size)).toBe(true);
        expect(window.end - window.start).toBeLessThanOrEqual(bytesMax);
        position = window.end;
      }
      expect(position).toBe(mebibytesAround(range, size).end);
      expect(position - end).toBeLessThanOrEqual(MIB);
    }),
  );
});

test("as few windows as possible are taken", () => {
  expect(inMib(windowsAround(byteRange(0, 24 * MIB), 24 * MIB))).toEqual([[0, 24]]);
  expect(inMib(windowsAround(byteRange(1, 23 * MIB), 24 * MIB))).toEqual([
    [0, 16],
    [16, 20],
    [20, 22],
    [22, 23],
  ]);
  expect(inMib(windowsAround(byteRange(5 * MIB, 24 * MIB - 7), 24 * MIB - 7))).toEqual([
    [5, 6],
    [6, 8],
    [8, 16],
    [16, 24 - 7 / MIB],
  ]);
  expect(inMib(windowsAround(byteRange(0, 8 * MIB), 64 * MIB, 2 * MIB))).toHaveLength(4);
});

test("a window begins where it is told, and what cannot be verified alone is none", () => {
  const limits = { archiveSizeBytes: 100 * MIB, end: 100 * MIB, bytesMax: 16 * MIB };
  expect(inMib([windowFrom(48 * MIB, limits), windowFrom(3 * MIB, limits)])).toEqual([
    [48, 64],
    [3, 4],
  ]);
  expect(() => archiveWindow(byteRange(MIB, 3 * MIB), 100 * MIB)).toThrow(RangeError);
  expect(archiveWindow(byteRange(2 * MIB, 4 * MIB), 100 * MIB)).toEqual({ start: 2 * MIB, end: 4 * MIB });
});
