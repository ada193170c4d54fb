/**
 * A directory that is far larger than a page, filled directly. CASFS_LARGE_DIRECTORY has the number of its entries where
 * it is to be another than that of the suite.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Catalog } from "../../src/catalog/catalog.js";
import { type InodeNumber, rootIno, vaultName } from "../../src/domain/ids.js";
import { fileTime } from "../../src/domain/time.js";
import { typeRegular } from "../../src/vfs/attributes.js";
import { FakeClock } from "../support/fake-clock.js";
import { fillDirectory } from "../support/filled-directory.js";

const entries = Number(process.env.CASFS_LARGE_DIRECTORY ?? 20_000);
const pageRows = 204;
const vault = vaultName("photos");
const time = fileTime(1_700_000_000_000 as never);

let directory: string;
let catalog: Catalog;
let parent: InodeNumber;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "casfs-large-"));
  catalog = await opened();
  parent = await catalog.mutate(() => catalog.insertVault(vault, "visible", time));
  await catalog.close();
  fillDirectory(join(directory, "catalog.db"), { directory: parent, entries });
  catalog = await opened();
}, 120_000);

afterAll(async () => {
  await catalog.close();
  rmSync(directory, { recursive: true });
});

function opened(): Promise<Catalog> {
  return Catalog.open({
    path: join(directory, "catalog.db"),
    binding: { endpoint: "memory", appId: "1", region: "here" },
    bootId: "boot",
    clock: new FakeClock(),
    treeDefaults: { fileMode: 0o644, directoryMode: 0o755, uid: 0, gid: 0 },
    trash: false,
    minimumStorageDays: 90,
  });
}

function rows(cookie: number): { readonly name: string; readonly cookie: number }[] {
  return catalog.list(parent, cookie, pageRows);
}

function names(cookie: number): { readonly name: string; readonly cookie: number }[] {
  const page: { name: string; cookie: number }[] = [];
  catalog.listNames(parent, cookie, pageRows, (name, at) => page.push({ name, cookie: at }) > 0);
  return page;
}

async function make(name: string): Promise<void> {
  const file = { vault, mode: typeRegular | 0o644, nlink: 1, uid: 0, gid: 0, time };
  await catalog.mutate(() => catalog.insertEntry(parent, name, catalog.insertInode(file)));
}

test.each([
  ["with attributes", rows],
  ["of names", names],
])(
  "a large directory lists page by page (%s), no entry twice and none missed, while others come and go",
  async (how, page) => {
    const seen: string[] = [];
    const removed = new Set<string>();
    const remove = (name: string) => {
      removed.add(name);
      return catalog.mutate(() => catalog.removeEntry(parent, name));
    };
    for (let cookie = 0, turn = 0; ; turn++) {
      const found = page(cookie);
      expect(found.length).toBeLessThanOrEqual(pageRows);
      if (found.length === 0) break;
      seen.push(...found.map(({ name }) => name));
      cookie = found.at(-1)!.cookie;
      if (turn >= 50) continue;
      await make(`${how} new ${turn}`);
      // The one where the listing goes on, one that it has passed, and one of those to come.
      await remove(found.at(-1)!.name);
      await remove(found[1]!.name);
      await remove(`file-${entries - 1 - turn - (how === "of names" ? 1000 : 0)}`);
    }
    expect(new Set(seen).size).toBe(seen.length);
    const listed = new Set(seen);
    const stayed = page === rows ? all().filter((name) => !removed.has(name)) : present();
    expect(stayed.filter((name) => !listed.has(name))).toEqual([]);
    expect(listed.has(`${how} new 0`)).toBe(true);
  },
  120_000,
);

function all(): string[] {
  return Array.from({ length: entries }, (_, index) => `file-${index}`);
}

/** Of the first names, those that are still there. */
function present(): string[] {
  return all().filter((name) => catalog.lookup(parent, name) !== undefined);
}

test("names and rows of a directory are the same, in the same order", () => {
  expect(names(0)).toEqual(rows(0).map(({ name, cookie }) => ({ name, cookie })));
  expect(catalog.inode(rootIno)).toBeDefined();
});

test("a row has the values of its inode, and a name with quotes and other letters is as it was made", async () => {
  const name = `"quoted" \\ and é文 \u0001\n'`;
  await make(name);
  const row = catalog.list(parent, 0, entries + 1000).find((entry) => entry.name === name)!;
  expect(row.inode).toEqual(catalog.lookup(parent, name));
  const archived = catalog.list(parent, 0, 1)[0]!;
  expect(archived.inode).toEqual(catalog.lookup(parent, archived.name));
  expect(archived.inode.content).toMatchObject({ phase: "archived", version: 1, interrupted: false });
});
