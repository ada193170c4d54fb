import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { CASClientError, HashDoesNotMatchError, MultipartUpload } from "../../src/sdk/index.js";
import vectors from "../fixtures/protocol-vectors.json" with { type: "json" };
import { hour, startMs } from "../server/local-server.js";
import { testBytes } from "../support/test-bytes.js";
import { bytesOf, collected, SdkServer } from "./sdk-fixture.js";

const content = testBytes(40 * MIB);
const partSize = 16 * MIB;
let directory: string;
let file: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-sdk-"));
  file = join(directory, "content");
  await writeFile(file, content);
});
afterAll(() => rm(directory, { recursive: true, force: true }));

test("an upload of a file is begun, sent in parts and completed", async () => {
  await using sdk = await SdkServer.start();
  const vault = await sdk.vault();
  const upload = await vault.initiateMultipartUpload(file, { description: "forty" });
  expect(upload).toMatchObject({
    vault,
    description: "forty",
    creationDate: new Date(startMs),
    partSize,
    filePath: file,
    sizeTotal: content.length,
    sizeCompleted: 0,
    treeHash: null,
    parts: [
      { start: 0, end: partSize, treeHash: null },
      { start: partSize, end: 2 * partSize, treeHash: null },
      { start: 2 * partSize, end: content.length, treeHash: null },
    ],
  });
  expect(upload.id).toHaveLength(64);
  const progress: number[] = [];
  const archiveId = await upload.start({ parallel: 2, onProgress: ({ sentBytes }) => void progress.push(sentBytes) });
  expect(progress.at(-1)).toBe(content.length);
  expect(upload).toMatchObject({ sizeCompleted: content.length, treeHash: digestOf(content).treeHash });
  const job = await vault.retrieveArchive(archiveId, { tier: "Expedited" });
  await sdk.pass(hour);
  expect((await bytesOf((await job.output()).body)).equals(content)).toBe(true);
});

test("an unfinished upload is found again with its parts, and resumed with its file", async () => {
  await using sdk = await SdkServer.start();
  const vault = await sdk.vault();
  const { id } = await vault.initiateMultipartUpload(file, {});
  const range = { start: 0, end: partSize };
  await sdk.api.postMultipart("photos", id, content.subarray(0, partSize), { range });
  const upload = await vault.getMultipartUploader(id);
  const { treeHash } = digestOf(content.subarray(0, partSize));
  expect(upload).toMatchObject({ filePath: undefined, sizeCompleted: partSize, sizeTotal: partSize });
  expect(upload.parts).toEqual([{ start: 0, end: partSize, treeHash }]);
  await expect(upload.start()).rejects.toThrow(CASClientError);
  expect(await upload.resume(file)).toHaveLength(128);
  expect(upload.parts[0]).toEqual({ start: 0, end: partSize, treeHash });
  expect(upload.treeHash).toBe(digestOf(content).treeHash);
});

test("an upload whose Complete had no answer is resumed with its file, and is the archive that it became", async () => {
  await using sdk = await SdkServer.start();
  const vault = await sdk.vault();
  const upload = await vault.initiateMultipartUpload(file);
  const archiveId = await upload.start();
  const known = new MultipartUpload(vault, upload.properties);
  expect(await known.resume(file)).toBe(archiveId);
  expect(await vault.uploadArchive(file, { resume: upload.id })).toBe(archiveId);
  const other = join(directory, "other");
  await writeFile(other, testBytes(content.length, 9));
  await expect(known.resume(other)).rejects.toBeInstanceOf(HashDoesNotMatchError);
});

test("an upload is not resumed with a file that its parts are not of", async () => {
  await using sdk = await SdkServer.start();
  const vault = await sdk.vault();
  const { id } = await vault.initiateMultipartUpload(file, {});
  const other = Buffer.from(content.subarray(0, partSize));
  other[5]! ^= 1;
  await sdk.api.postMultipart("photos", id, other, { range: { start: 0, end: partSize } });
  const upload = await vault.getMultipartUploader(id);
  await expect(upload.resume(file)).rejects.toBeInstanceOf(HashDoesNotMatchError);
  const shorter = join(directory, "shorter");
  await writeFile(shorter, testBytes(100));
  await expect(upload.resume(shorter)).rejects.toBeInstanceOf(HashDoesNotMatchError);
  expect((await collected(sdk.api.listAllParts("photos", id))).length).toBe(1);
});

test("when the service has all parts, the tree hash of the whole is known before Complete", async () => {
  await using sdk = await SdkServer.start();
  const vault = await sdk.vault();
  const upload = await vault.initiateMultipartUpload(file);
  for (const { start, end } of upload.parts) {
    await sdk.api.postMultipart("photos", upload.id, content.subarray(start, end), { range: { start, end } });
  }
  const parts = await collected(sdk.api.listAllParts("photos", upload.id));
  const known = new MultipartUpload(vault, upload.properties, { filePath: file, sizeTotal: content.length, parts });
  expect(known.treeHash).toBe(digestOf(content).treeHash);
  expect(known.sizeCompleted).toBe(content.length);
});

test("a cancelled upload is forgotten", async () => {
  await using sdk = await SdkServer.start();
  const vault = await sdk.vault();
  const upload = await vault.initiateMultipartUpload(file);
  expect((await collected(vault.listAllMultipartUploads())).map(({ id }) => id)).toEqual([upload.id]);
  expect((await upload.cancel()).status).toBe(204);
  expect(await collected(vault.listAllMultipartUploads())).toEqual([]);
  await expect(vault.getMultipartUploader(upload.id)).rejects.toMatchObject({ status: 404 });
});

describe("part sizes", () => {
  const cases = [...vectors.upload_part_size.cases, ...vectors.upload_part_size_requested.cases] as readonly {
    readonly size_total: number;
    readonly requested_part_size?: number;
    readonly part_size?: number;
    readonly error?: unknown;
  }[];

  test.each(cases)("%j", ({ size_total: total, requested_part_size: requested, part_size: expected }) => {
    if (expected === undefined) expect(() => MultipartUpload.calcPartSize(total, requested)).toThrow(RangeError);
    else expect(MultipartUpload.calcPartSize(total, requested)).toBe(expected);
  });

  test("sizes that cannot be sent in parts are told in the words of the CAS SDK", () => {
    expect(() => MultipartUpload.calcPartSize(1)).toThrow("file too small: 1, please use Vault.uploadArchive");
    expect(() => MultipartUpload.calcPartSize(42_949_672_960_001)).toThrow("file too big: 42949672960001");
  });

  test("a small file is refused before anything is begun", async () => {
    await using sdk = await SdkServer.start();
    const vault = await sdk.vault();
    const small = join(directory, "small");
    await writeFile(small, testBytes(10));
    await expect(vault.initiateMultipartUpload(small)).rejects.toThrow(RangeError);
    await expect(vault.initiateMultipartUpload(join(directory, "missing"))).rejects.toThrow(CASClientError);
    expect(await collected(vault.listAllMultipartUploads())).toEqual([]);
  });
});

test("a range is read from its text", () => {
  expect(MultipartUpload.parseRangeFromStr("0-9")).toEqual({ start: 0, end: 10 });
  for (const text of ["", "1", "a-b", "5-3", "-1-3", "0-9 "]) {
    expect(() => MultipartUpload.parseRangeFromStr(text)).toThrow(RangeError);
  }
});
