import { describe, expect, test } from "vitest";
import { GIB, MIB, TIB } from "../../src/domain/bytes.js";
import { archiveSizeBytesMax } from "../../src/protocol/limits.js";
import { partCount, partRanges, planParts, planStream } from "../../src/upload/part-plan.js";
import { fc } from "../support/seeded-fast-check.js";

const options = { multipartThresholdBytes: 100 * MIB, partSizeBytes: 16 * MIB };

test("up to the threshold one request, above it parts of 16 MiB", () => {
  expect(planParts(1, options)).toEqual({ kind: "single" });
  expect(planParts(100 * MIB, options)).toEqual({ kind: "single" });
  expect(planParts(100 * MIB + 1, options)).toEqual({ kind: "multipart", partSizeBytes: 16 * MIB, partCount: 7 });
});

test("a threshold above what one request can carry does not count", () => {
  expect(planParts(5 * GIB, { ...options, multipartThresholdBytes: 100 * GIB }).kind).toBe("multipart");
});

test("every plan has a power of two MiB as part size and at most 10,000 parts", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: archiveSizeBytesMax }),
      fc.integer({ min: 1, max: 8 * GIB }),
      fc.integer({ min: 1, max: 8 * GIB }),
      (sizeBytes, multipartThresholdBytes, partSizeBytes) => {
        const plan = planParts(sizeBytes, { multipartThresholdBytes, partSizeBytes });
        if (plan.kind === "single") return;
        expect(Number.isInteger(Math.log2(plan.partSizeBytes / MIB))).toBe(true);
        expect(plan.partSizeBytes).toBeLessThanOrEqual(4 * GIB);
        expect(plan.partCount).toBeLessThanOrEqual(10_000);
        expect(plan.partCount).toBe(partCount(sizeBytes, plan.partSizeBytes));
      },
    ),
  );
});

test("an archive that is too large is refused", () => {
  expect(() => planParts(archiveSizeBytesMax + 1, options)).toThrow(RangeError);
});

test("the ranges cover the content without gap or overlap", () => {
  expect([...partRanges(35, 16)]).toEqual([
    { start: 0, end: 16 },
    { start: 16, end: 32 },
    { start: 32, end: 35 },
  ]);
});

describe("a file of unknown size", () => {
  const plan = (stagingBytes: number | null, sizeBytesMax: number, thresholdBytes?: number) =>
    planStream({ stagingBytes, sizeBytesMax, thresholdBytes });

  test("has the smallest parts of which 10,000 are enough", () => {
    expect(plan(null, 4 * TIB)).toMatchObject({ partSizeBytes: 512 * MIB, sizeBytesMax: 4 * TIB });
    expect(plan(null, 10_000 * MIB)).toMatchObject({ partSizeBytes: MIB });
    expect(plan(null, 10_000 * MIB + 1)).toMatchObject({ partSizeBytes: 2 * MIB });
    expect(plan(null, archiveSizeBytesMax)).toMatchObject({
      partSizeBytes: 4 * GIB,
      sizeBytesMax: archiveSizeBytesMax,
    });
  });

  test("has parts of which two fit into staging, and is smaller for it", () => {
    expect(plan(GIB, 4 * TIB)).toMatchObject({ partSizeBytes: 512 * MIB, sizeBytesMax: 4 * TIB });
    expect(plan(GIB - 1, 4 * TIB)).toMatchObject({ partSizeBytes: 256 * MIB, sizeBytesMax: 10_000 * 256 * MIB });
    expect(plan(2 * MIB - 1, 4 * TIB)).toBeUndefined();
  });

  test("begins at half of staging, and without a limit only when there is no room", () => {
    expect(plan(GIB, 4 * TIB)?.thresholdBytes).toBe(GIB / 2);
    expect(plan(null, 4 * TIB)?.thresholdBytes).toBe(Number.POSITIVE_INFINITY);
    expect(plan(GIB, 4 * TIB, 7)?.thresholdBytes).toBe(7);
  });
});
