/**
 * A real mount against a model too simple to be wrong, with deaths and new starts among the commands and in their
 * midst. CASFS_MODEL_RUNS says how many sequences (3).
 */

import { mkdir } from "node:fs/promises";
import { relative } from "node:path";
import { describe, test } from "vitest";
import { whyNoMount } from "../support/fuse-environment.js";
import { KilledMount } from "../support/killed-mount.js";
import { PromisedTree, survived } from "../support/promised-tree.js";
import { fc } from "../support/seeded-fast-check.js";
import { asking, expectPromisesKept, expectVaultHolds, settled } from "../support/survivors.js";

const reason = whyNoMount();
const runs = Number(process.env.CASFS_MODEL_RUNS ?? 3);
const vault = "v";

/** One thing to do with the tree; it is left out where it makes no sense. */
interface Step {
  readonly [fc.toStringMethod]: () => string;
  readonly isPossible: (tree: PromisedTree) => boolean;
  readonly run: (tree: PromisedTree, mount: KilledMount) => Promise<void>;
}

const names = ["a", "b", "c", "d/a", "d/b", "e/a"];
const anyName = fc.constantFrom(...names);
const anyDirectory = fc.constantFrom("d", "e");
const anyBytes = fc.uint8Array({ minLength: 1, maxLength: 3000 }).map((bytes) => Buffer.from(bytes));
const anyOffset = fc.nat({ max: 4000 });

const parentOf = (path: string) => (path.includes("/") ? path.slice(0, path.indexOf("/")) : "");
const isFile = (path: string) => (tree: PromisedTree) => tree.files.includes(path);
const mayBeMade = (path: string) => (tree: PromisedTree) => tree.isDirectory(parentOf(path));
const isFree = (path: string) => (tree: PromisedTree) => mayBeMade(path)(tree) && !tree.has(path);

function step(text: string, isPossible: Step["isPossible"], run: Step["run"]): Step {
  return { isPossible, run, [fc.toStringMethod]: () => text };
}

const steps: readonly fc.Arbitrary<Step>[] = [
  fc
    .tuple(anyName, anyBytes, fc.boolean())
    .map(([path, bytes, fsync]) =>
      step(`write ${path}`, mayBeMade(path), (tree) => tree.write(path, bytes, { fsync })),
    ),
  fc
    .tuple(anyName, anyBytes)
    .map(([path, bytes]) => step(`append to ${path}`, isFile(path), (tree) => tree.append(path, bytes))),
  fc
    .tuple(anyName, anyOffset, anyBytes)
    .map(([path, offset, bytes]) =>
      step(`patch ${path} at ${offset}`, isFile(path), (tree) => tree.patch(path, offset, bytes)),
    ),
  fc.tuple(anyName, anyOffset).map(([path, sizeBytes]) =>
    step(`truncate ${path} to ${sizeBytes}`, isFile(path), async (tree) => {
      await tree.read(path); // A cold file is cut only when it was recalled.
      await tree.truncate(path, sizeBytes);
    }),
  ),
  fc.tuple(anyName, anyName).map(([from, to]) =>
    step(
      `rename ${from} to ${to}`,
      (tree) => isFile(from)(tree) && mayBeMade(to)(tree),
      (tree) => tree.rename(from, to),
    ),
  ),
  fc.tuple(anyName, anyName).map(([from, to]) =>
    step(
      `link ${from} as ${to}`,
      (tree) => isFile(from)(tree) && isFree(to)(tree),
      (tree) => tree.link(from, to),
    ),
  ),
  anyName.map((path) => step(`unlink ${path}`, isFile(path), (tree) => tree.unlink(path))),
  fc.tuple(anyName, anyBytes).map(([path, bytes]) =>
    step(`unlink ${path} while it is open`, isFile(path), async (tree) => {
      await tree.read(path);
      await tree.unlinkWhileOpen(path, bytes);
    }),
  ),
  anyDirectory.map((path) => step(`mkdir ${path}`, isFree(path), (tree) => tree.mkdir(path))),
  anyDirectory.map((path) =>
    step(
      `rmdir ${path}`,
      (tree) => tree.has(path) && !tree.paths.some((name) => parentOf(name) === path),
      (tree) => tree.rmdir(path),
    ),
  ),
  anyName.map((path) =>
    step(`archive and evict ${path}`, isFile(path), async (tree, mount) => {
      await settled(mount);
      const place = relative(mount.place.mountpoint, `${tree.root}/${path}`).split("/");
      await asking(mount, (control) => control.evict({ paths: [place] }));
    }),
  ),
  anyName.map((path) => step(`read ${path}`, isFile(path), (tree) => tree.read(path))),
  fc.constant(
    step(
      "die",
      () => true,
      async (_, mount) => mount.kill(),
    ),
  ),
  fc.integer({ min: 1, max: 40 }).map((countdown) =>
    step(
      `die at step ${countdown} from here`,
      () => true,
      (_, mount) => mount.watch({ heading: "model", countdown }),
    ),
  ),
];

describe.skipIf(reason !== undefined)(`a model of the mount${reason ? ` (skipped: ${reason})` : ""}`, () => {
  test(
    "whatever happened before, deaths included, the tree is what was promised",
    async () => {
      await using mount = await KilledMount.make(["--settle", "0s", "--rewrite-interval", "0s", "--no-trash"]);
      await mount.start();
      await mkdir(mount.place.path(vault));
      const trees: PromisedTree[] = [];
      const sequences = fc.array(fc.oneof(...steps), { minLength: 25, maxLength: 25, size: "max" });
      const property = fc.asyncProperty(sequences, async (sequence) => {
        const tree = new PromisedTree(mount.place.path(vault, `run-${trees.length}`), () => mount.isDead);
        await mkdir(tree.root);
        trees.push(tree);
        for (const { isPossible, run } of sequence) {
          const hasDied = isPossible(tree) && !(await survived(() => run(tree, mount)));
          if (hasDied || mount.isDead) await again(mount, tree);
        }
        await mount.watch(undefined);
        if (mount.isDead) await again(mount, tree);
        await tree.check();
      });
      // A sequence that fails is printed; to shrink it would take a start for every death of every attempt.
      await fc.assert(property, { numRuns: runs, endOnFailure: true });
      await expectVaultHolds(mount, { vault, trees, lostInitiates: 0 });
    },
    120_000 + runs * 60_000,
  );
});

async function again(mount: KilledMount, tree: PromisedTree): Promise<void> {
  await mount.kill();
  await mount.start();
  await expectPromisesKept(mount, [tree]);
}
