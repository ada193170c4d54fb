import { expect, test, vi } from "vitest";
import { type ByteRange, byteRange, MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import type { ContentFile } from "../../src/vfs/ports.js";
import { fc } from "../support/seeded-fast-check.js";
import { bytesOf, CacheFixture, contentId, expectBytes } from "./cache-fixture.js";

const content = contentId(1);
/** As the fixture cuts contents. */
const partBytes = 4 * MIB;

test("the hashes of a file that is written in order are there when it is closed", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(1, 9 * MIB + 5);
  const file = await writeInOrder(fixture, bytes);
  await hashedUpTo(fixture, 9 * MIB);
  await file.close();

  const poolHashes = vi.spyOn(fixture.hashPool, "hash");
  await expectHashes(fixture, bytes, [byteRange(0, partBytes), byteRange(partBytes, 2 * partBytes)]);
  expect(poolHashes).not.toHaveBeenCalled();
  // The beginning of the last part is hashed already, but it is the smaller half of it.
  await expectHashes(fixture, bytes, [byteRange(2 * partBytes, bytes.length)]);
});

test.each([2 * MIB, 5 * MIB + 1, 7 * MIB])("a file of %i bytes is hashed once, for one request", async (size) => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(1, size);
  const file = await writeInOrder(fixture, bytes);
  await hashedUpTo(fixture, size - (size % MIB));
  await file.close();
  const poolHashes = vi.spyOn(fixture.hashPool, "hash");
  await expectHashes(fixture, bytes, [byteRange(0, size)]);
  expect(poolHashes).not.toHaveBeenCalled();
});

test("a hash is given once; who asks again has the bytes hashed again", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(1, partBytes);
  const file = await writeInOrder(fixture, bytes);
  await hashedUpTo(fixture, partBytes);
  await file.close();
  await expectHashes(fixture, bytes, [byteRange(0, partBytes)]);
  const poolHashes = vi.spyOn(fixture.hashPool, "hash");
  await expectHashes(fixture, bytes, [byteRange(0, partBytes)]);
  expect(poolHashes).toHaveBeenCalledOnce();
});

test("a write in the middle makes only its own MiB and its own part be hashed again", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(1, 3 * partBytes);
  const file = await writeInOrder(fixture, bytes);
  await hashedUpTo(fixture, bytes.length);
  const changed = bytesOf(2, 10);
  changed.copy(bytes, partBytes + MIB);
  await file.write(partBytes + MIB, changed);
  await file.close();

  const poolHashes = vi.spyOn(fixture.hashPool, "hash");
  const parts = [0, 1, 2].map((part) => byteRange(part * partBytes, (part + 1) * partBytes));
  await expectHashes(fixture, bytes, parts);
  expect(poolHashes).toHaveBeenCalledOnce();
  expect([...(poolHashes.mock.calls[0]?.[2]?.known ?? [])]).toEqual([1, 0, 1, 1]);
});

test("the tree hash alone is known without reading a byte, and stays known", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(1, 2 * partBytes);
  const file = await writeInOrder(fixture, bytes);
  await hashedUpTo(fixture, bytes.length);
  await file.close();
  const poolHashes = vi.spyOn(fixture.hashPool, "treeHash");
  await using staged = await fixture.staging.openStaged(content);
  for (let time = 0; time < 2; time++) {
    expect(await staged.treeHash(byteRange(0, bytes.length))).toBe(digestOf(bytes).treeHash);
  }
  expect(poolHashes).not.toHaveBeenCalled();
});

test("small files, and files that are not written from their beginning on, cost nothing while they are written", async () => {
  await using fixture = await CacheFixture.create();
  const file = await fixture.staging.create(content);
  await file.write(2 * MIB, bytesOf(1, 3 * MIB));
  await file.write(0, bytesOf(1, MIB - 1));
  await file.close();
  expect(fixture.hashes.usage()).toEqual({ files: 0, leaves: 0 });
});

test("what is removed, and what its upload has taken, is forgotten", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(1, partBytes);
  for (const end of ["removed", "taken"]) {
    const file = await writeInOrder(fixture, bytes);
    await hashedUpTo(fixture, partBytes);
    await file.close();
    expect(fixture.hashes.usage()).toEqual({ files: 1, leaves: 4 });
    if (end === "removed") await fixture.staging.remove(content);
    else await expectHashes(fixture, bytes, [byteRange(0, partBytes)]);
    expect(fixture.hashes.usage()).toEqual({ files: 0, leaves: 0 });
  }
});

test("of very many files that wait, the oldest are forgotten", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(1, MIB);
  for (let number = 1; number <= 260; number++) {
    const file = await fixture.staging.create(contentId(number));
    await file.write(0, bytes);
    await vi.waitFor(() => expect(fixture.hashes.isIdle()).toBe(true), { timeout: 20_000, interval: 1 });
    await file.close();
  }
  expect(fixture.hashes.usage().files).toBe(256);
});

type Step =
  | { readonly kind: "write"; readonly at: number; readonly length: number; readonly seed: number }
  | { readonly kind: "append"; readonly length: number; readonly seed: number }
  | { readonly kind: "cut" | "extend"; readonly size: number }
  | { readonly kind: "pause" | "reopen" };

const sizes = fc.oneof(
  fc.constantFrom(0, MIB - 1, MIB, MIB + 1, partBytes, partBytes + 1),
  fc.integer({ min: 0, max: 10 * MIB }),
);
const lengths = fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 3 * MIB }), fc.constant(2 * MIB));
/** Shifted by a seed, it is other bytes. */
const pattern = bytesOf(1, 503);
const seeds = fc.integer({ min: 1, max: 250 });
const steps: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: fc.record({ kind: fc.constant("append" as const), length: lengths, seed: seeds }), weight: 6 },
  { arbitrary: fc.record({ kind: fc.constant("write" as const), at: sizes, length: lengths, seed: seeds }), weight: 3 },
  { arbitrary: fc.record({ kind: fc.constantFrom("cut" as const, "extend" as const), size: sizes }), weight: 1 },
  { arbitrary: fc.record({ kind: fc.constantFrom("pause" as const, "reopen" as const) }), weight: 2 },
);

test("whatever is written, cut and extended while hashing goes on, the hashes are those of the bytes", async () => {
  await using fixture = await CacheFixture.create();
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 14 }), fc.boolean(), async (sequence, atOnce) => {
      let file: ContentFile = await fixture.staging.create(content);
      let model = Buffer.alloc(0);
      let writes: Promise<void>[] = [];
      const settled = async () => {
        await Promise.all(writes);
        writes = [];
      };
      for (const step of sequence) {
        switch (step.kind) {
          case "append":
          case "write": {
            const at = step.kind === "append" ? model.length : step.at;
            const bytes = Buffer.alloc(step.length, pattern.subarray(step.seed));
            model = resized(model, Math.max(model.length, at + bytes.length));
            // The order of two writes to the same bytes would be open.
            await settled();
            bytes.copy(model, at);
            writes.push(file.write(at, bytes));
            if (!atOnce) await settled();
            break;
          }
          case "cut":
            await settled();
            model = resized(model, step.size);
            await file.truncate(step.size);
            break;
          case "extend":
            await settled();
            model = resized(model, Math.max(model.length, step.size));
            await file.extendTo(step.size);
            break;
          case "pause":
            await vi.waitFor(() => expect(fixture.hashes.isIdle()).toBe(true), { timeout: 20_000, interval: 1 });
            break;
          case "reopen":
            await settled();
            await file.close();
            file = await fixture.staging.open(content);
        }
      }
      await settled();
      if (model.length > 0) {
        await using staged = await fixture.staging.openStaged(content);
        const whole = byteRange(0, model.length);
        expect(await staged.treeHash(whole)).toBe(digestOf(model).treeHash);
        await expectHashes(fixture, model, partsOf(model.length));
        await expectHashes(fixture, model, [whole]);
      }
      await file.close();
    }),
    { numRuns: 40 },
  );
}, 60_000);

test("a part that is hashed for its upload while others are still written has the hashes of its bytes", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(1, 4 * partBytes);
  const file = await writeInOrder(fixture, bytes.subarray(0, partBytes + MIB));
  await expectHashes(fixture, bytes, [byteRange(0, partBytes)]);
  for (let offset = partBytes + MIB; offset < bytes.length; offset += MIB) {
    await file.write(offset, bytes.subarray(offset, offset + MIB));
  }
  await expectHashes(fixture, bytes, partsOf(bytes.length));
  await file.close();
});

test("a write that comes while the rest is hashed is not missed", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = bytesOf(1, 3 * MIB + 500_000);
  const file = await writeInOrder(fixture, bytes);
  await hashedUpTo(fixture, 3 * MIB);
  await using staged = await fixture.staging.openStaged(content);
  const early = staged.hash(byteRange(0, bytes.length));
  bytes.set(bytesOf(2, 100), 10);
  await file.write(10, bytes.subarray(10, 110));
  await early;
  await expectHashes(fixture, bytes, [byteRange(0, bytes.length)]);
  await file.close();
});

async function writeInOrder(fixture: CacheFixture, bytes: Buffer): Promise<ContentFile> {
  const file = await fixture.staging.create(content);
  for (let offset = 0; offset < bytes.length; offset += 300_000) {
    await file.write(offset, bytes.subarray(offset, offset + 300_000));
  }
  return file;
}

async function hashedUpTo(fixture: CacheFixture, bytes: number): Promise<void> {
  const expected = { files: 1, leaves: bytes / MIB };
  await vi.waitFor(() => expect(fixture.hashes.usage()).toEqual(expected), { timeout: 20_000, interval: 5 });
}

async function expectHashes(fixture: CacheFixture, bytes: Buffer, ranges: readonly ByteRange[]): Promise<void> {
  await using staged = await fixture.staging.openStaged(content);
  for (const range of ranges) {
    const { sha256, treeHash, leaves } = digestOf(bytes.subarray(range.start, range.end));
    const hashed = await staged.hash(range);
    expect(hashed).toMatchObject({ sha256, treeHash });
    expectBytes(Buffer.from(hashed.leaves), Buffer.concat(leaves));
  }
}

function partsOf(sizeBytes: number): ByteRange[] {
  const parts: ByteRange[] = [];
  for (let start = 0; start < sizeBytes; start += partBytes) {
    parts.push(byteRange(start, Math.min(start + partBytes, sizeBytes)));
  }
  return parts;
}

function resized(bytes: Buffer, length: number): Buffer<ArrayBuffer> {
  const next = Buffer.alloc(length);
  bytes.copy(next);
  return next;
}
