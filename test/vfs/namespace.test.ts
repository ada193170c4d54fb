import { expect, test } from "vitest";
import { rootIno, vaultName } from "../../src/domain/ids.js";
import { deferred } from "../../src/lib/deferred.js";
import { newArchive, testBytes } from "../support/test-bytes.js";
import { caller, TestVault, vault } from "../support/test-file-system.js";

const kind = (name: string) => ({ kind: name });

test("directories count their subdirectories in nlink, wherever those are moved", async () => {
  await using it = await TestVault.create();
  const links = () => ["d", "e"].map((name) => it.stat(name).nlink);
  await it.mkdir("d");
  await it.mkdir("e");
  await it.mkdir("d/one");
  await it.mkdir("d/two");
  expect(links()).toEqual([4, 2]);
  await it.rename("d/one", "e/one");
  expect(links()).toEqual([3, 3]);
  expect(it.fs.parentOf(it.ino("e/one"))).toBe(it.ino("e"));
  await it.rename("d/two", "e/one");
  expect(links()).toEqual([2, 3]);
  await it.mkdir("d/x");
  await it.write("e/file", "");
  await it.rename("d/x", "e/file", "exchange");
  expect(links()).toEqual([2, 4]);
  await it.fs.removeDirectory(it.place("e/one"));
  expect(links()).toEqual([2, 3]);
  expect(it.fs.attributes(it.root).nlink).toBe(4);
});

test("rename replaces a file, keeps its inode, and an upload that settles takes the new name along", async () => {
  await using it = await TestVault.create();
  await it.write(".a.X1", "new");
  await it.write("a", "old");
  const ino = it.ino(".a.X1");
  await it.rename(".a.X1", "a");
  expect(it.ino("a")).toBe(ino);
  await it.archiveAll();
  expect(it.service.archivesOf(vault).map(({ description }) => description.split("?")[0])).toEqual(["casfs/1 a"]);
  await it.mkdir("d");
  await it.rename("a", "d/b");
  await it.archiveAll();
  expect(it.service.calls.uploadArchive).toBe(1);
});

test("rename onto another name of the same file does nothing", async () => {
  await using it = await TestVault.create();
  await it.write("a", "text");
  await it.fs.link(it.ino("a"), it.place("b"));
  await it.rename("a", "b");
  expect(it.names().sort()).toEqual(["a", "b"]);
  expect(it.stat("a").nlink).toBe(2);
});

test("rename refuses what POSIX refuses", async () => {
  await using it = await TestVault.create();
  await it.write("file", "1");
  await it.mkdir("empty");
  await it.mkdir("full");
  await it.write("full/x", "2");
  await expect(it.rename("absent", "file")).rejects.toMatchObject(kind("not-found"));
  await expect(it.rename("file", "empty")).rejects.toMatchObject(kind("is-a-directory"));
  await expect(it.rename("empty", "file")).rejects.toMatchObject(kind("not-a-directory"));
  await expect(it.rename("empty", "full")).rejects.toMatchObject(kind("not-empty"));
  await expect(it.rename("file", "empty", "no-replace")).rejects.toMatchObject(kind("exists"));
  await expect(it.rename("file", "absent", "exchange")).rejects.toMatchObject(kind("not-found"));
  await it.rename("full", "empty");
  expect(await it.text("empty/x")).toBe("2");
});

test("exchange swaps two names, and neither archive is deleted", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "A");
  await it.writeArchived("b", "B");
  await it.rename("a", "b", "exchange");
  await it.archiveAll();
  expect([await it.text("a"), await it.text("b")]).toEqual(["B", "A"]);
  expect(it.archived()).toEqual(["A", "B"]);
});

test("nothing moves or is linked across vaults, and only vaults are in the root", async () => {
  await using it = await TestVault.create();
  const other = await it.fs.makeDirectory({ parent: rootIno, name: "other" }, 0o755, caller);
  await it.write("a", "text");
  const elsewhere = { parent: other.ino, name: "a" };
  await expect(it.fs.rename(it.place("a"), elsewhere, "replace")).rejects.toMatchObject(kind("cross-vault"));
  await expect(it.fs.link(it.ino("a"), elsewhere)).rejects.toMatchObject(kind("cross-vault"));
  const inRoot = { parent: rootIno, name: "a" };
  await expect(it.fs.rename(it.place("a"), inRoot, "replace")).rejects.toMatchObject(kind("not-permitted"));
  await expect(
    it.fs.create(inRoot, 0o644, { write: true, append: false, truncate: false, nonBlock: false }, caller),
  ).rejects.toMatchObject(kind("not-permitted"));
  const moved = it.fs.rename({ parent: rootIno, name: "other" }, { parent: rootIno, name: "new" }, "replace");
  await expect(moved).rejects.toMatchObject(kind("not-permitted"));
});

test("making and removing refuse what POSIX refuses", async () => {
  await using it = await TestVault.create();
  await it.mkdir("d");
  await it.write("f", "1");
  await expect(it.mkdir("f")).rejects.toMatchObject(kind("exists"));
  await expect(it.unlink("d")).rejects.toMatchObject(kind("is-a-directory"));
  await expect(it.fs.removeDirectory(it.place("f"))).rejects.toMatchObject(kind("not-a-directory"));
  await expect(it.unlink("absent")).rejects.toMatchObject(kind("not-found"));
  await expect(it.fs.link(it.ino("d"), it.place("g"))).rejects.toMatchObject(kind("not-permitted"));
  await expect(it.mkdir("x".repeat(256))).rejects.toMatchObject(kind("name-too-long"));
  expect(it.fs.lookup(it.root, "absent")).toBeUndefined();
  const gone = it.ino("d");
  await it.fs.removeDirectory(it.place("d"));
  await expect(it.fs.makeDirectory({ parent: gone, name: "x" }, 0o755, caller)).rejects.toMatchObject(
    kind("not-found"),
  );
});

test("a symbolic link keeps its target, and a set-group-id directory gives its group on", async () => {
  await using it = await TestVault.create();
  await it.fs.symlink(it.place("l"), "../ä target", caller);
  expect(it.fs.readLink(it.ino("l"))).toBe("../ä target");
  expect(it.stat("l").sizeBytes).toBe(Buffer.byteLength("../ä target"));
  await it.mkdir("d");
  await it.fs.setAttributes(it.ino("d"), { gid: 77, mode: 0o2755 });
  await it.mkdir("d/e");
  expect(it.stat("d/e")).toMatchObject({ gid: 77, mode: 0o042755 });
});

test("chown drops set-user-id, and times of a file are kept to the nanosecond", async () => {
  await using it = await TestVault.create();
  await it.write("a", "text");
  await it.fs.setAttributes(it.ino("a"), { mode: 0o4755 });
  await it.fs.setAttributes(it.ino("a"), { uid: 5 });
  expect(it.stat("a")).toMatchObject({ mode: 0o100755, uid: 5 });
  const mtime = { seconds: -5, nanoseconds: 999_999_999 };
  await it.fs.setAttributes(it.ino("a"), { mtime, atime: mtime });
  await it.reopen();
  expect(it.stat("a")).toMatchObject({ mtime, atime: mtime });
});

test("mkdir of a vault refuses names that start with a dot (EPERM) and names that CAS does not allow (EINVAL)", async () => {
  await using it = await TestVault.create();
  const make = (name: string) => it.fs.makeDirectory({ parent: rootIno, name }, 0o755, caller);
  await expect(make(".Trash-1000")).rejects.toMatchObject(kind("not-permitted"));
  await expect(make("with space")).rejects.toMatchObject(kind("invalid"));
  await expect(make("photos")).rejects.toMatchObject(kind("exists"));
  expect(it.service.calls.createVault).toBe(1);
});

test("a vault that exists in the service is not shown as empty: mkdir says EEXIST, and its inventory comes first", async () => {
  await using it = await TestVault.create();
  await it.service.createVault(vaultName("found"));
  const make = it.fs.makeDirectory({ parent: rootIno, name: "found" }, 0o755, caller);
  await expect(make).rejects.toMatchObject(kind("exists"));
  const { ino } = it.catalog.vault(vaultName("found"))!;
  expect(() => it.fs.lookup(ino, "x")).toThrow(expect.objectContaining(kind("not-ready")));
  expect(() => it.fs.requireListable(ino)).toThrow(expect.objectContaining(kind("not-ready")));
  await expect(it.fs.makeDirectory({ parent: ino, name: "x" }, 0o755, caller)).rejects.toMatchObject(kind("not-ready"));
  await it.until(() => it.catalog.vault(vaultName("found"))!.visibility === "visible");
  expect(it.fs.lookup(ino, "x")).toBeUndefined();
});

test("with --partial-tree a vault is shown before, and what is made in it meanwhile keeps its name", async () => {
  await using it = await TestVault.create({ settings: { partialTree: true } });
  const found = vaultName("found");
  await it.service.createVault(found);
  await it.service.uploadArchive(found, newArchive(testBytes(100), "a"));
  const landing = deferred<void>();
  it.service.onCall = async (operation) => {
    if (operation === "getJobOutput") await landing.promise;
  };
  const make = it.fs.makeDirectory({ parent: rootIno, name: "found" }, 0o755, caller);
  await expect(make).rejects.toMatchObject(kind("exists"));
  const { ino } = it.catalog.vault(found)!;
  const names = () => it.fs.list(ino, 0, 10).map(({ name }) => name);
  expect(names()).toEqual([]);
  const mine = await it.fs.makeDirectory({ parent: ino, name: "a" }, 0o755, caller);
  landing.resolve();
  await it.until(() => it.catalog.vault(found)!.visibility === "visible");
  expect(it.fs.lookup(ino, "a")?.ino).toBe(mine.ino);
  expect(names()).toEqual(["a", expect.stringMatching(/^a \(.{8}\)$/)]);
});

test("mkdir of a vault gives up after ten seconds, and makes no directory", async () => {
  await using it = await TestVault.create();
  it.service.onCall = () => new Promise(() => {});
  const made = expect(it.fs.makeDirectory({ parent: rootIno, name: "slow" }, 0o755, caller)).rejects.toMatchObject({
    fault: "timeout",
  });
  await it.clock.advance(10_000);
  await made;
  expect(it.fs.lookup(rootIno, "slow")).toBeUndefined();
});

test("rmdir of a vault: ENOTEMPTY while it has files here or archives there, else it is gone in the service too", async () => {
  await using it = await TestVault.create();
  const remove = () => it.fs.removeDirectory({ parent: rootIno, name: vault });
  await it.writeArchived("a", "text");
  await expect(remove()).rejects.toMatchObject(kind("not-empty"));
  await it.unlink("a");
  const removed = remove(); // Waits for the deletion of the archive.
  await it.until(() => it.fs.lookup(rootIno, vault) === undefined);
  await removed;
  expect((await it.service.listVaults()).items).toEqual([]);
  await it.service.createVault(vault);
  await it.fs.makeDirectory({ parent: rootIno, name: "other" }, 0o755, caller);
  expect(it.fs.attributes(rootIno).nlink).toBe(3);
});

test("rmdir of a vault is refused while the service holds archives that the catalog does not know", async () => {
  await using it = await TestVault.create();
  const { newArchive } = await import("../support/test-bytes.js");
  await it.service.uploadArchive(vault, newArchive(Buffer.from("foreign")));
  await expect(it.fs.removeDirectory({ parent: rootIno, name: vault })).rejects.toMatchObject(kind("not-empty"));
  expect(it.fs.lookup(rootIno, vault)).toBeDefined();
});

test("a vault removed while an unlinked file of it is open leaves nothing that could hinder the next start", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  const handle = await it.open("a", { write: false, append: false, truncate: false, nonBlock: false });
  await it.unlink("a");
  await it.archiveAll();
  await it.fs.removeDirectory({ parent: rootIno, name: vault });
  expect((await it.pread(handle, 0, 10)).toString()).toBe("text");
  await it.close(handle);
  await it.reopen();
  expect(it.catalog.vaults()).toEqual([]);
  expect(it.catalog.orphans()).toEqual([]);
});

test("extended attributes are stored, listed and removed; those of casfs are computed and never listed", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "text");
  const xattrs = it.fs.extendedAttributes;
  const set = (name: string, value: string, mode: "any" | "create" | "replace" = "any") =>
    xattrs.set(it.record("a"), name, Buffer.from(value), mode);
  await set("user.b", "1");
  await set("user.a", "");
  await expect(set("user.a", "2", "create")).rejects.toMatchObject(kind("exists"));
  await expect(set("user.c", "2", "replace")).rejects.toMatchObject(kind("no-attribute"));
  await expect(set("system.posix_acl_access", "2")).rejects.toMatchObject(kind("not-supported"));
  await expect(set("user.casfs.archive-id", "x")).rejects.toMatchObject(kind("not-permitted"));
  await expect(set("user.casfs.recall", "fast")).resolves.toBeUndefined();
  await it.reopen();
  expect(it.fs.extendedAttributes.list(it.ino("a"))).toEqual(["user.a", "user.b"]);
  expect(it.xattr("a", "user.b")).toBe("1");
  expect(it.xattr("a", "user.casfs.archive-id")).toBe(it.service.archivesOf(vault)[0]!.archiveId);
  expect(it.xattr("a", "user.casfs.tree-hash")).toMatch(/^[0-9a-f]{64}$/);
  await it.fs.extendedAttributes.remove(it.record("a"), "user.b");
  expect(() => it.xattr("a", "user.b")).toThrow(expect.objectContaining(kind("no-attribute")));
});

test("pinned and open files are not evicted; a recall can be ordered with a tier", async () => {
  await using it = await TestVault.create({ settings: { onCold: "deny" } });
  await it.writeArchived("a", "text");
  const command = (name: string, value: string) =>
    it.fs.extendedAttributes.set(it.record("a"), `user.casfs.${name}`, Buffer.from(value), "any");
  await command("pin", "1");
  await expect(command("evict", "1")).rejects.toMatchObject(kind("busy"));
  await command("pin", "0");
  await command("evict", "1");
  expect(it.state("a")).toBe("archived");
  await expect(command("recall", "fast")).rejects.toMatchObject(kind("invalid"));
  await command("recall", "bulk");
  await it.until(() => it.state("a") === "cached");
  expect(await it.text("a")).toBe("text");
});
