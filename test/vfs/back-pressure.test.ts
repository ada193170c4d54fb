/** Writers and a full staging area, without FUSE: blocks of 4 KiB, a limit of 16 of them. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { allocatedBytes } from "../../src/cache/staging-area.js";
import { parseNamePatterns } from "../../src/config/name-patterns.js";
import { ServiceError } from "../../src/domain/errors.js";
import { hours, seconds } from "../../src/domain/time.js";
import { deferred } from "../../src/lib/deferred.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";
import {
  appending,
  caller,
  rewriting,
  TestVault,
  type TestVaultOptions,
  writing,
} from "../support/test-file-system.js";

const block = 4096;
const stagingBytes = 16 * block;
const never: TestVaultOptions = { stagingBytes, settings: { settleMs: hours(10), stallTimeoutMs: seconds(60) } };

const blocks = (count: number, salt = 0) => testBytes(count * block, salt);

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

/** Uploads do not get through before the returned function is called. */
function holdUploads(it: TestVault): () => void {
  const held = deferred<void>();
  it.service.onCall = async (operation) => {
    if (operation === "uploadArchive") await held.promise;
  };
  return () => held.resolve();
}

const quiet = async (it: TestVault) => {
  for (let turn = 0; turn < 20; turn++) {
    await it.clock.advance(1);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
};

describe("a full staging area", () => {
  test("makes a writer wait for an upload, and that one does not settle", async () => {
    await using it = await TestVault.create(never);
    await it.write("a", blocks(10));
    const handle = await it.open("b", writing);
    const started = it.clock.now();
    const write = watched(it.pwrite(handle, 0, blocks(10, 1)));
    await it.until(() => write.outcome !== "waiting");
    expect(write.outcome).toBe("done");
    expect(it.clock.now() - started).toBeLessThan(seconds(10));
    await it.close(handle);
    expect(it.state("a")).toBe("cached");
    expect(it.budget.usage().usedBytes).toBe(10 * block);
    // Without anybody who waits, settling goes on.
    await quiet(it);
    expect(it.state("b")).toBe("staged");
  });

  test("keeps what was written before, and the limit", async () => {
    await using it = await TestVault.create(never);
    for (let file = 0; file < 12; file++) {
      const done = watched(it.write(`f${file}`, blocks(5, file)));
      await it.until(() => done.outcome !== "waiting");
      expect(done.outcome).toBe("done");
      expect(it.budget.usage().usedBytes).toBeLessThanOrEqual(stagingBytes);
    }
    for (let file = 0; file < 12; file++) expect(await it.read(`f${file}`)).toEqual(blocks(5, file));
  });

  test("is ENOSPC at once when nothing that is closed could be uploaded, and says so", async () => {
    await using it = await TestVault.create(never);
    const a = await it.open("a", writing);
    const b = await it.open("b", writing);
    await it.pwrite(a, 0, blocks(10));
    await expect(it.pwrite(b, 0, blocks(10))).rejects.toMatchObject({ kind: "no-space" });
    expect(it.warnings.join()).toContain("nothing that is closed waits for its upload");
    // What was written stays, and rewriting it needs no room.
    await it.pwrite(b, 0, blocks(6, 1));
    await it.pwrite(b, 0, blocks(6, 2));
    await it.close(a);
    await it.close(b);
    expect(await it.read("a")).toEqual(blocks(10));
    expect(await it.read("b")).toEqual(blocks(6, 2));
  });

  test("is ENOSPC at once for a file that alone is larger, whatever is uploaded", async () => {
    await using it = await TestVault.create(never);
    await it.write("a", blocks(8));
    const b = await it.open("b", writing);
    await it.pwrite(b, 0, blocks(8));
    await expect(it.pwrite(b, 8 * block, blocks(9))).rejects.toMatchObject({ kind: "no-space" });
    expect(it.state("a"), "no upload is hurried in vain").toBe("staged");
  });

  test("serves writers in the order of their coming", async () => {
    await using it = await TestVault.create(never);
    const letGo = holdUploads(it);
    await it.write("a", blocks(16));
    const order: string[] = [];
    const write = async (name: string, count: number) => {
      const handle = await it.open(name, writing);
      await it.pwrite(handle, 0, blocks(count));
      order.push(name);
    };
    const first = write("first", 10);
    await quiet(it);
    const second = write("second", 1);
    await quiet(it);
    expect(order).toEqual([]);
    expect(it.fs.room.waiting()).toHaveLength(2);
    letGo();
    await it.until(() => order.length === 2);
    await Promise.all([first, second]);
    expect(order).toEqual(["first", "second"]);
  });

  test("does not keep others from reading, opening and closing, nor the file that is written", async () => {
    await using it = await TestVault.create(never);
    const letGo = holdUploads(it);
    await it.write("a", blocks(16));
    const handle = await it.open("b", writing);
    const write = watched(it.pwrite(handle, 0, blocks(1)));
    await quiet(it);
    expect(write.outcome).toBe("waiting");
    expect(await it.read("a")).toEqual(blocks(16));
    expect(it.stat("b").sizeBytes).toBe(0);
    await it.close(await it.open("b", writing));
    letGo();
    await it.until(() => write.outcome === "done");
  });

  test("an interrupted writer has written nothing, and the next one waits on", async () => {
    await using it = await TestVault.create(never);
    const letGo = holdUploads(it);
    await it.write("a", blocks(16));
    const interrupted = new AbortController();
    const b = await it.open("b", writing);
    const c = await it.open("c", writing);
    const first = watched(it.pwrite(b, 0, blocks(1), { ...caller, signal: interrupted.signal }));
    const second = watched(it.pwrite(c, 0, blocks(1)));
    await quiet(it);
    interrupted.abort();
    await quiet(it);
    expect(first.outcome).toMatchObject({ kind: "cancelled" });
    expect(second.outcome).toBe("waiting");
    expect(it.stat("b").sizeBytes).toBe(0);
    letGo();
    await it.until(() => second.outcome === "done");
  });

  test("room that `rm` makes is given to who waits", async () => {
    const settings = { ...never.settings, isTemporary: parseNamePatterns("*.part") };
    await using it = await TestVault.create({ ...never, settings });
    const letGo = holdUploads(it);
    await it.write("a", blocks(8));
    await it.write("b.part", blocks(8));
    const c = await it.open("c", writing);
    const write = watched(it.pwrite(c, 0, blocks(8)));
    await quiet(it);
    expect(write.outcome).toBe("waiting");
    await it.unlink("b.part");
    await it.until(() => write.outcome === "done");
    letGo();
  });

  test("what is being closed at this moment counts as something to upload", async () => {
    await using it = await TestVault.create(never);
    const a = await it.open("a", writing);
    await it.pwrite(a, 0, blocks(16));
    await it.flush(a);
    const released = it.fs.release(a);
    const b = await it.open("b", writing);
    const write = watched(it.pwrite(b, 0, blocks(1)));
    await released;
    await it.until(() => write.outcome !== "waiting");
    expect(write.outcome).toBe("done");
  });

  test("files with temporary names are uploaded only when nothing else can be", async () => {
    const settings = { ...never.settings, isTemporary: parseNamePatterns("*.part") };
    await using it = await TestVault.create({ ...never, settings });
    await it.write("film.part", blocks(6));
    await it.write("a", blocks(10));
    const b = await it.open("b", writing);
    let write = watched(it.pwrite(b, 0, blocks(10)));
    await it.until(() => write.outcome === "done");
    expect(it.state("a")).toBe("cached");
    expect(it.state("film.part")).toBe("staged");
    const c = await it.open("c", writing);
    write = watched(it.pwrite(c, 0, blocks(4)));
    await it.until(() => write.outcome === "done");
    expect(it.state("film.part")).toBe("cached");
  });

  test("a version that rests for the rewrite interval is uploaded too", async () => {
    await using it = await TestVault.create({ stagingBytes, settings: { rewriteIntervalMs: hours(1) } });
    await it.writeArchived("a", blocks(4));
    await it.write("a", blocks(12, 1));
    const b = await it.open("b", writing);
    const write = watched(it.pwrite(b, 0, blocks(10)));
    await it.until(() => write.outcome === "done");
    expect(it.archived()).toContain(blocks(12, 1).toString());
  });
});

describe("uploads that do not get through", () => {
  test("end the wait with ENOSPC after the stall timeout; until one does, nobody waits again", async () => {
    await using it = await TestVault.create(never);
    it.service.fail({ operation: "uploadArchive", error: new ServiceError("unavailable", "Down"), times: 20 });
    await it.write("a", blocks(16));
    const b = await it.open("b", writing);
    const write = watched(it.pwrite(b, 0, blocks(1)));
    await it.clock.advance(seconds(59));
    await quiet(it);
    expect(write.outcome).toBe("waiting");
    await it.clock.advance(seconds(2));
    await quiet(it);
    expect(write.outcome).toMatchObject({ kind: "no-space" });
    expect(it.fs.room.state).toBe("stalled");
    expect(it.warnings.join()).toContain("no upload has made progress for 1m");
    await expect(it.pwrite(b, 0, blocks(1))).rejects.toMatchObject({ kind: "no-space" });

    // The service answers again: the upload that is tried then ends it.
    await it.until(() => it.fs.room.state === "roomy", { stepMs: 5_000 });
    await it.pwrite(b, 0, blocks(1));
  });

  test("parts that are confirmed are progress", async () => {
    await using it = await TestVault.create({ ...never, multipartThresholdBytes: 1, stagingBytes: 40 * 2 ** 20 });
    let parts = 0;
    const held = deferred<void>();
    it.service.onCall = async (operation) => {
      if (operation !== "uploadPart") return;
      parts += 1;
      if (parts > 2) await held.promise;
    };
    await it.write("a", testBytes(40 * 2 ** 20));
    const b = await it.open("b", writing);
    const write = watched(it.pwrite(b, 0, blocks(1)));
    await it.until(() => parts > 2, { stepMs: 0 });
    await it.clock.advance(seconds(50));
    await quiet(it);
    expect(write.outcome).toBe("waiting");
    held.resolve();
    await it.until(() => write.outcome !== "waiting", { stepMs: 1 });
    expect(write.outcome).toBe("done");
  });

  test("that ends for several writers at once is told once, with its duration", async () => {
    await using it = await TestVault.create(never);
    await it.write("a", blocks(16));
    const handles = await Promise.all(["b", "c", "d"].map((name) => it.open(name, writing)));
    const writes = watched(Promise.all(handles.map((handle) => it.pwrite(handle, 0, blocks(2)))));
    await it.until(() => writes.outcome === "done");
    for (let second = 0; second < 12; second++) await it.clock.advance(seconds(1));
    const ends = it.events.filter(({ type }) => type === "writers-continue");
    expect(ends).toEqual([{ type: "writers-continue", afterMs: expect.toSatisfy(Number.isFinite) }]);
  });

  test("the log says when the pressure begins and ends, once", async () => {
    await using it = await TestVault.create(never);
    for (let file = 0; file < 10; file++) {
      const done = watched(it.write(`f${file}`, blocks(6, file)));
      await it.until(() => done.outcome === "done");
    }
    await it.clock.advance(seconds(6));
    await quiet(it);
    const told = it.events.map(({ type }) => type).filter((type) => type.startsWith("writers-"));
    expect(told).toEqual(["writers-waiting", "writers-continue"]);
  });
});

describe("a copy for in-place writing", () => {
  test("counts, and waits for room like a write", async () => {
    await using it = await TestVault.create(never);
    const archived = watched(it.write("a", blocks(10)));
    await it.until(() => archived.outcome === "done");
    it.uploads.expedite(it.record("a").content!.id);
    await it.archiveAll();
    await it.until(() => it.budget.usage().usedBytes === 0);
    const letGo = holdUploads(it);
    await it.write("b", blocks(10));
    const a = await it.open("a", writing);
    const write = watched(it.pwrite(a, 0, Buffer.from("new")));
    await quiet(it);
    expect(write.outcome).toBe("waiting");
    expect(await it.read("a"), "readers are not locked out").toEqual(blocks(10));
    letGo();
    await it.until(() => write.outcome === "done");
    expect(it.budget.usage().usedBytes).toBe(10 * block);
    await it.close(a);
    expect((await it.read("a")).subarray(0, 3).toString()).toBe("new");
  });

  test("truncate(2), which must not wait, gets ENOSPC", async () => {
    await using it = await TestVault.create(never);
    await it.write("a", blocks(10));
    it.uploads.expedite(it.record("a").content!.id);
    await it.archiveAll();
    await it.until(() => it.budget.usage().usedBytes === 0);
    await it.write("b", blocks(10));
    await expect(it.fs.setAttributes(it.ino("a"), { sizeBytes: 5 })).rejects.toMatchObject({ kind: "no-space" });
    expect(await it.read("a")).toEqual(blocks(10));
    expect(it.budget.usage().usedBytes).toBe(10 * block);
    await it.fs.setAttributes(it.ino("a"), { sizeBytes: 0 });
    expect(it.stat("a").sizeBytes).toBe(0);
  });
});

describe("a full disk", () => {
  test("makes writers wait for uploads in the same way: an archived file can be evicted", async () => {
    let full = false;
    let isEvicted = false;
    const disk = {
      take: () => !full,
      reclaim: async () => {
        if (isEvicted || it.state("a") !== "cached") return false;
        isEvicted = true;
        full = false;
        return true;
      },
      space: () => ({ blockSizeBytes: block, blocks: 100, blocksFree: full ? 0 : 50 }),
    };
    const it = await TestVault.create({ settings: { settleMs: hours(10) }, disk });
    await using _closed = it;
    await it.write("a", blocks(10));
    full = true;
    const b = await it.open("b", writing);
    const write = watched(it.pwrite(b, 0, blocks(1)));
    await it.until(() => write.outcome !== "waiting");
    expect(write.outcome).toBe("done");
    full = true;
    await expect(it.pwrite(b, block, blocks(1))).rejects.toMatchObject({ kind: "no-space" });
  });
});

test("after a crash what is staged counts again", async () => {
  await using it = await TestVault.create(never);
  await it.write("a", blocks(10));
  const b = await it.open("b", rewriting);
  await it.pwrite(b, 0, blocks(3));
  await it.flush(b);
  await it.reopen();
  expect(it.budget.usage().usedBytes).toBe(13 * block);
});

test("whatever happens to files, the count is never below what staging has, and nothing of what left stays in it", () =>
  fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      await using it = await TestVault.create({ settings: { settleMs: hours(10) } });
      for (const [what, name, size] of steps) {
        if (what === "write") await it.write(name, blocks(size));
        else if (what === "reopen") await it.reopen();
        else if (what === "sparse") await writeSparse(it, name, size);
        else if (it.has(name)) await stepOn(it, what, name, size);
        expect(it.budget.usage().usedBytes).toBeGreaterThanOrEqual(stagedOnDisk(it));
      }
      await archive(it);
      await it.until(() => it.budget.usage().usedBytes === 0);
      expect(stagedOnDisk(it)).toBe(0);
    }),
    { numRuns: 20 },
  ));

const step = fc.tuple(
  fc.constantFrom("write", "sparse", "overwrite", "append", "cut", "remove", "rename", "archive", "evict", "reopen"),
  fc.constantFrom("a", "b"),
  fc.integer({ min: 1, max: 6 }),
);

async function writeSparse(it: TestVault, name: string, size: number): Promise<void> {
  const handle = await it.open(name, rewriting);
  await it.pwrite(handle, size * 100 * block + 7, blocks(1));
  await it.close(handle);
}

async function stepOn(it: TestVault, what: string, name: string, size: number): Promise<void> {
  if (what === "cut") await it.fs.setAttributes(it.ino(name), { sizeBytes: size * 1000 }).catch(() => undefined);
  else if (what === "remove") await it.unlink(name);
  else if (what === "rename") await it.rename(name, name === "a" ? "b" : "a");
  else if (what === "archive") await archive(it);
  else if (what === "evict") await it.evict(name).catch(() => undefined);
  else {
    const handle = await it.open(name, what === "append" ? appending : writing);
    await it.pwrite(handle, size * 1000, blocks(size, size));
    await it.close(handle);
  }
}

async function archive(it: TestVault): Promise<void> {
  for (const { content } of it.uploads.snapshot()) it.uploads.expedite(content);
  await it.archiveAll();
}

function stagedOnDisk(it: TestVault): number {
  const directory = join(it.directory, "staging");
  return readdirSync(directory).reduce((sum, name) => sum + allocatedBytes(join(directory, name))!, 0);
}

test("df shows what may be written now: the smaller of the disk and the rest of the limit", async () => {
  await using it = await TestVault.create(never);
  expect(it.fs.space()).toMatchObject({ blockSizeBytes: block, blocks: 16, blocksFree: 16 });
  await it.write("a", blocks(10));
  expect(it.fs.space()).toMatchObject({ blocks: 16, blocksFree: 6 });
});
