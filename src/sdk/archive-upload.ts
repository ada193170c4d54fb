/** Uploads of any source to one archive, with the errors of the SDK; what `Vault` and `MultipartUpload` share. */

import type { Stats } from "node:fs";
import { stat } from "node:fs/promises";
import { FileSystemError, ServiceError } from "../domain/errors.js";
import { uploadId as toUploadId, type VaultName } from "../domain/ids.js";
import { type FileUploadOptions, type UploadTransferProgress, uploadFile } from "../transfer/file-upload.js";
import { uploadStream } from "../transfer/stream-upload.js";
import type { ArchiveContent } from "./archive-content.js";
import type { ClientParts } from "./cas-client.js";
import { CASClientError, sdkErrorOf, UploadArchiveError } from "./cas-errors.js";

/** How an archive is uploaded. All sizes in bytes. */
export interface UploadOptions {
  /** At most 1024 bytes; comes back in inventories. Of a resumed upload the description given at its begin counts. */
  readonly description?: string | undefined;
  /** Called as bytes are sent and acknowledged. */
  readonly onProgress?: ((progress: UploadTransferProgress) => void) | undefined;
  /**
   * Called, and awaited, with the id to resume with, before the first part is sent. The upload of a stream that fails is
   * aborted unless this is given: only its caller can read the stream again.
   */
  readonly onInitiated?: ((uploadId: string) => Promise<void> | void) | undefined;
  /** Parts at a time; 4. */
  readonly parallel?: number | undefined;
  /** Rounded down to 1 MiB times a power of two, at least 16 MiB; more when 10,000 parts would not do. 16 MiB. */
  readonly partSize?: number | undefined;
  /** Larger sources are sent in parts; 100 MiB. */
  readonly multipartThreshold?: number | undefined;
  /** Id of an unfinished upload: parts that the service has, with the hash of the source, are not sent again. */
  readonly resume?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface UploadedContent {
  readonly archiveId: string;
  readonly treeHash: string;
  readonly size: number;
}

/** A path, bytes in memory, or a stream. */
export type UploadSource = string | ArchiveContent;

/**
 * Uploads `source`.
 *
 * @throws RangeError for an empty source; UploadArchiveError, with the id to resume with, when parts are missing at the
 * end; CASServerError, CASClientError, HashDoesNotMatchError.
 */
export async function uploadSource(
  parts: ClientParts,
  vault: VaultName,
  source: UploadSource,
  options: UploadOptions,
): Promise<UploadedContent> {
  await refuseEmpty(source);
  const watch = new UploadWatch(options);
  const transfer: FileUploadOptions = {
    vault,
    description: options.description,
    multipartThresholdBytes: options.multipartThreshold,
    partSizeBytes: options.partSize,
    parallel: options.parallel,
    resume: options.resume === undefined ? undefined : toUploadId(options.resume),
    // A stream that only this call can read is not left unfinished at the service: without this, it is aborted.
    onInitiated: isReadableAgain(source) || options.onInitiated ? (id) => watch.initiated(id) : undefined,
    onProgress: (progress) => watch.progressed(progress),
    signal: options.signal,
  };
  try {
    const uploaded =
      typeof source === "string"
        ? await uploadFile(parts, source, transfer)
        : await uploadStream(parts, source, transfer);
    return { archiveId: uploaded.archiveId, treeHash: uploaded.treeHash, size: uploaded.sizeBytes };
  } catch (error) {
    if (isEmptyStream(source, error)) throw noEmptyArchives();
    throw watch.failure(error);
  }
}

/** Knows how far an upload has come, for the error that ends it. */
class UploadWatch {
  readonly #options: UploadOptions;
  #uploadId: string | undefined;
  #progress = { doneBytes: 0, totalBytes: 0 };

  constructor(options: UploadOptions) {
    this.#options = options;
    this.#uploadId = options.resume;
  }

  async initiated(uploadId: string): Promise<void> {
    this.#uploadId = uploadId;
    await this.#options.onInitiated?.(uploadId);
  }

  progressed(progress: UploadTransferProgress): void {
    this.#progress = { doneBytes: progress.sentBytes, totalBytes: progress.totalBytes };
    this.#options.onProgress?.(progress);
  }

  failure(error: unknown): unknown {
    const failure = sdkErrorOf(error);
    if (this.#uploadId === undefined || !(error instanceof ServiceError) || this.#options.signal?.aborted)
      return failure;
    return new UploadArchiveError(this.#uploadId, this.#progress, { cause: failure });
  }
}

async function refuseEmpty(source: UploadSource): Promise<void> {
  const isEmpty =
    typeof source === "string" ? await isEmptyFile(source) : source instanceof Uint8Array && source.length === 0;
  if (isEmpty) throw noEmptyArchives();
}

function noEmptyArchives(): RangeError {
  return new RangeError("CAS does not support zero byte archive.");
}

const isReadableAgain = (source: UploadSource) => typeof source === "string" || source instanceof Uint8Array;

/** That a stream is empty shows at its end; nothing else about a stream is invalid. */
function isEmptyStream(source: UploadSource, error: unknown): boolean {
  return !isReadableAgain(source) && error instanceof FileSystemError && error.kind === "invalid";
}

async function isEmptyFile(path: string): Promise<boolean> {
  const found = await sourceStats(path);
  return found.isFile() && found.size === 0;
}

/** Of the file to be uploaded. @throws CASClientError when there is no such file. */
export function sourceStats(path: string): Promise<Stats> {
  return stat(path).catch((cause: unknown) => {
    throw new CASClientError(`Cannot upload ${path}: the file cannot be opened`, { cause });
  });
}
