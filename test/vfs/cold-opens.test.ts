import { expect, test } from "vitest";
import { ServiceError } from "../../src/domain/errors.js";
import { hours, minutes } from "../../src/domain/time.js";
import { caller, reading, rewriting, TestVault, vault, writing } from "../support/test-file-system.js";

const retrievalMs = hours(4);
const nonBlocking = { ...reading, nonBlock: true };

test("a cold file shows its size and time, and one block", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "cold text");
  expect(it.stat("a")).toMatchObject({ sizeBytes: 9, blocks: 1 });
  expect(it.state("a")).toBe("archived");
});

test("opening a cold file waits for its recall, then every byte is here", async () => {
  await using it = await TestVault.create({ retrievalMs });
  await it.writeCold("a", "cold text");
  const text = it.text("a");
  await it.until(() => it.state("a") === "recalling");
  expect(it.fs.coldOpens.waiting()).toHaveLength(1);
  await it.until(() => it.state("a") === "cached", { stepMs: minutes(10) });
  expect(await text).toBe("cold text");
  expect(it.fs.coldOpens.waiting()).toEqual([]);
  expect(it.service.calls.initiateJob).toBe(1);
});

test("opening a cold file for writing without O_TRUNC recalls it first", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "cold text");
  const handle = await it.open("a", writing);
  await it.pwrite(handle, 0, Buffer.from("warm"));
  await it.close(handle);
  expect(await it.text("a")).toBe("warm text");
});

test("opening a cold file with O_NONBLOCK fails with EAGAIN and starts no job", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "cold");
  await expect(it.open("a", nonBlocking)).rejects.toMatchObject({ kind: "not-restored" });
  await it.clock.advance(1000);
  expect(it.service.calls.initiateJob).toBe(0);
});

test("with --nonblock-recall it starts the job all the same", async () => {
  await using it = await TestVault.create({ settings: { nonblockRecall: true } });
  await it.writeCold("a", "cold");
  await expect(it.open("a", nonBlocking)).rejects.toMatchObject({ kind: "not-restored" });
  await it.until(() => it.state("a") === "cached");
  expect(await it.text("a")).toBe("cold");
});

test("with --on-cold eagain an open starts one recall and fails; after it has landed opening succeeds", async () => {
  await using it = await TestVault.create({ settings: { onCold: "eagain" } });
  await it.writeCold("a", "cold");
  await expect(it.text("a")).rejects.toMatchObject({ kind: "not-restored" });
  await expect(it.text("a")).rejects.toMatchObject({ kind: "not-restored" });
  await it.until(() => it.state("a") === "cached");
  expect(await it.text("a")).toBe("cold");
  expect(it.service.calls.initiateJob).toBe(1);
});

test("with --on-cold deny an open fails and starts nothing", async () => {
  await using it = await TestVault.create({ settings: { onCold: "deny" } });
  await it.writeCold("a", "cold");
  await expect(it.text("a")).rejects.toMatchObject({ kind: "not-restored" });
  await it.clock.advance(1000);
  expect(it.service.calls.initiateJob).toBe(0);
});

test("an open that waits longer than --max-wait fails with EAGAIN; the recall goes on", async () => {
  await using it = await TestVault.create({ retrievalMs, settings: { maxWaitMs: minutes(5) } });
  await it.writeCold("a", "cold");
  const opened = expect(it.open("a", reading)).rejects.toMatchObject({ kind: "not-restored" });
  await it.until(() => it.state("a") === "recalling");
  await it.clock.advance(minutes(6));
  await opened;
  await it.until(() => it.state("a") === "cached", { stepMs: minutes(10) });
  expect(it.service.calls.initiateJob).toBe(1);
});

test("an interrupted open fails with EINTR; the next one joins the job", async () => {
  await using it = await TestVault.create({ retrievalMs });
  await it.writeCold("a", "cold");
  const interrupt = new AbortController();
  const opened = expect(it.open("a", reading, { ...caller, signal: interrupt.signal })).rejects.toMatchObject({
    kind: "cancelled",
  });
  await it.until(() => it.state("a") === "recalling");
  interrupt.abort();
  await opened;
  const text = it.text("a");
  await it.until(() => it.state("a") === "cached", { stepMs: minutes(10) });
  expect(await text).toBe("cold");
  expect(it.service.calls.initiateJob).toBe(1);
});

test("a waiting open of a file that is rewritten meanwhile gets the new content, even when the recall then fails", async () => {
  await using it = await TestVault.create({ retrievalMs });
  await it.writeCold("a", "old");
  const opened = it.open("a", reading);
  await it.until(() => it.service.calls.initiateJob === 1);
  await it.write("a", "new");
  it.service.fail({ operation: "getJobOutput", error: new ServiceError("refused", "gone"), times: 100 });
  await it.until(() => it.events.some(({ type }) => type === "recall-failed"), { stepMs: minutes(10) });
  const handle = await opened;
  expect((await it.pread(handle, 0, 10)).toString()).toBe("new");
  await it.close(handle);
});

test("a waiting open of a file that is renamed meanwhile goes on", async () => {
  await using it = await TestVault.create({ retrievalMs });
  await it.writeCold("a", "cold");
  const opened = it.open("a", reading);
  await it.until(() => it.service.calls.initiateJob === 1);
  await it.rename("a", "b");
  await it.until(() => it.state("b") === "cached", { stepMs: minutes(10) });
  const handle = await opened;
  expect((await it.pread(handle, 0, 10)).toString()).toBe("cold");
  await it.close(handle);
});

test("cutting a cold file to a size above 0 starts its recall and fails with EAGAIN; to 0 it needs none", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "cold");
  await expect(it.fs.setAttributes(it.ino("a"), { sizeBytes: 2 })).rejects.toMatchObject({ kind: "not-restored" });
  await it.until(() => it.state("a") === "cached");
  await it.fs.setAttributes(it.ino("a"), { sizeBytes: 2 });
  expect(await it.text("a")).toBe("co");
  await it.writeCold("b", "cold");
  await it.fs.setAttributes(it.ino("b"), { sizeBytes: 0 });
  expect(it.service.calls.initiateJob).toBe(1);
});

test("a failed recall fails the open, and the next open tries again", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "cold");
  const ordering = new ServiceError("refused", "The tier is not offered");
  it.service.fail({ operation: "initiateJob", error: ordering });
  await expect(it.text("a")).rejects.toMatchObject({ fault: "refused" });
  // Also after a restart.
  await it.reopen();
  const failed = /^recall failed at \d{4}-.*: The tier is not offered; the next open asks again$/;
  expect(it.xattr("a", "user.casfs.error")).toMatch(failed);
  expect(it.catalog.recallFailures.latest(10)).toMatchObject([{ tier: "standard", job: null }]);
  expect(await it.text("a")).toBe("cold");
  expect(() => it.xattr("a", "user.casfs.error")).toThrow();
});

test("a recall that cannot go on says why and when it is tried again, as long as that lasts", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "cold");
  const down = { error: new ServiceError("unavailable", "The service is down"), times: 3 };
  const troubles = new Set<string>();
  const look = () => {
    try {
      troubles.add(it.xattr("a", "user.casfs.error").replace(/\d{4}-\S+/, "TIME"));
    } catch {}
    return troubles.size > 0;
  };
  for (const operation of ["listJobs", "getJobOutput"] as const) {
    it.service.fail({ operation, ...down });
    const text = it.text("a");
    await it.until(look, { stepMs: 10 });
    expect([...troubles].join()).toMatch(/^recall: .*The service is down; (next TIME|it is being tried again)$/);
    troubles.clear();
    await it.until(() => it.state("a") === "cached");
    expect(await text).toBe("cold");
    expect(look()).toBe(false);
    if (operation === "listJobs") await it.evict("a");
  }
});

test("an archive that a newer casfs has packed is an error, never wrongly read, and can be replaced", async () => {
  await using it = await TestVault.create();
  const { newArchive } = await import("../support/test-bytes.js");
  await it.service.uploadArchive(vault, newArchive(Buffer.from("packed"), "casfs/9 secret?x-packed=1"));
  await it.refreshInventory();
  const [name] = it.names();
  await expect(it.text(name!)).rejects.toMatchObject({ kind: "corrupt" });
  const recall = () => it.fs.extendedAttributes.set(it.record(name!), "user.casfs.recall", Buffer.from("bulk"), "any");
  await expect(recall()).rejects.toMatchObject({ kind: "corrupt" });
  const handle = await it.open(name!, rewriting);
  await it.pwrite(handle, 0, Buffer.from("plain"));
  await it.close(handle);
  expect(await it.text(name!)).toBe("plain");
});

test("with --recall-ahead a tree that is read file by file waits once, and at most that many more are recalled", async () => {
  const files = ["f0", "f1", "f2", "f3", "f4", "f5"];
  await using it = await TestVault.create({ retrievalMs, settings: { recallAhead: 2 } });
  for (const file of files) await it.writeCold(file, `text of ${file}`);
  const waited: string[] = [];
  for (const [number, file] of files.entries()) {
    if (it.state(file) !== "cached") waited.push(file);
    const reading = it.text(file);
    const ordered = Math.min(files.length, number + 3);
    await it.until(() => it.service.calls.initiateJob === ordered);
    // Copying a file takes a while, in which those after it come.
    const coming = files.slice(number, number + 3);
    await it.until(() => coming.every((one) => it.state(one) === "cached"), { stepMs: minutes(10) });
    expect(await reading).toBe(`text of ${file}`);
    expect(it.service.calls.initiateJob).toBe(ordered);
  }
  expect(waited).toEqual(["f0"]);
});

test("what was recalled ahead and is opened by who may recall nothing lets nothing follow", async () => {
  const recallDeny = { hasNames: false, match: ({ uid }: { uid: number }) => (uid === 7 ? "uid:7" : undefined) };
  await using it = await TestVault.create({ settings: { recallAhead: 1, recallDeny } });
  for (const file of ["a", "b", "c"]) await it.writeCold(file, "cold");
  expect(await it.text("a")).toBe("cold");
  await it.until(() => it.state("b") === "cached");
  await it.close(await it.open("b", reading, { ...caller, uid: 7 }));
  await it.close(await it.open("b", nonBlocking));
  await it.clock.advance(1000);
  expect(it.service.calls.initiateJob).toBe(2);
  await it.close(await it.open("b", reading));
  await it.until(() => it.state("c") === "cached");
  expect(it.service.calls.initiateJob).toBe(3);
});

test("an open that recalls nothing recalls nothing ahead", async () => {
  await using it = await TestVault.create({ settings: { recallAhead: 3, onCold: "deny" } });
  await it.writeCold("a", "text a");
  await it.writeCold("b", "text b");
  await expect(it.text("a")).rejects.toMatchObject({ kind: "not-restored" });
  await expect(it.open("a", nonBlocking)).rejects.toMatchObject({ kind: "not-restored" });
  await it.clock.advance(1000);
  expect(it.service.calls.initiateJob).toBe(0);
});
