import { execFile } from "node:child_process";
import { appendFile, open, rename, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { httpCasService } from "../../src/client/http-cas-service.js";
import { byteCount, byteRange, MIB } from "../../src/domain/bytes.js";
import { ServiceError } from "../../src/domain/errors.js";
import { type UploadId, uploadId } from "../../src/domain/ids.js";
import { hours } from "../../src/domain/time.js";
import type { CasService, TreeHashHex } from "../../src/protocol/service.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { type FileUploadOptions, type UploadTransferProgress, uploadFile } from "../../src/transfer/file-upload.js";
import { SourceChangedError, UploadForgottenError, UploadMismatchError } from "../../src/transfer/transfer-errors.js";
import { credentials } from "../server/cas-client.js";
import { LocalServer } from "../server/local-server.js";
import { newArchive, testBytes } from "../support/test-bytes.js";
import { onNthCall, partBytes, TransferFixture, vault, withCalls } from "./transfer-fixture.js";

/** Three parts, the last one of a single byte. */
const size = 2 * partBytes + 1;
const inParts: FileUploadOptions = { vault, multipartThresholdBytes: partBytes, parallel: 2 };
const gone = new ServiceError("connection", "the connection was reset");

/** An upload of which the first part is in the service, and its id. */
async function brokenUpload(fixture: TransferFixture, path: string): Promise<UploadId> {
  const controller = new AbortController();
  let id: UploadId | undefined;
  onNthCall(fixture.memory, "uploadPart", 2, () => controller.abort(new Error("killed")));
  const onInitiated = (upload: UploadId) => {
    id = upload;
  };
  const options = { ...inParts, parallel: 1, onInitiated, signal: controller.signal };
  const upload = uploadFile(fixture.deps(), path, options);
  await expect(upload).rejects.toThrow("killed");
  fixture.memory.onCall = () => undefined;
  fixture.memory.calls.uploadPart = 0;
  return id!;
}

/** Replaces bytes and puts the modification time back, as a writer that wants to go unnoticed. */
async function overwriteUnnoticed(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  const { atime, mtime } = await stat(path);
  const file = await open(path, "r+");
  await file.write(bytes, 0, bytes.length, offset);
  await file.close();
  await utimes(path, atime, mtime);
}

test.each([
  { name: "of one byte in one request", bytes: 1, single: true },
  { name: "of exactly the threshold in one request", bytes: partBytes, single: true },
  { name: "of one byte more than the threshold in parts", bytes: partBytes + 1, single: false },
  { name: "with a last part of one byte in parts", bytes: size, single: false },
])("a file $name becomes an archive of its bytes", async ({ bytes, single }) => {
  await using fixture = await TransferFixture.create();
  const content = testBytes(bytes);
  const path = await fixture.file("source", content);
  const archive = await uploadFile(fixture.deps(), path, { ...inParts, description: "my file" });
  const [stored] = fixture.memory.archivesOf(vault);
  expect(stored!.bytes.equals(content)).toBe(true);
  expect(stored).toMatchObject({ ...archive, description: "my file" });
  expect(archive).toMatchObject({ sizeBytes: bytes, treeHash: digestOf(content).treeHash });
  expect(fixture.memory.calls.uploadArchive).toBe(single ? 1 : 0);
  expect(fixture.memory.calls.uploadPart).toBe(single ? 0 : Math.ceil(bytes / partBytes));
});

test("a sparse file is uploaded with its holes as zeros", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("sparse", testBytes(10));
  await truncate(path, partBytes + 3 * MIB);
  await uploadFile(fixture.deps(), path, inParts);
  const expected = Buffer.alloc(partBytes + 3 * MIB);
  testBytes(10).copy(expected);
  expect(fixture.memory.archivesOf(vault)[0]!.bytes.equals(expected)).toBe(true);
});

test("progress counts what was acknowledged, ends with the whole, and never counts bytes on their way twice", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("source", testBytes(size));
  fixture.memory.fail({ operation: "uploadPart", error: gone, when: "after" });
  const seen: UploadTransferProgress[] = [];
  await uploadFile(fixture.deps(), path, { ...inParts, onProgress: (progress) => seen.push(progress) });
  const total = { totalBytes: size, totalParts: 3 };
  expect(seen.at(-1)).toEqual({ sentBytes: size, inFlightBytes: 0, sentParts: 3, ...total });
  expect(seen.every(({ sentBytes, inFlightBytes }) => sentBytes + inFlightBytes <= size)).toBe(true);
  expect(seen.every(({ sentBytes }, index) => sentBytes >= (seen[index - 1]?.sentBytes ?? 0))).toBe(true);
  expect(seen.some(({ inFlightBytes }) => inFlightBytes > 0)).toBe(true);
  fixture.memory.expectAllFaultsHit();
});

test("the id to resume with is handed over before the first part is sent", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("source", testBytes(size));
  let partsBefore = -1;
  const onInitiated = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    partsBefore = fixture.memory.calls.uploadPart;
  };
  await uploadFile(fixture.deps(), path, { ...inParts, onInitiated });
  expect(partsBefore).toBe(0);
});

test("no more parts are under way than asked for", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("source", testBytes(4 * partBytes));
  let underWay = 0;
  let most = 0;
  const service = withCalls(fixture.memory, {
    uploadPart: async (...args: Parameters<CasService["uploadPart"]>) => {
      most = Math.max(most, ++underWay);
      await fixture.memory.uploadPart(...args).finally(() => underWay--);
    },
  });
  await uploadFile({ service, hasher: fixture.hasher }, path, { ...inParts, parallel: 3 });
  expect(most).toBeLessThanOrEqual(3);
  expect(most).toBeGreaterThan(1);
});

test("a part that fails for a passing reason is sent again", async () => {
  await using fixture = await TransferFixture.create();
  const content = testBytes(size);
  const path = await fixture.file("source", content);
  fixture.memory.fail({ operation: "uploadPart", error: gone, times: 3 });
  await uploadFile(fixture.deps(), path, inParts);
  expect(fixture.memory.calls.uploadPart).toBe(3 + 3);
  expect(fixture.memory.archivesOf(vault)[0]!.bytes.equals(content)).toBe(true);
});

test("a lost answer to Complete is asked for again and makes no second archive", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("source", testBytes(size));
  fixture.memory.fail({ operation: "completeMultipartUpload", error: gone, when: "after", times: 2 });
  const { archiveId } = await uploadFile(fixture.deps(), path, inParts);
  expect(fixture.memory.archivesOf(vault).map((archive) => archive.archiveId)).toEqual([archiveId]);
  fixture.memory.expectAllFaultsHit();
});

describe("when the process ended before the answer to Complete came", () => {
  /** An upload that is completed, and whose process never learnt it. */
  async function unanswered(fixture: TransferFixture) {
    const path = await fixture.file("source", testBytes(size));
    const known: { resume?: UploadId; completing?: TreeHashHex } = {};
    const onInitiated = (id: UploadId) => {
      known.resume = id;
    };
    const onCompleting = (treeHash: TreeHashHex) => {
      known.completing = treeHash;
    };
    fixture.memory.fail({ operation: "completeMultipartUpload", error: gone, when: "after", times: 6 });
    const upload = uploadFile(fixture.deps(), path, { ...inParts, onInitiated, onCompleting });
    await expect(upload).rejects.toBe(gone);
    fixture.memory.calls.uploadPart = 0;
    return { path, ...known };
  }

  test.each([
    { who: "who kept its tree hash", keeps: true },
    { who: "who kept only the id of the upload", keeps: false },
  ])("$who is given the archive, and nothing is sent again", async ({ keeps }) => {
    await using fixture = await TransferFixture.create();
    const { path, resume, completing } = await unanswered(fixture);
    const options = { ...inParts, resume, completing: keeps ? completing : undefined };
    const { archiveId, treeHash } = await uploadFile(fixture.deps(), path, options);
    expect(fixture.memory.archivesOf(vault)).toMatchObject([{ archiveId, treeHash }]);
    expect(fixture.memory.calls).toMatchObject({ initiateMultipartUpload: 1, uploadPart: 0, uploadArchive: 0 });
  });

  test("the archive is not taken for one of another file", async () => {
    await using fixture = await TransferFixture.create();
    const { resume } = await unanswered(fixture);
    for (const [name, bytes] of [
      ["changed", testBytes(size, 5)],
      ["longer", testBytes(size + 1)],
    ] as const) {
      const upload = uploadFile(fixture.deps(), await fixture.file(name, bytes), { ...inParts, resume });
      await expect(upload).rejects.toThrow(/completed, and its archive has other bytes/);
    }
  });

  test("more than an hour ago, the error says how the archive is found", async () => {
    await using fixture = await TransferFixture.create();
    const { path, ...known } = await unanswered(fixture);
    await fixture.clock.advance(hours(2));
    for (const options of [known, { resume: known.resume }]) {
      await expect(uploadFile(fixture.deps(), path, { ...inParts, ...options })).rejects.toMatchObject({
        name: "UploadForgottenError",
        treeHash: known.completing,
        hint: expect.stringContaining(`inventory has an archive with the tree hash ${known.completing}`),
      });
    }
    expect(fixture.memory.calls).toMatchObject({ initiateMultipartUpload: 1, uploadPart: 0 });
  });
});

test("an upload that broke off goes on with the parts that the service does not have", async () => {
  await using fixture = await TransferFixture.create();
  const content = testBytes(size);
  const path = await fixture.file("source", content);
  const resume = await brokenUpload(fixture, path);
  const seen: UploadTransferProgress[] = [];
  await uploadFile(fixture.deps(), path, { ...inParts, resume, onProgress: (progress) => seen.push(progress) });
  expect(fixture.memory.calls.uploadPart).toBe(2);
  expect(fixture.memory.calls.initiateMultipartUpload).toBe(1);
  expect(fixture.memory.archivesOf(vault)[0]!.bytes.equals(content)).toBe(true);
  expect(seen.at(-1)).toMatchObject({ sentBytes: size, sentParts: 3 });
});

test("all pages of the list of parts are asked for", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("source", testBytes(4 * MIB));
  const id = await fixture.memory.initiateMultipartUpload(vault, { partSizeBytes: byteCount(MIB), description: "" });
  for (let start = 0; start < 4 * MIB; start += MIB) {
    const part = newArchive(testBytes(MIB, start));
    await fixture.memory.uploadPart(vault, id, { ...part, range: byteRange(start, start + MIB) });
  }
  const service = withCalls(fixture.memory, {
    listParts: (...[name, upload, page, options]: Parameters<CasService["listParts"]>) =>
      fixture.memory.listParts(name, upload, { ...page, limit: 1 }, options),
  });
  await uploadFile({ service, hasher: fixture.hasher }, path, { vault, resume: id });
  expect(fixture.memory.calls).toMatchObject({ listParts: 4, uploadPart: 4, completeMultipartUpload: 1 });
});

test("a part that differs from the file is replaced", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("source", testBytes(size));
  const resume = await brokenUpload(fixture, path);
  const changed = testBytes(size, 7);
  await writeFile(path, changed);
  await uploadFile(fixture.deps(), path, { ...inParts, resume });
  expect(fixture.memory.calls.uploadPart).toBe(3);
  expect(fixture.memory.archivesOf(vault)[0]!.bytes.equals(changed)).toBe(true);
});

test("an upload with a part beyond the end of the file is refused and left as it is", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("source", testBytes(size));
  const resume = await brokenUpload(fixture, path);
  await truncate(path, partBytes - 1);
  await expect(uploadFile(fixture.deps(), path, { ...inParts, resume })).rejects.toThrow(UploadMismatchError);
  expect((await fixture.memory.listParts(vault, resume)).items).toHaveLength(1);
  expect(fixture.memory.calls.abortMultipartUpload).toBe(0);
});

test("an upload whose parts are too small for the file is refused before anything is read", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("huge", new Uint8Array(0));
  await truncate(path, 10_000 * MIB + 1);
  const upload = { partSizeBytes: byteCount(MIB), description: "" };
  const resume = await fixture.memory.initiateMultipartUpload(vault, upload);
  await expect(uploadFile(fixture.deps(), path, { vault, resume })).rejects.toThrow(/10000 parts of its 1 MiB/);
});

test("an upload that the service does not know any more is told apart from other failures", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("source", testBytes(size));
  const expired = await brokenUpload(fixture, path);
  await fixture.clock.advance(hours(25));
  for (const resume of [expired, uploadId("x".repeat(64))]) {
    await expect(uploadFile(fixture.deps(), path, { ...inParts, resume })).rejects.toThrow(UploadForgottenError);
  }
});

test("a vault that is not there is not taken for a forgotten upload", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("source", testBytes(size));
  await fixture.memory.deleteVault(vault);
  await expect(uploadFile(fixture.deps(), path, inParts)).rejects.toMatchObject({ fault: "missing" });
});

const changes = {
  appended: (path: string) => appendFile(path, "more"),
  overwritten: (path: string) => writeFile(path, testBytes(size, 5)),
  "cut short": (path: string) => truncate(path, 10),
  removed: (path: string) => rename(path, `${path}.moved`),
  "replaced by another file": async (path: string) => {
    await writeFile(`${path}.new`, testBytes(size));
    await rename(`${path}.new`, path);
  },
  "written to unnoticed": (path: string) => overwriteUnnoticed(path, partBytes, testBytes(partBytes, 99)),
};

test.each(Object.entries(changes))(
  "a file that is %s while it is uploaded does not become an archive",
  async (_, change) => {
    await using fixture = await TransferFixture.create();
    const path = await fixture.file("source", testBytes(size));
    // At the second call the first part is in the service and the second one is hashed.
    onNthCall(fixture.memory, "uploadPart", 2, () => change(path));
    const upload = uploadFile(fixture.deps(), path, { ...inParts, parallel: 1 });
    await expect(upload).rejects.toThrow(SourceChangedError);
    expect(fixture.memory.calls.completeMultipartUpload).toBe(0);
  },
);

test("a small file that changes between its hash and its bytes does not become an archive", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("source", testBytes(3 * MIB));
  onNthCall(fixture.memory, "uploadArchive", 1, () => overwriteUnnoticed(path, MIB, testBytes(10, 99)));
  await expect(uploadFile(fixture.deps(), path, { vault })).rejects.toThrow(SourceChangedError);
  expect(fixture.memory.archivesOf(vault)).toEqual([]);
});

test("bytes that were damaged on their way are not blamed on the file", async () => {
  await using fixture = await TransferFixture.create();
  const path = await fixture.file("source", testBytes(MIB));
  const digest = new ServiceError("digest", "The hash differs from the body");
  fixture.memory.fail({ operation: "uploadArchive", error: digest, times: 6 });
  await expect(uploadFile(fixture.deps(), path, { vault })).rejects.toBe(digest);
});

test("what cannot become an archive is refused with words", async () => {
  await using fixture = await TransferFixture.create();
  await promisify(execFile)("mkfifo", [fixture.path("pipe")]);
  const empty = await fixture.file("empty", new Uint8Array(0));
  const upload = (path: string) => uploadFile(fixture.deps(), path, { vault });
  await expect(upload(empty)).rejects.toThrow(/it is empty/);
  await expect(upload(fixture.directory)).rejects.toThrow(/not a regular file/);
  await expect(upload(fixture.path("pipe"))).rejects.toThrow(/not a regular file/);
  await expect(upload(fixture.path("absent"))).rejects.toMatchObject({ kind: "not-found" });
});

test("over HTTP, an upload that was killed half-way sends only what is missing when it is resumed", async () => {
  await using fixture = await TransferFixture.create();
  await using server = await LocalServer.start();
  const { clock } = server;
  const http = httpCasService({ endpoint: server.running.url, appId: credentials.appId, credentials, clock });
  await using _close = { [Symbol.asyncDispose]: () => http.close() };
  await http.createVault(vault);
  const content = testBytes(size);
  const path = await fixture.file("source", content);
  const deps = fixture.deps(http);

  const controller = new AbortController();
  const known: { id?: UploadId } = {};
  const onInitiated = (id: UploadId) => {
    known.id = id;
  };
  const onProgress = ({ sentParts }: UploadTransferProgress) => {
    if (sentParts === 1) controller.abort(new Error("killed"));
  };
  const first = { ...inParts, parallel: 1, onInitiated, onProgress, signal: controller.signal };
  await expect(uploadFile(deps, path, first)).rejects.toThrow("killed");

  const sent: number[] = [];
  const counting = withCalls(deps.service, {
    uploadPart: (...[name, upload, part, options]: Parameters<CasService["uploadPart"]>) => {
      sent.push(part.range.start);
      return deps.service.uploadPart(name, upload, part, options);
    },
  });
  const archive = await uploadFile({ ...deps, service: counting }, path, { ...inParts, resume: known.id! });
  expect(sent.sort((a, b) => a - b)).toEqual([partBytes, 2 * partBytes]);
  expect(archive.treeHash).toBe(digestOf(content).treeHash);
});
