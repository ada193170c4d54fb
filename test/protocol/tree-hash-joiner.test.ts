import { expect, test } from "vitest";
import { digestOf, treeHashOfLeaves } from "../../src/protocol/tree-hash.js";
import { TreeHashJoiner } from "../../src/protocol/tree-hash-joiner.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";

const leaves = Array.from({ length: 100 }, (_, index) => digestOf(testBytes(10, index)).leaves[0]!);

/** The level of a node that may begin at `start` and holds up to `wanted` leaves of the `left` that remain. */
function levelAt(start: number, wanted: number, left: number): number {
  let level = 0;
  while (start % 2 ** (level + 1) === 0 && 2 ** (level + 1) <= wanted && 2 ** level < left) level += 1;
  return level;
}

test("however a run is cut into nodes, its tree hash is that of its leaves", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 64 })),
      (count, wishes) => {
        const joiner = new TreeHashJoiner();
        for (let start = 0; start < count; ) {
          const level = levelAt(start, wishes.next().value, count - start);
          const node = leaves.slice(start, Math.min(start + 2 ** level, count));
          joiner.add(Buffer.from(treeHashOfLeaves(node), "hex"), level);
          start += node.length;
        }
        expect(joiner.root()).toBe(treeHashOfLeaves(leaves.slice(0, count)));
      },
    ),
  );
});

test("the tree hash of nothing is refused", () => {
  expect(new TreeHashJoiner().isEmpty).toBe(true);
  expect(() => new TreeHashJoiner().root()).toThrow(RangeError);
});
