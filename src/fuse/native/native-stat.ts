/** Attributes and statfs as the package takes them: times in milliseconds, numbers of 32 bits. */

import type { FileTime } from "../../domain/time.js";
import type { Attributes } from "../../vfs/attributes.js";
import type { StatfsReply } from "../driver.js";
import type { NativeStat, NativeStatfs } from "./fuse-native-package.js";

const uint32Max = 0xffff_ffff;
const blockSizeBytes = 4096;

/** Larger ones wrap; the package has 32 bits for them. */
export function nativeIno(ino: number): number {
  return ino % uint32Max;
}

export function nativeStat(attributes: Attributes): NativeStat {
  const { ino, mode, uid, gid, nlink, rdev, sizeBytes, blocks, atime, mtime, ctime } = attributes;
  const times = { atime: milliseconds(atime), mtime: milliseconds(mtime), ctime: milliseconds(ctime) };
  return {
    ino: nativeIno(ino),
    mode,
    uid,
    gid,
    nlink,
    rdev,
    size: sizeBytes,
    blksize: blockSizeBytes,
    blocks,
    ...times,
  };
}

function milliseconds({ seconds, nanoseconds }: FileTime): number {
  return Math.max(0, seconds * 1000 + Math.floor(nanoseconds / 1e6));
}

/** libfuse's binding has 32 bits for each number: larger blocks make them fit. */
export function nativeStatfs(reply: StatfsReply): NativeStatfs {
  let scale = 1;
  while (reply.blocks / scale > uint32Max) scale *= 2;
  const scaled = (blocks: number) => Math.floor(blocks / scale);
  const size = reply.blockSizeBytes * scale;
  const files = Math.min(reply.files, uint32Max);
  const filesFree = Math.min(reply.filesFree, uint32Max);
  return {
    bsize: size,
    frsize: size,
    blocks: scaled(reply.blocks),
    bfree: scaled(reply.blocksFree),
    bavail: scaled(reply.blocksAvailable),
    files,
    ffree: filesFree,
    favail: filesFree,
    namemax: reply.nameBytesMax,
  };
}
