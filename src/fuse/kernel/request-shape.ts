/**
 * Whether a request has the bytes that its opcode needs, looked at before anything is read from it. Pure.
 *
 * The kernel always sends whole requests; what comes through a descriptor that somebody handed over may be anything, and
 * behind a short request lie the bytes of an earlier one.
 */

import { opcode, wireBytes } from "./protocol.js";
import type { RequestBytes } from "./wire-request.js";

/** Bytes of the fixed part behind the header, up to the names. READ and its like are shorter before 7.9, unknown here. */
const fixedBytes: Readonly<Record<number, number>> = {
  [opcode.forget]: 8,
  [opcode.getattr]: 16,
  [opcode.setattr]: 88,
  [opcode.mknod]: 16,
  [opcode.mkdir]: 8,
  [opcode.rename]: 8,
  [opcode.link]: 8,
  [opcode.open]: 8,
  [opcode.read]: 40,
  [opcode.write]: 40,
  [opcode.release]: 24,
  [opcode.fsync]: 16,
  [opcode.setxattr]: 8,
  [opcode.getxattr]: 8,
  [opcode.listxattr]: 8,
  [opcode.flush]: 24,
  [opcode.init]: 8,
  [opcode.opendir]: 8,
  [opcode.readdir]: 40,
  [opcode.releasedir]: 24,
  [opcode.fsyncdir]: 16,
  [opcode.create]: 16,
  [opcode.interrupt]: 8,
  [opcode.batchForget]: 8,
  [opcode.fallocate]: 32,
  [opcode.readdirplus]: 40,
  [opcode.rename2]: 16,
  [opcode.lseek]: 24,
  [opcode.copyFileRange]: 56,
  [opcode.syncfs]: 8,
  [opcode.tmpfile]: 16,
  [opcode.copyFileRange64]: 56,
};

/** Where names or data begin behind the header. */
export function fixedBytesOf(code: number): number {
  return fixedBytes[code] ?? 0;
}

/** Whether there is a header, by which at least an error can be answered. */
export function hasHeader({ length }: RequestBytes): boolean {
  return length >= wireBytes.requestHeader;
}

/** Whether the length is what the header says, and holds all fixed fields and the data of a WRITE. */
export function isWhole({ view, length }: RequestBytes): boolean {
  if (view.getUint32(0, true) !== length) return false;
  const code = view.getUint32(4, true);
  const fixed = wireBytes.requestHeader + fixedBytesOf(code);
  if (length < fixed) return false;
  return code !== opcode.write || length === fixed + view.getUint32(wireBytes.requestHeader + 16, true);
}
