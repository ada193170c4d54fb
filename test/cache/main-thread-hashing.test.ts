/** Bytes that go through SHA-256 on the thread of the event loop: what workers hash is not seen by this wrapper. */

import { expect, test, vi } from "vitest";
import { byteRange, MIB } from "../../src/domain/bytes.js";
import type { CasService } from "../../src/protocol/service.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { Uploader } from "../../src/upload/uploader.js";
import { contentId, partBytes, UploadFixture, vault } from "../upload/upload-fixture.js";
import { CacheFixture, coldArchive, fill } from "./cache-fixture.js";

const hashed = vi.hoisted(() => ({ bytes: 0 }));

vi.mock("node:crypto", async (original) => {
  const crypto = await original<typeof import("node:crypto")>();
  const createHash = (...options: Parameters<typeof crypto.createHash>) => {
    const hash = crypto.createHash(...options);
    const update = hash.update.bind(hash) as (bytes: Uint8Array) => typeof hash;
    return Object.assign(hash, {
      update(bytes: Uint8Array) {
        hashed.bytes += bytes.length;
        return update(bytes);
      },
    });
  };
  return { ...crypto, createHash };
});

const sizeBytes = 3 * partBytes + 5 * MIB + 17;
// A millisecond of hashing is some 1.5 MiB. What is left are the nodes of tree hashes, 64 bytes for each MiB.
const hashedBytesMax = 128 * 1024;

test("the wrapper sees what is hashed on this thread", () => {
  hashed.bytes = 0;
  digestOf(Buffer.alloc(MIB));
  expect(hashed.bytes).toBeGreaterThanOrEqual(MIB);
});

test.each(["in order", "with a change at the end"])(
  "the event loop hashes no content: a file that is written %s and uploaded in parts",
  async (how) => {
    await using fixture = await CacheFixture.create();
    const upload = await UploadFixture.create();
    const file = await fixture.staging.create(contentId(1));
    hashed.bytes = 0;
    for (let offset = 0; offset < sizeBytes; offset += MIB) {
      await file.write(offset, Buffer.alloc(Math.min(MIB, sizeBytes - offset), offset / MIB));
    }
    if (how !== "in order") await file.write(partBytes + 5, Buffer.from("changed"));
    await file.close();

    upload.journal.seal(contentId(1), vault, sizeBytes);
    const sent: number[] = [];
    const uploader = new Uploader(
      {
        service: takingService(sent),
        journal: upload.journal,
        files: fixture.staging,
        clock: upload.clock,
        observer: () => {},
      },
      { multipartThresholdBytes: partBytes, partSizeBytes: partBytes, partConcurrency: 8 },
    );
    const outcome = await uploader.upload(contentId(1), { signal: new AbortController().signal });
    expect(outcome.kind).toBe("archived");
    expect(sent.reduce((sum, bytes) => sum + bytes, 0)).toBe(sizeBytes);
    expect(hashed.bytes).toBeLessThan(hashedBytesMax);
  },
);

test("the event loop hashes no content: a recall that lands", async () => {
  await using fixture = await CacheFixture.create();
  const bytes = Buffer.alloc(70 * MIB + 3, "recalled");
  const archive = coldArchive(1, bytes);
  hashed.bytes = 0;
  const landing = await fixture.cache.begin(archive);
  await fill(landing, bytes);
  await landing.hash(byteRange(0, 32 * MIB));
  expect(await landing.treeHash()).toBe(archive.treeHash);
  await landing.commit();
  expect(hashed.bytes).toBeLessThan(hashedBytesMax);
});

/** Takes everything and believes every hash; a service that checks them would hash on this thread. */
function takingService(sent: number[]): CasService {
  const taking: Partial<CasService> = {
    initiateMultipartUpload: async () => "upload-1" as never,
    uploadPart: async (_vault, _upload, { body }) => {
      for await (const piece of body()) sent.push(piece.length);
    },
    completeMultipartUpload: async () => "archive-1" as never,
  };
  return taking as CasService;
}
