/**
 * Uploads a source of known length: in one request, or in parts that a later call resumes.
 *
 * Relies on: a source that hashes and reads the same every time, and notices when it does not.
 * Never: completes an upload of a source that changed; aborts one; sends again what is an archive already, as far as the
 * service knows it.
 */

import { type ByteCount, byteRange, MIB } from "../domain/bytes.js";
import { FileSystemError, isMissing } from "../domain/errors.js";
import type { UploadId } from "../domain/ids.js";
import { abortable } from "../lib/abort-scope.js";
import {
  archiveSizeBytesMax,
  clientPartSizeBytesMin,
  multipartThresholdBytes,
  partCountMax,
} from "../protocol/limits.js";
import type { CasService, NewPart, TreeHashHex } from "../protocol/service.js";
import { partCount, planParts } from "../upload/part-plan.js";
import { listPresentParts, type PartSource, PresentParts, sendMissingParts } from "../upload/part-sender.js";
import type { FileUploadDeps, FileUploadOptions, UploadedArchive } from "./file-upload.js";
import { findCompleted, treeHashOf } from "./lost-completion.js";
import { defaultParallel } from "./transfer-deps.js";
import { UploadForgottenError, UploadMismatchError } from "./transfer-errors.js";
import { UploadMeter } from "./upload-meter.js";

export interface UploadableSource extends PartSource {
  /** For messages. */
  readonly name: string;
  readonly sizeBytes: ByteCount;
  /** @throws when the source is not what it was at the beginning. */
  checkUnchanged(): Promise<void>;
  /** What `error` of sending `part` really was: the service's refusal, or a source that changed. */
  explainRefusal(error: unknown, part: Pick<NewPart, "range" | "sha256">): Promise<unknown>;
}

/** @throws as `uploadFile`. */
export async function uploadSizedSource(
  service: FileUploadDeps["service"],
  source: UploadableSource,
  options: FileUploadOptions,
): Promise<UploadedArchive> {
  const { name, sizeBytes } = source;
  if (sizeBytes === 0) throw emptySource(name);
  if (sizeBytes > archiveSizeBytesMax) throw oversizedSource(name);
  const upload = new SourceUpload(service, source, options);
  return options.resume === undefined ? upload.begin() : upload.resume(options.resume);
}

class SourceUpload {
  readonly #service: FileUploadDeps["service"];
  readonly #source: UploadableSource;
  readonly #options: FileUploadOptions;

  constructor(service: FileUploadDeps["service"], source: UploadableSource, options: FileUploadOptions) {
    this.#service = service;
    this.#source = source;
    this.#options = options;
  }

  async begin(): Promise<UploadedArchive> {
    const plan = planParts(this.#source.sizeBytes, {
      multipartThresholdBytes: this.#options.multipartThresholdBytes ?? multipartThresholdBytes,
      partSizeBytes: this.#options.partSizeBytes ?? clientPartSizeBytesMin,
    });
    return plan.kind === "single" ? this.#sendWhole() : this.#initiate(plan.partSizeBytes);
  }

  async resume(uploadId: UploadId): Promise<UploadedArchive> {
    const { vault, completing, signal, parallel = defaultParallel } = this.#options;
    try {
      return await whileKnown(uploadId, () => this.#goOn(uploadId));
    } catch (error) {
      if (!(error instanceof UploadForgottenError)) throw error;
      const treeHash = completing ?? (await treeHashOf(this.#source, { parallel, signal }));
      await this.#source.checkUnchanged();
      const whole = { sizeBytes: this.#source.sizeBytes, treeHash };
      return await findCompleted(this.#service, { vault, uploadId, whole }, signal);
    }
  }

  async #goOn(uploadId: UploadId): Promise<UploadedArchive> {
    const { vault, signal } = this.#options;
    const { name, sizeBytes } = this.#source;
    const { upload, present } = await listPresentParts(this.#service, { vault, uploadId }, signal);
    if (partCount(sizeBytes, upload.partSizeBytes) > partCountMax) {
      const reason = `${name} would have more than ${partCountMax} parts of its ${upload.partSizeBytes / MIB} MiB`;
      throw new UploadMismatchError(uploadId, reason);
    }
    if (present.endBytes > sizeBytes) {
      throw new UploadMismatchError(uploadId, `it has parts beyond the end of ${name}, so it is of something else`);
    }
    return await this.#sendParts(uploadId, upload.partSizeBytes, present);
  }

  async #sendWhole(): Promise<UploadedArchive> {
    const { vault, description = "", signal } = this.#options;
    const { sizeBytes } = this.#source;
    const whole = byteRange(0, sizeBytes);
    const meter = this.#meter(1);
    const { sha256, treeHash } = await abortable(this.#source.hash(whole), signal);
    const body = () => meter.watch(whole, this.#source.read(whole));
    const archive = { body, sizeBytes, sha256, treeHash, description };
    const archiveId = await this.#explaining({ range: whole, sha256 }, () =>
      this.#service.uploadArchive(vault, archive, { signal }),
    );
    meter.acknowledge(whole);
    return { archiveId, treeHash, sizeBytes };
  }

  async #initiate(partSizeBytes: ByteCount): Promise<UploadedArchive> {
    const { vault, description = "", signal, onInitiated } = this.#options;
    signal?.throwIfAborted();
    const uploadId = await this.#service.initiateMultipartUpload(vault, { partSizeBytes, description }, { signal });
    await onInitiated?.(uploadId);
    return whileKnown(uploadId, () => this.#sendParts(uploadId, partSizeBytes, new PresentParts()));
  }

  async #sendParts(uploadId: UploadId, partSizeBytes: ByteCount, present: PresentParts): Promise<UploadedArchive> {
    const { vault, signal, parallel = defaultParallel } = this.#options;
    const { sizeBytes } = this.#source;
    const meter = this.#meter(partCount(sizeBytes, partSizeBytes));
    const treeHash = await sendMissingParts(
      { service: this.#explainingService(), source: this.#metered(meter) },
      { vault, uploadId, sizeBytes, partSizeBytes, present },
      { concurrency: parallel, signal, onPart: ({ range }) => meter.acknowledge(range) },
    );
    // Each part is what it was when it was hashed; that all of them are of one moment only this can say.
    await this.#source.checkUnchanged();
    await this.#options.onCompleting?.(treeHash);
    return await this.#complete(uploadId, treeHash);
  }

  async #complete(uploadId: UploadId, treeHash: TreeHashHex): Promise<UploadedArchive> {
    const { vault, signal } = this.#options;
    const { sizeBytes } = this.#source;
    const whole = { sizeBytes, treeHash };
    const archiveId = await this.#service.completeMultipartUpload(vault, uploadId, whole, { signal });
    return { archiveId, treeHash, sizeBytes };
  }

  #explainingService(): Pick<CasService, "uploadPart"> {
    return {
      uploadPart: (vault, upload, part, options) =>
        this.#explaining(part, () => this.#service.uploadPart(vault, upload, part, options)),
    };
  }

  async #explaining<T>(part: Pick<NewPart, "range" | "sha256">, send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      throw await this.#source.explainRefusal(error, part);
    }
  }

  #metered(meter: UploadMeter): PartSource {
    const source = this.#source;
    return {
      // Gigabytes are hashed for seconds: who gives up does not wait for that.
      hash: (range) => abortable(source.hash(range), this.#options.signal),
      read: (range) => meter.watch(range, source.read(range)),
    };
  }

  #meter(totalParts: number): UploadMeter {
    const totals = { totalBytes: this.#source.sizeBytes, totalParts };
    return new UploadMeter({ totals: () => totals, onProgress: this.#options.onProgress });
  }
}

/** Runs what needs `uploadId`; when the service finds something missing then, it is the upload. */
export async function whileKnown<T>(uploadId: UploadId, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw isMissing(cause) ? new UploadForgottenError(uploadId, { cause }) : cause;
  }
}

/** Cas-api section 5: there is no archive without a byte. */
export function emptySource(name: string): FileSystemError {
  return new FileSystemError("invalid", `Cannot upload ${name}: it is empty, and there are no empty archives`);
}

function oversizedSource(name: string): FileSystemError {
  return new FileSystemError("too-large", `Cannot upload ${name}: an archive has at most ${archiveSizeBytesMax} bytes`);
}
