/** The recall budget through the file system: what passes it is refused at open, and what costs nothing is free. */

import { expect, test } from "vitest";
import { ServiceError } from "../../src/domain/errors.js";
import { hours, type Milliseconds, minutes } from "../../src/domain/time.js";
import { deferred } from "../../src/lib/deferred.js";
import type { RecallLimits } from "../../src/restore/recall-budget.js";
import { caller, reading, TestVault, vault } from "../support/test-file-system.js";

const retrievalMs = hours(4);
const day = hours(24);
const limitOf = (max: number, periodMs: Milliseconds = day): { readonly recallLimits: RecallLimits } => ({
  recallLimits: { bytes: { max, periodMs }, cost: null },
});
const overBudget = { kind: "over-budget" };
const used = (it: TestVault) => it.recallBudget.state("bytes")?.used;

test("an open that would pass --recall-limit fails with EDQUOT and starts no job", async () => {
  await using it = await TestVault.create(limitOf(10));
  await it.writeCold("a", "12345678");
  await it.writeCold("b", "123");
  expect(await it.text("a")).toBe("12345678");
  await expect(it.text("b")).rejects.toMatchObject(overBudget);
  expect(it.service.calls.initiateJob).toBe(1);
  expect(it.state("b")).toBe("archived");
  // What is here needs no recall.
  expect(await it.text("a")).toBe("12345678");
  await it.clock.advance(day + minutes(1));
  expect(await it.text("b")).toBe("123");
});

test("cutting a cold file and asking by the attribute are bound by the budget too", async () => {
  await using it = await TestVault.create(limitOf(3));
  await it.writeCold("a", "1234");
  await expect(it.fs.setAttributes(it.ino("a"), { sizeBytes: 2 })).rejects.toMatchObject(overBudget);
  const ask = it.fs.extendedAttributes.set(it.record("a"), "user.casfs.recall", Buffer.from("bulk"), "any");
  await expect(ask).rejects.toMatchObject(overBudget);
  expect(it.service.calls.initiateJob).toBe(0);
});

test("many readers of one file are charged once", async () => {
  await using it = await TestVault.create({ retrievalMs, ...limitOf(10) });
  await it.writeCold("a", "12345678");
  const texts = [it.text("a"), it.text("a"), it.text("a")];
  await it.until(() => it.state("a") === "cached", { stepMs: minutes(10) });
  expect(await Promise.all(texts)).toEqual(["12345678", "12345678", "12345678"]);
  expect(used(it)).toBe(8);
});

test("a job that somebody else has started costs nothing", async () => {
  await using it = await TestVault.create(limitOf(10));
  await it.writeCold("a", "12345678");
  const archiveId = it.service.archivesOf(vault)[0]!.archiveId;
  await it.service.initiateJob(vault, { action: "retrieve-archive", archiveId, tier: "bulk" });
  expect(await it.text("a")).toBe("12345678");
  expect(it.service.calls.initiateJob).toBe(1);
  expect(used(it)).toBe(0);
});

test("a job of ours whose answer was lost is charged, though it is then found", async () => {
  await using it = await TestVault.create(limitOf(10));
  await it.writeCold("a", "12345678");
  const error = new ServiceError("connection", "reset");
  it.service.fail({ operation: "initiateJob", error, when: "after" });
  const text = it.text("a");
  await it.until(() => it.state("a") === "cached");
  expect(await text).toBe("12345678");
  expect(it.service.calls.initiateJob).toBe(1);
  expect(used(it)).toBe(8);
});

test("a job that the service refuses costs nothing", async () => {
  await using it = await TestVault.create(limitOf(10));
  await it.writeCold("a", "12345678");
  it.service.fail({ operation: "initiateJob", error: new ServiceError("refused", "no") });
  await expect(it.text("a")).rejects.toMatchObject({ fault: "refused" });
  expect(used(it)).toBe(0);
});

test("what --recall-ahead would recall beyond the budget is left, without failing the open", async () => {
  await using it = await TestVault.create({ ...limitOf(10), settings: { recallAhead: 5 } });
  for (const file of ["a", "b", "c", "d"]) await it.writeCold(file, "1234");
  expect(await it.text("a")).toBe("1234");
  await it.until(() => it.state("b") === "cached");
  expect(it.service.calls.initiateJob).toBe(2);
  expect(used(it)).toBe(8);
  await expect(it.text("c")).rejects.toMatchObject(overBudget);
});

test("a file that is larger than the whole limit is told with what to do", async () => {
  await using it = await TestVault.create(limitOf(3));
  await it.writeCold("a", "1234");
  await expect(it.text("a")).rejects.toMatchObject({
    message: expect.stringContaining("its 4B are more than --recall-limit 3B/day ever allows"),
    hint: expect.stringContaining("casfs restore"),
  });
});

test("a restart, even a crash, forgets nothing of what was used", async () => {
  await using it = await TestVault.create(limitOf(10));
  await it.writeCold("a", "12345678");
  await it.writeCold("b", "123");
  await it.text("a");
  await it.reopen();
  expect(used(it)).toBe(8);
  await expect(it.text("b")).rejects.toMatchObject(overBudget);
  expect(it.service.calls.initiateJob).toBe(1);
});

test("a crash while the job is asked for keeps its charge", async () => {
  await using it = await TestVault.create({ retrievalMs, ...limitOf(10) });
  await it.writeCold("a", "12345678");
  void it.text("a").catch(() => undefined);
  await it.until(() => it.service.calls.initiateJob === 1);
  await it.reopen();
  await it.until(() => it.state("a") === "cached", { stepMs: minutes(10) });
  expect(it.service.calls.initiateJob).toBe(1);
  expect(used(it)).toBe(8);
});

test("an open that is interrupted before its job is ordered, and what was to be recalled ahead of it, costs nothing", async () => {
  await using it = await TestVault.create({ ...limitOf(10), settings: { recallAhead: 1 } });
  await it.writeCold("a", "12345678");
  await it.writeCold("b", "12");
  const listing = deferred<void>();
  it.service.onCall = (operation) => (operation === "listJobs" ? listing.promise : undefined);
  const interrupt = new AbortController();
  const opened = it.open("a", reading, { ...caller, signal: interrupt.signal });
  const failed = expect(opened).rejects.toMatchObject({ kind: "cancelled" });
  await it.until(() => it.state("b") === "recalling");
  expect(used(it)).toBe(10);
  interrupt.abort();
  await failed;
  expect(it.state("a")).toBe("archived");
  expect(it.state("b")).toBe("archived");
  expect(used(it)).toBe(0);
  // Also in the next life.
  listing.resolve();
  await it.reopen();
  await it.clock.advance(minutes(10));
  expect(used(it)).toBe(0);
  expect(it.service.calls.initiateJob).toBe(0);
  expect(await it.text("a")).toBe("12345678");
  expect(it.service.calls.initiateJob).toBe(2);
});

test("a crash while an open waits for its turn leaves nothing to be ordered, and no charge", async () => {
  await using it = await TestVault.create(limitOf(10));
  await it.writeCold("a", "12345678");
  const listing = deferred<void>();
  it.service.onCall = (operation) => (operation === "listJobs" ? listing.promise : undefined);
  void it.text("a").catch(() => undefined);
  await it.until(() => it.catalog.recalls.unfinished().length === 1);
  await it.catalog.flush();
  await it.reopen();
  const usedByThen = used(it);
  listing.resolve();
  expect(usedByThen).toBe(8);
  await it.until(() => used(it) === 0);
  expect(it.catalog.recalls.unfinished()).toEqual([]);
  expect(it.service.calls.initiateJob).toBe(0);
  expect(await it.text("a")).toBe("12345678");
  expect(used(it)).toBe(8);
});

test("what a person has confirmed is neither bound by the budget nor counted", async () => {
  await using it = await TestVault.create(limitOf(5));
  await it.writeCold("a", "12345678");
  const archive = it.fs.coldOpens.coldArchive(it.record("a").content!);
  const landed = it.recalls.recall(archive, { tier: "bulk", origin: "restore" });
  await it.until(() => it.state("a") === "cached");
  await landed;
  expect(used(it)).toBe(0);
});

test("an output that has expired before it was fetched is paid for again, and fails with EDQUOT beyond the budget", async () => {
  await using it = await TestVault.create(limitOf(10));
  await it.writeCold("a", "12345678");
  it.service.fail({ operation: "getJobOutput", error: new ServiceError("missing", "expired") });
  await expect(it.text("a")).rejects.toMatchObject(overBudget);
  expect(it.service.calls.initiateJob).toBe(1);
  expect(used(it)).toBe(8);
  await it.writeCold("b", "1");
  it.service.fail({ operation: "getJobOutput", error: new ServiceError("missing", "expired") });
  expect(await it.text("b")).toBe("1");
  expect(used(it)).toBe(10);
});
