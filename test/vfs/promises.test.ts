/** Sequences in which a promise of close() or fsync(), or a good archive, would be lost if one step were out of order. */

import { rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ServiceError } from "../../src/domain/errors.js";
import { deferred } from "../../src/lib/deferred.js";
import { newArchive } from "../support/test-bytes.js";
import { appending, reading, rewriting, TestVault, vault, writing } from "../support/test-file-system.js";

const contentOf = (it: TestVault, name: string) => it.record(name).content!.id;
const stagedIn = (directory: string, content: number) => join(directory, "staging", String(content));

/** The present inventory of the service, merged at once. */
async function mergeInventory(it: TestVault): Promise<void> {
  const run = it.catalog.inventories.beginInventory(vault);
  await run.add(it.service.archivesOf(vault));
  await run.merge(it.clock.now());
}

/** A vault that keeps the state of the disk at every step of `work`. */
async function crashesDuring(it: TestVault, steps: { on: boolean }, work: () => Promise<void>): Promise<void> {
  steps.on = true;
  await work();
  steps.on = false;
  expect(it.names()).toContain("a");
}

test("a crash while a closed file is appended to leaves what close() promised under its name", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "first");
  await it.write("a", "closed");
  const handle = await it.open("a", appending);
  await it.pwrite(handle, 0, Buffer.from("+more"));
  await it.reopen();
  expect(["closed", "closed+more"]).toContain(await it.text("a"));
});

test.each([true, false])(
  "what fsync promised keeps its name when more was written (power loss: %s)",
  async (powerLoss) => {
    await using it = await TestVault.create();
    await it.writeArchived("a", "first");
    const handle = await it.open("a", writing);
    await it.pwrite(handle, 0, Buffer.from("synced"));
    await it.fs.contents.fsync(handle);
    await it.pwrite(handle, 6, Buffer.from("+more"));
    await it.reopen({ powerLoss });
    expect((await it.text("a")).slice(0, 6)).toBe("synced");
  },
);

test("a crash at any step of truncate(2) of a staged file leaves the old content or the new", async () => {
  const crashes: string[] = [];
  const steps = { on: false };
  await using it = await TestVault.create({ onStep: () => void (steps.on && crashes.push(it.snapshot())) });
  await it.writeArchived("a", "FIRST");
  await it.write("a", "old text");
  await crashesDuring(it, steps, async () => void (await it.fs.setAttributes(it.ino("a"), { sizeBytes: 3 })));
  expect(crashes.length).toBeGreaterThan(0);
  for (const from of crashes) {
    await it.reopen({ from });
    expect(["old text", "old"]).toContain(await it.text("a"));
  }
});

test("an older version that a power loss damaged does not change the fsynced newer one", async () => {
  await using it = await TestVault.create();
  await it.write("a", "first version");
  const first = contentOf(it, "a");
  expect(it.catalog.uploads.claim(first)).toBe(true);
  const handle = await it.open("a", rewriting);
  await it.pwrite(handle, 0, Buffer.from("second, synced"));
  await it.fs.contents.fsync(handle);
  await it.close(handle);
  await it.fs.syncAll();
  const crashed = it.snapshot();
  truncateSync(stagedIn(crashed, first), 0);
  await it.reopen({ powerLoss: true, from: crashed });
  expect(await it.text("a")).toBe("second, synced");
});

test("a power loss after a shell had opened a file for a rewrite does not delete its archive", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "old");
  const handle = await it.open("a", rewriting);
  await it.flush(handle);
  const crashed = it.snapshot();
  await it.pwrite(handle, 0, Buffer.from("new"));
  await it.close(handle);
  await it.reopen({ powerLoss: true, from: crashed });
  await it.archiveAll();
  expect(it.archived()).toContain("old");
});

test("a power loss that takes the bytes of an open file which replaced another does not delete that one's archive", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "old");
  const handle = await it.open("b", writing);
  await it.pwrite(handle, 0, Buffer.from("new"));
  const content = contentOf(it, "b");
  await it.rename("b", "a");
  const crashed = it.snapshot();
  rmSync(stagedIn(crashed, content));
  await it.reopen({ powerLoss: true, from: crashed });
  await it.archiveAll();
  expect(it.archived()).toContain("old");
});

test("fsync of a file that was closed before makes it survive a power loss, and be uploaded", async () => {
  await using it = await TestVault.create();
  await it.write("a", "text");
  const handle = await it.open("a", reading);
  await it.fs.contents.fsync(handle);
  await it.close(handle);
  await it.reopen({ powerLoss: true });
  expect(it.state("a")).not.toBe("interrupted");
  await it.archiveAll();
  expect(it.archived()).toEqual(["text"]);
});

test("a content is marked durable only when the sync of its last write has succeeded", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("text"));
  const reader = await it.open("a", reading);
  const { file } = it.fs.contents.handles.handle(reader).open;
  const gate = deferred<void>();
  const sync = file!.sync.bind(file);
  file!.sync = () => gate.promise.then(sync);
  const syncing = it.fs.contents.fsync(reader);
  await it.close(handle);
  const isDurable = () => it.catalog.contents.find(contentOf(it, "a"))?.durable;
  expect(isDurable()).toBe(false);
  gate.resolve();
  await syncing;
  file!.sync = () => Promise.reject(new Error("input/output error"));
  await expect(it.fs.contents.fsync(reader)).rejects.toThrow("input/output error");
});

test("a failed fsync does not mark the content durable", async () => {
  await using it = await TestVault.create();
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("text"));
  it.fs.contents.handles.handle(handle).open.file!.sync = () => Promise.reject(new Error("input/output error"));
  await expect(it.fs.contents.fsync(handle)).rejects.toThrow("input/output error");
  await expect(it.flush(handle)).rejects.toThrow("input/output error");
  await it.fs.release(handle);
  expect(it.catalog.contents.find(contentOf(it, "a"))?.durable).toBe(false);
});

test("versions of what was set aside count on, so that a later archive is no twin of an earlier one", async () => {
  await using it = await TestVault.create();
  await it.writeArchived("a", "first");
  let handle = await it.open("a", rewriting);
  await it.pwrite(handle, 0, Buffer.from("bytes"));
  await it.reopen();
  const aside = "a (interrupted)";
  handle = await it.open(aside, writing);
  await it.pwrite(handle, 0, Buffer.from("bytes"));
  await it.close(handle);
  it.service.fail({ operation: "uploadArchive", when: "after", error: new ServiceError("timeout", "lost") });
  await it.archiveAll();
  await it.write(aside, "bytes");
  const upload = it.service.uploadArchive.bind(it.service);
  it.service.uploadArchive = async (...request) => {
    const id = await upload(...request);
    await mergeInventory(it);
    return id;
  };
  await it.archiveAll();
  await it.evict(aside);
  expect(it.archived()).toContain("bytes");
});

test("an archive of another writer is never deleted as one that a lost answer left over", async () => {
  await using it = await TestVault.create();
  const upload = it.service.uploadArchive.bind(it.service);
  const gate = deferred<void>();
  let description = "";
  it.service.uploadArchive = async (...request) => {
    description = request[1].description;
    const id = await upload(...request);
    await gate.promise;
    return id;
  };
  await it.write("a", "mine");
  await it.until(() => description !== "");
  await it.unlink("a");
  gate.resolve();
  it.service.uploadArchive = upload;
  await it.archiveAll();
  await upload(vault, newArchive(Buffer.from("theirs"), description.replace(/w=[^&]*/, "w=somebody-else")));
  await mergeInventory(it);
  await it.archiveAll();
  expect(it.archived()).toContain("theirs");
});

test("a crash while a claimed version is copied for a writer leaves the promised one", async () => {
  const crashes: string[] = [];
  const steps = { on: false };
  await using it = await TestVault.create({ onStep: () => void (steps.on && crashes.push(it.snapshot())) });
  await it.writeArchived("a", "FIRST");
  await it.write("a", "second");
  expect(it.catalog.uploads.claim(contentOf(it, "a"))).toBe(true);
  const handle = await it.open("a", appending);
  await crashesDuring(it, steps, () => it.pwrite(handle, 0, Buffer.from("+x")));
  for (const from of crashes) {
    await it.reopen({ from });
    expect(await it.text("a")).toMatch(/^second/);
  }
});

test("a file that was only created before a power loss can be opened, and is empty", async () => {
  await using it = await TestVault.create();
  await it.open("a", writing);
  await it.reopen({ powerLoss: true });
  expect(await it.text("a")).toBe("");
  await it.write("a", "again");
  await it.archiveAll();
  expect(it.archived()).toEqual(["again"]);
});
