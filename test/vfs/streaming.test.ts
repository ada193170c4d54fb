/** Files whose upload begins while they are written: parts of 1 MiB, 6 MiB of staging, 24 MiB for the largest. */

import { rmSync } from "node:fs";
import { constants } from "node:os";
import { describe, expect, test } from "vitest";
import { CacheLayout } from "../../src/cache/layout.js";
import { allocatedBytes } from "../../src/cache/staging-area.js";
import { parseNamePatterns } from "../../src/config/name-patterns.js";
import { MIB } from "../../src/domain/bytes.js";
import { ServiceError } from "../../src/domain/errors.js";
import { hours, seconds } from "../../src/domain/time.js";
import { toErrno } from "../../src/fuse/errno.js";
import { deferred } from "../../src/lib/deferred.js";
import type { UploadDescription } from "../../src/protocol/service.js";
import { testBytes } from "../support/test-bytes.js";
import {
  appending,
  reading,
  rewriting,
  TestVault,
  type TestVaultOptions,
  vault,
  writing,
} from "../support/test-file-system.js";

const stagingBytes = 6 * MIB;
const plan = { partSizeBytes: MIB, sizeBytesMax: 24 * MIB, thresholdBytes: 3 * MIB };
const small: TestVaultOptions = { stagingBytes, settings: { stream: plan, settleMs: seconds(2) } };
const large = testBytes(20 * MIB + 12_345);

/** What became of a promise so far. */
function watched(work: Promise<unknown>) {
  const state: { outcome: "waiting" | "done" | Error } = { outcome: "waiting" };
  work.then(
    () => {
      state.outcome = "done";
    },
    (error: Error) => {
      state.outcome = error;
    },
  );
  return state;
}

async function writeAll(it: TestVault, handle: number, bytes: Uint8Array, from = 0): Promise<void> {
  for (let offset = from; offset < bytes.length; offset += MIB) {
    await it.pwrite(handle, offset, bytes.subarray(offset, Math.min(offset + MIB, bytes.length)));
  }
}

/** A file of which the first `mebibytes` were written; the handle is open. */
async function begun(it: TestVault, name: string, mebibytes: number): Promise<number> {
  const handle = await it.open(name, writing);
  await writeAll(it, handle, large.subarray(0, mebibytes * MIB));
  return handle;
}

/**
 * Ends when `work` does; the clock goes on meanwhile.
 *
 * @param stepMs How fast time passes. The disk and its helper program do not go faster with it: a stall must be none.
 */
async function finish(it: TestVault, work: Promise<unknown>, stepMs = 5): Promise<unknown> {
  const state = watched(work);
  await it.until(() => state.outcome !== "waiting", { stepMs, limitMs: 60_000 });
  return state.outcome;
}

const close = (it: TestVault, handle: number) => finish(it, it.close(handle));
const settled = (it: TestVault) =>
  it.until(() => it.streams.snapshot().every(({ sentParts, sizeBytes }) => sentParts >= Math.floor(sizeBytes / MIB)));

async function unfinished(it: TestVault): Promise<readonly UploadDescription[]> {
  return (await it.service.listMultipartUploads(vault)).items;
}

function archives(it: TestVault): Buffer[] {
  return it.service.archivesOf(vault).map(({ bytes }) => bytes);
}

function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  expect(Buffer.compare(actual, expected)).toBe(0);
}

/** Reads of what has left are errors, and everything else is right. */
async function expectNothingWrong(it: TestVault, path: string, expected: Uint8Array): Promise<number> {
  const handle = await it.open(path, reading);
  let failed = 0;
  const { sizeBytes } = it.stat(path);
  for (let offset = 0; offset < sizeBytes; offset += MIB / 2) {
    const piece = await it.pread(handle, offset, MIB / 2).catch((error: unknown) => {
      expect(error).toMatchObject({ kind: "corrupt" });
      failed += 1;
      return undefined;
    });
    if (piece !== undefined) expectBytes(piece, expected.subarray(offset, offset + piece.length));
  }
  await it.fs.release(handle);
  return failed;
}

describe("a file that does not fit into staging", () => {
  test("goes through it part by part, is archived when close() returns, and comes back by a recall", async () => {
    await using it = await TestVault.create(small);
    const layout = new CacheLayout(it.directory);
    const handle = await it.open("a", writing);
    let peakBytes = 0;
    for (let offset = 0; offset < large.length; offset += MIB) {
      await it.pwrite(handle, offset, large.subarray(offset, Math.min(offset + MIB, large.length)));
      peakBytes = Math.max(peakBytes, allocatedBytes(layout.staged(it.record("a").content!.id)) ?? 0);
      expect(it.budget.usage().usedBytes).toBeLessThanOrEqual(stagingBytes);
    }
    // The disk needs a block now and then to say where the others are.
    expect(peakBytes).toBeLessThanOrEqual(stagingBytes + 64 * 1024);
    expect(it.state("a")).toMatch(/^uploading \d+\/21$/);
    expect(await close(it, handle)).toBe("done");
    expect(it.state("a"), "without waiting for anything but close()").toBe("archived");
    expectBytes(archives(it)[0]!, large);
    expect(archives(it)).toHaveLength(1);
    expect(it.service.archivesOf(vault)[0]!.description).toMatch(/^casfs\/1 a\?.*&p=1$/);
    await it.until(() => it.budget.usage().usedBytes === 0);
    expect(await it.staging.list()).toEqual([]);
    expect(await unfinished(it)).toEqual([]);
    const read = it.read("a");
    expect(await finish(it, read)).toBe("done");
    expectBytes(await read, large);
    // Nothing was sent twice: 20 whole parts and the rest.
    expect(it.service.calls.uploadPart).toBe(21);
  });

  test("reading or writing what has left is EIO, and what is here can be read and written", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 12);
    await expect(it.pread(handle, 0, 10)).rejects.toMatchObject({ kind: "corrupt" });
    await expect(it.pread(handle, MIB - 1, 2)).rejects.toMatchObject({ kind: "corrupt" });
    await expect(it.pwrite(handle, 5, Buffer.from("!"))).rejects.toMatchObject({ kind: "corrupt" });
    expectBytes(await it.pread(handle, 12 * MIB - 100, 100), large.subarray(12 * MIB - 100, 12 * MIB));
    const bytes = Buffer.from(large.subarray(0, 12 * MIB + 100));
    bytes.write("changed", 12 * MIB - 50);
    await settled(it);
    await it.pwrite(handle, 12 * MIB - 50, Buffer.from("changed"));
    await it.pwrite(handle, 12 * MIB, large.subarray(12 * MIB, 12 * MIB + 100));
    expect(await close(it, handle)).toBe("done");
    expectBytes(archives(it)[0]!, bytes);
  });

  test("beyond --stream-max-size it is EFBIG, and what was written is archived", async () => {
    await using it = await TestVault.create(small);
    const handle = await it.open("a", appending);
    await writeAll(it, handle, large);
    await writeAll(it, handle, large.subarray(0, 24 * MIB - large.length));
    await expect(it.pwrite(handle, 0, Buffer.from("!"))).rejects.toMatchObject({ kind: "too-large" });
    await expect(it.fs.setAttributes(it.ino("a"), { sizeBytes: 25 * MIB })).rejects.toMatchObject({
      kind: "too-large",
    });
    expect(await close(it, handle)).toBe("done");
    expect(archives(it)[0]!.length).toBe(24 * MIB);
  });

  test("fsync waits for the answers to all whole parts", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 8);
    const held = deferred<void>();
    await settled(it);
    it.service.onCall = (operation) => (operation === "uploadPart" ? held.promise : undefined);
    await it.pwrite(handle, 8 * MIB, large.subarray(8 * MIB, 9 * MIB));
    const synced = watched(it.fs.contents.fsync(handle));
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(synced.outcome).toBe("waiting");
    held.resolve();
    await it.until(() => synced.outcome === "done");
    expect(await close(it, handle)).toBe("done");
  });

  test("close() returns the error of Complete; the upload goes on, and the former archive stays until it is through", async () => {
    await using it = await TestVault.create(small);
    await it.writeArchived("a", "the former");
    const handle = await it.open("a", rewriting);
    await writeAll(it, handle, large);
    it.service.fail({ operation: "completeMultipartUpload", error: new ServiceError("denied", "The key may not") });
    expect(String(await close(it, handle))).toContain("The key may not");
    expect(it.archived()).toContain("the former");
    await it.fs.release(handle);
    await it.until(() => archives(it).length === 1 && it.uploads.size === 0, { stepMs: 5_000 });
    expectBytes(archives(it)[0]!, large);
  });

  test("close() can be interrupted, and the upload goes on", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 12);
    const held = deferred<void>();
    it.service.onCall = (operation) => (operation === "completeMultipartUpload" ? held.promise : undefined);
    const interrupted = new AbortController();
    const flushed = watched(it.flush(handle, interrupted.signal));
    await it.until(() => it.service.calls.completeMultipartUpload > 0);
    interrupted.abort(new Error("interrupted"));
    await it.until(() => flushed.outcome !== "waiting");
    expect(flushed.outcome).toMatchObject({ message: "interrupted" });
    held.resolve();
    await it.fs.release(handle);
    await it.archiveAll();
    expectBytes(archives(it)[0]!, large.subarray(0, 12 * MIB));
  });

  test("under a temporary name too: close() waits, and a rename afterwards uploads nothing again", async () => {
    const settings = { ...small.settings, isTemporary: parseNamePatterns("*.part") };
    await using it = await TestVault.create({ ...small, settings });
    const handle = await begun(it, "a.part", 12);
    expect(await close(it, handle)).toBe("done");
    await it.rename("a.part", "a");
    expect(it.state("a")).toBe("archived");
    await it.archiveAll();
    expect(archives(it)).toHaveLength(1);
  });

  test("of two writers the last close() completes it", async () => {
    await using it = await TestVault.create(small);
    const one = await begun(it, "a", 12);
    const other = await it.open("a", writing);
    expect(await close(it, one)).toBe("done");
    expect(archives(it)).toEqual([]);
    await it.pwrite(other, 12 * MIB, Buffer.from("the end"));
    expect(await close(it, other)).toBe("done");
    expectBytes(archives(it)[0]!, Buffer.concat([large.subarray(0, 12 * MIB), Buffer.from("the end")]));
  });

  test("the close() of a copy of the descriptor that a child inherited completes nothing", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 12);
    it.isHeldElsewhere = true;
    expect(await finish(it, it.flush(handle))).toBe("done");
    expect(archives(it)).toEqual([]);
    await writeAll(it, handle, large.subarray(0, 14 * MIB), 12 * MIB);
    it.isHeldElsewhere = false;
    expect(await close(it, handle)).toBe("done");
    expectBytes(archives(it)[0]!, large.subarray(0, 14 * MIB));
  });

  test("who writes after the close() that completed it gets EIO, and who opens it anew the whole file", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 12);
    expect(await finish(it, it.flush(handle))).toBe("done");
    await expect(it.pwrite(handle, 12 * MIB, Buffer.from("!"))).rejects.toMatchObject({ kind: "corrupt" });
    await expect(it.pread(handle, 0, 10)).rejects.toMatchObject({ kind: "corrupt" });
    // The first handle is open still.
    const read = it.read("a");
    expect(await finish(it, read)).toBe("done");
    expectBytes(await read, large.subarray(0, 12 * MIB));
    await it.fs.release(handle);
  });

  test("emptied, it begins anew; cut where it was sent, it is EIO; cut where it was not, it goes on", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 12);
    await settled(it);
    await expect(it.fs.setAttributes(it.ino("a"), { sizeBytes: 3 * MIB })).rejects.toMatchObject({ kind: "corrupt" });
    await it.pwrite(handle, 12 * MIB, large.subarray(12 * MIB, 12 * MIB + 1000));
    await it.fs.setAttributes(it.ino("a"), { sizeBytes: 12 * MIB + 500 });
    await it.fs.setAttributes(it.ino("a"), { sizeBytes: 0 });
    await writeAll(it, handle, large.subarray(0, 9 * MIB));
    await it.pwrite(handle, 9 * MIB, large.subarray(9 * MIB, 9 * MIB + 1000));
    await it.fs.setAttributes(it.ino("a"), { sizeBytes: 9 * MIB + 500 });
    expect(await close(it, handle)).toBe("done");
    expectBytes(archives(it)[0]!, large.subarray(0, 9 * MIB + 500));
    await it.until(() => it.service.calls.abortMultipartUpload > 0);
    expect(await unfinished(it)).toEqual([]);
  });

  test("cut where a part is on its way, it is EIO, and the part is not taken for what is written there later", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 12);
    await settled(it);
    const held = deferred<void>();
    it.service.onCall = (operation) => (operation === "uploadPart" ? held.promise : undefined);
    const { uploadPart } = it.service.calls;
    await it.pwrite(handle, 12 * MIB, large.subarray(12 * MIB, 13 * MIB));
    await it.until(() => it.service.calls.uploadPart > uploadPart);
    const cut = watched(it.fs.setAttributes(it.ino("a"), { sizeBytes: 12 * MIB + 100 }));
    await it.until(() => cut.outcome !== "waiting");
    expect(cut.outcome).toMatchObject({ kind: "corrupt" });
    held.resolve();
    expect(await close(it, handle)).toBe("done");
    expectBytes(archives(it)[0]!, large.subarray(0, 13 * MIB));
  });

  test("cut in the moment before its first part leaves, it begins anew with all its bytes", async () => {
    await using it = await TestVault.create(small);
    const [asked, probed] = [deferred<void>(), deferred<void>()];
    it.staging.requireDropping = async () => {
      asked.resolve();
      await probed.promise;
    };
    const handle = await begun(it, "a", 6);
    const write = watched(it.pwrite(handle, 6 * MIB, large.subarray(6 * MIB, 7 * MIB)));
    const isAsked = watched(asked.promise);
    await it.until(() => isAsked.outcome === "done");
    const cut = watched(it.fs.setAttributes(it.ino("a"), { sizeBytes: 4 * MIB + 100 }));
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
    probed.resolve();
    await it.until(() => cut.outcome !== "waiting" && write.outcome !== "waiting");
    expect([cut.outcome, write.outcome]).toEqual(["done", "done"]);
    const expected = Buffer.from(large.subarray(0, 7 * MIB));
    expected.fill(0, 4 * MIB + 100, 6 * MIB);
    expect(await close(it, handle)).toBe("done");
    await it.archiveAll();
    expectBytes(archives(it)[0]!, expected);
  });

  test("a hole that a writer leaves behind itself is zeros, and one inside the file is not sent before it is filled", async () => {
    await using it = await TestVault.create(small);
    const handle = await it.open("a", writing);
    const expected = Buffer.from(large);
    expected.fill(0, MIB + 100, 3 * MIB);
    await it.pwrite(handle, 0, expected.subarray(0, MIB));
    await it.pwrite(handle, MIB, expected.subarray(MIB, MIB + 100));
    await writeAll(it, handle, expected, 3 * MIB);
    expect(await close(it, handle)).toBe("done");
    expectBytes(archives(it)[0]!, expected);

    const other = await it.open("b", writing);
    await it.fs.setAttributes(it.ino("b"), { sizeBytes: 10 * MIB });
    await writeAll(it, other, large.subarray(0, 10 * MIB), 2 * MIB);
    await it.pwrite(other, 0, large.subarray(0, MIB));
    await it.pwrite(other, MIB, large.subarray(MIB, 2 * MIB));
    expect(await close(it, other)).toBe("done");
    expectBytes(archives(it)[1]!, large.subarray(0, 10 * MIB));
  });

  test("removed while it is written, it leaves neither an archive nor an upload, and its room is given back", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 12);
    await it.unlink("a");
    await it.until(() => it.service.calls.abortMultipartUpload > 0);
    expect(await close(it, handle)).toBe("done");
    await it.until(() => it.budget.usage().usedBytes === 0);
    expect(await unfinished(it)).toEqual([]);
    expect(archives(it)).toEqual([]);
    expect(await it.staging.list()).toEqual([]);
  });

  test("renamed when it waits for its turn, it rests no longer: its upload lives for a day", async () => {
    const settings = { ...small.settings, isTemporary: parseNamePatterns("*.part") };
    await using it = await TestVault.create({ ...small, settings });
    const handle = await begun(it, "a", 12);
    await settled(it);
    const held = deferred<void>();
    it.service.onCall = (operation) => (operation === "uploadArchive" ? held.promise : undefined);
    for (let file = 0; file < 8; file++) await it.write(`f${file}`, `text ${file}`);
    await it.until(() => it.service.calls.uploadArchive === 8);
    const interrupted = new AbortController();
    const flushed = watched(it.flush(handle, interrupted.signal));
    await it.until(() => it.record("a").content!.phase === "sealed");
    interrupted.abort(new Error("interrupted"));
    await it.until(() => flushed.outcome !== "waiting");
    await it.fs.release(handle);
    await it.rename("a", "a.part");
    expect(it.record("a.part").content).toMatchObject({ phase: "sealed" });
    expect(it.catalog.dueAt(it.record("a.part").content!.id)).toBeLessThanOrEqual(it.clock.now());
    held.resolve();
    await it.until(() => it.state("a.part") === "archived");
    expectBytes(archives(it).at(-1)!, large.subarray(0, 12 * MIB));
  });

  test("renamed while it is written, it has its new name", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 12);
    await it.rename("a", "b");
    expect(await close(it, handle)).toBe("done");
    expect(it.names()).toEqual(["b"]);
    expect(it.state("b")).toBe("archived");
  });

  test("another file replaced by it stays until it is archived", async () => {
    await using it = await TestVault.create(small);
    await it.writeArchived("a", "the former");
    const handle = await begun(it, "b", 12);
    await it.rename("b", "a");
    expect(it.archived()).toContain("the former");
    expect(await close(it, handle)).toBe("done");
    await it.archiveAll();
    await it.until(() => it.service.archivesOf(vault).length === 1);
    expectBytes(archives(it)[0]!, large.subarray(0, 12 * MIB));
  });

  test("a part that fails is sent again; without any progress its writer gets ENOSPC after the stall timeout", async () => {
    await using it = await TestVault.create(small);
    it.service.fail({ operation: "uploadPart", error: new ServiceError("unavailable", "Not now"), times: 3 });
    expect(await finish(it, begun(it, "a", 12))).toBe("done");
    it.service.expectAllFaultsHit();
    const down = { operation: "uploadPart", error: new ServiceError("unavailable", "Down"), times: 1000 } as const;
    it.service.fail(down);
    const handle = await it.open("a", writing);
    const write = watched(writeAll(it, handle, large, 12 * MIB));
    await it.until(() => it.streams.snapshot()[0]?.lastError === "Down", { stepMs: 5 });
    await it.until(() => write.outcome !== "waiting", { stepMs: 500 });
    expect(write.outcome).toMatchObject({ kind: "no-space" });
    expect(it.warnings.join()).toContain("no upload has made progress for 1m");
    expect(it.streams.snapshot()[0]).toMatchObject({ lastError: "Down" });
  });

  test.each([1, 2, 3])("several of them at once go through it side by side, round %i", async () => {
    const stream = { ...plan, thresholdBytes: MIB };
    await using it = await TestVault.create({ ...small, settings: { ...small.settings, stream } });
    const names = ["a", "b", "c"];
    const handles = await Promise.all(names.map((name) => it.open(name, writing)));
    const write = async (handle: number) => {
      for (let offset = 0; offset < 9 * MIB; offset += MIB / 4) {
        await it.pwrite(handle, offset, large.subarray(offset, offset + MIB / 4));
      }
      await it.close(handle);
    };
    expect(await finish(it, Promise.all(handles.map(write)))).toBe("done");
    await it.until(() => archives(it).length === 3);
    for (const bytes of archives(it)) expectBytes(bytes, large.subarray(0, 9 * MIB));
  });

  test("several of them: one that has no room to give waits for another that is written", async () => {
    await using it = await TestVault.create(small);
    const [full, little] = [await begun(it, "full", 6), await it.open("little", writing)];
    const write = watched(it.pwrite(little, 0, Buffer.from("little")));
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(write.outcome).toBe("waiting");
    expect(await finish(it, it.pwrite(full, 6 * MIB, large.subarray(6 * MIB, 7 * MIB)))).toBe("done");
    await it.until(() => write.outcome === "done");
    expect(await close(it, little)).toBe("done");
    expect(await close(it, full)).toBe("done");
    expectBytes(archives(it).find((bytes) => bytes.length > MIB)!, large.subarray(0, 7 * MIB));
  });

  test("without a limit the disk is one: it is spilled when nothing else frees any", async () => {
    let freeBytes = 6 * MIB;
    const layout = () => new CacheLayout(it.directory).stagingDirectory;
    const disk = {
      take: (bytes: number) => freeBytes - stagedBytes() >= bytes,
      reclaim: async (bytes: number) => freeBytes - stagedBytes() >= bytes,
      space: () => ({ blockSizeBytes: 4096, blocks: 1e6, blocksFree: 1000 }),
    };
    await using it = await TestVault.create({
      disk,
      settings: { stream: { ...plan, thresholdBytes: Number.POSITIVE_INFINITY } },
    });
    const stagedBytes = () => {
      const { id } = it.record("a").content!;
      return allocatedBytes(`${layout()}/${id}`) ?? 0;
    };
    const handle = await it.open("a", writing);
    await writeAll(it, handle, large);
    freeBytes = 1e9;
    expect(await close(it, handle)).toBe("done");
    expectBytes(archives(it)[0]!, large);
  });

  test("where a part of a file cannot be freed it is ENOSPC, and what was written stays whole", async () => {
    await using it = await TestVault.create(small);
    it.staging.requireDropping = async () => {
      throw new Error("fallocate is not there");
    };
    const handle = await it.open("a", writing);
    expect(await finish(it, writeAll(it, handle, large), 100)).toMatchObject({ kind: "no-space" });
    expect(it.warnings.join()).toContain("fallocate is not there");
    expectBytes(await it.pread(handle, 0, 5 * MIB), large.subarray(0, 5 * MIB));
  });
});

describe("a file that outgrows the threshold, and fits", () => {
  test("begins its upload before it is closed, and anew when it is, under its last name and time", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 5);
    await it.until(() => it.state("a") === "uploading 5/5");
    expect(it.service.archivesOf(vault)).toEqual([]);
    expectBytes(await it.pread(handle, 0, 5 * MIB), large.subarray(0, 5 * MIB));
    await it.rename("a", "b");
    expect(await close(it, handle)).toBe("done");
    expect(it.service.calls.completeMultipartUpload).toBe(0);
    expect(it.state("b")).toBe("staged");
    await it.archiveAll();
    expectBytes(archives(it)[0]!, large.subarray(0, 5 * MIB));
    expect(it.service.archivesOf(vault)[0]!.description).toMatch(/^casfs\/1 b\?(?!.*p=1)/);
    expect(it.state("b")).toBe("cached");
    await it.until(() => it.service.calls.abortMultipartUpload === 1);
    expect(await unfinished(it)).toEqual([]);
  });

  test("can be rewritten anywhere: what was sent is sent again before it leaves", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 5);
    await it.until(() => it.service.calls.uploadPart >= 5);
    const bytes = Buffer.from(large);
    bytes.write("in the first part", 100);
    await it.pwrite(handle, 100, Buffer.from("in the first part"));
    // Only now it does not fit any more.
    await writeAll(it, handle, bytes, 5 * MIB);
    expect(await close(it, handle)).toBe("done");
    expectBytes(archives(it)[0]!, bytes);
  });

  test("a write that comes while its part is sent is in the archive", async () => {
    await using it = await TestVault.create(small);
    const held = deferred<void>();
    it.service.onCall = (operation) => (operation === "uploadPart" ? held.promise : undefined);
    const handle = await begun(it, "a", 5);
    await it.until(() => it.service.calls.uploadPart > 0);
    const bytes = Buffer.from(large);
    bytes.write("meanwhile", 100);
    await it.pwrite(handle, 100, Buffer.from("meanwhile"));
    held.resolve();
    await writeAll(it, handle, bytes, 5 * MIB);
    expect(await close(it, handle)).toBe("done");
    expectBytes(archives(it)[0]!, bytes);
  });

  test("cut below what was sent, it begins anew", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 5);
    await it.until(() => it.service.calls.uploadPart >= 5);
    await it.fs.setAttributes(it.ino("a"), { sizeBytes: 2 * MIB });
    await writeAll(it, handle, large, 2 * MIB);
    expect(await close(it, handle)).toBe("done");
    expectBytes(archives(it)[0]!, large);
    await it.until(() => it.service.calls.abortMultipartUpload === 1);
    expect(await unfinished(it)).toEqual([]);
  });

  test("an upload that the service has forgotten begins anew", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 5);
    await it.until(() => it.service.calls.uploadPart >= 5);
    await it.clock.advance(hours(30));
    expect(await unfinished(it)).toEqual([]);
    const written = writeAll(it, handle, large, 5 * MIB);
    expect(await finish(it, written)).toBe("done");
    expect(await close(it, handle)).toBe("done");
    expectBytes(archives(it)[0]!, large);
  });

  test("under a temporary name it waits for its close", async () => {
    const settings = { ...small.settings, isTemporary: parseNamePatterns("*.part") };
    await using it = await TestVault.create({ ...small, settings });
    await begun(it, "a.part", 5);
    await it.clock.advance(1000);
    expect(it.service.calls.initiateMultipartUpload).toBe(0);
  });
});

describe("the upload of a file that has dropped parts", () => {
  test("is kept alive while its writer rests", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 12);
    await it.pwrite(handle, 12 * MIB, large.subarray(12 * MIB, 12 * MIB + 1000));
    await settled(it);
    for (let hour = 0; hour < 60; hour++) {
      await it.clock.advance(hours(1));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(await unfinished(it)).toHaveLength(1);
    await writeAll(it, handle, Buffer.from(large.subarray(0, 13 * MIB)), 12 * MIB);
    expect(await close(it, handle)).toBe("done");
    expectBytes(archives(it)[0]!, large.subarray(0, 13 * MIB));
  });

  test.each(["while it is written", "when it is closed"])(
    "when the service forgets it %s: EIO, and the file is what it was before",
    async (when) => {
      await using it = await TestVault.create(small);
      await it.writeArchived("a", "the former");
      const handle = await it.open("a", rewriting);
      await writeAll(it, handle, large.subarray(0, 12 * MIB));
      await settled(it);
      for (const { id } of await unfinished(it)) await it.service.abortMultipartUpload(vault, id);
      if (when === "while it is written") {
        expect(await finish(it, writeAll(it, handle, large, 12 * MIB))).toMatchObject({ kind: "corrupt" });
      }
      expect(toErrno(await finish(it, it.flush(handle)))).toBe(constants.errno.EIO);
      await it.fs.release(handle);
      expect(it.warnings.join()).toContain("forgotten");
      expect(await it.text("a")).toBe("the former");
      expect(it.state("a (interrupted)")).toBe("interrupted");
      expect(await expectNothingWrong(it, "a (interrupted)", large)).toBeGreaterThan(0);
      await it.archiveAll();
      expect(it.archived()).toEqual(["the former"]);
      await it.reopen();
      expect(await expectNothingWrong(it, "a (interrupted)", large)).toBeGreaterThan(0);
      await it.unlink("a (interrupted)");
      await it.until(() => it.budget.usage().usedBytes === 0);
    },
  );
});

describe("a crash", () => {
  /** Runs `work` and dies at each request to the service, and at each step of the journal. */
  async function crashEverywhere(
    work: (it: TestVault, promise: (bytes: Uint8Array) => void) => Promise<void>,
    check: (it: TestVault, promised: Uint8Array | undefined, step: string) => Promise<void>,
    options: { readonly powerLoss?: boolean } = {},
  ): Promise<void> {
    const crashes: { step: string; directory: string; promised: Uint8Array | undefined }[] = [];
    let promised: Uint8Array | undefined;
    let isWatching = false;
    await using it = await TestVault.create(small);
    const crash = (step: string) => {
      if (isWatching) crashes.push({ step: `${crashes.length} ${step}`, directory: it.snapshot(), promised });
    };
    await it.writeArchived("a", "the former");
    it.service.onCall = (operation) => crash(`before ${operation}`);
    for (const step of ["willInitiateOpen", "didInitiateOpen", "willDrop"] as const) {
      const { streams } = it.catalog;
      const original = streams[step].bind(streams) as (...step: unknown[]) => Promise<unknown>;
      Object.assign(streams, {
        [step]: async (...parameters: unknown[]) => {
          const result = await original(...parameters);
          crash(`after ${step}`);
          return result;
        },
      });
    }
    isWatching = true;
    await work(it, (bytes) => {
      promised = bytes;
    });
    isWatching = false;
    it.service.onCall = () => undefined;
    expect(crashes.length).toBeGreaterThan(5);
    // The service goes on from where it is; only the last life may have completed the upload.
    for (const { step, directory, promised } of crashes) {
      await it.reopen({ from: directory, ...options });
      await check(it, promised, step);
      rmSync(directory, { recursive: true, force: true });
    }
  }

  test("before close() leaves the former file, aborts the upload, and shows nothing wrong", async () => {
    await crashEverywhere(
      async (it) => {
        const handle = await it.open("a", rewriting);
        await writeAll(it, handle, large.subarray(0, 9 * MIB));
        await settled(it);
      },
      async (it, _promised, step) => {
        expect(await it.text("a"), step).toBe("the former");
        const beside = it.names().find((name) => name === "a (interrupted)");
        if (beside !== undefined) {
          await expectNothingWrong(it, beside, large);
          expect(it.state(beside), step).toBe("interrupted");
        }
        await it.until(() => it.catalog.uploads.abandoned().length === 0);
        await it.archiveAll();
        expect(it.archived(), step).toEqual(["the former"]);
      },
    );
  });

  test.each([false, true])(
    "after fsync() brings what was synced into the vault (power loss: %s)",
    async (powerLoss) => {
      await using it = await TestVault.create(small);
      await it.writeArchived("a", "the former");
      const handle = await it.open("a", rewriting);
      await writeAll(it, handle, large.subarray(0, 9 * MIB + 500));
      await it.fs.contents.fsync(handle);
      await it.pwrite(handle, 9 * MIB + 500, Buffer.from("not synced"));
      await it.reopen({ powerLoss });
      await it.archiveAll();
      const expected = powerLoss
        ? large.subarray(0, 9 * MIB + 500)
        : Buffer.concat([large.subarray(0, 9 * MIB + 500), Buffer.from("not synced")]);
      const found = archives(it).find((bytes) => bytes.length > 100);
      expectBytes(found!, expected);
      expect(it.archived(), "what a crash may have cut off replaces nothing").toContain("the former");
      const read = it.read("a");
      expect(await finish(it, read)).toBe("done");
      expectBytes(await read, expected);
      expect(await unfinished(it)).toEqual([]);
    },
  );

  test.each(["listParts", "completeMultipartUpload"] as const)(
    "while close() waits for %s is completed by the next start, in one archive",
    async (dies) => {
      await using it = await TestVault.create(small);
      const handle = await begun(it, "a", 12);
      const held = deferred<void>();
      let crashed: string | undefined;
      it.service.onCall = (operation) => {
        if (operation !== dies || crashed !== undefined) return undefined;
        crashed = it.snapshot();
        return held.promise;
      };
      const closed = watched(it.close(handle));
      await it.until(() => crashed !== undefined);
      expect(closed.outcome).toBe("waiting");
      await it.reopen({ from: crashed! });
      await expectTheWhole(it);
      held.resolve();
    },
  );

  test("after a lost answer to Complete ends in one archive", async () => {
    await using it = await TestVault.create(small);
    const handle = await begun(it, "a", 12);
    const error = new ServiceError("timeout", "No answer");
    it.service.fail({ operation: "completeMultipartUpload", error, when: "after" });
    expect(await close(it, handle)).toBe("done");
    await expectTheWhole(it);
    await it.reopen();
    await expectTheWhole(it);
  });

  async function expectTheWhole(it: TestVault): Promise<void> {
    await it.archiveAll();
    expect(archives(it)).toHaveLength(1);
    expectBytes(archives(it)[0]!, large.subarray(0, 12 * MIB));
    const read = it.read("a");
    expect(await finish(it, read)).toBe("done");
    expectBytes(await read, large.subarray(0, 12 * MIB));
    await it.until(() => it.budget.usage().usedBytes === 0);
    expect(await it.staging.list()).toEqual([]);
  }

  test("of a file that fits and was not closed keeps its bytes, and aborts its upload", async () => {
    await using it = await TestVault.create(small);
    await begun(it, "a", 5);
    await it.until(() => it.service.calls.uploadPart >= 5);
    await it.reopen();
    expect(it.state("a")).toBe("interrupted");
    expectBytes(await it.read("a"), large.subarray(0, 5 * MIB));
    await it.until(() => it.service.calls.abortMultipartUpload === 1);
    expect(await unfinished(it)).toEqual([]);
  });
});
