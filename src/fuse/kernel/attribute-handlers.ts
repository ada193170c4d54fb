/** Requests about an inode and not its content: attributes, link targets, extended attributes, statfs. */

import { constants } from "node:os";
import { FileSystemError } from "../../domain/errors.js";
import type { AttributeChanges } from "../driver.js";
import type { Handler, HandlerContext, HandlerTable } from "./handler.js";
import type { KernelRequest } from "./kernel-request.js";
import { getattrFlag, opcode, setxattrFlag } from "./protocol.js";
import {
  isExact,
  nameAt,
  readGetattr,
  readName,
  readSetattr,
  readSetxattr,
  readXattrSize,
  type SetattrRequest,
} from "./wire-request.js";

const getattr: Handler = ({ operations, replies }, request, wire) => {
  const { flags, handle } = readGetattr(wire);
  const known = (flags & getattrFlag.handle) === 0 ? undefined : handle;
  replies.when(request, operations.getAttributes(request, request.node, known), (reply) =>
    replies.attributes(request, reply),
  );
};

const setattr: Handler = (context, request, wire) => {
  const { operations, replies } = context;
  const wanted = readSetattr(wire);
  if (!isExact(wanted.changes.sizeBytes ?? 0)) {
    throw new FileSystemError("too-large", `Cannot make a file of ${wanted.changes.sizeBytes} bytes`);
  }
  const changes = withoutPrivileges(context, request, wanted);
  replies.when(request, operations.setAttributes(request, request.node, wanted.handle, changes), (reply) =>
    replies.attributes(request, reply),
  );
};

/** HANDLE_KILLPRIV_V2 leaves it to us that a new owner or a truncation drops set-user-id and set-group-id. */
function withoutPrivileges(
  { inodes }: HandlerContext,
  request: KernelRequest,
  { changes, dropsPrivileges }: SetattrRequest,
): AttributeChanges {
  const newOwner = changes.uid !== undefined || changes.gid !== undefined;
  if (changes.mode !== undefined || !(newOwner || dropsPrivileges)) return changes;
  const mode = inodes.modeWithoutPrivileges(request.node);
  return mode === undefined ? changes : { ...changes, mode };
}

const readlink: Handler = ({ operations, replies }, request) => {
  replies.when(request, operations.readLink(request, request.node), (target) =>
    replies.bytes(request, Buffer.from(target)),
  );
};

const statfs: Handler = ({ operations, replies }, request) => {
  replies.when(request, operations.statfs(request, request.node), (reply) => replies.statfs(request, reply));
};

/**
 * Access control lists and labels are refused without asking: the kernel would store but not enforce them, because
 * POSIX_ACL is not negotiated, and cp would take a stored list for a chmod. After one EOPNOTSUPP `ls -l` asks no more,
 * after ENODATA it asks for every file.
 *
 * @throws FileSystemError "not-supported" for names in `system.` and `security.`.
 */
function refuseKernelNamespaces(name: string): void {
  if (!name.startsWith("system.") && !name.startsWith("security.")) return;
  throw refusedNamespace;
}

// One for all: before the first write of every file the kernel asks for security.capability.
const refusedNamespace = new FileSystemError("not-supported", "Cannot keep attributes in system. and security.");

const getxattr: Handler = (context, request, wire) => {
  const size = readXattrSize(wire);
  const name = readName(wire, nameAt(8));
  refuseKernelNamespaces(name);
  const { operations, replies } = context;
  replies.when(request, operations.getExtendedAttribute(request, request.node, name), (value) =>
    replyValue(context, request, value, size),
  );
};

const listxattr: Handler = (context, request, wire) => {
  const size = readXattrSize(wire);
  const { operations, replies } = context;
  replies.when(request, operations.listExtendedAttributes(request, request.node), (names) =>
    replyValue(context, request, Buffer.from(names.map((name) => `${name}\0`).join("")), size),
  );
};

/** A caller that offers no room asks how much it needs. */
function replyValue({ replies }: HandlerContext, request: KernelRequest, value: Uint8Array, room: number): void {
  if (room === 0) replies.size(request, value.length);
  else if (value.length > room) replies.errno(request, constants.errno.ERANGE);
  else replies.bytes(request, value);
}

const setxattr: Handler = ({ operations, replies }, request, wire) => {
  const { name, flags, value } = readSetxattr(wire);
  refuseKernelNamespaces(name);
  // Copied, because the request's buffer is used again and attributes are small.
  const kept = Uint8Array.from(value);
  replies.when(request, operations.setExtendedAttribute(request, request.node, name, kept, setMode(flags)), () =>
    replies.empty(request),
  );
};

function setMode(flags: number): "any" | "create" | "replace" {
  if (flags === setxattrFlag.create) return "create";
  return flags === setxattrFlag.replace ? "replace" : "any";
}

const removexattr: Handler = ({ operations, replies }, request, wire) => {
  const name = readName(wire, nameAt(0));
  refuseKernelNamespaces(name);
  const done = operations.removeExtendedAttribute(request, request.node, name);
  replies.when(request, done, () => replies.empty(request));
};

export const attributeHandlers: HandlerTable = {
  [opcode.getattr]: getattr,
  [opcode.setattr]: setattr,
  [opcode.readlink]: readlink,
  [opcode.statfs]: statfs,
  [opcode.getxattr]: getxattr,
  [opcode.listxattr]: listxattr,
  [opcode.setxattr]: setxattr,
  [opcode.removexattr]: removexattr,
};
