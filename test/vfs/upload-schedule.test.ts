import { describe, expect, test } from "vitest";
import { parseNamePatterns } from "../../src/config/name-patterns.js";
import { hours, minutes } from "../../src/domain/time.js";
import { TestVault, vault, writing } from "../support/test-file-system.js";

const isTemporary = parseNamePatterns(".*.??????,.~tmp~/,*.part");
const vaultOf = (it: TestVault, name: string) => ({ parent: it.catalog.vault(vault)!.ino, name });
const rename = (it: TestVault, from: string, to: string) => it.fs.rename(vaultOf(it, from), vaultOf(it, to), "replace");
const uploads = (it: TestVault) => it.service.calls.uploadArchive;

describe("temporary names", () => {
  test("a file under a temporary name is uploaded once it is renamed, under its new name only", async () => {
    await using it = await TestVault.create({ settings: { isTemporary } });
    await it.write(".a.Xy12Zq", "from rsync");
    await it.clock.advance(hours(1));
    expect(uploads(it)).toBe(0);
    await rename(it, ".a.Xy12Zq", "a");
    await it.clock.advance(minutes(1));
    await it.archiveAll();
    expect(it.archived()).toEqual(["from rsync"]);
    expect(it.service.archivesOf(vault)[0]!.description).toContain(" a?");
  });

  test("a temporary name that stays is uploaded after a day: nothing is forgotten", async () => {
    await using it = await TestVault.create({ settings: { isTemporary } });
    await it.write("film.part", "all there is");
    await it.clock.advance(hours(23));
    expect(uploads(it)).toBe(0);
    await it.clock.advance(hours(2));
    await it.until(() => it.archived().length === 1);
    expect(it.archived()).toEqual(["all there is"]);
  });

  test("a crash after the rename to an ordinary name does not bring the long wait back", async () => {
    await using it = await TestVault.create({ settings: { isTemporary } });
    await it.write("b.part", "downloaded");
    await rename(it, "b.part", "b");
    await it.reopen();
    await it.clock.advance(minutes(1));
    await it.until(() => it.archived().length === 1);
    expect(it.archived()).toEqual(["downloaded"]);
  });

  test("close() of a temporary file does not wait for the vault, also not with --commit archived", async () => {
    await using it = await TestVault.create({ settings: { isTemporary, commit: "archived" } });
    await it.write("c.part", "half");
    expect(uploads(it)).toBe(0);
  });

  test("a temporary name that a second link replaces is no reason to wait any more", async () => {
    await using it = await TestVault.create({ settings: { isTemporary } });
    await it.write("d.part", "linked");
    await it.fs.link(it.ino("d.part"), vaultOf(it, "d"));
    await it.fs.unlink(vaultOf(it, "d.part"));
    await it.clock.advance(minutes(1));
    await it.until(() => it.archived().length === 1);
  });
});

describe("the rewrite interval", () => {
  const settings = { rewriteIntervalMs: hours(1) };

  test("of many versions that are written after one was archived only the last is uploaded, when its time has come", async () => {
    await using it = await TestVault.create({ settings });
    await it.writeArchived("log", "1");
    for (const text of ["2", "3", "4"]) {
      await it.write("log", text);
      await it.clock.advance(minutes(10));
    }
    expect(uploads(it)).toBe(1);
    await it.clock.advance(minutes(31));
    await it.until(() => uploads(it) === 2);
    await it.archiveAll();
    expect(it.archived()).toEqual(["4"]);
  });

  test("holds too for a program that replaces the file by a new one each time, as rsync does", async () => {
    await using it = await TestVault.create({ settings });
    await it.writeArchived("log", "1");
    for (const text of ["2", "3", "4"]) {
      await it.write("log.new", text);
      await rename(it, "log.new", "log");
      await it.clock.advance(minutes(10));
    }
    expect(uploads(it)).toBe(1);
    await it.clock.advance(minutes(31));
    await it.until(() => uploads(it) === 2);
    await it.archiveAll();
    expect(it.archived()).toEqual(["4"]);
  });

  test("does not hold up a file that was archived long ago, nor one that is new", async () => {
    await using it = await TestVault.create({ settings });
    await it.writeArchived("old", "1");
    await it.clock.advance(hours(2));
    await it.write("old", "2");
    await it.write("new", "3");
    await it.clock.advance(minutes(1));
    await it.until(() => uploads(it) === 3);
  });

  test("--commit archived does not wait for it", async () => {
    await using it = await TestVault.create({ settings: { ...settings, commit: "archived" } });
    const handle = await it.open("a", writing);
    await it.pwrite(handle, 0, Buffer.from("1"));
    await it.close(handle);
    const again = await it.open("a", writing);
    await it.pwrite(again, 0, Buffer.from("2"));
    await it.close(again);
    expect(uploads(it)).toBe(2);
  });

  test("a version that rests survives a crash, and rests on", async () => {
    await using it = await TestVault.create({ settings });
    await it.writeArchived("a", "1");
    await it.write("a", "2");
    await it.reopen();
    await it.clock.advance(minutes(30));
    expect(uploads(it)).toBe(1);
    await it.clock.advance(minutes(31));
    await it.until(() => uploads(it) === 2);
    expect(await it.text("a")).toBe("2");
  });
});
