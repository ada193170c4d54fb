/**
 * Uploads one file as one archive: in one request, or in parts that are sent in parallel and that a later call resumes.
 *
 * Relies on: a service that repeats what failed for a passing reason (`retryingService`).
 * Never: completes an upload of a file that was changed meanwhile; aborts an upload, so that it can be resumed.
 */

import type { ByteCount } from "../domain/bytes.js";
import type { ArchiveId, UploadId, VaultName } from "../domain/ids.js";
import type { CasService, TreeHashHex } from "../protocol/service.js";
import { SourceFile } from "./source-file.js";
import { uploadSizedSource } from "./source-upload.js";
import type { TransferDeps } from "./transfer-deps.js";

export interface FileUploadDeps extends Pick<TransferDeps, "hasher"> {
  /** Must repeat transient failures itself; a part is read anew for every attempt. */
  readonly service: Pick<
    CasService,
    "uploadArchive" | "initiateMultipartUpload" | "uploadPart" | "listParts" | "completeMultipartUpload"
  >;
}

export interface UploadTransferProgress {
  /** Acknowledged by the service, parts of an earlier attempt included. */
  readonly sentBytes: number;
  /** Handed to the connection and not acknowledged yet; falls back when an attempt fails. */
  readonly inFlightBytes: number;
  readonly totalBytes: number;
  readonly sentParts: number;
  readonly totalParts: number;
}

export interface FileUploadOptions {
  readonly vault: VaultName;
  /** At most 1024 bytes of UTF-8; empty by default. Of a resumed upload, the description given at its begin counts. */
  readonly description?: string | undefined;
  /** Larger files are sent in parts; 100 MiB by default. */
  readonly multipartThresholdBytes?: number | undefined;
  /** Wanted size of a part: rounded down to a power of two MiB of at least 16; larger when 10,000 parts would not do. */
  readonly partSizeBytes?: number | undefined;
  /** Parts at a time; each holds a few MiB of memory whatever its size. */
  readonly parallel?: number | undefined;
  /** Goes on with this upload: parts that the service has with the same hash are not sent again. */
  readonly resume?: UploadId | undefined;
  /** The id to resume with, awaited before the first part is sent. Not called for a resumed upload. */
  readonly onInitiated?: ((upload: UploadId) => Promise<void> | void) | undefined;
  /** All parts are there; awaited before the upload is completed. For `completing` of a later call. */
  readonly onCompleting?: ((treeHash: TreeHashHex) => Promise<void> | void) | undefined;
  /**
   * What `onCompleting` told an earlier call with the same upload and, as far as the caller can tell, the same bytes.
   * When the upload is not there any more, the answer to its completion may have been lost: it is asked for again, which
   * gives the archive within an hour (cas-api section 10.3), instead of a second archive. Without this hash the source
   * is read for it.
   */
  readonly completing?: TreeHashHex | undefined;
  readonly onProgress?: ((progress: UploadTransferProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface UploadedArchive {
  readonly archiveId: ArchiveId;
  readonly treeHash: TreeHashHex;
  readonly sizeBytes: ByteCount;
}

/**
 * Uploads the file at `path`.
 *
 * @throws FileSystemError "not-found", or "invalid" for what is not a regular file or is empty; SourceChangedError when
 * the file changed meanwhile; UploadForgottenError when the service does not know the upload to be resumed (any more), nor
 * which archive it became; UploadMismatchError when that upload cannot be of this file; FileSystemError "too-large" for a file larger than
 * any archive; otherwise ServiceError. An abort rejects with `signal.reason`. Parts that were sent stay for `resume`.
 */
export async function uploadFile(
  { service, hasher }: FileUploadDeps,
  path: string,
  options: FileUploadOptions,
): Promise<UploadedArchive> {
  await using source = await SourceFile.open(path, hasher);
  return await uploadSizedSource(service, source, options);
}
