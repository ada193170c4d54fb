import { statSync } from "node:fs";
import { expect, test } from "vitest";
import { byteRange, MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { readAll } from "../support/test-bytes.js";
import { bytesOf, CacheFixture, contentId, expectBytes, key } from "./cache-fixture.js";

test("a staging file takes writes anywhere, in any order, small and large", async () => {
  await using fixture = await CacheFixture.create();
  const file = await fixture.staging.create(contentId(1));
  const bytes = bytesOf(1, 3 * MIB);
  await file.write(2 * MIB, bytes.subarray(2 * MIB));
  await file.write(0, bytes.subarray(0, 1000));
  await file.write(1000, bytes.subarray(1000, 2 * MIB));
  const back = Buffer.alloc(4 * MIB);
  expect(await file.read(0, back)).toBe(3 * MIB);
  expectBytes(back.subarray(0, 3 * MIB), bytes);
  expect(await file.read(3 * MIB, Buffer.alloc(10))).toBe(0);
  await file.close();
});

test("extending never cuts off what is written at the same time", async () => {
  await using fixture = await CacheFixture.create();
  const file = await fixture.staging.create(contentId(1));
  const bytes = bytesOf(1, 2 * MIB);
  await Promise.all([file.write(0, bytes), file.extendTo(MIB)]);
  expect(file.sizeBytes).toBe(2 * MIB);
  await file.extendTo(3 * MIB);
  expect(file.sizeBytes).toBe(3 * MIB);
  await file.truncate(5);
  expect(file.sizeBytes).toBe(5);
  await file.close();
});

test("creating a content whose number was used by an undone transaction begins empty", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.stage(1, bytesOf(1, 100));
  const file = await fixture.staging.create(contentId(1));
  expect(file.sizeBytes).toBe(0);
  await file.close();
});

test("opening a staging file that is gone says not-found", async () => {
  await using fixture = await CacheFixture.create();
  await expect(fixture.staging.open(contentId(9))).rejects.toMatchObject({ kind: "not-found" });
  await expect(fixture.staging.openStaged(contentId(9))).rejects.toMatchObject({ kind: "not-found" });
  await fixture.staging.remove(contentId(9));
});

test.each([0, 1, 1000, 2 * MIB, 3 * MIB])("a copy begins with the first %i bytes of another content", async (size) => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(1, 2 * MIB);
  await fixture.adopt(1, bytes);
  await fixture.stage(2, bytes);
  const copies = [
    await fixture.staging.copyOf({ place: "cache", archive: key(1) }, contentId(3), size),
    await fixture.staging.copyOf({ place: "staging", content: contentId(2) }, contentId(4), size),
  ];
  for (const copy of copies) {
    const back = Buffer.alloc(2 * MIB);
    const length = await copy.read(0, back);
    expectBytes(back.subarray(0, length), bytes.subarray(0, size));
    await copy.write(0, Buffer.from("new"));
    await copy.close();
  }
  expectBytes(await fixture.read(1), bytes);
});

test("a copy of a content that is not there says not-found", async () => {
  await using fixture = await CacheFixture.create();
  const { staging } = fixture;
  await expect(staging.copyOf({ place: "cache", archive: key(1) }, contentId(2), 5)).rejects.toMatchObject({
    kind: "not-found",
  });
  await expect(staging.copyOf({ place: "staging", content: contentId(1) }, contentId(2), 5)).rejects.toMatchObject({
    kind: "not-found",
  });
});

test("a staged file is hashed and read by range, in pieces of at most 1 MiB", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(1, 5 * MIB + 123);
  await fixture.stage(1, bytes);
  await using staged = await fixture.staging.openStaged(contentId(1));
  await staged.sync();
  expect(staged.sizeBytes).toBe(bytes.length);
  for (const [start, end] of [
    [0, bytes.length],
    [MIB, 3 * MIB],
    [4 * MIB, bytes.length],
    [5 * MIB, bytes.length],
  ] as const) {
    const expected = digestOf(bytes.subarray(start, end));
    const hashed = await staged.hash(byteRange(start, end));
    expect(hashed).toMatchObject({ sha256: expected.sha256, treeHash: expected.treeHash });
    expectBytes(Buffer.from(hashed.leaves), Buffer.concat(expected.leaves));
    expectBytes(await readAll(staged.read(byteRange(start, end))), bytes.subarray(start, end));
  }
  for await (const piece of staged.read(byteRange(0, bytes.length))) expect(piece.length).toBeLessThanOrEqual(MIB);
});

test("a staged file that is shorter than expected fails as corrupt, not with other bytes", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.stage(1, bytesOf(1, 3 * MIB));
  await using staged = await fixture.staging.openStaged(contentId(1));
  await expect(staged.hash(byteRange(0, 4 * MIB))).rejects.toMatchObject({ kind: "corrupt" });
  await expect(staged.hash(byteRange(3 * MIB, 3 * MIB + 5))).rejects.toMatchObject({ kind: "corrupt" });
  await expect(readAll(staged.read(byteRange(0, 4 * MIB)))).rejects.toMatchObject({ kind: "corrupt" });
});

test("hashing that is cut short by closing the pool is rejected as cancelled", async () => {
  await using fixture = await CacheFixture.create();
  await fixture.stage(1, bytesOf(1, 32 * MIB));
  await using staged = await fixture.staging.openStaged(contentId(1));
  const hashes = Promise.allSettled([1, 2, 3, 4].map(() => staged.hash(byteRange(0, 32 * MIB))));
  await fixture.hashPool.close();
  for (const { status } of await hashes) expect(status).toBe("rejected");
});

test("the contents in staging are listed", async () => {
  await using fixture = await CacheFixture.create();
  for (const content of [3, 11]) await fixture.stage(content, bytesOf(content, 1));
  expect((await fixture.staging.list()).sort()).toEqual([11, 3]);
  expect(statSync(fixture.layout.staged(contentId(3))).mode & 0o777).toBe(0o600);
});

test("parts that leave the disk together give back what they took, once", async () => {
  await using fixture = await CacheFixture.create();
  const content = contentId(1);
  await fixture.stage(1, bytesOf(1, 4 * MIB));
  fixture.budget.take(content, { start: 0, end: 4 * MIB });
  await fixture.staging.requireDropping();
  const parts = [byteRange(0, MIB), byteRange(MIB, 2 * MIB), byteRange(2 * MIB, 3 * MIB)];
  await Promise.all(parts.map((part) => fixture.staging.drop(content, part)));
  expect(fixture.budget.usage().usedBytes).toBeGreaterThanOrEqual(MIB);
  expect(fixture.budget.usage().usedBytes).toBeLessThan(2 * MIB);
});
