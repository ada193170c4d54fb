/**
 * Numbers of the FUSE kernel protocol 7.23 to 7.45, as in the kernel's `include/uapi/linux/fuse.h`. Pure.
 *
 * The wire has the byte order of the host; this driver speaks little-endian only.
 */

export const protocolMajor = 7;
/** The newest minor version whose layouts are known here. */
export const protocolMinorMax = 45;
/** Before it INIT replies were shorter; such kernels are from before 2014. */
export const protocolMinorMin = 23;

export const rootNode = 1;

export const opcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  setxattr: 21,
  getxattr: 22,
  listxattr: 23,
  removexattr: 24,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  create: 35,
  interrupt: 36,
  destroy: 38,
  ioctl: 39,
  notifyReply: 41,
  batchForget: 42,
  fallocate: 43,
  readdirplus: 44,
  rename2: 45,
  lseek: 46,
  copyFileRange: 47,
  syncfs: 50,
  tmpfile: 51,
  copyFileRange64: 53,
} as const;

/**
 * What the kernel does by itself when told that we do not: ACCESS (`default_permissions`), GETLK, SETLK and SETLKW (its own
 * locks), BMAP (no block device), POLL (always ready). And STATX, which brings only the birth time: programs in Rust and
 * Node ask for it with every stat, and a listing, which needs no further request, would need one for each of its files.
 */
export const leftToKernel: ReadonlySet<number> = new Set([34, 31, 32, 33, 37, 40, 52]);

const namesByOpcode = new Map<number, string>(Object.entries(opcode).map(([name, code]) => [code, name]));

/** For messages: `readdirplus`, or the number of an opcode that is not known here. */
export function operationName(code: number): string {
  return namesByOpcode.get(code) ?? `opcode ${code}`;
}

/** INIT flags; those from bit 32 on live in `initFlag2`, shifted down. */
export const initFlag = {
  asyncRead: 1 << 0,
  atomicOTrunc: 1 << 3,
  exportSupport: 1 << 4,
  bigWrites: 1 << 5,
  doReaddirplus: 1 << 13,
  asyncDio: 1 << 15,
  parallelDirops: 1 << 18,
  maxPages: 1 << 22,
  cacheSymlinks: 1 << 23,
  explicitInvalData: 1 << 25,
  handleKillprivV2: 1 << 28,
  initExt: 1 << 30,
} as const;

/** SETATTR: which fields of the request are set. */
export const setattrFlag = {
  mode: 1 << 0,
  uid: 1 << 1,
  gid: 1 << 2,
  size: 1 << 3,
  atime: 1 << 4,
  mtime: 1 << 5,
  handle: 1 << 6,
  atimeNow: 1 << 7,
  mtimeNow: 1 << 8,
  ctime: 1 << 10,
  killSuidgid: 1 << 11,
} as const;

export const openReplyFlag = { directIo: 1 << 0, keepCache: 1 << 1, cacheDir: 1 << 3 } as const;
/** `open_flags` of an OPEN or CREATE request. */
export const openRequestFlag = { killSuidgid: 1 << 0 } as const;
/** Of READ: an owner of locks is named, as only reads that pass by the page cache do. */
export const readFlag = { lockOwner: 1 << 1 } as const;
export const writeFlag = { killSuidgid: 1 << 2 } as const;
export const getattrFlag = { handle: 1 << 0 } as const;
export const fsyncFlag = { dataOnly: 1 << 0 } as const;
export const renameFlag = { noReplace: 1 << 0, exchange: 1 << 1 } as const;
export const setxattrFlag = { create: 1, replace: 2 } as const;
export const seekWhence = { data: 3, hole: 4 } as const;

export const notifyCode = { invalInode: 2, invalEntry: 3, resend: 7 } as const;

/** Bytes of each fixed part on the wire. */
export const wireBytes = {
  requestHeader: 40,
  replyHeader: 16,
  /** Header and fixed part of a WRITE request; the data follows. */
  writeRequest: 80,
  entry: 128,
  attributes: 104,
  open: 16,
  initReply: 64,
  statfs: 80,
  directoryEntry: 24,
} as const;

/** Longest name that we store; longer ones are answered ENAMETOOLONG. */
export const nameBytesMax = 255;
