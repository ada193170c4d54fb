import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { StagingBudget } from "../../src/cache/staging-budget.js";
import { MIB } from "../../src/domain/bytes.js";
import { deferred } from "../../src/lib/deferred.js";
import { fc } from "../support/seeded-fast-check.js";
import { bytesOf, CacheFixture, contentId, key } from "./cache-fixture.js";

const block = 4096;
const limitBytes = 64 * block;

/** A disk too simple to be wrong: which blocks of which content are allocated. */
class ModelDisk {
  readonly contents = new Map<number, Set<number>>();

  write(content: number, start: number, end: number): void {
    const blocks = this.contents.get(content) ?? new Set();
    for (let at = Math.floor(start / block); at * block < end; at++) blocks.add(at);
    this.contents.set(content, blocks);
  }

  cut(content: number, sizeBytes: number): void {
    for (const at of this.contents.get(content) ?? []) {
      if (at * block >= sizeBytes) this.contents.get(content)!.delete(at);
    }
  }

  bytes(content: number): number {
    return (this.contents.get(content)?.size ?? 0) * block;
  }

  total(): number {
    return [...this.contents.keys()].reduce((sum, content) => sum + this.bytes(content), 0);
  }
}

const content = fc.integer({ min: 1, max: 4 });
const write = fc.record({
  kind: fc.constant("write" as const),
  content,
  start: fc.integer({ min: 0, max: 40 * block }),
  length: fc.integer({ min: 1, max: 5 * block }),
});
const append = fc.record({ kind: fc.constant("append" as const), content, length: fc.integer({ min: 1, max: block }) });
const cut = fc.record({ kind: fc.constant("cut" as const), content, size: fc.integer({ min: 0, max: 40 * block }) });
const release = fc.record({ kind: fc.constant("release" as const), content });
const measure = fc.record({ kind: fc.constant("measure" as const), content });

test("whatever is written, the count is never below what the disk holds, and never above the limit", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(write, append, cut, release, measure), { maxLength: 60 }), (steps) => {
      const disk = new ModelDisk();
      const ends = new Map<number, number>();
      const budget = new StagingBudget({ limitBytes, allocatedBytes: (one) => disk.bytes(one) });
      for (const step of steps) {
        const id = contentId(step.content);
        const size = ends.get(step.content) ?? 0;
        if (step.kind === "write" || step.kind === "append") {
          const start = step.kind === "write" ? step.start : size;
          const range = { start, end: start + step.length };
          const fits = budget.fits(id, range);
          expect(budget.take(id, range)).toBe(fits);
          if (!fits) continue;
          disk.write(step.content, range.start, range.end);
          ends.set(step.content, Math.max(size, range.end));
          // What was just counted needs no room when it is written again, unless the bound can still rise.
          if (!budget.grows(id, range)) expect(budget.take(id, range)).toBe(true);
        } else if (step.kind === "cut") {
          budget.cut(id, step.size);
          disk.cut(step.content, step.size);
          ends.set(step.content, Math.min(size, step.size));
        } else if (step.kind === "release") {
          budget.release(id);
          disk.contents.delete(step.content);
          ends.delete(step.content);
        } else {
          budget.measure();
          expect(budget.usage().usedBytes).toBe(disk.total());
        }
        const { usedBytes } = budget.usage();
        expect(usedBytes).toBeGreaterThanOrEqual(disk.total());
        expect(usedBytes).toBeLessThanOrEqual(limitBytes);
      }
    }),
  );
});

test("of a file without holes every byte counts once, however often it is written", () => {
  const budget = new StagingBudget({ limitBytes: null, allocatedBytes: () => undefined });
  for (let round = 0; round < 3; round++) {
    for (let start = 0; start < 10_000; start += 100) budget.take(contentId(1), { start, end: start + 100 });
  }
  expect(budget.usage()).toEqual({ usedBytes: 3 * block, limitBytes: null });
});

test("what leaves counts until it is gone, and then whoever waits hears of it", async () => {
  const budget = new StagingBudget({ limitBytes, allocatedBytes: () => undefined });
  let freed = 0;
  budget.onFreed(() => {
    freed += 1;
  });
  budget.take(contentId(1), { start: 0, end: limitBytes });
  const ending = deferred<void>();
  budget.leave(contentId(1), ending.promise);
  expect(budget.isLeaving).toBe(true);
  expect(budget.take(contentId(2), { start: 0, end: 1 })).toBe(false);
  ending.reject(new Error("The disk is broken"));
  await new Promise(setImmediate);
  expect(budget.isLeaving).toBe(false);
  expect(freed).toBe(1);
  expect(budget.take(contentId(2), { start: 0, end: 1 })).toBe(true);
});

test("what could never fit is told from what does not fit now", () => {
  const budget = new StagingBudget({ limitBytes, allocatedBytes: () => undefined });
  budget.take(contentId(1), { start: 0, end: limitBytes });
  expect(budget.fits(contentId(2), { start: 0, end: limitBytes })).toBe(false);
  expect(budget.couldFit(contentId(2), { start: 0, end: limitBytes })).toBe(true);
  expect(budget.couldFit(contentId(1), { start: limitBytes, end: limitBytes + 1 })).toBe(false);
});

test("a staging directory counts what it finds, what is cut, removed and adopted", async () => {
  await using it = await CacheFixture.create();
  await it.stage(1, bytesOf(1, MIB));
  await it.stage(2, bytesOf(2, MIB));
  await it.stage(3, bytesOf(3, MIB));
  await it.reopen();
  expect(it.budget.usage().usedBytes).toBe(3 * MIB);
  const file = await it.staging.open(contentId(1));
  await file.truncate(block);
  await file.close();
  expect(it.budget.usage().usedBytes).toBe(2 * MIB + block);
  await it.staging.remove(contentId(2));
  await new Promise(setImmediate);
  expect(it.budget.usage().usedBytes).toBe(MIB + block);
  await it.cache.adopt(contentId(3), key(3), MIB);
  await new Promise(setImmediate);
  expect(it.budget.usage().usedBytes).toBe(block);
});

test("a file with holes counts for what it allocates, also when it is found at the next start", async () => {
  await using it = await CacheFixture.create();
  const file = await it.staging.create(contentId(1));
  await file.write(0, bytesOf(1, block));
  await file.truncate(1000 * MIB);
  await file.write(500 * MIB, bytesOf(2, block));
  await file.close();
  await it.reopen();
  expect(it.budget.usage().usedBytes).toBeLessThanOrEqual(MIB);
});

test("files of others in the staging directory are not counted", async () => {
  await using it = await CacheFixture.create();
  writeFileSync(join(it.layout.stagingDirectory, "notes.txt"), "mine");
  await it.reopen();
  expect(it.budget.usage().usedBytes).toBe(0);
});
