import { describe, expect, test } from "vitest";
import { rootIno } from "../../src/domain/ids.js";
import { hours, minutes, seconds } from "../../src/domain/time.js";
import { newArchive } from "../support/test-bytes.js";
import { reading, rewriting, TestVault, vault, writing } from "../support/test-file-system.js";

const caller = { uid: 0, gid: 0, pid: 1, signal: new AbortController().signal };
const days = (count: number) => hours(24 * count);
const dateOf = (it: TestVault) => new Date(it.clock.now()).toISOString().slice(0, 10);

function inoOf(it: TestVault, path: string) {
  return path.split("/").reduce((ino, name) => it.catalog.lookup(ino, name)!.ino, it.catalog.vault(vault)!.ino);
}

function placeOf(it: TestVault, path: string) {
  const names = path.split("/");
  const parent = names.length === 1 ? it.catalog.vault(vault)!.ino : inoOf(it, names.slice(0, -1).join("/"));
  return { parent, name: names.at(-1)! };
}

function namesIn(it: TestVault, path: string): string[] {
  const directory = path === "" ? it.catalog.vault(vault)!.ino : inoOf(it, path);
  return it.fs
    .list(directory, 0, 100)
    .map(({ name }) => name)
    .sort();
}

const unlink = (it: TestVault, path: string) => it.fs.unlink(placeOf(it, path));
const move = (it: TestVault, from: string, to: string) => it.fs.rename(placeOf(it, from), placeOf(it, to), "replace");
const bytesOf = async (it: TestVault, path: string) => {
  const handle = await it.fs.open(inoOf(it, path), reading, caller);
  const bytes = await it.pread(handle, 0, 1000);
  await it.fs.release(handle);
  return bytes.toString();
};

async function settled(it: TestVault): Promise<void> {
  await it.clock.advance(minutes(1));
  await it.archiveAll();
}

describe("what is deleted", () => {
  test("stays in the trash with its attributes, and is not deleted in the vault while it costs nothing", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.fs.makeDirectory(placeOf(it, "2019"), 0o700, { ...caller, uid: 7, gid: 8 });
    await it.write("2019/a", "precious");
    await it.archiveAll();
    await it.fs.setAttributes(inoOf(it, "2019/a"), {
      mode: 0o640,
      uid: 7,
      gid: 8,
      mtime: { seconds: 5, nanoseconds: 9 },
    });
    const before = it.fs.attributes(inoOf(it, "2019/a"));
    await unlink(it, "2019/a");
    await it.clock.advance(days(80));
    expect(it.archived()).toEqual(["precious"]);
    const [date] = namesIn(it, ".trash");
    const inTrash = it.fs.attributes(inoOf(it, `.trash/${date}/2019/a`));
    expect(inTrash).toMatchObject({ mode: before.mode, uid: 7, gid: 8, mtime: before.mtime, sizeBytes: 8 });
    expect(it.fs.attributes(inoOf(it, `.trash/${date}/2019`))).toMatchObject({ uid: 7, gid: 8 });
  });

  test("is deleted in the vault when its 90 days are over, and an older archive after a day", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.writeArchived("young", "young");
    await it.writeArchived("old", "old");
    await it.clock.advance(days(10));
    await unlink(it, "young");
    await it.clock.advance(days(79));
    expect(it.archived()).toEqual(["old", "young"]);
    await it.clock.advance(days(2));
    await it.until(() => it.archived().length === 1);
    await unlink(it, "old");
    await it.clock.advance(hours(23));
    expect(it.archived()).toEqual(["old"]);
    await it.clock.advance(hours(3));
    await it.until(() => it.archived().length === 0);
    expect(it.catalog.lookup(it.catalog.vault(vault)!.ino, ".trash")).toBeUndefined();
  });

  test("comes back by a rename, for good and without an upload or a retrieval", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.writeArchived("a", "precious");
    const today = dateOf(it);
    await unlink(it, "a");
    await move(it, `.trash/${today}/a`, "a");
    expect(await bytesOf(it, "a")).toBe("precious");
    expect(it.service.calls).toMatchObject({ uploadArchive: 1, initiateJob: 0 });
    await it.clock.advance(days(100));
    expect(it.archived()).toEqual(["precious"]);
    await it.write("a", "next");
    await settled(it);
    expect(await bytesOf(it, "a")).toBe("next");
  });

  test("comes back with its whole directory", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.fs.makeDirectory(placeOf(it, "d"), 0o755, caller);
    await it.write("d/a", "1");
    await it.write("d/b", "2");
    await it.archiveAll();
    const today = dateOf(it);
    await unlink(it, "d/a");
    await unlink(it, "d/b");
    await it.fs.removeDirectory(placeOf(it, "d"));
    await move(it, `.trash/${today}/d`, "d");
    await it.clock.advance(days(100));
    expect(namesIn(it, "d")).toEqual(["a", "b"]);
    expect(it.archived()).toEqual(["1", "2"]);
    await it.write("d/c", "3");
  });

  test("goes for good when it is deleted in the trash", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.writeArchived("a", "secret");
    const today = dateOf(it);
    await unlink(it, "a");
    await unlink(it, `.trash/${today}/a`);
    await it.until(() => it.archived().length === 0);
    await it.fs.removeDirectory(placeOf(it, `.trash/${today}`));
    await it.fs.removeDirectory(placeOf(it, ".trash"));
    await it.fs.removeDirectory({ parent: rootIno, name: vault });
    expect(it.catalog.vault(vault)).toBeUndefined();
  });

  test("is deleted at once without a trash", async () => {
    await using it = await TestVault.create({ trash: false });
    await it.writeArchived("a", "gone");
    await unlink(it, "a");
    await it.until(() => it.archived().length === 0);
  });

  test("leaves no trash when it was never archived", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.write("a", "draft");
    await unlink(it, "a");
    expect(it.catalog.lookup(it.catalog.vault(vault)!.ino, ".trash")).toBeUndefined();
  });

  test("is in the trash once, with the last of its hard links", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.writeArchived("a", "linked");
    const today = dateOf(it);
    await it.fs.link(inoOf(it, "a"), placeOf(it, "b"));
    await unlink(it, "a");
    expect(it.catalog.lookup(it.catalog.vault(vault)!.ino, ".trash")).toBeUndefined();
    await unlink(it, "b");
    expect(namesIn(it, `.trash/${today}`)).toEqual(["b"]);
  });

  test("can still be read by who has it open, and what is written then does not reach the trash", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.writeArchived("a", "as it was");
    const today = dateOf(it);
    const handle = await it.open("a", writing);
    await unlink(it, "a");
    await it.pwrite(handle, 0, Buffer.from("AS"));
    expect((await it.pread(handle, 0, 20)).toString()).toBe("AS it was");
    await it.close(handle);
    await settled(it);
    expect(await bytesOf(it, `.trash/${today}/a`)).toBe("as it was");
    expect(it.archived()).toEqual(["as it was"]);
  });

  test("survives a crash right after the unlink, and goes at its time in another life", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.writeArchived("a", "precious");
    const today = dateOf(it);
    const handle = await it.open("a", reading);
    expect(handle).toBeGreaterThan(0);
    await unlink(it, "a");
    await it.reopen();
    expect(await bytesOf(it, `.trash/${today}/a`)).toBe("precious");
    await it.clock.advance(days(91));
    await it.until(() => it.archived().length === 0);
  });
});

describe("what is overwritten", () => {
  test("is in the trash under its name, every version that was archived", async () => {
    await using it = await TestVault.create({ trash: true });
    for (const text of ["one", "two", "three"]) {
      await it.write("a", text);
      await settled(it);
    }
    const kept = namesIn(it, `.trash/${dateOf(it)}`);
    expect(kept).toHaveLength(2);
    expect(await Promise.all(kept.map((name) => bytesOf(it, `.trash/${dateOf(it)}/${name}`)))).toEqual(
      expect.arrayContaining(["one", "two"]),
    );
    expect(it.archived()).toEqual(["one", "three", "two"]);
  });

  test("by a rename is in the trash at once, and outlives its time until the successor is archived", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.writeArchived("a", "old");
    await it.clock.advance(days(200));
    const today = dateOf(it);
    it.service.fail({ operation: "uploadArchive", error: new Error("down"), times: Number.POSITIVE_INFINITY });
    await it.write("b", "new");
    await move(it, "b", "a");
    expect(namesIn(it, `.trash/${today}`)).toEqual(["a"]);
    await it.clock.advance(days(3));
    expect(it.archived()).toEqual(["old"]);
  });

  test("outlives a deletion in the trash, too, until the successor is archived", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.writeArchived("a", "old");
    const today = dateOf(it);
    it.service.fail({ operation: "uploadArchive", error: new Error("down"), times: 3 });
    await it.write("b", "new");
    await move(it, "b", "a");
    await unlink(it, `.trash/${today}/a`);
    await it.clock.advance(seconds(1));
    expect(it.archived()).toEqual(["old"]);
    await it.until(() => it.archived().join() === "new", { stepMs: 60_000 });
  });

  test.each([
    ["with", true],
    ["without", false],
  ])("twice, while somebody reads the first successor, survives a crash %s a trash", async (_, trash) => {
    for (const powerLoss of [false, true]) {
      await using it = await TestVault.create({ trash });
      await it.writeArchived("a", "old");
      await it.clock.advance(days(200));
      it.service.fail({ operation: "uploadArchive", error: new Error("down"), times: Number.POSITIVE_INFINITY });
      await it.write("b", "one");
      await move(it, "b", "a");
      await it.open("a", reading);
      await it.write("c", "two");
      await move(it, "c", "a");
      await it.reopen({ powerLoss });
      await it.clock.advance(days(3));
      expect(it.archived()).toEqual(["old"]);
    }
  });

  test("by emptying the file is in the trash too", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.writeArchived("a", "full");
    const handle = await it.open("a", rewriting);
    await it.close(handle);
    expect(await bytesOf(it, `.trash/${dateOf(it)}/a`)).toBe("full");
  });
});

describe("the trash itself", () => {
  test("is not listed, keeps its vault from being removed, and cannot be made, moved, linked or written", async () => {
    await using it = await TestVault.create({ trash: true });
    const refused = { kind: "not-permitted" };
    await expect(it.fs.makeDirectory(placeOf(it, ".trash"), 0o755, caller)).rejects.toMatchObject(refused);
    await it.writeArchived("a", "1");
    const today = dateOf(it);
    await unlink(it, "a");
    expect(namesIn(it, "")).toEqual([]);
    const inTrash = `.trash/${today}/a`;
    await expect(it.fs.removeDirectory({ parent: rootIno, name: vault })).rejects.toMatchObject({ kind: "not-empty" });
    await expect(move(it, ".trash", "t")).rejects.toMatchObject(refused);
    await it.write("b", "2");
    await expect(move(it, "b", `.trash/${today}/b`)).rejects.toMatchObject(refused);
    await expect(it.fs.create(placeOf(it, `.trash/${today}/c`), 0o644, writing, caller)).rejects.toMatchObject(refused);
    await expect(it.fs.link(inoOf(it, inTrash), placeOf(it, "l"))).rejects.toMatchObject(refused);
    await expect(it.fs.open(inoOf(it, inTrash), writing, caller)).rejects.toMatchObject(refused);
    await expect(it.fs.setAttributes(inoOf(it, inTrash), { sizeBytes: 0 })).rejects.toMatchObject(refused);
    expect(await bytesOf(it, inTrash)).toBe("1");
  });

  test("makes way for itself where an earlier casfs let somebody have a .trash", async () => {
    await using it = await TestVault.create({ trash: true });
    await it.writeArchived("a", "1");
    await it.fs.makeDirectory(placeOf(it, "theirs"), 0o755, caller);
    await it.write("theirs/b", "2");
    await it.catalog.mutate(() => it.catalog.renameEntry(placeOf(it, "theirs"), placeOf(it, ".trash")));
    await unlink(it, "a");
    expect(namesIn(it, "")).toEqual([".trash (archived)"]);
    expect(namesIn(it, `.trash/${dateOf(it)}`)).toEqual(["a"]);
    expect(await bytesOf(it, ".trash (archived)/b")).toBe("2");
    expect(it.fs.attributes(it.root).nlink).toBe(3);
  });

  test("an archive whose description claims to be trash is an ordinary file", async () => {
    await using it = await TestVault.createEmpty({ trash: true });
    await it.service.createVault(vault);
    await it.service.uploadArchive(vault, newArchive(Buffer.from("x"), ".trash/2020-01-01/x"));
    await it.reopen();
    await it.refreshInventory();
    expect(namesIn(it, "")).toEqual([".trash (archived)"]);
    await it.clock.advance(seconds(1));
  });
});
