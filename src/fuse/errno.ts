/** Error kind -> errno: the only file that knows errno. Pure. */

import { constants } from "node:os";
import { CasfsError, type ErrorKind } from "../domain/errors.js";

const { errno } = constants;

const errnoByKind: Record<ErrorKind, number> = {
  "not-found": errno.ENOENT,
  exists: errno.EEXIST,
  "not-a-directory": errno.ENOTDIR,
  "is-a-directory": errno.EISDIR,
  "not-empty": errno.ENOTEMPTY,
  "not-permitted": errno.EPERM,
  "access-denied": errno.EACCES,
  invalid: errno.EINVAL,
  "name-too-long": errno.ENAMETOOLONG,
  "bad-name": errno.EILSEQ,
  "cross-vault": errno.EXDEV,
  "read-only": errno.EROFS,
  "too-large": errno.EFBIG,
  // Only ever raised by open(), and by read() for who asked for O_NONBLOCK: in other reads Python takes EAGAIN for the
  // end of the file and tar pads with zeros.
  "not-restored": errno.EAGAIN,
  "not-ready": errno.EAGAIN,
  cancelled: errno.EINTR,
  corrupt: errno.EIO,
  unavailable: errno.EIO,
  "no-space": errno.ENOSPC,
  "over-budget": errno.EDQUOT,
  busy: errno.EBUSY,
  stale: errno.ESTALE,
  "bad-handle": errno.EBADF,
  "no-attribute": errno.ENODATA,
  "out-of-range": errno.ENXIO,
  "not-supported": errno.EOPNOTSUPP,
  "too-many-links": errno.EMLINK,
  loop: errno.ELOOP,
};

/** Positive errno for anything thrown; what is not a `CasfsError` is EIO, ENOSPC of the local disk excepted. */
export function toErrno(error: unknown): number {
  if (error instanceof CasfsError) return errnoByKind[error.kind];
  return (isSystemError(error) && errnoByCode[error.code]) || errno.EIO;
}

/** What the local disk says, to us or to SQLite. */
const errnoByCode: Readonly<Record<string, number>> = {
  ENOSPC: errno.ENOSPC,
  EDQUOT: errno.EDQUOT,
  EFBIG: errno.EFBIG,
  SQLITE_FULL: errno.ENOSPC,
};

function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}
