/**
 * Identifiers, branded so that one cannot be passed for another.
 *
 * They are checked once, where they enter (command line, wire, catalog); inside, nobody validates them again.
 */

export type VaultName = string & { readonly __brand: "VaultName" };
export type ArchiveId = string & { readonly __brand: "ArchiveId" };
export type JobId = string & { readonly __brand: "JobId" };
export type UploadId = string & { readonly __brand: "UploadId" };
/** Number of an inode in the catalog; minted once, never reused, below 2^53. */
export type InodeNumber = number & { readonly __brand: "InodeNumber" };
/** The root of every catalog, and the number that FUSE wants for the root of a mount. */
export const rootIno = 1 as InodeNumber;
/** Row of one content version of one file; minted once, never reused. */
export type ContentId = number & { readonly __brand: "ContentId" };
/** The catalog's number of one archive of one vault; minted once, never reused. Names its file in the cache. */
export type ArchiveKey = number & { readonly __brand: "ArchiveKey" };

const vaultNamePattern = /^[A-Za-z0-9_.-]{1,255}$/;
const serviceIdPattern = /^[A-Za-z0-9_-]{1,255}$/;

/** Whether `text` may name a vault: cas-api section 5, without `.` and `..` (section 16, row 32). */
export function isVaultName(text: string): text is VaultName {
  return vaultNamePattern.test(text) && text !== "." && text !== "..";
}

/** @throws RangeError unless `text` is 1-255 characters of `a-z A-Z 0-9 _ - .` and neither `.` nor `..`. */
export function vaultName(text: string): VaultName {
  if (!isVaultName(text)) throw new RangeError(`Cannot use ${JSON.stringify(text)} as a vault name`);
  return text;
}

/** @throws RangeError unless `text` can stand in a URL path unescaped (cas-api section 15.9). */
export function archiveId(text: string): ArchiveId {
  return serviceId(text, "an archive id") as ArchiveId;
}

/** @throws RangeError unless `text` can stand in a URL path unescaped (cas-api section 15.9). */
export function jobId(text: string): JobId {
  return serviceId(text, "a job id") as JobId;
}

/** @throws RangeError unless `text` can stand in a URL path unescaped (cas-api section 15.9). */
export function uploadId(text: string): UploadId {
  return serviceId(text, "an upload id") as UploadId;
}

function serviceId(text: string, what: string): string {
  if (!serviceIdPattern.test(text)) throw new RangeError(`Cannot use ${JSON.stringify(text)} as ${what}`);
  return text;
}
