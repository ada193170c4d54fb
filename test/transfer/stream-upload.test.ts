import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { byteCount, MIB } from "../../src/domain/bytes.js";
import { ServiceError } from "../../src/domain/errors.js";
import type { UploadId } from "../../src/domain/ids.js";
import { hours } from "../../src/domain/time.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import type { FileUploadOptions, UploadTransferProgress } from "../../src/transfer/file-upload.js";
import { uploadStream } from "../../src/transfer/stream-upload.js";
import { UploadForgottenError, UploadMismatchError } from "../../src/transfer/transfer-errors.js";
import { testBytes } from "../support/test-bytes.js";
import { onNthCall, partBytes, TransferFixture, vault, withCalls } from "./transfer-fixture.js";

const size = 3 * partBytes + 5;
const content = testBytes(size);
const options: FileUploadOptions = { vault, parallel: 2 };
const gone = new ServiceError("connection", "the connection was reset");
const denied = new ServiceError("denied", "No access");

/** `bytes` in chunks of an odd size, always in the same buffer: a chunk is only good until the next is asked for. */
async function* stream(bytes: Uint8Array, chunkBytes = 700_001): AsyncGenerator<Uint8Array> {
  const chunk = Buffer.alloc(chunkBytes);
  for (let offset = 0; offset < bytes.length; offset += chunkBytes) {
    const piece = bytes.subarray(offset, offset + chunkBytes);
    chunk.set(piece);
    yield chunk.subarray(0, piece.length);
    chunk.fill(0xee);
  }
}

async function openUploads(fixture: TransferFixture): Promise<number> {
  return (await fixture.memory.listMultipartUploads(vault)).items.length;
}

test.each([
  { name: "of one byte in one request", bytes: 1, parts: 0 },
  { name: "of one part in one request", bytes: partBytes, parts: 0 },
  { name: "of one byte more in parts", bytes: partBytes + 1, parts: 2 },
  { name: "of several parts in parts", bytes: size, parts: 4 },
])("a stream $name becomes an archive of its bytes", async ({ bytes, parts }) => {
  await using fixture = await TransferFixture.create();
  const expected = content.subarray(0, bytes);
  const archive = await uploadStream(fixture.deps(), stream(expected), { ...options, description: "piped" });
  const [stored] = fixture.memory.archivesOf(vault);
  expect(stored!.bytes.equals(expected)).toBe(true);
  expect(stored).toMatchObject({ ...archive, description: "piped" });
  expect(fixture.memory.calls).toMatchObject({ uploadArchive: parts === 0 ? 1 : 0, uploadPart: parts });
  expect(archive).toMatchObject({ sizeBytes: bytes, treeHash: digestOf(expected).treeHash });
});

test("a Node stream is a stream", async () => {
  await using fixture = await TransferFixture.create();
  await uploadStream(fixture.deps(), Readable.from([Buffer.from("ab"), Buffer.from("c")]), options);
  expect(fixture.memory.archivesOf(vault)[0]!.bytes.toString()).toBe("abc");
});

test("bytes in memory are uploaded in one request up to the threshold, in parts above", async () => {
  await using fixture = await TransferFixture.create();
  await uploadStream(fixture.deps(), content, { ...options, multipartThresholdBytes: size });
  await uploadStream(fixture.deps(), content, { ...options, multipartThresholdBytes: partBytes });
  expect(fixture.memory.calls).toMatchObject({ uploadArchive: 1, uploadPart: 4 });
  expect(fixture.memory.archivesOf(vault).every(({ bytes }) => bytes.equals(content))).toBe(true);
});

test("an empty source is refused and nothing is begun", async () => {
  await using fixture = await TransferFixture.create();
  await expect(uploadStream(fixture.deps(), new Uint8Array(0), options)).rejects.toThrow(/it is empty/);
  await expect(uploadStream(fixture.deps(), stream(new Uint8Array(0)), options)).rejects.toThrow(/it is empty/);
  expect(fixture.memory.calls).toMatchObject({ uploadArchive: 0, initiateMultipartUpload: 0 });
});

test("a stream of text is refused", async () => {
  await using fixture = await TransferFixture.create();
  const text = Readable.from(["a", "b"]) as AsyncIterable<unknown> as AsyncIterable<Uint8Array>;
  await expect(uploadStream(fixture.deps(), text, options)).rejects.toThrow(TypeError);
});

test("no more of the stream is read than fits into the parts that are under way", async () => {
  await using fixture = await TransferFixture.create();
  let acknowledged = 0;
  let ahead = 0;
  const watched = async function* () {
    let read = 0;
    for await (const chunk of stream(testBytes(6 * partBytes))) {
      read += chunk.length;
      ahead = Math.max(ahead, read - acknowledged);
      yield chunk;
    }
  };
  const onProgress = ({ sentBytes }: UploadTransferProgress) => {
    acknowledged = sentBytes;
  };
  await uploadStream(fixture.deps(), watched(), { ...options, onProgress });
  expect(ahead).toBeLessThanOrEqual(2 * partBytes + 700_001);
});

test("progress ends with the whole, whose size nobody knew", async () => {
  await using fixture = await TransferFixture.create();
  const seen: UploadTransferProgress[] = [];
  await uploadStream(fixture.deps(), stream(content), { ...options, onProgress: (progress) => seen.push(progress) });
  const whole = { sentBytes: size, totalBytes: size, inFlightBytes: 0, sentParts: 4, totalParts: 4 };
  expect(seen.at(-1)).toEqual(whole);
  expect(seen.every(({ sentBytes, inFlightBytes, totalBytes }) => sentBytes + inFlightBytes <= totalBytes)).toBe(true);
});

test("when a part fails for good, the stream is closed and the upload aborted", async () => {
  await using fixture = await TransferFixture.create();
  fixture.memory.fail({ operation: "uploadPart", error: denied, skip: 1 });
  let closed = false;
  const watched = async function* () {
    try {
      yield* stream(content);
    } finally {
      closed = true;
    }
  };
  await expect(uploadStream(fixture.deps(), watched(), options)).rejects.toBe(denied);
  await new Promise((resolve) => setImmediate(resolve));
  expect(closed).toBe(true);
  expect(await openUploads(fixture)).toBe(0);
});

test("a stream that fails fails the upload with its own error", async () => {
  await using fixture = await TransferFixture.create();
  const broken = async function* () {
    yield* stream(content.subarray(0, 2 * partBytes + 10));
    throw new Error("the pipe broke");
  };
  await expect(uploadStream(fixture.deps(), broken(), options)).rejects.toThrow("the pipe broke");
  expect(fixture.memory.calls.completeMultipartUpload).toBe(0);
  expect(await openUploads(fixture)).toBe(0);
});

test.each([0, 2 * partBytes + 1])(
  "an abort ends an upload whose stream gives nothing more after %d bytes",
  async (given) => {
    await using fixture = await TransferFixture.create();
    const stalled = async function* () {
      yield* stream(content.subarray(0, given));
      await new Promise(() => undefined);
    };
    const controller = new AbortController();
    const reason = new Error("enough");
    const upload = uploadStream(fixture.deps(), stalled(), { ...options, signal: controller.signal });
    setTimeout(() => controller.abort(reason), 300);
    await expect(upload).rejects.toBe(reason);
    expect(await openUploads(fixture)).toBe(0);
  },
);

test("a failed part does not wait for a stream that gives nothing", async () => {
  await using fixture = await TransferFixture.create();
  fixture.memory.fail({ operation: "uploadPart", error: denied });
  const stalled = async function* () {
    yield* stream(content.subarray(0, 2 * partBytes));
    await new Promise(() => undefined);
  };
  await expect(uploadStream(fixture.deps(), stalled(), { ...options, parallel: 3 })).rejects.toBe(denied);
});

test("who knows the id can resume with the same stream, and what the service has is not sent again", async () => {
  await using fixture = await TransferFixture.create();
  let resume: UploadId | undefined;
  const onInitiated = (id: UploadId) => {
    resume = id;
  };
  fixture.memory.fail({ operation: "uploadPart", error: denied, skip: 2 });
  const first = uploadStream(fixture.deps(), stream(content), { ...options, parallel: 1, onInitiated });
  await expect(first).rejects.toBe(denied);
  fixture.memory.calls.uploadPart = 0;
  await uploadStream(fixture.deps(), stream(content), { ...options, resume });
  expect(fixture.memory.calls.uploadPart).toBe(2);
  expect(fixture.memory.archivesOf(vault)[0]!.bytes.equals(content)).toBe(true);
});

test("a stream whose Complete had no answer is not sent again: its hash finds the archive", async () => {
  await using fixture = await TransferFixture.create();
  let resume: UploadId | undefined;
  const onInitiated = (id: UploadId) => {
    resume = id;
  };
  fixture.memory.fail({ operation: "completeMultipartUpload", error: gone, when: "after", times: 6 });
  await expect(uploadStream(fixture.deps(), stream(content), { ...options, onInitiated })).rejects.toBe(gone);
  fixture.memory.calls.uploadPart = 0;
  const { archiveId } = await uploadStream(fixture.deps(), stream(content), { ...options, resume });
  expect(fixture.memory.archivesOf(vault).map((archive) => archive.archiveId)).toEqual([archiveId]);
  expect(fixture.memory.calls).toMatchObject({ initiateMultipartUpload: 1, uploadPart: 0 });
  const other = uploadStream(fixture.deps(), stream(content.subarray(1)), { ...options, resume });
  await expect(other).rejects.toThrow(UploadMismatchError);
  await fixture.clock.advance(hours(2));
  const tooLate = uploadStream(fixture.deps(), stream(content), { ...options, resume });
  await expect(tooLate).rejects.toThrow(UploadForgottenError);
});

test("a resumed upload with parts beyond the end of the stream is refused", async () => {
  await using fixture = await TransferFixture.create();
  let resume: UploadId | undefined;
  const onInitiated = (id: UploadId) => {
    resume = id;
  };
  onNthCall(fixture.memory, "completeMultipartUpload", 1, () => Promise.reject(denied));
  await expect(uploadStream(fixture.deps(), stream(content), { ...options, onInitiated })).rejects.toBe(denied);
  const shorter = uploadStream(fixture.deps(), stream(content.subarray(0, partBytes)), { ...options, resume });
  await expect(shorter).rejects.toThrow(UploadMismatchError);
  expect(await openUploads(fixture)).toBe(1);
});

test("a stream longer than 10,000 parts is refused with what to do about it", async () => {
  await using fixture = await TransferFixture.create();
  const upload = { partSizeBytes: byteCount(MIB), description: "" };
  const resume = await fixture.memory.initiateMultipartUpload(vault, upload);
  // Parts as no service has them: 10,000 of a MiB would take their time.
  const service = withCalls(fixture.memory, {
    listParts: async (...call) => {
      const page = await fixture.memory.listParts(...call);
      return { ...page, upload: { ...page.upload, partSizeBytes: byteCount(16) } };
    },
    uploadPart: async () => undefined,
  });
  const long = uploadStream({ service }, stream(testBytes(160_001)), { ...options, resume });
  await expect(long).rejects.toMatchObject({ kind: "too-large", hint: expect.stringContaining("larger parts") });
  expect(fixture.memory.calls.completeMultipartUpload).toBe(0);
});
