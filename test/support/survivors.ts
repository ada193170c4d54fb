/** What has to be true of a mount that died and was started again: its trees, and in the end its vault. */

import { basename, join, relative } from "node:path";
import { expect } from "vitest";
import { vaultName } from "../../src/domain/ids.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import type { InventoryEntry } from "../../src/restore/ports.js";
import type { KilledMount } from "./killed-mount.js";
import { Interrupted, newsOfDeathMsMax, type PromisedTree } from "./promised-tree.js";

/** A call of the command line to the mount. @throws Interrupted when the mount died instead of answering. */
export async function asking<T>(mount: KilledMount, call: Parameters<typeof mount.control<T>>[0]): Promise<T> {
  try {
    return await mount.control(call);
  } catch (error) {
    const deadline = Date.now() + newsOfDeathMsMax;
    while (!mount.isDead && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
    if (mount.isDead) throw new Interrupted("a question to the mount", { cause: error });
    throw error;
  }
}

const forever = () => new AbortController().signal;

/** Until everything is archived and nothing waits for its deletion in the vault. */
export async function settled(mount: KilledMount): Promise<void> {
  const deadline = Date.now() + 180_000;
  for (;;) {
    // The kernel tells of the end of a file a moment after close() has returned.
    const { left } = await asking(mount, (control) => control.drain({}, forever()));
    const { staged, deletes } = await asking(mount, (control) => control.status());
    if (left.length + staged.files + deletes.pending === 0) return;
    if (Date.now() > deadline) throw new Error(`This does not settle: ${JSON.stringify({ left, staged, deletes })}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * After a start: the trees are what was promised, and only what was being written is marked as interrupted. That is
 * removed, as a person would.
 */
export async function expectPromisesKept(mount: KilledMount, trees: readonly PromisedTree[]): Promise<void> {
  const doubtful = new Map(trees.map((tree) => [tree, tree.inFlight]));
  for (const tree of trees) await tree.check();
  // Before anything is removed: a file whose one name goes still has the others.
  const excused = new Map(trees.map((tree) => [tree, namesOf(tree, doubtful.get(tree)?.paths ?? [])]));
  for (let { suspects } = await status(mount); suspects.length > 0; { suspects } = await status(mount)) {
    for (const { path } of suspects) {
      const full = mount.place.path(path);
      const owner = trees.find((tree) => full.startsWith(`${tree.root}/`));
      const below = owner && relative(owner.root, full);
      const isExcused =
        below !== undefined &&
        excused.get(owner!)!.some((name) => below === name || below.startsWith(`${name} (interrupted`));
      expect(isExcused, `${path} is marked as interrupted, under way was ${doubtful.get(owner!)?.what}`).toBe(true);
      await owner!.discard(below!);
    }
  }
}

/** All names of the files that are called `paths`. */
function namesOf(tree: PromisedTree, paths: readonly string[]): string[] {
  return [...paths, ...tree.paths.filter((path) => paths.some((one) => tree.areSame(one, path)))];
}

const status = (mount: KilledMount) => asking(mount, (control) => control.status());

/**
 * In the end: the vault holds each file once and nothing else, and at most `lostInitiates` uploads that were begun.
 *
 * What a start has sealed after a crash leaves what it replaces in the vault until its next version is archived; so
 * files with such a predecessor are written once more.
 */
export async function expectVaultHolds(
  mount: KilledMount,
  { vault, trees, lostInitiates }: VaultExpectation,
): Promise<void> {
  const [, ...kept] = await surplus(mount, vault, trees);
  if (kept.length > 0) {
    for (const tree of trees) {
      const isMeant = kept.some((description) => treeOf(description) === basename(tree.root));
      for (const { path, bytes } of isMeant ? tree.contents() : []) {
        await tree.write(path, Buffer.concat([bytes, Buffer.from("!")]));
      }
    }
  }
  expect(await surplus(mount, vault, trees)).toEqual(["missing: nothing"]);
  const uploads = await mount.service((service) => service.listMultipartUploads(vaultName(vault), {}));
  expect(uploads.items.length, "uploads that nobody goes on with").toBeLessThanOrEqual(lostInitiates);
}

export interface VaultExpectation {
  readonly vault: string;
  /** Each a directory of its own in the vault. */
  readonly trees: readonly PromisedTree[];
  readonly lostInitiates: number;
}

/** After an inventory: what `comparedWithVault` says. */
async function surplus(mount: KilledMount, vault: string, trees: readonly PromisedTree[]): Promise<string[]> {
  await settled(mount);
  await asking(mount, (control) => control.refreshInventory({ vault, wait: true }, forever()));
  await settled(mount);
  return comparedWithVault(trees, await mount.place.inventory(vault));
}

/**
 * First what the vault lacks, then the descriptions of what it has beyond the files.
 *
 * An archive counts for a file of its own tree only: trees that were made alike have files with the same bytes, and a
 * former version in one of them must not be taken for a file of another.
 */
export function comparedWithVault(
  trees: readonly Pick<PromisedTree, "root" | "contents">[],
  entries: readonly Pick<InventoryEntry, "description" | "treeHash">[],
): string[] {
  const wanted = new Map<string, string[]>();
  for (const tree of trees) {
    const name = basename(tree.root);
    for (const { path, bytes } of tree.contents()) {
      if (bytes.length === 0) continue;
      const key = `${name} ${digestOf(bytes).treeHash}`;
      wanted.set(key, [...(wanted.get(key) ?? []), join(name, path)]);
    }
  }
  const extra = entries.filter(
    ({ description, treeHash }) => wanted.get(`${treeOf(description)} ${treeHash}`)?.pop() === undefined,
  );
  const missing = [...wanted.values()].flat();
  return [`missing: ${missing.join(", ") || "nothing"}`, ...extra.map(({ description }) => description)];
}

/** The tree, a directory at the top of the vault, below which an archive was made. */
function treeOf(description: string): string | undefined {
  return /^casfs\/1 ([^/]*)\//.exec(description)?.[1];
}
