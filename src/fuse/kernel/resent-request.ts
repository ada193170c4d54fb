/**
 * Requests that a process had read when it ended, and that the kernel sends again to its successor. Pure.
 *
 * What only looks, or sets something to a value, is simply done again. What makes, moves or removes a name may have been
 * done already: done again it would fail, or be done twice.
 */

import type { InodeNumber } from "../../domain/ids.js";
import type { KernelRequest } from "./kernel-request.js";
import { opcode, wireBytes } from "./protocol.js";
import { fixedBytesOf } from "./request-shape.js";
import { type RequestBytes, readFirstNode } from "./wire-request.js";

const notRepeatable = new Set<number>([
  opcode.symlink,
  opcode.mknod,
  opcode.mkdir,
  opcode.unlink,
  opcode.rmdir,
  opcode.rename,
  opcode.rename2,
  opcode.link,
  opcode.setxattr,
  opcode.removexattr,
  opcode.create,
  opcode.tmpfile,
]);

/** Whether doing it again could differ from having done it once. */
export function mayBeDone(code: number): boolean {
  return notRepeatable.has(code);
}

/** Where its names are: a rename has two directories. */
export function directoriesOf({ opcode: code, node }: KernelRequest, wire: RequestBytes): readonly InodeNumber[] {
  return code === opcode.rename || code === opcode.rename2 ? [node, readFirstNode(wire) as InodeNumber] : [node];
}

/** The texts behind the fixed part, each ended by a zero: names of entries, among them targets of links. */
export function namesIn({ bytes, view, length }: RequestBytes): string[] {
  const start = wireBytes.requestHeader + fixedBytesOf(view.getUint32(4, true));
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, Math.max(0, length - start)).toString();
  return text.split("\0").filter((name) => name !== "" && !name.includes("/"));
}
