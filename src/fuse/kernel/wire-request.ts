/**
 * Request bytes -> values: one function for each layout of a request's body. Pure; little-endian.
 *
 * Every function gets the whole request, header included, so offsets are those of the request. Numbers above 2^53 lose
 * their last bits; callers refuse offsets and sizes that `isExact` denies. Uniques are never read as one number.
 */

import { isUtf8 } from "node:buffer";
import { FileSystemError } from "../../domain/errors.js";
import type { FileTime } from "../../domain/time.js";
import type { AttributeChanges, HandleNumber } from "../driver.js";
import { nameBytesMax, setattrFlag, wireBytes } from "./protocol.js";

/** One request as it was read from the device. `bytes` and `view` cover the buffer, of which `length` bytes are valid. */
export interface RequestBytes {
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly length: number;
}

const body = wireBytes.requestHeader;
const twoTo32 = 0x1_0000_0000;

/** Unsigned 64 bits as a double; exact below 2^53. */
export function uint64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * twoTo32;
}

/** Signed 64 bits as a double; exact between -2^53 and 2^53. */
export function int64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getInt32(offset + 4, true) * twoTo32;
}

/** Whether a number read by `uint64` is the number that was sent. */
export function isExact(value: number): boolean {
  return value <= Number.MAX_SAFE_INTEGER;
}

export interface InitRequest {
  readonly major: number;
  readonly minor: number;
  readonly maxReadaheadBytes: number;
  readonly flags: number;
  /** Flags from bit 32 on; 0 from kernels that do not know them. */
  readonly flags2: number;
}

export function readInit({ view, length }: RequestBytes): InitRequest {
  return {
    major: view.getUint32(body, true),
    minor: view.getUint32(body + 4, true),
    maxReadaheadBytes: length >= body + 16 ? view.getUint32(body + 8, true) : 0,
    flags: length >= body + 16 ? view.getInt32(body + 12, true) : 0,
    flags2: length >= body + 20 ? view.getUint32(body + 16, true) : 0,
  };
}

/** The list of BATCH_FORGET. */
export function forEachForget({ view, length }: RequestBytes, visit: (node: number, lookups: number) => void): void {
  const count = view.getUint32(body, true);
  for (let index = 0, at = body + 8; index < count && at + 16 <= length; index++, at += 16) {
    visit(uint64(view, at), uint64(view, at + 8));
  }
}

export function readForgetCount({ view }: RequestBytes): number {
  return uint64(view, body);
}

/** INTERRUPT: the unique of the request that is given up, in halves. */
export function readInterrupt({ view }: RequestBytes): { readonly uniqueLow: number; readonly uniqueHigh: number } {
  return { uniqueLow: view.getUint32(body, true), uniqueHigh: view.getUint32(body + 4, true) };
}

/** GETATTR: `handle` is only valid when `flags` says so. */
export function readGetattr({ view }: RequestBytes): { readonly flags: number; readonly handle: HandleNumber } {
  return { flags: view.getUint32(body, true), handle: uint64(view, body + 8) as HandleNumber };
}

export interface SetattrRequest {
  readonly handle: HandleNumber | undefined;
  readonly changes: AttributeChanges;
  /** The caller may not keep set-user-id and set-group-id bits (HANDLE_KILLPRIV_V2). */
  readonly dropsPrivileges: boolean;
}

export function readSetattr({ view }: RequestBytes): SetattrRequest {
  const valid = view.getUint32(body, true);
  const has = (flag: number) => (valid & flag) !== 0;
  const changes: { -readonly [K in keyof AttributeChanges]: AttributeChanges[K] } = {};
  if (has(setattrFlag.size)) changes.sizeBytes = uint64(view, body + 16);
  if (has(setattrFlag.atime)) changes.atime = has(setattrFlag.atimeNow) ? "now" : time(view, body + 32, body + 56);
  if (has(setattrFlag.mtime)) changes.mtime = has(setattrFlag.mtimeNow) ? "now" : time(view, body + 40, body + 60);
  if (has(setattrFlag.ctime)) changes.ctime = time(view, body + 48, body + 64);
  if (has(setattrFlag.mode)) changes.mode = view.getUint32(body + 68, true);
  if (has(setattrFlag.uid)) changes.uid = view.getUint32(body + 76, true);
  if (has(setattrFlag.gid)) changes.gid = view.getUint32(body + 80, true);
  return {
    handle: has(setattrFlag.handle) ? (uint64(view, body + 8) as HandleNumber) : undefined,
    changes,
    dropsPrivileges: has(setattrFlag.killSuidgid),
  };
}

function time(view: DataView, secondsAt: number, nanosecondsAt: number): FileTime {
  return { seconds: int64(view, secondsAt), nanoseconds: view.getUint32(nanosecondsAt, true) };
}

/** Body of MKNOD; the name follows at `nameAt`. */
export function readMknod({ view }: RequestBytes): { readonly mode: number; readonly rdev: number } {
  return { mode: view.getUint32(body, true), rdev: view.getUint32(body + 4, true) };
}

export function readMkdirMode({ view }: RequestBytes): number {
  return view.getUint32(body, true);
}

export function readCreate({ view }: RequestBytes): { readonly flags: number; readonly mode: number } {
  return { flags: view.getUint32(body, true), mode: view.getUint32(body + 4, true) };
}

export function readOpen({ view }: RequestBytes): { readonly flags: number; readonly requestFlags: number } {
  return { flags: view.getUint32(body, true), requestFlags: view.getUint32(body + 4, true) };
}

/** The new parent of RENAME and RENAME2, the old inode of LINK. */
export function readFirstNode({ view }: RequestBytes): number {
  return uint64(view, body);
}

export function readRename2Flags({ view }: RequestBytes): number {
  return view.getUint32(body + 8, true);
}

/** The handle of RELEASE, FLUSH, FSYNC, READ, WRITE, FALLOCATE, LSEEK and of their directory siblings. */
export function readHandle({ view }: RequestBytes): HandleNumber {
  return uint64(view, body) as HandleNumber;
}

export function readFsyncFlags({ view }: RequestBytes): number {
  return view.getUint32(body + 8, true);
}

/** READ, READDIR, READDIRPLUS and the fixed part of WRITE; `flags` are those of WRITE. */
export function readTransfer({ view }: RequestBytes): {
  readonly handle: HandleNumber;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly flags: number;
} {
  return {
    handle: uint64(view, body) as HandleNumber,
    offset: uint64(view, body + 8),
    sizeBytes: view.getUint32(body + 16, true),
    flags: view.getUint32(body + 20, true),
  };
}

/** COPY_FILE_RANGE and COPY_FILE_RANGE_64. The inode of the source is that of the header. */
export function readCopyFileRange({ view }: RequestBytes): {
  readonly from: { readonly handle: HandleNumber; readonly offset: number };
  readonly to: { readonly handle: HandleNumber; readonly offset: number };
  readonly toNode: number;
  readonly length: number;
} {
  return {
    from: { handle: uint64(view, body) as HandleNumber, offset: uint64(view, body + 8) },
    toNode: uint64(view, body + 16),
    to: { handle: uint64(view, body + 24) as HandleNumber, offset: uint64(view, body + 32) },
    length: uint64(view, body + 40),
  };
}

/** WRITE: the O_* flags that the file has at this moment; 0 for pages of a map. */
/** The O_* flags that the descriptor of a READ or WRITE has now. */
export function readWriteOpenFlags({ view }: RequestBytes): number {
  return view.getUint32(body + 32, true);
}

export function readFallocate({ view }: RequestBytes): {
  readonly handle: HandleNumber;
  readonly offset: number;
  readonly length: number;
  readonly mode: number;
} {
  return {
    handle: uint64(view, body) as HandleNumber,
    offset: uint64(view, body + 8),
    length: uint64(view, body + 16),
    mode: view.getUint32(body + 24, true),
  };
}

export function readLseek({ view }: RequestBytes): {
  readonly handle: HandleNumber;
  readonly offset: number;
  readonly whence: number;
} {
  return {
    handle: uint64(view, body) as HandleNumber,
    offset: uint64(view, body + 8),
    whence: view.getUint32(body + 16, true),
  };
}

/** GETXATTR and LISTXATTR: how large the caller's buffer is; 0 asks for the size only. */
export function readXattrSize({ view }: RequestBytes): number {
  return view.getUint32(body, true);
}

/** SETXATTR without SETXATTR_EXT: size, flags, name, value. The value is a view into the request. */
export function readSetxattr(request: RequestBytes): {
  readonly name: string;
  readonly flags: number;
  readonly value: Uint8Array;
} {
  const size = request.view.getUint32(body, true);
  const name = readText(request, body + 8, nameBytesMax);
  const valueAt = name.end + 1;
  if (valueAt + size > request.length) throw new FileSystemError("invalid", "A request ends within an attribute");
  return {
    name: name.text,
    flags: request.view.getUint32(body + 4, true),
    value: request.bytes.subarray(valueAt, valueAt + size),
  };
}

/** Where the name begins, by the size of the fixed part in front of it. */
export const nameAt = (fixedPartBytes: number): number => body + fixedPartBytes;

/** @throws FileSystemError "bad-name" when it is not UTF-8, "name-too-long" above 255 bytes, "invalid" without an end. */
export function readName(request: RequestBytes, at: number): string {
  return readText(request, at, nameBytesMax).text;
}

/** The two names of RENAME, RENAME2 and SYMLINK. @throws FileSystemError as `readName`. */
export function readTwoNames(request: RequestBytes, at: number, secondBytesMax: number): readonly [string, string] {
  const first = readText(request, at, nameBytesMax);
  return [first.text, readText(request, first.end + 1, secondBytesMax).text];
}

function readText(request: RequestBytes, start: number, bytesMax: number): { text: string; end: number } {
  const { bytes, length } = request;
  let end = start;
  let joined = 0;
  for (; end < length; end++) {
    const byte = bytes[end]!;
    if (byte === 0) break;
    joined |= byte;
  }
  if (end >= length) throw new FileSystemError("invalid", "A request ends within a name");
  if (end - start > bytesMax) {
    throw new FileSystemError("name-too-long", `Cannot use a name of ${end - start} bytes`);
  }
  if (joined < 0x80) return { text: bytes.toString("latin1", start, end), end };
  if (!isUtf8(bytes.subarray(start, end))) {
    throw new FileSystemError("bad-name", `Cannot use the name ${bytes.toString("latin1", start, end)}: not UTF-8`);
  }
  return { text: bytes.toString("utf8", start, end), end };
}
