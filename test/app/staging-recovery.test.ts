import { truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { MountPaths } from "../../src/app/mount-paths.js";
import { UsageError } from "../../src/domain/errors.js";
import { rootIno } from "../../src/domain/ids.js";
import { rewriting, TestVault, writing } from "../support/test-file-system.js";

const stagedPath = (it: TestVault, path: string) => join(it.directory, "staging", String(it.record(path).content!.id));

test("a file whose writer never closed it is kept, marked and not uploaded; written again it is", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("half"));
  await it.reopen();
  expect(await it.text("a")).toBe("half");
  expect(it.state("a")).toBe("interrupted");
  expect(it.warnings).toEqual([expect.stringContaining("a was being written when casfs ended")]);
  await it.archiveAll();
  expect(it.archived()).toEqual([]);
  await it.write("a", "whole");
  await it.archiveAll();
  expect(it.archived()).toEqual(["whole"]);
});

test("a file that was closed, and whose RELEASE never came, is uploaded", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("whole"));
  await it.flush(handle);
  await it.reopen();
  await it.archiveAll();
  expect(it.archived()).toEqual(["whole"]);
  expect(it.warnings).toEqual([]);
});

test("a rewrite that was cut off after a shell had closed its copy of the descriptor does not replace the archive", async () => {
  await using it = await TestVault.create();
  await it.write("a", "the good version");
  await it.archiveAll();
  const handle = await it.open("a", rewriting);
  await it.flush(handle);
  await it.pwrite(handle, 0, Buffer.from("half of the n"));
  await it.reopen();
  expect(await it.text("a")).toBe("the good version");
  expect(await it.text("a (interrupted)")).toBe("half of the n");
  expect(it.state("a (interrupted)")).toBe("interrupted");
  await it.archiveAll();
  expect(it.archived()).toEqual(["the good version"]);
});

test("a rewrite whose last close() was a child's is sent on, and what it replaces is not deleted for it", async () => {
  await using it = await TestVault.create();
  await it.write("a", "the good version");
  await it.archiveAll();
  const handle = await it.open("a", rewriting);
  await it.pwrite(handle, 0, Buffer.from("first line\n"));
  await it.flush(handle);
  await it.reopen();
  await it.archiveAll();
  expect(it.archived().sort()).toEqual(["first line\n", "the good version"]);
  await it.write("a", "complete");
  await it.archiveAll();
  expect(it.archived()).toEqual(["complete"]);
});

test("bytes written after a child's close() take its promise back", async () => {
  await using it = await TestVault.create();
  await it.write("a", "the good version");
  await it.archiveAll();
  const handle = await it.open("a", rewriting);
  await it.pwrite(handle, 0, Buffer.from("0123456789"));
  await it.flush(handle);
  await it.pwrite(handle, 2, Buffer.from("xx"));
  await it.reopen();
  expect(await it.text("a")).toBe("the good version");
  expect(await it.text("a (interrupted)")).toBe("01xx456789");
});

test("a rewrite that was cut off leaves the version that waits for its upload, which is then sent", async () => {
  await using it = await TestVault.create();
  await it.write("a", "promised by close");
  const handle = await it.open("a", rewriting);
  await it.pwrite(handle, 0, Buffer.from("part"));
  await it.reopen();
  expect(await it.text("a")).toBe("promised by close");
  await it.archiveAll();
  expect(it.archived()).toEqual(["promised by close"]);
});

test("after a power loss staged bytes that were not synced are kept, shown as suspect, and not uploaded", async () => {
  await using it = await TestVault.create();
  await it.write("a", "perhaps");
  await it.reopen({ powerLoss: true });
  expect(it.state("a")).toBe("interrupted");
  await it.archiveAll();
  expect(it.archived()).toEqual([]);
  expect(await it.text("a")).toBe("perhaps");
  await it.reopen({ powerLoss: true });
  expect(it.state("a")).toBe("interrupted");
});

test("the same when the power failed between close() and RELEASE", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("perhaps"));
  await it.flush(handle);
  await it.reopen({ powerLoss: true });
  expect(it.state("a")).toBe("interrupted");
});

test.each(["empty", "gone", "short"])(
  "the good archive stays when a power loss left the staged file of its successor %s",
  async (damage) => {
    await using it = await TestVault.create();
    await it.writeArchived("a", "good");
    const handle = await it.open("a", rewriting);
    await it.pwrite(handle, 0, Buffer.from("newer bytes"));
    await it.flush(handle);
    const staged = stagedPath(it, "a");
    const crashed = it.snapshot();
    const inCopy = staged.replace(it.directory, crashed);
    if (damage === "gone") unlinkSync(inCopy);
    else truncateSync(inCopy, damage === "empty" ? 0 : 5);
    await it.reopen({ powerLoss: true, from: crashed });
    await it.archiveAll();
    expect(it.archived()).toEqual(["good"]);
    expect(await it.text("a")).toBe("good");
    expect(it.has("a (interrupted)")).toBe(damage === "short");
  },
);

test.each(["empty", "gone", "short"])(
  "a sealed file whose staged bytes are %s is kept and not uploaded",
  async (damage) => {
    await using it = await TestVault.create();
    await it.writeArchived("a", "good");
    await it.write("a", "newer bytes");
    const staged = stagedPath(it, "a");
    const crashed = it.snapshot();
    const inCopy = staged.replace(it.directory, crashed);
    if (damage === "gone") unlinkSync(inCopy);
    else truncateSync(inCopy, damage === "empty" ? 0 : 5);
    await it.reopen({ from: crashed });
    await it.archiveAll();
    expect(it.archived()).toEqual(["good"]);
    expect(await it.text("a")).toBe("good");
    expect(it.has("a (interrupted)")).toBe(damage === "short");
  },
);

test("a suspect content whose upload had begun is not sent on", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "good");
  await it.write("a", "suspect");
  expect(it.catalog.uploads.claim(it.record("a").content!.id)).toBe(true);
  await it.catalog.flush();
  await it.reopen({ powerLoss: true });
  await it.archiveAll();
  expect(it.archived()).toEqual(["good"]);
});

test("staging files that no content knows are removed, those of archived contents become the cached copy", async () => {
  await using it = await TestVault.create();
  await it.write("a", "text");
  let crashed: string | undefined;
  const { cache } = it;
  const adopt = cache.adopt.bind(cache);
  cache.adopt = async (...parameters) => {
    crashed ??= it.snapshot();
    return adopt(...parameters);
  };
  await it.archiveAll();
  await it.until(() => crashed !== undefined);
  writeFileSync(join(crashed!, "staging", "999999"), "nobody's");
  await it.reopen({ from: crashed! });
  expect(it.state("a")).toBe("cached");
  expect(await it.text("a")).toBe("text");
  expect(await it.staging.list()).toEqual([]);
  expect(it.service.calls.initiateJob).toBe(0);
});

test("a leftover that does not match its archive makes the file cold, and does not hinder the start", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "text");
  const crashed = it.snapshot();
  writeFileSync(join(crashed, "staging", String(it.record("a").content!.id)), "other length");
  await it.reopen({ from: crashed });
  expect(it.state("a")).toBe("archived");
  expect(await it.text("a")).toBe("text");
});

test("an empty catalog beside staged files is refused: they may be the only copies", async () => {
  await using it = await TestVault.create();
  await it.write("a", "text");
  const crashed = it.snapshot();
  for (const name of ["catalog.db", "catalog.db-wal"]) unlinkSync(join(crashed, name));
  await expect(it.reopen({ from: crashed })).rejects.toBeInstanceOf(UsageError);
});

test("paths of the command line name files and everything below directories", async () => {
  await using it = await TestVault.create();
  await it.mkdir("d");
  await it.write("d/a", "1");
  await it.write("b", "2");
  const paths = async (root: typeof rootIno, ...path: string[]) => {
    const found: string[] = [];
    for await (const file of new MountPaths(it.catalog, root).files([path])) found.push(file.path);
    return found.sort();
  };
  expect(await paths(rootIno, "photos")).toEqual(["photos/b", "photos/d/a"]);
  expect(await paths(it.root)).toEqual(["b", "d/a"]);
  expect(await paths(it.root, "d", "a")).toEqual(["d/a"]);
  await expect(paths(it.root, "absent")).rejects.toMatchObject({ kind: "not-found" });
  const flat = new MountPaths(it.catalog, it.root).files([["d"]], { recursive: false });
  await expect(flat.next()).rejects.toMatchObject({ kind: "is-a-directory" });
  expect(new MountPaths(it.catalog, rootIno).nameOf(it.ino("d/a"))).toBe("photos/d/a");
  expect(new MountPaths(it.catalog, it.root).nameOf(it.ino("d/a"))).toBe("d/a");
});
