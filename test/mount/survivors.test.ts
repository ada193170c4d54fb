/** What the crash tests make of a vault's inventory: a wrong judgement there would fail by chance. */

import { expect, test } from "vitest";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { comparedWithVault } from "../support/survivors.js";

const old = Buffer.from("as it was first");
const rewritten = Buffer.from("rewritten");
const tree = (name: string, bytes: Buffer) => ({ root: `/mnt/v/${name}`, contents: () => [{ path: "a", bytes }] });
const archive = (tree: string, version: number, bytes: Buffer) => ({
  description: `casfs/1 ${tree}/a?id=${tree}&v=${version}`,
  treeHash: digestOf(bytes).treeHash,
});

test("a former version is surplus in its own tree, though a file of another tree has the same bytes", () => {
  const trees = [tree("change-1", old), tree("change-9", rewritten)];
  const inventory = [archive("change-9", 1, old), archive("change-9", 2, rewritten), archive("change-1", 1, old)];
  expect(comparedWithVault(trees, inventory)).toEqual(["missing: nothing", "casfs/1 change-9/a?id=change-9&v=1"]);
});

test("what only another tree has the bytes of is missing, and a twin is surplus", () => {
  const trees = [tree("change-1", old), tree("change-9", old)];
  const inventory = [archive("change-9", 1, old), archive("change-9", 1, old)];
  expect(comparedWithVault(trees, inventory)).toEqual(["missing: change-1/a", "casfs/1 change-9/a?id=change-9&v=1"]);
});
