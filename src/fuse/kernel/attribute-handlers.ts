/** Requests about an inode and not its content: attributes, link targets, extended attributes, statfs. */

import { constants } from "node:os";
import { FileSystemError } from "../../domain/errors.js";
import type { AttributeChanges, AttributesReply, FuseOperations } from "../driver.js";
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
  const { operations, replies, inodes } = context;
  const wanted = readSetattr(wire);
  if (!isExact(wanted.changes.sizeBytes ?? 0)) {
    throw new FileSystemError("too-large", `Cannot make a file of ${wanted.changes.sizeBytes} bytes`);
  }
  const mode = inodes.modeWithoutPrivileges(request.node);
  const changed =
    mode !== undefined && Object.keys(wanted.changes).length === 0
      ? chownWithoutChange(operations, request, mode)
      : operations.setAttributes(request, request.node, wanted.handle, withoutPrivileges(wanted, mode));
  replies.when(request, changed, (reply) => replies.attributes(request, reply));
};

/**
 * A chown(2) that leaves owner and group takes set-user-id and set-group-id away too. The kernel sends it as a change of
 * nothing, and the same before fallocate(2) of anybody who may write: so it is done for whom chmod(2) is allowed, and for
 * others is not an error.
 */
async function chownWithoutChange(
  operations: FuseOperations,
  request: KernelRequest,
  mode: number,
): Promise<AttributesReply> {
  const present = await operations.getAttributes(request, request.node, undefined);
  if (request.uid !== 0 && request.uid !== present.attributes.uid) return present;
  return operations.setAttributes(request, request.node, undefined, { mode });
}

/**
 * HANDLE_KILLPRIV_V2 leaves it to us that a new owner or a truncation drops set-user-id and set-group-id.
 *
 * @param mode Without them; undefined when there is nothing to drop.
 */
function withoutPrivileges({ changes, dropsPrivileges }: SetattrRequest, mode: number | undefined): AttributeChanges {
  const newOwner = changes.uid !== undefined || changes.gid !== undefined;
  if (mode === undefined || changes.mode !== undefined || !(newOwner || dropsPrivileges)) return changes;
  return { ...changes, mode };
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
 * Attributes that the kernel gives a meaning are refused without asking: access control lists, which it would store but
 * not enforce, because POSIX_ACL is not negotiated (and cp would take a stored list for a chmod); labels of security
 * modules; and capabilities, which a `nosuid` mount ignores, and which a write would have to take away.
 * After one EOPNOTSUPP `ls -l` asks no more, after ENODATA it asks for every file.
 *
 * @throws FileSystemError "not-supported".
 */
function refuseKernelAttributes(name: string): void {
  if (kernelAttribute.test(name)) throw refusedAttribute;
}

const kernelAttribute = /^system\.|^security\.(capability$|selinux$|ima$|evm$|apparmor|SMACK64)/;
// One for all: some tools ask for each file.
const refusedAttribute = new FileSystemError("not-supported", "Cannot keep attributes that the kernel gives a meaning");

const getxattr: Handler = (context, request, wire) => {
  const size = readXattrSize(wire);
  const name = readName(wire, nameAt(8));
  refuseKernelAttributes(name);
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
  refuseKernelAttributes(name);
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
  refuseKernelAttributes(name);
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
