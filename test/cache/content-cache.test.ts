import { existsSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { byteRange, MIB } from "../../src/domain/bytes.js";
import { hours } from "../../src/domain/time.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { bytesOf, CacheFixture, coldArchive, contentId, expectBytes, fill, key } from "./cache-fixture.js";

test("an adopted content is the staging file under another name, and reads back", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.adopt(7, bytesOf(7, 5000));
  expect(fixture.cache.has(key(7))).toBe(true);
  expect(existsSync(fixture.layout.staged(contentId(7)))).toBe(false);
  expectBytes(await fixture.read(7), bytesOf(7, 5000));
});

test("adopting again, as after a crash, changes nothing", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.adopt(7, bytesOf(7, 5000));
  await fixture.cache.adopt(contentId(7), key(7), 5000);
  expectBytes(await fixture.read(7), bytesOf(7, 5000));
});

test("a content whose row was written but whose file was still in staging is adopted at the next start", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.stage(7, bytesOf(7, 5000));
  const now = fixture.clock.now();
  await fixture.index.put({
    key: key(7),
    sizeBytes: 5000,
    lastUsedAt: now,
    pinned: false,
    landedAt: now,
    readSinceLanding: true,
  });
  await fixture.reopen();
  expect(fixture.cache.has(key(7))).toBe(false);
  await fixture.cache.adopt(contentId(7), key(7), 5000);
  expectBytes(await fixture.read(7), bytesOf(7, 5000));
});

test("adopting a staging file of another size fails and keeps it in staging", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.stage(7, bytesOf(7, 5000));
  await expect(fixture.cache.adopt(contentId(7), key(7), 4999)).rejects.toMatchObject({ kind: "corrupt" });
  expect(existsSync(fixture.layout.staged(contentId(7)))).toBe(true);
});

test("a landing is invisible until it is committed", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(3, 3 * MIB + 17);
  const landing = await fixture.cache.begin(coldArchive(3, bytes));
  await fill(landing, bytes);
  expect(fixture.cache.has(key(3))).toBe(false);
  expect(await landing.treeHash()).toBe(digestOf(bytes).treeHash);
  await landing.commit();
  expectBytes(await fixture.read(3), bytes);
  expect(readdirSync(fixture.layout.landingDirectory)).toEqual([]);
});

test("a copy that somebody cuts while it is open is an error, not an end of file, and goes", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.adopt(7, bytesOf(7, 300_000));
  const file = await fixture.cache.open(key(7));
  truncateSync(fixture.layout.cached(key(7)), 5000);
  for (const [offset, length] of [
    [0, 300_000],
    [0, 6000],
    [250_000, 100],
  ] as const) {
    await expect(file.read(offset, new Uint8Array(length))).rejects.toMatchObject({ kind: "corrupt" });
  }
  expect(await file.read(0, new Uint8Array(5000))).toBe(5000);
  expect(await file.read(300_000, new Uint8Array(10))).toBe(0);
  await file.close();
  expect(fixture.cache.has(key(7))).toBe(false);
});

test("who has a damaged copy open when it is dropped reads nothing more from it; the next copy is read", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.adopt(7, bytesOf(7, 5000));
  const file = await fixture.cache.open(key(7));
  await fixture.cache.dropDamaged(key(7));
  await expect(file.read(0, new Uint8Array(100))).rejects.toMatchObject({ kind: "corrupt" });
  await fixture.adopt(7, bytesOf(7, 5000));
  expectBytes(await fixture.read(7), bytesOf(7, 5000));
  await expect(file.read(0, new Uint8Array(100))).rejects.toMatchObject({ kind: "corrupt" });
  await file.close();
});

test("an incomplete landing cannot be committed", async () => {
  await using fixture = await CacheFixture.create();
  await using landing = await fixture.cache.begin(coldArchive(3, bytesOf(3, 100)));
  await expect(landing.commit()).rejects.toThrow("only a complete landing");
});

test("a landing goes on after kill -9 with the pieces that were verified", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(3, 4 * MIB);
  const first = await fixture.cache.begin(coldArchive(3, bytes));
  await first.write(MIB, bytes.subarray(MIB, 2 * MIB));
  await first.pieceVerified(byteRange(MIB, 2 * MIB));
  await first.write(3 * MIB, bytes.subarray(3 * MIB)); // Not verified: it does not count.
  await first[Symbol.asyncDispose]();

  await fixture.reopen();
  const second = await fixture.cache.begin(coldArchive(3, bytes));
  expect(second.missing()).toEqual([byteRange(0, MIB), byteRange(2 * MIB, 4 * MIB)]);
  await fill(second, bytes);
  expect(await second.treeHash()).toBe(digestOf(bytes).treeHash);
  await second.commit();
  expectBytes(await fixture.read(3), bytes);
});

test("a torn line in the list of verified pieces is passed over", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(3, 2 * MIB);
  const first = await fixture.cache.begin(coldArchive(3, bytes));
  await first.pieceVerified(byteRange(0, MIB));
  await first[Symbol.asyncDispose]();
  writeFileSync(fixture.layout.landingPieces(key(3)), "1048576 20971", { flag: "a" });
  await fixture.reopen();
  const second = await fixture.cache.begin(coldArchive(3, bytes));
  expect(second.missing()).toEqual([byteRange(MIB, 2 * MIB)]);
  await second.pieceVerified(byteRange(MIB, 2 * MIB));
  await second[Symbol.asyncDispose]();
  const third = await fixture.cache.begin(coldArchive(3, bytes));
  expect(third.missing()).toEqual([]);
  await third.discard();
});

test("a discarded landing begins from nothing", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(3, MIB);
  const first = await fixture.cache.begin(coldArchive(3, bytes));
  await fill(first, bytes);
  await first.discard();
  await using second = await fixture.cache.begin(coldArchive(3, bytes));
  expect(second.missing()).toEqual([byteRange(0, MIB)]);
});

test("a landing of one piece has no list of pieces, and begins anew after a crash", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(3, MIB);
  const first = await fixture.cache.begin(coldArchive(3, bytes));
  await fill(first, bytes);
  expect(first.missing()).toEqual([]);
  expect(existsSync(fixture.layout.landingPieces(key(3)))).toBe(false);
  await first[Symbol.asyncDispose]();
  await fixture.reopen();
  const second = await fixture.cache.begin(coldArchive(3, bytes));
  expect(second.missing()).toEqual([byteRange(0, MIB)]);
  await fill(second, bytes);
  await second.commit();
  expectBytes(await fixture.read(3), bytes);
});

test("bytes that never reached the disk show in the tree hash of the whole", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(3, 2 * MIB);
  const first = await fixture.cache.begin(coldArchive(3, bytes));
  await first.write(0, bytes);
  for (const start of [0, MIB]) await first.pieceVerified(byteRange(start, start + MIB));
  await first[Symbol.asyncDispose]();
  truncateSync(fixture.layout.landing(key(3)), MIB);
  await using second = await fixture.cache.begin(coldArchive(3, bytes));
  expect(second.missing()).toEqual([]);
  expect(await second.treeHash()).not.toBe(digestOf(bytes).treeHash);
});

test("the least recently used contents go first when a landing needs room", async () => {
  await using fixture = await CacheFixture.create({ maxBytes: 3000 });
  for (const archive of [1, 2, 3]) await fixture.adopt(archive, bytesOf(archive, 1000));
  await fixture.read(1);
  await fixture.land(4, bytesOf(4, 1000));
  expect([1, 2, 3, 4].filter((archive) => fixture.cache.has(key(archive)))).toEqual([1, 3, 4]);
  expect(existsSync(fixture.layout.cached(key(2)))).toBe(false);
  expect(fixture.events).toContainEqual({ type: "content-evicted", archive: key(2), sizeBytes: 1000 });
  expect(fixture.cache.usage().usedBytes).toBe(3000);
});

test("a pinned, an open and a recalled but unread content are not evicted", async () => {
  await using fixture = await CacheFixture.create({ maxBytes: 4000 });
  await fixture.adopt(1, bytesOf(1, 1000));
  await fixture.cache.setPinned(key(1), true);
  await fixture.adopt(2, bytesOf(2, 1000));
  const open = await fixture.cache.open(key(2));
  await fixture.land(3, bytesOf(3, 1000));
  await fixture.adopt(4, bytesOf(4, 1000));
  await fixture.land(5, bytesOf(5, 1000));
  expect([1, 2, 3, 4, 5].filter((archive) => fixture.cache.has(key(archive)))).toEqual([1, 2, 3, 5]);
  await expect(fixture.land(6, bytesOf(6, 1000))).rejects.toMatchObject({ kind: "no-space" });
  await open.close();
  await fixture.land(6, bytesOf(6, 1000));
  expect(fixture.cache.has(key(2))).toBe(false);
});

test("a recalled content that nobody read may go after the keeping time", async () => {
  await using fixture = await CacheFixture.create({ maxBytes: 1000, recallKeepMs: hours(48) });
  await fixture.land(1, bytesOf(1, 1000));
  await expect(fixture.land(2, bytesOf(2, 1000))).rejects.toMatchObject({ kind: "no-space" });
  await fixture.clock.advance(hours(48));
  await fixture.land(2, bytesOf(2, 1000));
  expect(fixture.cache.has(key(1))).toBe(false);
});

test("a content larger than the cache lands alone", async () => {
  await using fixture = await CacheFixture.create({ maxBytes: 1000 });
  await fixture.adopt(1, bytesOf(1, 500));
  await fixture.land(2, bytesOf(2, 5000));
  expect(fixture.cache.has(key(1))).toBe(false);
  expectBytes(await fixture.read(2), bytesOf(2, 5000));
});

test("nothing is evicted for a landing that does not fit all the same", async () => {
  await using fixture = await CacheFixture.create({ maxBytes: 2000 });
  await fixture.adopt(1, bytesOf(1, 1000));
  await fixture.adopt(2, bytesOf(2, 1000));
  await fixture.cache.setPinned(key(2), true);
  await expect(fixture.land(3, bytesOf(3, 1500))).rejects.toMatchObject({ kind: "no-space" });
  expect(fixture.cache.has(key(1))).toBe(true);
});

test("landing evicts until the disk keeps its free space, and fails when it cannot", async () => {
  await using fixture = await CacheFixture.create({ keepFreeBytes: 10_000 });
  await fixture.adopt(1, bytesOf(1, 1000));
  fixture.freeBytes = 10_500;
  await fixture.land(2, bytesOf(2, 1000));
  expect(fixture.cache.has(key(1))).toBe(false);
  fixture.freeBytes = 10_500;
  await expect(fixture.land(3, bytesOf(3, 1000))).rejects.toMatchObject({ kind: "no-space" });
});

test("adopting never fails for lack of room: older contents go", async () => {
  await using fixture = await CacheFixture.create({ maxBytes: 1500 });
  await fixture.adopt(1, bytesOf(1, 1000));
  await fixture.adopt(2, bytesOf(2, 1000));
  expect(fixture.cache.has(key(1))).toBe(false);
  expect(fixture.cache.has(key(2))).toBe(true);
});

test("evict says what became of it", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.adopt(1, bytesOf(1, 100));
  expect(await fixture.cache.evict(key(9))).toBe("absent");
  const open = await fixture.cache.open(key(1));
  expect(await fixture.cache.evict(key(1))).toBe("in-use");
  await open.close();
  await fixture.cache.setPinned(key(1), true);
  expect(await fixture.cache.evict(key(1))).toBe("pinned");
  await fixture.cache.setPinned(key(1), false);
  expect(await fixture.cache.evict(key(1))).toBe("evicted");
  await expect(fixture.cache.open(key(1))).rejects.toMatchObject({ kind: "not-found" });
  expect(fixture.index.rows.size).toBe(0);
});

test("a dropped content stays readable for who has it open", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.adopt(1, bytesOf(1, 100));
  await fixture.cache.setPinned(key(1), true);
  const open = await fixture.cache.open(key(1));
  await fixture.cache.drop(key(1));
  expect(fixture.cache.has(key(1))).toBe(false);
  expect(fixture.cache.isPinned(key(1))).toBe(false);
  const bytes = Buffer.alloc(100);
  expect(await open.read(0, bytes)).toBe(100);
  expectBytes(bytes, bytesOf(1, 100));
  await open.close();
});

test("a pin on a cold archive waits for its content, also over a restart", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.cache.setPinned(key(1), true);
  await fixture.reopen();
  expect(fixture.cache.isPinned(key(1))).toBe(true);
  expect(fixture.cache.has(key(1))).toBe(false);
  await fixture.land(1, bytesOf(1, 100));
  expect(await fixture.cache.evict(key(1))).toBe("pinned");
});

test("at start the index and the directory are made to agree", async () => {
  await using fixture = await CacheFixture.create();
  for (const archive of [1, 2, 3]) await fixture.adopt(archive, bytesOf(archive, 100));
  rmSync(fixture.layout.cached(key(1)));
  truncateSync(fixture.layout.cached(key(2)), 50);
  writeFileSync(fixture.layout.cached(key(8)), "no row");
  await fixture.reopen();
  expect([1, 2, 3, 8].filter((archive) => fixture.cache.has(key(archive)))).toEqual([3]);
  expect([...fixture.index.rows.keys()]).toEqual([3]);
  expect(existsSync(fixture.layout.cached(key(2)))).toBe(false);
  expect(existsSync(fixture.layout.cached(key(8)))).toBe(false);
});

test("the order of use survives a restart", async () => {
  await using fixture = await CacheFixture.create();
  for (const archive of [1, 2]) await fixture.adopt(archive, bytesOf(archive, 1000));
  await fixture.clock.advance(1000);
  await fixture.read(1);
  await fixture.cache.close();
  expect(fixture.index.touches).toBe(1);
  await fixture.reopen({ maxBytes: 2000 });
  await fixture.land(3, bytesOf(3, 1000));
  expect(fixture.cache.has(key(1))).toBe(true);
  expect(fixture.cache.has(key(2))).toBe(false);
});

test("uses are written in batches", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.adopt(1, bytesOf(1, 100));
  for (let use = 0; use < 50; use++) await fixture.read(1);
  await fixture.clock.advance(5000);
  expect(fixture.index.touches).toBe(1);
});

test("a cached file that somebody removed by hand is forgotten", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.adopt(1, bytesOf(1, 100));
  rmSync(fixture.layout.cached(key(1)));
  await expect(fixture.cache.open(key(1))).rejects.toMatchObject({ kind: "not-found" });
  expect(fixture.cache.has(key(1))).toBe(false);
});

test("for a writer copies are evicted as far as wanted, and none in vain", async () => {
  await using it = await CacheFixture.create();
  await it.adopt(1, bytesOf(1, 1000));
  await it.adopt(2, bytesOf(2, 1000));
  await it.cache.freeDisk({ needBytes: 2001, wantedBytes: 9000 });
  expect(it.cache.usage().contents, "not enough for the writer").toBe(2);
  await it.cache.freeDisk({ needBytes: 500, wantedBytes: 1000 });
  expect(it.cache.usage().contents).toBe(1);
  await it.cache.freeDisk({ needBytes: 500, wantedBytes: 9000 });
  expect(it.cache.usage().contents).toBe(0);
});
