/**
 * The npm package `fuse-native` 2.2.6 (libfuse 2.9) as this driver uses it: its types, its options, and its faults
 * that can be worked around. The only import of the package.
 *
 * Relies on: `_handlers`, `_op_getxattr`, `_op_listxattr` and the names of the binding, none of them documented. The
 * package has had no release since 2020; its version is fixed to 2.2.
 */

import { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname } from "node:path";
import { describeError, FileSystemError, UsageError } from "../../domain/errors.js";

/** Answers a request: 0, or a negative errno, then the result. */
export type Answer<T = void> = (error: number, result?: T) => void;

/** Times are milliseconds since 1970; what is below 0 cannot be said. */
export interface NativeStat {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly nlink: number;
  readonly ino: number;
  readonly rdev: number;
  readonly blksize: number;
  readonly blocks: number;
  readonly atime: number;
  readonly mtime: number;
  readonly ctime: number;
}

/** What a listing tells of a name: its inode number and, by `mode`, its kind. */
export type NativeEntry = Pick<NativeStat, "ino" | "mode">;

export interface NativeStatfs {
  readonly bsize: number;
  readonly frsize: number;
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
  readonly favail: number;
  readonly namemax: number;
}

/** What libfuse asks, by path. Buffers are lent until the answer. */
export interface NativeOperations {
  getattr(path: string, answer: Answer<NativeStat>): void;
  fgetattr(path: string, file: number, answer: Answer<NativeStat>): void;
  /** @param answer Takes an entry for each of the names, or none at all: then the kinds are asked for one by one. */
  readdir(
    path: string,
    answer: (error: number, names?: readonly string[], entries?: readonly NativeEntry[]) => void,
  ): void;
  readlink(path: string, answer: Answer<string>): void;
  mkdir(path: string, mode: number, answer: Answer): void;
  mknod(path: string, mode: number, rdev: number, answer: Answer): void;
  symlink(target: string, path: string, answer: Answer): void;
  link(path: string, newPath: string, answer: Answer): void;
  unlink(path: string, answer: Answer): void;
  rmdir(path: string, answer: Answer): void;
  rename(path: string, newPath: string, answer: Answer): void;
  chmod(path: string, mode: number, answer: Answer): void;
  chown(path: string, uid: number, gid: number, answer: Answer): void;
  truncate(path: string, sizeBytes: number, answer: Answer): void;
  ftruncate(path: string, file: number, sizeBytes: number, answer: Answer): void;
  utimens(path: string, atimeMs: number, mtimeMs: number, answer: Answer): void;
  open(path: string, flags: number, answer: Answer<number>): void;
  create(path: string, mode: number, answer: Answer<number>): void;
  read(path: string, file: number, into: Buffer, length: number, offset: number, answer: Answer<number>): void;
  write(path: string, file: number, data: Buffer, length: number, offset: number, answer: Answer<number>): void;
  flush(path: string, file: number, answer: Answer): void;
  fsync(path: string, dataOnly: boolean, file: number, answer: Answer): void;
  release(path: string, file: number, answer: Answer): void;
  fsyncdir(path: string, dataOnly: boolean, directory: number, answer: Answer): void;
  statfs(path: string, answer: Answer<NativeStatfs>): void;
  setxattr(path: string, name: string, value: Buffer, position: number, flags: number, answer: Answer): void;
  getxattr(path: string, name: string, position: number, answer: Answer<Buffer>): void;
  listxattr(path: string, answer: Answer<readonly string[]>): void;
  removexattr(path: string, name: string, answer: Answer): void;
}

/** A mounted file system of the package. */
export interface NativeMount {
  /** Lets the process end; call it when nothing is mounted any more. */
  release(): void;
}

type Signal = (error: number, ...results: readonly unknown[]) => void;
type Handler = (record: Buffer, opcode: number, ...parameters: readonly unknown[]) => void;

interface FuseObject {
  readonly _thread: Buffer;
  readonly _handlers: Handler[];
  readonly ops: NativeOperations;
  _op_getxattr: (signal: Signal, path: string, name: string, into: Buffer) => void;
  _op_listxattr: (signal: Signal, path: string, into: Buffer) => void;
  _op_utimens: (signal: Signal, path: string, atimeLow: number, atimeHigh: number) => void;
  mount(done: (error: Error | null) => void): void;
}

interface FusePackage {
  readonly Fuse: new (mountpoint: string, operations: NativeOperations, options: object) => FuseObject;
  readonly binding: { fuse_native_unmount(mountpoint: string, thread: Buffer): void };
}

const errnoRange = constants.errno.ERANGE;
/** The package has room for 1024 bytes, other options included. */
const optionBytesMax = 900;
const utimensOpcode = 12;
/** Where `mtime` is in the record of a request (fuse_thread_locals_t, 64 bit): milliseconds, little-endian. */
const mtimeOffset = 112;

/** libfuse has 4 KiB writes and a tiny background queue unless told otherwise. */
const smuggled = [
  "big_writes",
  "max_write=131072",
  "max_background=64",
  "atomic_o_trunc",
  "use_ino",
  "readdir_ino",
  "attr_timeout=0",
];

/** @throws FileSystemError "not-supported" with what is missing. */
export function loadFuseNative(): FusePackage {
  const require = createRequire(import.meta.url);
  try {
    const Fuse = require("fuse-native");
    const binding = createRequire(require.resolve("fuse-native"))("node-gyp-build")(
      dirname(require.resolve("fuse-native")),
    );
    return { Fuse, binding };
  } catch (cause) {
    throw new FileSystemError("not-supported", `Cannot use the driver fuse-native: ${firstLine(cause)}`, {
      cause,
      hint: "It needs the npm package fuse-native and libfuse 2 (Debian: `apt install libfuse2 fuse3`, then `npm install fuse-native`)",
    });
  }
}

/** @throws FileSystemError when libfuse refuses; it says why on standard error only. */
export async function mountFuseNative(
  { Fuse, binding }: FusePackage,
  operations: NativeOperations,
  options: {
    readonly mountpoint: string;
    readonly source: string;
    readonly subtype: string;
    readonly readOnly: boolean;
  },
): Promise<NativeMount> {
  const { mountpoint, source, subtype, readOnly } = options;
  // Options are joined by commas, so more of them can ride on this one.
  const fsname = [escaped(source), ...smuggled, ...(readOnly ? ["ro"] : [])].join(",");
  if (Buffer.byteLength(fsname) > optionBytesMax || Buffer.byteLength(mountpoint) > optionBytesMax) {
    throw new UsageError(`Cannot mount on ${mountpoint}: fuse-native cuts names of more than ${optionBytesMax} bytes`);
  }
  const fuse = new Fuse(mountpoint, operations, {
    fsname,
    subtype,
    defaultPermissions: true,
    timeout: false,
  });
  answerXattrs(fuse);
  passModificationTime(fuse);
  await new Promise<void>((resolve, reject) => {
    fuse.mount((error) => (error === null ? resolve() : reject(mountError(mountpoint, error))));
  });
  return { release: () => binding.fuse_native_unmount(mountpoint, fuse._thread) };
}

// The package's own handlers end the process when a list does not fit, and say EIO instead of ERANGE for a value.
function answerXattrs(fuse: FuseObject): void {
  fuse._op_getxattr = (signal, path, name, into) => {
    fuse.ops.getxattr(path, name, 0, (error, value = Buffer.alloc(0)) => signalBytes(signal, error, value, into));
  };
  fuse._op_listxattr = (signal, path, into) => {
    fuse.ops.listxattr(path, (error, names = []) => {
      signalBytes(signal, error, Buffer.from(names.map((name) => `${name}\0`).join("")), into);
    });
  };
}

function signalBytes(signal: Signal, error: number, value: Buffer, into: Buffer): void {
  const isFilled = error === 0 && value.length <= into.length;
  if (isFilled) value.copy(into);
  signal(error || (isFilled || into.length === 0 ? value.length : -errnoRange), into.buffer);
}

// The package hands over the access time twice; the modification time is only in the record of the request.
function passModificationTime(fuse: FuseObject): void {
  const original = fuse._handlers[utimensOpcode]!;
  let mtimeMs = 0;
  fuse._handlers[utimensOpcode] = (record, ...rest) => {
    mtimeMs = Number(record.readBigInt64LE(mtimeOffset));
    original(record, ...rest);
  };
  fuse._op_utimens = (signal, path, atimeLow, atimeHigh) => {
    fuse.ops.utimens(path, signed64(atimeLow, atimeHigh), mtimeMs, (error) => signal(error));
  };
}

function signed64(low: number, high: number): number {
  return Number(BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low)));
}

/** Commas separate the options of libfuse. */
function escaped(text: string): string {
  return text.replace(/[\\,]/g, "\\$&");
}

function mountError(mountpoint: string, cause: Error): FileSystemError {
  return new FileSystemError("unavailable", `Cannot mount on ${mountpoint}: ${describeError(cause)}`, {
    cause,
    hint: "libfuse has said why above; without root it needs the program fusermount and an accessible /dev/fuse",
  });
}

function firstLine(error: unknown): string {
  return describeError(error).split("\n", 1)[0] ?? "";
}
