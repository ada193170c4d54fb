import fc from "fast-check";
import { expect, test } from "vitest";
import { GIB, MIB } from "../../src/domain/bytes.js";
import { archiveSizeBytesMax } from "../../src/protocol/limits.js";
import { partCount, partRanges, planParts } from "../../src/upload/part-plan.js";

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
