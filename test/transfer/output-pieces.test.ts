import { expect, test } from "vitest";
import { byteRange, MIB, rangeLength } from "../../src/domain/bytes.js";
import { archiveSizeBytesMax, partCountMax } from "../../src/protocol/limits.js";
import { combineTreeHashes, digestOf, isTreeHashAligned } from "../../src/protocol/tree-hash.js";
import { areCombinable, isSubtreeOfArchive, outputPieces, usablePieceBytes } from "../../src/transfer/output-pieces.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";

/** An archive, a subtree of it that a job retrieved, and a range of that output; all in bytes of the archive. */
const wantedRanges = fc
  .record({
    leaves: fc.integer({ min: 1, max: 300 }),
    tail: fc.integer({ min: 1, max: MIB }),
    height: fc.integer({ min: 0, max: 9 }),
    picks: fc.tuple(fc.nat(), fc.nat(), fc.nat()),
    aligned: fc.boolean(),
  })
  .map(({ leaves, tail, height, picks, aligned }) => {
    const archiveSizeBytes = (leaves - 1) * MIB + tail;
    const node = MIB * 2 ** height;
    const jobStart = node * (picks[0] % Math.ceil(archiveSizeBytes / node));
    const jobEnd = Math.min(archiveSizeBytes, jobStart + node);
    const unit = aligned ? MIB : 1;
    const from = unit * (picks[1] % Math.ceil((jobEnd - jobStart) / unit));
    const left = jobEnd - jobStart - from;
    const until = Math.min(from + left, from + unit * (1 + (picks[2] % Math.ceil(left / unit))));
    return {
      job: byteRange(jobStart, jobEnd),
      archiveSizeBytes,
      start: jobStart + from,
      end: jobStart + until,
      aligned,
    };
  });

test("pieces follow each other, cover the range and are not larger than asked for", () => {
  fc.assert(
    fc.property(wantedRanges, fc.integer({ min: 0, max: 6 }), fc.boolean(), (wanted, power, hasHashes) => {
      const range = byteRange(0, wanted.end - wanted.start);
      const place = hasHashes ? { start: wanted.start, archiveSizeBytes: wanted.archiveSizeBytes } : null;
      const pieces = outputPieces(range, MIB * 2 ** power, place);
      let reached = 0;
      for (const { start, end } of pieces) {
        expect(start).toBe(reached);
        expect(end - start).toBeGreaterThan(0);
        expect(end - start).toBeLessThanOrEqual(MIB * 2 ** power);
        reached = end;
      }
      expect(reached).toBe(range.end);
    }),
  );
});

test("every piece of a range in whole MiB is a subtree that the service gives a hash of", () => {
  fc.assert(
    fc.property(wantedRanges, fc.integer({ min: 0, max: 6 }), (wanted, power) => {
      fc.pre(wanted.aligned);
      expect(isTreeHashAligned(wanted.job, wanted.archiveSizeBytes)).toBe(true);
      const place = { start: wanted.start, archiveSizeBytes: wanted.archiveSizeBytes };
      const pieces = outputPieces(byteRange(0, wanted.end - wanted.start), MIB * 2 ** power, place);
      expect(pieces.filter((piece) => !isSubtreeOfArchive(piece, place))).toEqual([]);
    }),
  );
});

test("pieces that are said to combine do combine to the tree hash of all their bytes", () => {
  const bytes = testBytes(7 * MIB + 5);
  const hashOf = (start: number, end: number) => digestOf(bytes.subarray(start, end)).treeHash;
  for (const pieceBytes of [MIB, 2 * MIB, 4 * MIB, 8 * MIB]) {
    const place = { start: 0, archiveSizeBytes: bytes.length };
    const pieces = outputPieces(byteRange(0, bytes.length), pieceBytes, place);
    expect(areCombinable(pieces)).toBe(true);
    const combined = combineTreeHashes(pieces.map(({ start, end }) => hashOf(start, end)));
    expect(combined).toBe(hashOf(0, bytes.length));
  }
  const uneven = [byteRange(0, MIB), byteRange(MIB, 3 * MIB), byteRange(3 * MIB, 4 * MIB)];
  expect(areCombinable(uneven)).toBe(false);
  expect(areCombinable([byteRange(0, 3 * MIB), byteRange(3 * MIB, 4 * MIB)])).toBe(false);
  expect(areCombinable([byteRange(0, MIB), byteRange(MIB, 3 * MIB)])).toBe(false);
});

test("the largest archive is fetched in at most 10,000 pieces of a power of two MiB", () => {
  expect(usablePieceBytes(100 * MIB, 32 * MIB)).toBe(32 * MIB);
  expect(usablePieceBytes(100 * MIB, 48 * MIB)).toBe(32 * MIB);
  expect(usablePieceBytes(100 * MIB, 1)).toBe(MIB);
  const pieceBytes = usablePieceBytes(archiveSizeBytesMax, 32 * MIB);
  expect(Math.ceil(archiveSizeBytesMax / pieceBytes)).toBeLessThanOrEqual(partCountMax);
  expect(rangeLength(byteRange(0, pieceBytes)) / MIB).toBe(4096);
});
