/**
 * Uploads bytes from memory, or from a stream whose length nobody knows before its end.
 *
 * Relies on: a service that repeats what failed for a passing reason (`retryingService`).
 * Never: holds more than `parallel` parts of a stream, or two.
 */

import { type ByteCount, byteCount, MIB, rangeLength } from "../domain/bytes.js";
import { FileSystemError, isMissing } from "../domain/errors.js";
import type { UploadId } from "../domain/ids.js";
import { AbortScope } from "../lib/abort-scope.js";
import { forEachConcurrently } from "../lib/concurrency.js";
import { clientPartSizeBytesMin, partCountMax } from "../protocol/limits.js";
import type { CasService, TreeHashHex } from "../protocol/service.js";
import { combineTreeHashes } from "../protocol/tree-hash.js";
import { usablePartSize } from "../upload/part-plan.js";
import { listPresentParts, PresentParts } from "../upload/part-sender.js";
import type { FileUploadDeps, FileUploadOptions, UploadedArchive } from "./file-upload.js";
import { findCompleted } from "./lost-completion.js";
import { MemorySource, piecesOfBytes } from "./memory-source.js";
import { emptySource, uploadSizedSource, whileKnown } from "./source-upload.js";
import { type StreamPart, streamParts } from "./stream-parts.js";
import { defaultParallel } from "./transfer-deps.js";
import { UploadMismatchError } from "./transfer-errors.js";
import { UploadMeter } from "./upload-meter.js";

export interface StreamUploadDeps {
  readonly service: FileUploadDeps["service"] & Pick<CasService, "abortMultipartUpload">;
}

/**
 * As for a file, with these differences for a stream:
 *
 * - it is sent in parts as soon as it is longer than one part (16 MiB unless told otherwise), and 10,000 parts are the
 *   most: for more than 156 GiB a larger `partSizeBytes` is needed;
 * - the totals of its progress grow with what was read;
 * - when it fails, the upload is aborted, because nobody can read the stream again; unless `onInitiated` was given, or
 *   the upload is a resumed one: then the caller can, and the parts stay.
 */
export type StreamUploadOptions = Omit<FileUploadOptions, "onCompleting" | "completing">;

/**
 * Uploads `source`; bytes in memory must not be written to meanwhile.
 *
 * @throws as `uploadFile`, and what the stream throws. @see cas-api sections 9.1 and 10
 */
export async function uploadStream(
  { service }: StreamUploadDeps,
  source: Uint8Array | AsyncIterable<Uint8Array>,
  options: StreamUploadOptions,
): Promise<UploadedArchive> {
  if (source instanceof Uint8Array) return uploadSizedSource(service, new MemorySource(source), options);
  using scope = new AbortScope(options.signal);
  scope.signal.throwIfAborted();
  return await new StreamUpload(service, options, scope).run(source);
}

interface OpenUpload {
  readonly uploadId: UploadId;
  readonly partSizeBytes: ByteCount;
  readonly present: PresentParts;
}

class StreamUpload {
  readonly #service: StreamUploadDeps["service"];
  readonly #options: StreamUploadOptions;
  /** Aborted by the caller, and by the first failure: a stream that gives nothing must not hold it up. */
  readonly #scope: AbortScope;
  readonly #meter: UploadMeter;
  #totalBytes = 0;
  #totalParts = 0;

  constructor(service: StreamUploadDeps["service"], options: StreamUploadOptions, scope: AbortScope) {
    this.#service = service;
    this.#options = options;
    this.#scope = scope;
    this.#meter = new UploadMeter({
      totals: () => ({ totalBytes: this.#totalBytes, totalParts: this.#totalParts }),
      onProgress: options.onProgress,
    });
  }

  run(stream: AsyncIterable<Uint8Array>): Promise<UploadedArchive> {
    const { resume } = this.#options;
    return resume === undefined ? this.#begin(stream) : this.#resume(stream, resume);
  }

  /** The first two parts tell whether there are several. */
  async #begin(stream: AsyncIterable<Uint8Array>): Promise<UploadedArchive> {
    const { partSizeBytes: wanted = clientPartSizeBytesMin } = this.#options;
    const partSizeBytes = byteCount(usablePartSize(Number.POSITIVE_INFINITY, wanted));
    const parts = this.#counted(streamParts(stream, partSizeBytes, this.#scope.signal));
    const first = await parts.next();
    if (first.done) throw emptySource("the stream");
    const second = await parts.next();
    if (second.done) return this.#sendWhole(first.value);
    const rest = startingWith([first.value, second.value], parts);
    try {
      return await this.#sendInParts(rest, partSizeBytes);
    } finally {
      await parts.return(undefined);
    }
  }

  async #resume(stream: AsyncIterable<Uint8Array>, uploadId: UploadId): Promise<UploadedArchive> {
    const { signal } = this.#scope;
    const { vault } = this.#options;
    const found = await listPresentParts(this.#service, { vault, uploadId }, signal).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
    if (found === undefined) return this.#find(stream, uploadId);
    const { partSizeBytes } = found.upload;
    const parts = this.#counted(streamParts(stream, partSizeBytes, signal));
    const upload = { uploadId, partSizeBytes, present: found.present };
    return whileKnown(uploadId, () => this.#sendParts(parts, upload));
  }

  /** The upload is not there any more: the stream is read for its hash only, which tells what became of it. */
  async #find(stream: AsyncIterable<Uint8Array>, uploadId: UploadId): Promise<UploadedArchive> {
    const { signal } = this.#scope;
    const hashes: TreeHashHex[] = [];
    for await (const part of this.#counted(streamParts(stream, clientPartSizeBytesMin, signal))) {
      hashes.push(part.treeHash);
    }
    if (hashes.length === 0) throw emptySource("the stream");
    const whole = { sizeBytes: byteCount(this.#totalBytes), treeHash: combineTreeHashes(hashes) };
    return findCompleted(this.#service, { vault: this.#options.vault, uploadId, whole }, signal);
  }

  async #sendWhole({ range, bytes, sha256, treeHash }: StreamPart): Promise<UploadedArchive> {
    const { vault, description = "" } = this.#options;
    const sizeBytes = rangeLength(range);
    const body = () => this.#meter.watch(range, piecesOfBytes(bytes));
    const archive = { body, sizeBytes, sha256, treeHash, description };
    const archiveId = await this.#service.uploadArchive(vault, archive, { signal: this.#scope.signal });
    this.#meter.acknowledge(range);
    return { archiveId, treeHash, sizeBytes };
  }

  async #sendInParts(parts: AsyncIterable<StreamPart>, partSizeBytes: ByteCount): Promise<UploadedArchive> {
    const { vault, description = "", onInitiated } = this.#options;
    const upload = { partSizeBytes, description };
    const uploadId = await this.#service.initiateMultipartUpload(vault, upload, { signal: this.#scope.signal });
    try {
      await onInitiated?.(uploadId);
      const present = new PresentParts();
      return await whileKnown(uploadId, () => this.#sendParts(parts, { uploadId, partSizeBytes, present }));
    } catch (error) {
      if (onInitiated === undefined) await this.#abort(uploadId);
      throw error;
    }
  }

  async #sendParts(parts: AsyncIterable<StreamPart>, upload: OpenUpload): Promise<UploadedArchive> {
    const { vault, parallel = defaultParallel } = this.#options;
    const { signal } = this.#scope;
    const hashes: TreeHashHex[] = [];
    await forEachConcurrently(parts, { concurrency: parallel, signal }, async (part, partSignal) => {
      const index = part.range.start / upload.partSizeBytes;
      if (index >= partCountMax) throw this.#fail(streamTooLong(upload.partSizeBytes));
      hashes[index] = part.treeHash;
      await this.#sendPart(part, upload, partSignal).catch((error: unknown) => {
        throw this.#fail(error);
      });
      this.#meter.acknowledge(part.range);
    });
    if (hashes.length === 0) throw emptySource("the stream");
    const sizeBytes = byteCount(this.#totalBytes);
    if (upload.present.endBytes > sizeBytes) {
      throw new UploadMismatchError(upload.uploadId, "it has parts beyond the end of the stream");
    }
    const treeHash = combineTreeHashes(hashes);
    const whole = { sizeBytes, treeHash };
    const archiveId = await this.#service.completeMultipartUpload(vault, upload.uploadId, whole, { signal });
    return { archiveId, treeHash, sizeBytes };
  }

  async #sendPart(part: StreamPart, { uploadId, present }: OpenUpload, signal: AbortSignal): Promise<void> {
    const { range, bytes, sha256, treeHash } = part;
    if (present.has(range, treeHash)) return;
    const body = () => this.#meter.watch(range, piecesOfBytes(bytes));
    await this.#service.uploadPart(this.#options.vault, uploadId, { range, sha256, treeHash, body }, { signal });
  }

  /** Wakes the workers that wait for the stream. @returns `error`. */
  #fail(error: unknown): unknown {
    this.#scope.abort(error);
    return error;
  }

  /** Nobody else knows the id, and an unfinished upload keeps its vault from being deleted. */
  async #abort(uploadId: UploadId): Promise<void> {
    const signal = AbortSignal.timeout(abortMsMax);
    // The service itself drops it after a day; what went wrong before is what the caller has to know.
    await this.#service.abortMultipartUpload(this.#options.vault, uploadId, { signal }).catch(() => undefined);
  }

  async *#counted(parts: AsyncIterable<StreamPart>): AsyncGenerator<StreamPart> {
    for await (const part of parts) {
      this.#totalBytes += rangeLength(part.range);
      this.#totalParts += 1;
      yield part;
    }
  }
}

const abortMsMax = 5000;

async function* startingWith<T>(first: T[], rest: AsyncIterable<T>): AsyncGenerator<T> {
  // Taken out one by one: a part that was sent must not stay in memory.
  for (let item = first.shift(); item !== undefined; item = first.shift()) yield item;
  yield* rest;
}

function streamTooLong(partSizeBytes: number): FileSystemError {
  const longest = `${partCountMax} parts of ${partSizeBytes / MIB} MiB`;
  const hint = "Begin again with larger parts";
  return new FileSystemError("too-large", `Cannot upload the stream: it is longer than ${longest}`, { hint });
}
