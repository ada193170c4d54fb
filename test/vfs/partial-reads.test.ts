/** `--partial-recall`: reads of a large cold file bring what they ask for, and nobody pays for the rest. */

import { expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { hours, type Instant, minutes, seconds } from "../../src/domain/time.js";
import type { JobRequest } from "../../src/protocol/service.js";
import type { Caller } from "../../src/vfs/cold-opens.js";
import type { ReadManner } from "../../src/vfs/partial-reads.js";
import type { FileSystemSettings } from "../../src/vfs/settings.js";
import { expectBytes } from "../cache/cache-fixture.js";
import { testBytes } from "../support/test-bytes.js";
import { caller, reading, TestVault, type TestVaultOptions, writing } from "../support/test-file-system.js";

const size = 6 * MIB + 300;
const bytes = testBytes(size, 3);
const retrievalMs = hours(4);
const step = { stepMs: minutes(10) };
const direct: ReadManner = { isDirect: true, nonBlock: false };
const paged: ReadManner = { isDirect: false, nonBlock: false };
const directNonBlock: ReadManner = { isDirect: true, nonBlock: true };
const partialRecall = { overBytes: MIB, windowBytesMax: 64 * MIB };

interface PartialOptions extends Omit<TestVaultOptions, "settings"> {
  readonly settings?: Partial<FileSystemSettings>;
  readonly content?: Buffer;
}

/** A mount with the cold file `a`, and the ranges of the jobs that are ordered from then on, in MiB. */
async function withColdFile({ settings, content = bytes, ...options }: PartialOptions = {}) {
  const it = await TestVault.create({ retrievalMs, ...options, settings: { partialRecall, ...settings } });
  await it.writeCold("a", content);
  const jobs: (readonly [number, number] | "all")[] = [];
  it.service.onCall = (operation, [, request]) => {
    const range = (request as (JobRequest & { range?: { start: number; end: number } }) | undefined)?.range;
    if (operation !== "initiateJob") return;
    jobs.push(range === undefined ? "all" : [range.start / MIB, Math.ceil(range.end / MIB)]);
  };
  return { it, jobs };
}

/** One read(2), as the kernel driver hands it on. */
async function readAt(
  it: TestVault,
  handle: number,
  [offset, length]: readonly [number, number],
  { by = caller, manner = direct }: { readonly by?: Caller; readonly manner?: ReadManner } = {},
): Promise<Buffer> {
  const into = Buffer.alloc(length);
  return into.subarray(0, await it.fs.contents.read(handle, offset, into, by, manner));
}

/** Lets time pass until `work` is done. */
async function eventually<T>(it: TestVault, work: Promise<T>): Promise<T> {
  let isDone = false;
  const watched = work.finally(() => {
    isDone = true;
  });
  watched.catch(() => undefined);
  await it.until(() => isDone, step);
  return watched;
}

test("a large cold file opens at once, and a read waits for its own window only", async () => {
  const { it, jobs } = await withColdFile();
  await using _it = it;
  const handle = await it.open("a", reading);
  expect(it.fs.contents.isDirect(handle)).toBe(true);
  expect(jobs).toEqual([]);
  const read = readAt(it, handle, [4 * MIB + 10, 100]);
  await it.until(() => it.fs.partialReads.waiting().length === 1);
  expect(it.state("a")).toBe("recalling");
  expectBytes(await eventually(it, read), bytes.subarray(4 * MIB + 10, 4 * MIB + 110));
  expect(jobs).toEqual([[4, 5]]);
  await it.until(() => it.state("a") === "partial");
  expect(it.stat("a")).toMatchObject({ sizeBytes: size, blocks: MIB / 512 });
  expect(it.fs.partialReads.waiting()).toEqual([]);
  // What is here is read again, also beyond the end.
  expectBytes(await readAt(it, handle, [5 * MIB - 20, 20]), bytes.subarray(5 * MIB - 20, 5 * MIB));
  expect(await readAt(it, handle, [size, 10])).toHaveLength(0);
  const atEnd = await eventually(it, readAt(it, handle, [size - 10, 4096]));
  expectBytes(atEnd, bytes.subarray(size - 10));
  expect(jobs).toEqual([
    [4, 5],
    [6, 7],
  ]);
  await it.close(handle);
});

test("who reads on gets all of it right by few jobs; then it is an ordinary file", async () => {
  const { it, jobs } = await withColdFile();
  await using _it = it;
  const handle = await it.open("a", reading);
  const parts: Buffer[] = [];
  for (let offset = 0; ; ) {
    const part = await eventually(it, readAt(it, handle, [offset, 256 * 1024]));
    if (part.length === 0) break;
    parts.push(part);
    offset += part.length;
  }
  expectBytes(Buffer.concat(parts), bytes);
  expect(jobs).toEqual([
    [0, 1],
    [1, 2],
    [2, 4],
    [4, 7],
  ]);
  await it.until(() => it.state("a") === "cached");
  const next = await it.open("a", reading);
  expect(it.fs.contents.isDirect(next)).toBe(false);
  expectBytes(await it.pread(next, 0, size), bytes);
  await it.close(handle);
  await it.close(next);
});

test("readers of the same bytes share one job; one that jumps about pays for its MiBs alone", async () => {
  const { it, jobs } = await withColdFile();
  await using _it = it;
  const [one, other] = [await it.open("a", reading), await it.open("a", reading)];
  const reads = Promise.all([readAt(it, one, [3 * MIB, 10]), readAt(it, other, [3 * MIB + 50, 10])]);
  await eventually(it, reads);
  await eventually(it, readAt(it, one, [MIB - 5, 10]));
  expect(jobs).toEqual([
    [3, 4],
    [0, 2],
  ]);
  await it.close(one);
  await it.close(other);
});

test("Ctrl-C ends a waiting read at once and leaves the job to the next", async () => {
  const { it, jobs } = await withColdFile();
  await using _it = it;
  const handle = await it.open("a", reading);
  const interrupt = new AbortController();
  const read = readAt(it, handle, [0, 10], { by: { ...caller, signal: interrupt.signal } });
  await it.until(() => it.fs.partialReads.waiting().length === 1);
  interrupt.abort();
  await expect(read).rejects.toMatchObject({ kind: "cancelled" });
  expect(it.fs.partialReads.waiting()).toEqual([]);
  expectBytes(await eventually(it, readAt(it, handle, [0, 10])), bytes.subarray(0, 10));
  expect(jobs).toEqual([[0, 1]]);
  await it.close(handle);
});

test("--max-wait ends a read with EIO, with EAGAIN for who asked for O_NONBLOCK; a page of a map never waits", async () => {
  const { it, jobs } = await withColdFile({ settings: { maxWaitMs: seconds(30), nonblockRecall: true } });
  await using _it = it;
  const handle = await it.open("a", reading);
  await expect(readAt(it, handle, [0, 10], { manner: paged })).rejects.toMatchObject({ kind: "unavailable" });
  expect(jobs).toEqual([]);
  const waiting = eventually(it, readAt(it, handle, [0, 10]));
  await expect(waiting).rejects.toMatchObject({ kind: "unavailable" });
  const atOnce = readAt(it, handle, [0, 10], { manner: directNonBlock });
  await expect(atOnce).rejects.toMatchObject({ kind: "not-restored" });
  await it.until(() => it.state("a") === "partial", step);
  expectBytes(await readAt(it, handle, [0, 10], { manner: paged }), bytes.subarray(0, 10));
  expect(jobs).toEqual([[0, 1]]);
  await it.close(handle);
});

test("who has said not to wait hears it from open(), unless something of the file is here", async () => {
  const { it, jobs } = await withColdFile({ settings: { onCold: "deny" } });
  await using _it = it;
  await expect(it.open("a", reading)).rejects.toMatchObject({ kind: "not-restored" });
  const archive = it.fs.coldOpens.coldArchive(it.record("a").content!);
  const [window] = it.recalls.windowsToRecall(archive, { start: MIB, end: MIB + 1 } as never).new;
  await eventually(it, it.recalls.recallWindow(archive, window!, { tier: "standard", origin: "restore" }));
  const handle = await it.open("a", reading);
  expectBytes(await readAt(it, handle, [MIB, 10]), bytes.subarray(MIB, MIB + 10));
  await expect(readAt(it, handle, [0, 10])).rejects.toMatchObject({ kind: "unavailable" });
  await expect(it.open("a", { ...reading, nonBlock: true })).rejects.toMatchObject({ kind: "not-restored" });
  expect(jobs).toEqual([[1, 2]]);
  await it.close(handle);
});

test("with --on-cold eagain a read starts the recall of its window and fails; later it succeeds", async () => {
  const { it, jobs } = await withColdFile({ settings: { onCold: "eagain" } });
  await using _it = it;
  const handle = await it.open("a", reading);
  await expect(readAt(it, handle, [0, 10])).rejects.toMatchObject({ kind: "unavailable" });
  await it.until(() => it.state("a") === "partial", step);
  expectBytes(await readAt(it, handle, [0, 10]), bytes.subarray(0, 10));
  expect(jobs).toEqual([[0, 1]]);
  await it.close(handle);
});

test("budget and ledger count the bytes of windows; a reader that would get more than it allows gets what it asks for", async () => {
  const recallLimits = { bytes: { max: 3 * MIB, periodMs: hours(24 * 365) }, cost: null };
  const { it, jobs } = await withColdFile({ recallLimits });
  await using _it = it;
  const handle = await it.open("a", reading);
  for (let offset = 0; offset < 3 * MIB; offset += MIB) await eventually(it, readAt(it, handle, [offset, MIB]));
  expect(jobs).toEqual([
    [0, 1],
    [1, 2],
    [2, 3],
  ]);
  await expect(readAt(it, handle, [3 * MIB, 10])).rejects.toMatchObject({ kind: "over-budget" });
  expect(it.recallBudget.state("bytes")).toMatchObject({ used: 3 * MIB });
  const retrieved = it.catalog.ledger.rows(0 as Instant).filter(({ item }) => item === "retrieval-standard");
  expect(retrieved.reduce((sum, row) => sum + row.bytes, 0)).toBe(3 * MIB);
  expect(it.fs.refusals.totals["over-budget"]).toBe(1);
  await it.close(handle);
});

test("a program that may recall nothing is refused by open()", async () => {
  const recallDeny = { hasNames: false, match: () => "uid:1000" };
  const { it, jobs } = await withColdFile({ settings: { recallDeny } });
  await using _it = it;
  await expect(it.open("a", reading)).rejects.toMatchObject({ kind: "over-budget" });
  expect(jobs).toEqual([]);
});

test("what is executed, small, or opened for writing is recalled whole, and open readers go on with it", async () => {
  const { it, jobs } = await withColdFile();
  await using _it = it;
  await it.writeCold("small", testBytes(MIB, 5));
  const reader = await it.open("a", reading);
  await eventually(it, readAt(it, reader, [0, 10]));
  const waitingRead = readAt(it, reader, [5 * MIB, 10]);
  const [executed, writer] = [it.open("a", { ...reading, execute: true }), it.open("a", writing)];
  expectBytes(await eventually(it, waitingRead), bytes.subarray(5 * MIB, 5 * MIB + 10));
  const handles = [await eventually(it, executed), await eventually(it, writer)];
  expect(handles.map((handle) => it.fs.contents.isDirect(handle))).toEqual([false, false]);
  await it.pwrite(handles[1]!, 0, Buffer.from("new"));
  expect((await readAt(it, reader, [0, 3])).toString()).toBe("new");
  const small = await eventually(it, it.open("small", reading));
  expect(it.fs.contents.isDirect(small)).toBe(false);
  expect(jobs.map(String).sort()).toEqual(["0,1", "5,6", "all", "all"]);
  for (const handle of [reader, small, ...handles]) await it.close(handle);
});

test("truncating such a file fails as for any cold one, and emptying it shows its readers the end", async () => {
  const { it, jobs } = await withColdFile();
  await using _it = it;
  const reader = await it.open("a", reading);
  await eventually(it, readAt(it, reader, [0, 10]));
  await expect(it.fs.setAttributes(it.ino("a"), { sizeBytes: 5 })).rejects.toMatchObject({ kind: "not-restored" });
  await it.until(() => jobs.length === 2);
  expect(jobs).toEqual([[0, 1], "all"]);
  await it.fs.setAttributes(it.ino("a"), { sizeBytes: 0 });
  expect(await readAt(it, reader, [0, 10])).toHaveLength(0);
  await it.close(reader);
});

test("a read that waits while the file is rewritten gets the new bytes, whatever becomes of the recall", async () => {
  const { it } = await withColdFile();
  await using _it = it;
  const reader = await it.open("a", reading);
  const read = readAt(it, reader, [MIB, 10]);
  await it.until(() => it.recalls.snapshot()[0]?.state === "retrieving");
  await it.fs.setAttributes(it.ino("a"), { sizeBytes: 0 });
  const [recall] = it.recalls.snapshot();
  it.service.failJob(recall!.archive.vault, recall!.job!, "The archive was deleted");
  expect(await eventually(it, read)).toHaveLength(0);
  await it.close(reader);
});

test("landed windows survive a crash, and a recall that was under way goes on", async () => {
  const { it, jobs } = await withColdFile();
  await using _it = it;
  const reader = await it.open("a", reading);
  await eventually(it, readAt(it, reader, [0, 10]));
  const cut = readAt(it, reader, [3 * MIB, 10]);
  cut.catch(() => undefined);
  await it.until(() => it.recalls.snapshot()[0]?.state === "retrieving");
  await it.reopen();
  expect(it.cache.usage()).toMatchObject({ partialContents: 1, partialBytes: MIB });
  const again = await it.open("a", reading);
  expectBytes(await readAt(it, again, [10, 10]), bytes.subarray(10, 20));
  expectBytes(await eventually(it, readAt(it, again, [3 * MIB, 10])), bytes.subarray(3 * MIB, 3 * MIB + 10));
  expect(jobs).toEqual([
    [0, 1],
    [3, 4],
  ]);
  await it.close(again);
});

test("windows of an open file are not evicted; eviction and unlink drop them", async () => {
  const { it } = await withColdFile();
  await using _it = it;
  const reader = await it.open("a", reading);
  await eventually(it, readAt(it, reader, [0, 10]));
  await it.until(() => it.state("a") === "partial");
  await expect(it.evict("a")).rejects.toMatchObject({ kind: "busy" });
  await it.close(reader);
  await it.evict("a");
  expect(it.state("a")).toBe("archived");
  const next = await it.open("a", reading);
  await eventually(it, readAt(it, next, [0, 10]));
  await it.unlink("a");
  expectBytes(await readAt(it, next, [0, 10]), bytes.subarray(0, 10));
  await it.close(next);
  await it.until(() => it.cache.usage().partialBytes === 0);
});

test("copy_file_range of what is not here is left to reading and writing", async () => {
  const { it } = await withColdFile();
  await using _it = it;
  const [from, to] = [await it.open("a", reading), await it.open("b", writing)];
  const copy = () => it.fs.ranges.copy({ handle: from, offset: 0 }, { handle: to, offset: 0 }, 10, caller);
  await expect(copy()).rejects.toMatchObject({ kind: "not-supported" });
  await eventually(it, readAt(it, from, [0, 10]));
  expect(await copy()).toBe(10);
  expect(await it.fs.ranges.seek(from, 5, "data")).toBe(5);
  await it.close(from);
  await it.close(to);
});
