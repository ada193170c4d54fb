/** Why a transfer cannot go on although the service would. */

import { CasfsError, type CasfsErrorOptions } from "../domain/errors.js";
import type { UploadId } from "../domain/ids.js";
import type { TreeHashHex } from "../protocol/service.js";

/** The source was written to, replaced or cut while it was uploaded; nothing of it became an archive. */
export class SourceChangedError extends CasfsError {
  override readonly name = "SourceChangedError";
  override readonly kind = "stale";
  constructor(
    readonly path: string,
    what: string,
    options?: CasfsErrorOptions,
  ) {
    super(`Cannot upload ${path}: ${what} while it was uploaded`, {
      hint: "Upload it again when nobody writes to it",
      ...options,
    });
  }
}

/**
 * The service does not know the upload: it was aborted, has expired, never was in this vault, or was completed longer ago
 * than the service remembers.
 */
export class UploadForgottenError extends CasfsError {
  override readonly name = "UploadForgottenError";
  override readonly kind = "not-found";
  /** Of the archive that there is if the upload was completed; undefined when nobody asked for it. */
  readonly treeHash: TreeHashHex | undefined;
  constructor(
    readonly uploadId: UploadId,
    { treeHash, ...options }: CasfsErrorOptions & { readonly treeHash?: TreeHashHex } = {},
  ) {
    const archive = `an archive with the tree hash ${treeHash}`;
    super(`Cannot go on with the upload ${uploadId}: the service does not know it (any more)`, {
      hint:
        treeHash === undefined
          ? "Begin a new upload"
          : `If it was completed, the vault's next inventory has ${archive}; if not, begin a new upload`,
      ...options,
    });
    this.treeHash = treeHash;
  }
}

/** The upload to be resumed cannot be one of this source. It was left as it is. */
export class UploadMismatchError extends CasfsError {
  override readonly name = "UploadMismatchError";
  override readonly kind = "invalid";
  constructor(
    readonly uploadId: UploadId,
    reason: string,
    options?: CasfsErrorOptions,
  ) {
    super(`Cannot go on with the upload ${uploadId}: ${reason}`, options);
  }
}
