/** What `stat` shows of an inode. Pure. */

import type { InodeNumber } from "../domain/ids.js";
import type { FileTime } from "../domain/time.js";

export const fileTypeMask = 0o170000;
export const permissionMask = 0o7777;
export const typeDirectory = 0o040000;
export const typeRegular = 0o100000;
export const typeSymlink = 0o120000;

export interface Attributes {
  readonly ino: InodeNumber;
  /** File type and permission bits, as in `st_mode`. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly sizeBytes: number;
  /** In units of 512 bytes, never 0 for a non-empty file: GNU tar -S stores such a file as one hole. */
  readonly blocks: number;
  readonly atime: FileTime;
  readonly mtime: FileTime;
  readonly ctime: FileTime;
}

export function isDirectory(mode: number): boolean {
  return (mode & fileTypeMask) === typeDirectory;
}

export function isRegular(mode: number): boolean {
  return (mode & fileTypeMask) === typeRegular;
}

export function isSymlink(mode: number): boolean {
  return (mode & fileTypeMask) === typeSymlink;
}
