/**
 * An upload that is not there any more may have become its archive, and the answer that said so was lost.
 *
 * Relies on: a service that gives the same archive for the same Complete within an hour, and refuses one that speaks of
 * other bytes (cas-api section 10.3).
 * Never: sends a byte again.
 */

import { type ByteCount, MIB } from "../domain/bytes.js";
import { isMissing, ServiceError } from "../domain/errors.js";
import type { UploadId, VaultName } from "../domain/ids.js";
import { abortable } from "../lib/abort-scope.js";
import { forEachConcurrently } from "../lib/concurrency.js";
import type { CasService, TreeHashHex } from "../protocol/service.js";
import { combineTreeHashes } from "../protocol/tree-hash.js";
import { partRanges } from "../upload/part-plan.js";
import type { PartSource } from "../upload/part-sender.js";
import type { UploadedArchive } from "./file-upload.js";
import { UploadForgottenError, UploadMismatchError } from "./transfer-errors.js";

export interface LostCompletion {
  readonly vault: VaultName;
  readonly uploadId: UploadId;
  readonly whole: { readonly sizeBytes: ByteCount; readonly treeHash: TreeHashHex };
}

/**
 * Asks for the archive of an upload that the service does not list any more.
 *
 * @throws UploadForgottenError when the service does not know, with the tree hash to look for; UploadMismatchError when
 * the archive has other bytes; otherwise ServiceError.
 */
export async function findCompleted(
  service: Pick<CasService, "completeMultipartUpload">,
  { vault, uploadId, whole }: LostCompletion,
  signal: AbortSignal | undefined,
): Promise<UploadedArchive> {
  try {
    const archiveId = await service.completeMultipartUpload(vault, uploadId, whole, { signal });
    return { archiveId, ...whole };
  } catch (cause) {
    if (isMissing(cause)) throw new UploadForgottenError(uploadId, { cause, treeHash: whole.treeHash });
    if (!isOfOtherBytes(cause)) throw cause;
    throw new UploadMismatchError(uploadId, "it was completed, and its archive has other bytes", { cause });
  }
}

/** The tree hash of all of `source`: what its Complete said, whatever the size of its parts was. */
export async function treeHashOf(
  source: PartSource & { readonly sizeBytes: ByteCount },
  { parallel, signal }: { readonly parallel: number; readonly signal: AbortSignal | undefined },
): Promise<TreeHashHex> {
  const hashes: TreeHashHex[] = [];
  const pieces = partRanges(source.sizeBytes, hashedPieceBytes);
  await forEachConcurrently(pieces, { concurrency: parallel, signal }, async (range, pieceSignal) => {
    hashes[range.start / hashedPieceBytes] = (await abortable(source.hash(range), pieceSignal)).treeHash;
  });
  return combineTreeHashes(hashes);
}

/** A power of two, as the hashes of pieces must combine to that of the whole. */
const hashedPieceBytes = 64 * MIB;

function isOfOtherBytes(error: unknown): boolean {
  return error instanceof ServiceError && (error.fault === "refused" || error.fault === "digest");
}
