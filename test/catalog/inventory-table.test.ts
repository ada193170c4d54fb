import { expect, test } from "vitest";
import { byteCount } from "../../src/domain/bytes.js";
import { type ArchiveId, vaultName } from "../../src/domain/ids.js";
import type { Instant } from "../../src/domain/time.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import type { InventoryEntry } from "../../src/restore/ports.js";
import { newArchive } from "../support/test-bytes.js";
import { TestVault, vault } from "../support/test-file-system.js";

const own = (path: string, { id = "file", v = 1 } = {}) =>
  `casfs/1 ${path}?mode=640&mtime=1699999999.5&uid=7&gid=8&id=${id}&v=${v}&w=other`;

/** A fresh catalog whose service has a vault of somebody else. */
async function foreign(): Promise<TestVault> {
  const it = await TestVault.createEmpty();
  await it.service.createVault(vault);
  await it.reopen();
  return it;
}

const entry = (archiveId: string, description: string, text = "text"): InventoryEntry => ({
  archiveId: archiveId as ArchiveId,
  description,
  createdAt: 0 as Instant,
  sizeBytes: byteCount(text.length),
  treeHash: digestOf(Buffer.from(text)).treeHash,
});

async function merge(it: TestVault, ...entries: InventoryEntry[]): Promise<void> {
  const run = it.catalog.inventories.beginInventory(vault);
  await run.add(entries);
  await run.merge(it.clock.now());
}

function tree(it: TestVault, directory = it.root, prefix = ""): string[] {
  return it.catalog
    .list(directory, 0, 1000)
    .flatMap(({ name, inode }) =>
      inode.parent === null ? [`${prefix}${name}`] : tree(it, inode.ino, `${prefix}${name}/`),
    )
    .sort();
}

test("a vault is not shown before its first inventory is merged, then at once and whole", async () => {
  await using it = await foreign();
  const run = it.catalog.inventories.beginInventory(vault);
  await run.add(Array.from({ length: 450 }, (_, index) => entry(`archive-${index}`, `d/${index}`)));
  const isHidden = () => {
    expect(() => it.fs.lookup(it.root, "d")).toThrow(expect.objectContaining({ kind: "not-ready" }));
  };
  isHidden();
  const merged = run.merge(it.clock.now());
  isHidden();
  expect(await merged).toMatchObject({ archives: 450 });
  expect(it.names("d")).toHaveLength(450);
});

test("an inventory that is discarded, or cut off by a crash, shows nothing and hinders no later one", async () => {
  await using it = await foreign();
  const run = it.catalog.inventories.beginInventory(vault);
  await run.add([entry("one", "a")]);
  await run.discard();
  await it.catalog.inventories.beginInventory(vault).add([entry("two", "b")]);
  await it.reopen();
  expect(it.catalog.vault(vault)!.visibility).toBe("awaiting-inventory");
  await merge(it, entry("three", "c"));
  expect(tree(it)).toEqual(["c"]);
});

test("a tree comes back from descriptions alone, and reads as it was", async () => {
  await using first = await TestVault.create();
  await first.mkdir("d");
  await first.writeArchived("d/ä b", "content");
  await first.fs.setAttributes(first.ino("d/ä b"), { mode: 0o600 });
  await using it = await foreign();
  const [archive] = first.service.archivesOf(vault);
  await it.service.uploadArchive(vault, newArchive(archive!.bytes, archive!.description));
  await it.refreshInventory();
  expect(tree(it)).toEqual(["d/ä b"]);
  expect(it.stat("d/ä b")).toMatchObject({ sizeBytes: 7, mode: 0o100644, mtime: first.stat("d/ä b").mtime });
  expect(await it.text("d/ä b")).toBe("content");
});

test("attributes come from the description", async () => {
  await using it = await foreign();
  await merge(it, entry("one", own("a")));
  expect(it.stat("a")).toMatchObject({
    mode: 0o100640,
    uid: 7,
    gid: 8,
    mtime: { seconds: 1699999999, nanoseconds: 500_000_000 },
  });
});

test.each([[["a1", "b2"]], [["b1", "a2"]]])(
  "of several versions of a file the highest is the file, in any order: %j",
  async ([low, high]) => {
    await using it = await foreign();
    await merge(it, entry(low!, own("a", { v: 1 }), "low"), entry(high!, own("b", { v: 2 }), "higher"));
    expect(tree(it)).toEqual(["b"]);
    expect(it.stat("b").sizeBytes).toBe(6);
    await merge(it, entry(low!, own("a", { v: 1 }), "low"), entry(high!, own("b", { v: 2 }), "higher"));
    expect(tree(it)).toEqual(["b"]);
  },
);

test("known archives never move: a renamed file keeps its name here", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  await it.rename("a", "b");
  await it.refreshInventory();
  expect(tree(it)).toEqual(["b"]);
  await it.write("b", "changed");
  await it.refreshInventory();
  expect(tree(it)).toEqual(["b"]);
  expect(await it.text("b")).toBe("changed");
});

test("a deleted archive does not come back from an older inventory", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  const [archive] = it.service.archivesOf(vault);
  await it.unlink("a");
  await it.archiveAll();
  await merge(it, entry(archive!.archiveId, archive!.description));
  expect(tree(it)).toEqual([]);
});

test("hostile descriptions stay inside the vault", async () => {
  await using it = await foreign();
  const hostile = [
    "../../etc/passwd",
    "/etc/shadow",
    "a/../../b",
    "..",
    ".",
    "",
    "///",
    "x\u0000y/z",
    "casfs/1 ../up?mode=644",
    own("%2e%2e/c"),
    own("a%2Fb"),
    `${"n".repeat(900)}/x`,
  ];
  await merge(it, ...hostile.map((description, index) => entry(`archive${index}`, description)));
  for (const path of tree(it)) {
    for (const name of path.split("/")) {
      expect([".", "..", ""]).not.toContain(name);
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
      expect(name).not.toMatch(/\0/);
    }
  }
  expect(tree(it)).toHaveLength(hostile.length);
  expect(it.catalog.vaults()).toHaveLength(1);
  expect(it.catalog.list(1 as typeof it.root, 0, 10).map(({ name }) => name)).toEqual([vault]);
});

test("a name that is taken gets the beginning of the archive's id; nothing is hidden", async () => {
  await using it = await foreign();
  await merge(
    it,
    entry("aaaaaaaaaa1", "same"),
    entry("bbbbbbbbbb2", "same"),
    entry("cccccccccc3", "same/below"),
    entry("dddddddddd4", "dir/below"),
    entry("eeeeeeeeee5", "dir"),
  );
  expect(tree(it)).toEqual(["dir (eeeeeeee)", "dir/below", "same", "same (bbbbbbbb)", "same (directory)/below"]);
});

test("even when every suffix of a name is taken on purpose, the inventory lands", async () => {
  await using it = await foreign();
  const id = "zzzzzzzzzzzz";
  const taken = ["same", "same (zzzzzzzz)", `same (${id})`];
  await merge(it, ...taken.map((name, index) => entry(`a${index}`, name)), entry(id, "same"));
  expect(tree(it)).toHaveLength(4);
});

test("descriptions of other tools become paths when they look like one, else the archive id is the name", async () => {
  await using it = await foreign();
  await merge(
    it,
    entry("one", "backup/2020.tar"),
    entry("two", "a sentence about it"),
    entry("three", ""),
    entry("four", '{"json": 1}'),
  );
  expect(tree(it)).toEqual(["backup/2020.tar", "four", "three", "two"]);
});

test("a format that this casfs does not know is listed, and unreadable", async () => {
  await using it = await foreign();
  await merge(it, entry("one", "casfs/7 a?x=1"), entry("two", `${own("b")}&x-packed=3`));
  expect(tree(it)).toEqual(["one", "two"]);
  await expect(it.text("one")).rejects.toMatchObject({ kind: "corrupt" });
  await expect(it.text("two")).rejects.toMatchObject({ kind: "corrupt" });
});

test("vaults are apart: a description of one does not touch the other", async () => {
  await using it = await foreign();
  const other = vaultName("other");
  await it.service.createVault(other);
  await it.reopen();
  await merge(it, entry("one", own("a", { v: 2 })));
  const run = it.catalog.inventories.beginInventory(other);
  await run.add([entry("two", own("a", { v: 1 }))]);
  await run.merge(it.clock.now());
  expect(tree(it)).toEqual(["a"]);
  expect(tree(it, it.catalog.vault(other)!.ino)).toEqual(["a"]);
});

test("subdirectories that an inventory makes are counted", async () => {
  await using it = await foreign();
  await merge(it, entry("one", "a/b/c"), entry("two", "a/d/e"));
  expect(it.stat("a").nlink).toBe(4);
  expect(it.fs.attributes(it.root).nlink).toBe(3);
});

test("of several archives that claim a name the newest has it: the others were overwritten or moved away", async () => {
  await using it = await foreign();
  const at = (ms: number, made: InventoryEntry): InventoryEntry => ({ ...made, createdAt: ms as Instant });
  await merge(
    it,
    at(1, entry("aaaaaaaaaa1", own("log", { id: "one" }))),
    at(3, entry("mmmmmmmmmm2", own("log", { id: "two" }))),
    at(2, entry("zzzzzzzzzz3", own("log", { id: "three" }))),
  );
  expect(tree(it)).toEqual(["log", "log (aaaaaaaa)", "log (zzzzzzzz)"]);
  const newest = it.catalog.lookup(it.root, "log")?.content?.archive;
  expect(it.catalog.archive(newest!)?.id).toBe("mmmmmmmmmm2");
});
