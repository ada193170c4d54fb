import { expect, test } from "vitest";
import { ServiceError } from "../../src/domain/errors.js";
import type { ContentId } from "../../src/domain/ids.js";
import { deferred } from "../../src/lib/deferred.js";
import { reading, TestVault, vault, writing } from "../support/test-file-system.js";

test("a listing shows no name twice and misses none that stays, while others come and go", async () => {
  await using it = await TestVault.create();
  for (let index = 0; index < 60; index++) await it.mkdir(`stays ${index}`);
  for (let index = 0; index < 30; index++) await it.mkdir(`goes ${index}`);
  for (const name of ["replaced", "made anew"]) await it.write(name, name);
  const seen: string[] = [];
  for (let cookie = 0, page = 0; ; page++) {
    const rows = it.catalog.list(it.root, cookie, 7);
    if (rows.length === 0) break;
    if (rows.some(({ name }) => name === "made anew")) await it.rename("made anew", "replaced");
    seen.push(...rows.map(({ name }) => name));
    cookie = rows.at(-1)!.cookie;
    if (page < 10) await it.mkdir(`new ${page}`);
    if (page < 10) await it.fs.removeDirectory(it.place(`goes ${29 - page}`));
    if (page < 3) await it.fs.removeDirectory(it.place(`stays ${59 - page}`));
  }
  expect(new Set(seen).size).toBe(seen.length);
  for (let index = 0; index < 57; index++) expect(seen).toContain(`stays ${index}`);
});

test("numbers of inodes and contents are never used again", async () => {
  await using it = await TestVault.create();
  await it.write("a", "1");
  const { ino, content } = it.record("a");
  await it.unlink("a");
  await it.fs.forget(ino);
  await it.reopen();
  await it.write("a", "2");
  expect(it.ino("a")).toBeGreaterThan(ino);
  expect(it.record("a").content!.id).toBeGreaterThan(content!.id);
});

async function replacedWhileSealed(it: TestVault): Promise<ContentId> {
  await it.writeArchived("a", "old");
  await it.write("b", "new");
  await it.rename("b", "a");
  expect(it.catalog.deletes.pending()).toEqual([]);
  expect(it.catalog.hasPendingDeletes(vault)).toBe(true);
  return it.record("a").content!.id;
}

async function expectOnly(it: TestVault, ...texts: string[]): Promise<void> {
  await it.until(() => !it.catalog.hasPendingDeletes(vault));
  await it.archiveAll();
  expect(it.archived()).toEqual(texts);
}

test("the archive of an overwritten file waits for its successor", async () => {
  await using it = await TestVault.create();
  await replacedWhileSealed(it);
  await expectOnly(it, "new");
});

test("it waits for the next version when the successor is rewritten", async () => {
  await using it = await TestVault.create();
  const former = await replacedWhileSealed(it);
  await it.write("a", "newer");
  expect(it.record("a").content!.id).not.toBe(former);
  expect(it.catalog.hasPendingDeletes(vault)).toBe(true);
  expect(it.archived()).toEqual(["old"]);
  await expectOnly(it, "newer");
});

test("it waits for the successor's successor when that is overwritten by a rename", async () => {
  await using it = await TestVault.create();
  await replacedWhileSealed(it);
  await it.write("c", "newest");
  await it.rename("c", "a");
  expect(it.archived()).toEqual(["old"]);
  await expectOnly(it, "newest");
});

test("it goes when the successor is removed", async () => {
  await using it = await TestVault.create();
  await replacedWhileSealed(it);
  await it.unlink("a");
  await expectOnly(it);
});

test("it goes when the successor becomes empty", async () => {
  await using it = await TestVault.create();
  await replacedWhileSealed(it);
  await it.write("a", "");
  await expectOnly(it);
});

test("it goes after a crash too, when the successor is archived in the next life", async () => {
  await using it = await TestVault.create();
  await replacedWhileSealed(it);
  await it.reopen();
  await expectOnly(it, "new");
});

test("a file that is removed while its upload is under way leaves no archive", async () => {
  await using it = await TestVault.create();
  const gate = deferred<void>();
  await it.write("a", "text");
  // The service does its work, whatever becomes of the caller.
  it.service.onCall = (operation) => (operation === "uploadArchive" ? gate.promise : undefined);
  await it.until(() => it.service.calls.uploadArchive === 1);
  await it.unlink("a");
  gate.resolve();
  await it.until(() => it.uploads.size === 0);
  await expectOnly(it);
});

test("a lost answer to an upload whose archive an inventory shows first ends in one file", async () => {
  await using it = await TestVault.create();
  it.service.fail({ operation: "uploadArchive", when: "after", error: new ServiceError("connection", "lost") });
  await it.write("a", "text");
  await it.until(() => it.archived().length === 1);
  await it.refreshInventory();
  expect(it.names()).toEqual(["a"]);
  await it.archiveAll();
  expect(it.names()).toEqual(["a"]);
  expect(await it.text("a")).toBe("text");
});

test("the upload journal finds a claimed content again, and not one that is written", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("text"));
  const content = it.record("a").content!.id;
  expect(it.catalog.uploads.claim(content)).toBe(false);
  expect(it.catalog.uploads.pending()).toEqual([]);
  await it.close(handle);
  expect(it.catalog.uploads.find(content)).toMatchObject({ vault, sizeBytes: 4, progress: { step: "sealed" } });
  expect(it.catalog.uploads.claim(content)).toBe(true);
  expect(it.record("a").content!.phase).toBe("claimed");
  await it.catalog.flush();
  expect(it.catalog.uploads.pending()).toHaveLength(1);
  expect(it.catalog.uploads.describe(content)).toMatch(/^casfs\/1 a\?mode=644&mtime=\d+.*&id=[\w-]+&v=1&w=[\w-]+$/);
});

test("a commit that fails leaves vaults as they were, here and in memory", async () => {
  await using it = await TestVault.create();
  const failed = it.catalog.mutate(() => {
    it.catalog.insertVault("half" as typeof vault, "visible", { seconds: 0, nanoseconds: 0 });
    throw new Error("no");
  });
  await expect(failed).rejects.toThrow("no");
  expect(it.catalog.vaults().map(({ name }) => name)).toEqual([vault]);
});

test("two files with the same archive do not lose it with the first of them", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  const reader = await it.open("a", reading);
  await it.fs.link(it.ino("a"), it.place("b"));
  await it.unlink("a");
  await it.close(reader);
  await it.archiveAll();
  expect(it.archived()).toEqual(["text"]);
});

test("the archive of a file that was deleted while the answer got lost is deleted when an inventory shows it", async () => {
  await using it = await TestVault.create();
  it.service.fail({ operation: "uploadArchive", when: "after", error: new ServiceError("connection", "lost") });
  await it.write("a", "text");
  await it.until(() => it.archived().length === 1);
  await it.unlink("a");
  await it.refreshInventory();
  expect(it.names()).toEqual([]);
  await it.until(() => it.archived().length === 0);
});

test("of two archives of one version, made because an answer got lost, the one that nobody uses is deleted", async () => {
  await using it = await TestVault.create();
  it.service.fail({ operation: "uploadArchive", when: "after", error: new ServiceError("connection", "lost") });
  await it.write("a", "text");
  await it.until(() => it.archived().length === 1);
  await it.archiveAll();
  expect(it.archived()).toEqual(["text", "text"]);
  await it.refreshInventory();
  await it.until(() => it.archived().length === 1);
  expect(await it.text("a")).toBe("text");
  await it.evict("a");
  expect(await it.text("a")).toBe("text");
});

test("what a lost answer left of a version that was replaced since is deleted, too, when an inventory shows it", async () => {
  await using it = await TestVault.create();
  it.service.fail({ operation: "uploadArchive", when: "after", error: new ServiceError("connection", "lost") });
  await it.write("a", "first");
  await it.until(() => it.archived().length === 1);
  await it.archiveAll();
  expect(it.archived()).toEqual(["first", "first"]);
  await it.write("a", "second");
  await it.archiveAll();
  await it.until(() => it.archived().length === 2);
  expect(it.archived()).toEqual(["first", "second"]);
  await it.refreshInventory();
  await it.until(() => it.archived().length === 1);
  expect(it.archived()).toEqual(["second"]);
});
