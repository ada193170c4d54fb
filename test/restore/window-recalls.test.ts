/** Windows of an archive are ordered, paid for, verified and kept without the rest. */

import { existsSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { byteCount, byteRange, MIB } from "../../src/domain/bytes.js";
import { CorruptError, ServiceError } from "../../src/domain/errors.js";
import { vaultName } from "../../src/domain/ids.js";
import { hours, minutes, seconds } from "../../src/domain/time.js";
import { archiveWindow } from "../../src/protocol/archive-window.js";
import type { CasService, JobRequest, RetrievalTier, TreeHashHex } from "../../src/protocol/service.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { JobPoller } from "../../src/restore/job-poller.js";
import type { ColdArchive } from "../../src/restore/ports.js";
import { RestoreManager } from "../../src/restore/restore-manager.js";
import { bytesOf, CacheFixture, expectBytes, key } from "../cache/cache-fixture.js";
import { CountedBudget } from "../support/counted-budget.js";
import { FakeClock } from "../support/fake-clock.js";
import { MemoryCasService } from "../support/memory-cas-service.js";
import { MemoryRestoreJournal } from "../support/memory-journals.js";
import { newArchive } from "../support/test-bytes.js";

const vault = vaultName("photos");
const size = 6 * MIB + 300;
const standard = { tier: "standard" } as const;

interface WorldOptions {
  readonly autoAdvance?: boolean;
  readonly retrievalMs?: Record<RetrievalTier, number>;
  /** Changes what the service answers. */
  readonly wrap?: (service: MemoryCasService) => Partial<CasService>;
}

async function world({ autoAdvance = true, retrievalMs, wrap = () => ({}) }: WorldOptions = {}) {
  const disk = await CacheFixture.create();
  const clock = new FakeClock({ autoAdvance });
  const memory = new MemoryCasService({ clock, ...(retrievalMs !== undefined && { retrievalMs }) });
  const { listJobs, describeJob, initiateJob, getJobOutput } = memory;
  const bound = { listJobs, describeJob, initiateJob, getJobOutput };
  for (const [name, call] of Object.entries(bound)) Object.assign(bound, { [name]: call.bind(memory) });
  const service = { ...bound, ...wrap(memory) };
  await memory.createVault(vault);
  const journal = new MemoryRestoreJournal();
  const budget = new CountedBudget();
  const observer = () => undefined;
  const newManager = () => {
    const poller = new JobPoller({ service, clock, observer });
    const parts = { service, journal, sink: disk.cache, windows: disk.partial, budget, poller, clock, observer };
    return new RestoreManager({ ...parts, random: () => 0.5 }, { pieceBytes: 2 * MIB, downloadConcurrency: 1 });
  };
  const store = async (number: number, sizeBytes = size) => {
    const bytes = bytesOf(number, sizeBytes);
    const id = await memory.uploadArchive(vault, newArchive(bytes));
    const { treeHash } = digestOf(bytes);
    const archive: ColdArchive = { key: key(number), vault, id, sizeBytes: byteCount(sizeBytes), treeHash };
    return { archive: journal.know(archive), bytes };
  };
  const ordered: (readonly [number, number] | null)[] = [];
  memory.onCall = (operation, [, request]) => {
    const range = (request as JobRequest & { range?: { start: number; end: number } })?.range;
    if (operation === "initiateJob") ordered.push(range === undefined ? null : [range.start / MIB, range.end / MIB]);
  };
  return { disk, clock, memory, journal, budget, newManager, store, ordered };
}

const windowOf = (startMib: number, endBytes: number, sizeBytes = size) =>
  archiveWindow(byteRange(startMib * MIB, endBytes), sizeBytes);

/** What is here of `archive`, read as a reader of windows would. */
async function readWindow(disk: CacheFixture, archive: ColdArchive, start: number, end: number): Promise<Buffer> {
  const file = disk.partial.openPartial(archive);
  try {
    expect(file.missing(byteRange(start, end))).toEqual([]);
    const bytes = Buffer.alloc(end - start);
    expect(await file.read(start, bytes)).toBe(bytes.length);
    return bytes;
  } finally {
    await file.close();
  }
}

test("a window is ordered, charged and landed without the rest", async () => {
  const { disk, memory, budget, newManager, store, ordered } = await world();
  await using _disk = disk;
  const { archive, bytes } = await store(1);
  const manager = newManager();
  await manager.recallWindow(archive, windowOf(4, size), standard);
  expect(ordered).toEqual([[4, size / MIB]]);
  expect(budget.taken.map(({ sizeBytes }) => sizeBytes)).toEqual([size - 4 * MIB]);
  expect(memory.bytesServed).toBe(size - 4 * MIB);
  expectBytes(await readWindow(disk, archive, 4 * MIB + 5, size), bytes.subarray(4 * MIB + 5));
  expect(disk.cache.has(archive.key)).toBe(false);
  expect(disk.partial.missing(archive, byteRange(0, size))).toEqual([byteRange(0, 4 * MIB)]);
  expect(disk.cache.usage()).toMatchObject({ contents: 0, partialContents: 1, usedBytes: size - 4 * MIB });
  await manager.recallWindow(archive, windowOf(5, 6 * MIB), standard);
  expect(ordered).toHaveLength(1);
});

test("a recall that brings more is joined, in this process and in the service", async () => {
  const { disk, clock, memory, budget, newManager, store, ordered } = await world({ autoAdvance: false });
  await using _disk = disk;
  const { archive, bytes } = await store(1);
  const manager = newManager();
  const whole = manager.recall(archive, standard);
  const window = manager.recallWindow(archive, windowOf(2, 4 * MIB), standard);
  const { running } = manager.windowsToRecall(archive, byteRange(0, 10));
  expect(running).toEqual([byteRange(0, size)]);
  await clock.advance(hours(5));
  await Promise.all([whole, window]);
  expect([ordered, budget.taken.length]).toEqual([[null], 1]);
  await disk.cache.drop(archive.key);
  // The output of that job is still there: what it has is free.
  const again = manager.recallWindow(archive, windowOf(2, 4 * MIB), standard);
  await clock.advance(hours(1));
  await again;
  expect(ordered).toEqual([null]);
  expect(budget.refunded.map(({ sizeBytes }) => sizeBytes)).toEqual([2 * MIB]);
  expect(memory.bytesServed).toBe(size + 2 * MIB);
  expectBytes(await readWindow(disk, archive, 2 * MIB, 4 * MIB), bytes.subarray(2 * MIB, 4 * MIB));
});

test("a window whose archive has landed meanwhile is not fetched again", async () => {
  const retrievalMs = { expedited: 1000, standard: hours(4), bulk: hours(10) };
  const { disk, clock, memory, newManager, store, ordered } = await world({ autoAdvance: false, retrievalMs });
  await using _disk = disk;
  const { archive, bytes } = await store(1);
  const manager = newManager();
  const reader = disk.partial.openPartial(archive);
  const window = manager.recallWindow(archive, windowOf(0, MIB), standard);
  const whole = manager.recall(archive, { tier: "expedited" });
  await clock.advance(minutes(1));
  await whole;
  expect(reader.state).toBe("landed");
  await clock.advance(hours(5));
  await window;
  expect(ordered).toEqual([[0, 1], null]);
  expect([memory.bytesServed, disk.cache.usage().partialContents]).toEqual([size, 0]);
  expectBytes(await disk.read(1), bytes);
  await reader.close();
  await manager.close();
});

test("windows to recall leave out what is here and what is under way", async () => {
  const { disk, newManager, store } = await world({ autoAdvance: false });
  await using _disk = disk;
  const { archive } = await store(1);
  const manager = newManager();
  void manager.recallWindow(archive, windowOf(2, 4 * MIB), standard);
  const asked = manager.windowsToRecall(archive, byteRange(MIB + 5, size));
  expect(asked.running).toEqual([byteRange(2 * MIB, 4 * MIB)]);
  expect(asked.new).toEqual([byteRange(MIB, 2 * MIB), byteRange(4 * MIB, size)]);
  expect(manager.status(archive.key)).toBeUndefined();
  expect(manager.status(archive.key, byteRange(3 * MIB, 4 * MIB))).toMatchObject({ window: { start: 2 * MIB } });
  await manager.close();
});

test("what comes wrong is fetched again, and is never shown", async () => {
  const { disk, memory, newManager, store } = await world();
  await using _disk = disk;
  const { archive, bytes } = await store(1);
  let wrong = 1;
  memory.transformOutput = async function* (body) {
    const isWrong = wrong-- > 0;
    for await (const chunk of body) yield isWrong ? Buffer.from(chunk).fill(7, 0, 1) : chunk;
  };
  await newManager().recallWindow(archive, windowOf(0, 2 * MIB), standard);
  expectBytes(await readWindow(disk, archive, 0, 2 * MIB), bytes.subarray(0, 2 * MIB));
  wrong = 100;
  await expect(newManager().recallWindow(archive, windowOf(2, 4 * MIB), standard)).rejects.toThrow(CorruptError);
  expect(disk.partial.missing(archive, byteRange(2 * MIB, 4 * MIB))).toEqual([byteRange(2 * MIB, 4 * MIB)]);
});

test("bytes that the service gives no hash of are never shown", async () => {
  const wrap = (service: MemoryCasService): Partial<CasService> => ({
    getJobOutput: async (...call) => ({ ...(await service.getJobOutput(...call)), treeHash: null }),
  });
  const { disk, newManager, store } = await world({ wrap });
  await using _disk = disk;
  const { archive } = await store(1);
  const recalled = newManager().recallWindow(archive, windowOf(0, 2 * MIB), standard);
  await expect(recalled).rejects.toThrow("the service gives no hash");
  expect(disk.partial.landedBytes(archive.key)).toBe(0);
});

test("with its last window the archive is an ordinary cached content", async () => {
  const { disk, newManager, store, ordered } = await world();
  await using _disk = disk;
  const { archive, bytes } = await store(1);
  const manager = newManager();
  const reader = disk.partial.openPartial(archive);
  for (const window of manager.windowsToRecall(archive, byteRange(0, size), 2 * MIB).new) {
    await manager.recallWindow(archive, window, standard);
  }
  expect(ordered).toHaveLength(4);
  expect(reader.state).toBe("landed");
  expectBytes(await disk.read(1), bytes);
  expect(disk.cache.usage()).toMatchObject({ contents: 1, partialContents: 0, usedBytes: size });
  expect(disk.partialIndex.rows.size).toBe(0);
  await reader.close();
});

test("a reader that begins while the archive becomes whole reads its bytes", async () => {
  const { disk, newManager, store } = await world();
  await using _disk = disk;
  const { archive, bytes } = await store(1);
  const manager = newManager();
  await manager.recallWindow(archive, windowOf(0, 4 * MIB), standard);
  const reader = disk.partial.openPartial(archive);
  // As between the renaming and the entry's end, while the directory is synced.
  renameSync(disk.layout.partial(archive.key), disk.layout.cached(archive.key));
  const into = Buffer.alloc(100);
  expect([reader.state, await reader.read(MIB, into)]).toEqual(["here", 100]);
  expectBytes(into, bytes.subarray(MIB, MIB + 100));
  await reader.close();
});

test("windows that are right each, and wrong together, are all dropped", async () => {
  const other = "0".repeat(64) as TreeHashHex;
  const wrap = (service: MemoryCasService): Partial<CasService> => ({
    listJobs: async (...call) => {
      const page = await service.listJobs(...call);
      return { ...page, items: page.items.map((job) => ({ ...job, archiveTreeHash: other })) };
    },
  });
  const { disk, journal, newManager, store } = await world({ wrap });
  await using _disk = disk;
  const stored = await store(1);
  const archive = journal.know({ ...stored.archive, treeHash: other });
  const manager = newManager();
  const reader = disk.partial.openPartial(archive);
  await manager.recallWindow(archive, windowOf(0, 4 * MIB), standard);
  expect(reader.missing(byteRange(0, 4 * MIB))).toEqual([]);
  const last = manager.recallWindow(archive, windowOf(4, size), standard);
  await expect(last).rejects.toThrow("the whole has a wrong tree hash");
  expect([reader.state, disk.partial.landedBytes(archive.key), disk.cache.has(archive.key)]).toEqual([
    "damaged",
    0,
    false,
  ]);
  expect(existsSync(disk.layout.partial(archive.key))).toBe(false);
  await reader.close();
});

test("landed windows survive a restart, and what was under way goes on", async () => {
  const { disk, memory, newManager, store, ordered } = await world();
  await using _disk = disk;
  const [{ archive, bytes }, cut, stray] = await Promise.all([store(1), store(2), store(3)]);
  const manager = newManager();
  await manager.recallWindow(archive, windowOf(0, MIB), standard);
  await manager.recallWindow(cut.archive, windowOf(0, MIB), standard);
  memory.fail({ operation: "getJobOutput", error: new ServiceError("denied", "No access"), skip: 1 });
  const failing = manager.recallWindow(archive, windowOf(4, size), { ...standard, origin: "restore" });
  await failing.catch(() => undefined);
  truncateSync(disk.layout.partial(cut.archive.key), MIB);
  writeFileSync(disk.layout.partial(stray.archive.key), "nobody knows it");
  await disk.reopen();
  expect(existsSync(disk.layout.partial(stray.archive.key))).toBe(false);
  expect(disk.partial.landedBytes(cut.archive.key)).toBe(0);
  expectBytes(await readWindow(disk, archive, 0, MIB), bytes.subarray(0, MIB));
  // The first piece of the second window had landed, too.
  expect(disk.partial.missing(archive, byteRange(4 * MIB, size))).toEqual([byteRange(6 * MIB, size)]);
  const before = memory.bytesServed;
  await newManager().recallWindow(archive, windowOf(4, size), standard);
  expect(memory.bytesServed - before).toBe(size - 6 * MIB);
  expect(ordered.filter((range) => range?.[0] === 4)).toHaveLength(1);
});

test("windows are evicted with everything else by their use, and never while they are open", async () => {
  const { disk, newManager, store } = await world();
  await using _disk = disk;
  await disk.reopen({ maxBytes: 4 * MIB, recallKeepMs: seconds(0) });
  const [first, second, third] = await Promise.all([store(1), store(2), store(3)]);
  const manager = newManager();
  await manager.recallWindow(first.archive, windowOf(0, 2 * MIB), standard);
  const reader = disk.partial.openPartial(first.archive);
  await disk.clock.advance(1000);
  await manager.recallWindow(second.archive, windowOf(0, 2 * MIB), standard);
  await disk.clock.advance(1000);
  await manager.recallWindow(third.archive, windowOf(0, 2 * MIB), standard);
  const landed = () => [first, second, third].map(({ archive }) => disk.partial.landedBytes(archive.key) / MIB);
  expect(landed()).toEqual([2, 0, 2]);
  expect(await disk.cache.evict(first.archive.key)).toBe("in-use");
  await reader.close();
  expect(await disk.cache.evict(first.archive.key)).toBe("evicted");
  expect(existsSync(disk.layout.partial(first.archive.key))).toBe(false);
  await disk.cache.setPinned(third.archive.key, true);
  expect(await disk.cache.evict(third.archive.key)).toBe("pinned");
  await disk.cache.drop(third.archive.key);
  expect(landed()).toEqual([0, 0, 0]);
});
