import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { byteRange, MIB, splitRange } from "../../src/domain/bytes.js";
import { parseInclusiveRange } from "../../src/protocol/multipart-wire.js";
import type { TreeHashHex } from "../../src/protocol/service.js";
import {
  combineTreeHashes,
  digestOf,
  isTreeHashAligned,
  LeafHasher,
  sha256Hex,
  subtreeHash,
  TreeHasher,
  treeHashOfLeaves,
} from "../../src/protocol/tree-hash.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";
import { vectors } from "../support/vectors.js";

describe("the tree hash", () => {
  const cases = vectors.tree_hash.cases.filter(({ tree_hash }) => tree_hash !== null);

  test.each(cases.map((vector) => [vector.size, vector] as const))(
    "of %i bytes is the published one",
    (size, vector) => {
      const { leaves, ...digest } = digestOf(testBytes(size));
      expect(digest).toEqual({ sizeBytes: size, sha256: vector.sha256, treeHash: vector.tree_hash });
      expect(leaves).toHaveLength(vector.leaves);
    },
  );

  test("does not depend on how the bytes arrive", () => {
    const bytes = testBytes(3 * MIB + 17);
    const whole = digestOf(bytes);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 2 * MIB }), { maxLength: 8 }), (lengths) => {
        const hasher = new TreeHasher();
        const leafHasher = new LeafHasher();
        let offset = 0;
        for (const length of [...lengths, bytes.length]) {
          hasher.update(bytes.subarray(offset, offset + length));
          leafHasher.update(bytes.subarray(offset, offset + length));
          offset += length;
        }
        expect(hasher.digest()).toEqual(whole);
        const { sha256: _, ...withoutLinear } = whole;
        expect(leafHasher.digest()).toEqual(withoutLinear);
      }),
      { numRuns: 10 },
    );
  });

  test("of nothing is undefined: no leaves are refused, and empty content hashes to nothing that is an archive", () => {
    expect(() => treeHashOfLeaves([])).toThrow(RangeError);
    expect(digestOf(Buffer.alloc(0)).sha256).toBe(createHash("sha256").digest("hex"));
  });

  test("a hash in text is 64 hex digits in any case, and lowercase from then on", () => {
    expect(sha256Hex("AB".repeat(32))).toBe("ab".repeat(32));
    for (const text of ["", "ab".repeat(31), `${"ab".repeat(32)}0`, "zz".repeat(32)]) {
      expect(() => sha256Hex(text)).toThrow(RangeError);
    }
  });
});

describe("parts", () => {
  test.each(vectors.part_combination.cases.map((vector) => [vector.part_size, vector.size, vector] as const))(
    "of %i bytes of %i combine as published",
    (partSize, size, vector) => {
      const bytes = testBytes(size);
      const parts = splitRange(byteRange(0, size), partSize).map(({ start, end }) =>
        digestOf(bytes.subarray(start, end)),
      );
      expect(parts.map(({ treeHash }) => treeHash)).toEqual(vector.parts.map(({ tree_hash }) => tree_hash));
      expect(parts.map(({ sha256 }) => sha256)).toEqual(vector.parts.map(({ sha256 }) => sha256));
      const combined = combineTreeHashes(vector.parts.map(({ tree_hash }) => tree_hash as TreeHashHex));
      expect(combined).toBe(vector.combined_from_parts);
      expect(combined === digestOf(bytes).treeHash).toBe(vector.equal);
    },
  );
});

describe("ranges", () => {
  const leavesBySize = new Map<number, Buffer[]>();
  const leavesOf = (size: number) => {
    const leaves = leavesBySize.get(size) ?? digestOf(testBytes(size)).leaves;
    leavesBySize.set(size, leaves);
    return leaves;
  };

  test.each(vectors.range_alignment.cases.map((vector) => [vector.range, vector.archive_size, vector] as const))(
    "%s of %i bytes is a subtree or not, as published",
    (text, size, vector) => {
      const range = parseInclusiveRange(text);
      expect(isTreeHashAligned(range, size)).toBe(vector.tree_hash_aligned);
      expect(subtreeHash(leavesOf(size), range, size)).toBe(vector.tree_hash_of_range);
    },
  );

  test("the closed form agrees with the extents of the nodes for every tree of up to 40 leaves", () => {
    for (let leafCount = 1; leafCount <= 40; leafCount++) {
      const size = leafCount * MIB - 7;
      const extents = nodeExtents(leafCount);
      for (let first = 0; first < leafCount; first++) {
        for (let last = first; last < leafCount; last++) {
          const range = byteRange(first * MIB, Math.min((last + 1) * MIB, size));
          expect(isTreeHashAligned(range, size)).toBe(extents.has(`${first}-${last}`));
        }
      }
    }
  });
});

/** The leaves each node of a tree covers, built level by level. */
function nodeExtents(leafCount: number): Set<string> {
  let level = Array.from({ length: leafCount }, (_, index) => [index, index] as const);
  const extents = new Set(level.map((extent) => extent.join("-")));
  while (level.length > 1) {
    const next: (readonly [number, number])[] = [];
    for (let index = 0; index < level.length; index += 2) {
      const [first, last] = level[index]!;
      next.push([first, level[index + 1]?.[1] ?? last]);
    }
    level = next;
    for (const extent of level) extents.add(extent.join("-"));
  }
  return extents;
}
