/** Why a transfer cannot go on although the service would. */

import { CasfsError, type CasfsErrorOptions } from "../domain/errors.js";
import type { UploadId } from "../domain/ids.js";

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

/** The service does not know the upload: it was completed, aborted, has expired, or never was in this vault. */
export class UploadForgottenError extends CasfsError {
  override readonly name = "UploadForgottenError";
  override readonly kind = "not-found";
  constructor(
    readonly uploadId: UploadId,
    options?: CasfsErrorOptions,
  ) {
    super(`Cannot go on with the upload ${uploadId}: the service does not know it (any more)`, {
      hint: "Begin a new upload",
      ...options,
    });
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
