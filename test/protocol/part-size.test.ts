import { describe, expect, test } from "vitest";
import { byteRange, splitRange } from "../../src/domain/bytes.js";
import { formatInclusiveRange } from "../../src/protocol/multipart-wire.js";
import { uploadPartSize } from "../../src/protocol/part-size.js";
import { vectors } from "../support/vectors.js";

const cases = [...vectors.upload_part_size.cases, ...vectors.upload_part_size_requested.cases];

describe("the part size of an upload", () => {
  test.each(cases.map((vector) => [vector.size_total, vector.requested_part_size, vector] as const))(
    "of %i bytes, asked for parts of %s, is that of the official client",
    (size, requested, vector) => {
      if (vector.error !== undefined) {
        expect(() => uploadPartSize(size, requested)).toThrow(RangeError);
        return;
      }
      const partSizeBytes = uploadPartSize(size, requested);
      expect(partSizeBytes).toBe(vector.part_size);
      expect(Math.ceil(size / partSizeBytes)).toBe(vector.parts);
    },
  );
});

test.each(vectors.calc_ranges.cases.map((vector) => [vector.size_total, vector.part_size, vector.ranges] as const))(
  "%i bytes in pieces of %i are cut as the official client cuts them",
  (size, partSize, ranges) => {
    expect(splitRange(byteRange(0, size), partSize).map(formatInclusiveRange)).toEqual(ranges);
  },
);
