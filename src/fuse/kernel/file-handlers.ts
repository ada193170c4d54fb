/** Requests about open files: OPEN and CREATE to RELEASE, and the bytes between them. */

import { constants as openFlags } from "node:fs";
import { constants } from "node:os";
import { FileSystemError } from "../../domain/errors.js";
import type { InodeNumber } from "../../domain/ids.js";
import type { ReadManner } from "../../vfs/partial-reads.js";
import { transferBytesMax } from "./device-buffer.js";
import type { Handler, HandlerContext, HandlerTable } from "./handler.js";
import type { KernelRequest } from "./kernel-request.js";
import { fsyncFlag, opcode, openRequestFlag, readFlag, seekWhence, wireBytes, writeFlag } from "./protocol.js";
import {
  isExact,
  nameAt,
  type RequestBytes,
  readCopyFileRange,
  readCreate,
  readFallocate,
  readFsyncFlags,
  readHandle,
  readLseek,
  readName,
  readOpen,
  readTransfer,
  readWriteOpenFlags,
} from "./wire-request.js";

const appendFlag = openFlags.O_APPEND;

const open: Handler = (context, request, wire) => {
  const { operations, replies } = context;
  const { flags, requestFlags } = readOpen(wire);
  const start = () => operations.open(request, request.node, flags);
  const mustDrop = (requestFlags & openRequestFlag.killSuidgid) !== 0;
  const opened = afterDroppingPrivileges(context, { request, node: request.node, mustDrop }, start);
  replies.when(request, opened, (reply) => replies.opened(request, reply));
};

const create: Handler = ({ operations, replies }, request, wire) => {
  const { flags, mode } = readCreate(wire);
  const name = readName(wire, nameAt(16));
  replies.when(request, operations.create(request, request.node, name, mode, flags), (created) =>
    replies.created(request, created.entry, created.open),
  );
};

const tmpfile: Handler = ({ operations, replies }, request, wire) => {
  const { flags, mode } = readCreate(wire);
  replies.when(request, operations.createNameless(request, request.node, mode, flags), (created) =>
    replies.created(request, created.entry, created.open),
  );
};

const read: Handler = ({ operations, replies, buffers }, request, wire) => {
  const { handle, offset, sizeBytes, flags } = readTransfer(wire);
  if (!isExact(offset)) {
    replies.empty(request);
    return;
  }
  const lent = buffers.take(sizeBytes);
  const dataAt = wireBytes.replyHeader;
  const into = lent.bytes.subarray(dataAt, dataAt + Math.min(sizeBytes, transferBytesMax));
  replies.when(
    request,
    operations.read(request, request.node, handle, offset, into, mannerOf(flags, readWriteOpenFlags(wire))),
    (readBytes) => replies.lent(request, lent, readBytes),
    () => buffers.give(lent),
  );
};

function mannerOf(readFlags: number, openFlagsNow: number): ReadManner | undefined {
  if ((readFlags & readFlag.lockOwner) === 0) return undefined;
  return (openFlagsNow & openFlags.O_NONBLOCK) === 0 ? directRead : directReadWithoutWaiting;
}

const directRead: ReadManner = { isDirect: true, nonBlock: false };
const directReadWithoutWaiting: ReadManner = { isDirect: true, nonBlock: true };

const write: Handler = (context, request, wire) => {
  const { operations, replies, requests } = context;
  const { handle, offset, sizeBytes, flags } = readTransfer(wire);
  if (!isExact(offset + sizeBytes)) throw new FileSystemError("too-large", `Cannot write at offset ${offset}`);
  const lent = requests.holdRequest();
  const data = lent.bytes.subarray(wireBytes.writeRequest, wireBytes.writeRequest + sizeBytes);
  const isAppend = (readWriteOpenFlags(wire) & appendFlag) !== 0;
  const start = () => operations.write(request, request.node, handle, offset, data, isAppend);
  const mustDrop = (flags & writeFlag.killSuidgid) !== 0;
  const written = afterDroppingPrivileges(context, { request, node: request.node, mustDrop }, start);
  replies.when(
    request,
    written,
    () => replies.size(request, sizeBytes),
    () => requests.releaseRequest(lent),
  );
};

interface PrivilegeDrop {
  readonly request: KernelRequest;
  /** The file whose content changes. */
  readonly node: InodeNumber;
  readonly mustDrop: boolean;
}

/**
 * HANDLE_KILLPRIV_V2: this caller's change of the content must drop set-user-id and set-group-id.
 * `start` runs at once when there is nothing to drop, which is nearly always.
 */
function afterDroppingPrivileges<T>(
  { inodes, operations, attributesChanged }: HandlerContext,
  { request, node, mustDrop }: PrivilegeDrop,
  start: () => Promise<T>,
): Promise<T> {
  const mode = mustDrop ? inodes.modeWithoutPrivileges(node) : undefined;
  if (mode === undefined) return start();
  return operations.setAttributes(request, node, undefined, { mode }).then(({ attributes }) => {
    inodes.sawMode(attributes.ino, attributes.mode);
    attributesChanged(attributes.ino);
    return start();
  });
}

/** Of these requests the kernel does not say whether the caller may keep the bits; only the administrator may. */
function mayNotKeepPrivileges({ uid }: KernelRequest): boolean {
  return uid !== 0;
}

const flush: Handler = ({ operations, replies }, request, wire) => {
  const done = operations.flush(request, request.node, readHandle(wire));
  replies.when(request, done, () => replies.empty(request));
};

const release: Handler = ({ operations, replies, handles }, request, wire) => {
  const handle = readHandle(wire);
  handles.released(handle);
  replies.when(request, operations.release(request.node, handle), () => replies.empty(request));
};

const fsync: Handler = ({ operations, replies }, request, wire) => {
  const dataOnly = (readFsyncFlags(wire) & fsyncFlag.dataOnly) !== 0;
  const done = operations.fsync(request, request.node, readHandle(wire), dataOnly);
  replies.when(request, done, () => replies.empty(request));
};

const fallocate: Handler = (context, request, wire) => {
  const { operations, replies } = context;
  const { handle, offset, length, mode } = readFallocate(wire);
  if (!isExact(offset + length)) throw new FileSystemError("too-large", `Cannot allocate up to ${offset + length}`);
  const start = () => operations.allocate(request, request.node, handle, { offset, length }, mode);
  const drop = { request, node: request.node, mustDrop: mayNotKeepPrivileges(request) };
  replies.when(request, afterDroppingPrivileges(context, drop, start), () => replies.empty(request));
};

const copyFileRange: Handler = (context, request, wire) =>
  copy(context, request, wire, (copiedBytes) => context.replies.size(request, copiedBytes));

const copyFileRange64: Handler = (context, request, wire) =>
  copy(context, request, wire, (copiedBytes) => context.replies.offset(request, copiedBytes));

function copy(
  context: HandlerContext,
  request: KernelRequest,
  wire: RequestBytes,
  reply: (copiedBytes: number) => void,
): void {
  const { operations, replies } = context;
  const { from, to, toNode, length } = readCopyFileRange(wire);
  if (!isExact(from.offset + length) || !isExact(to.offset + length)) {
    throw new FileSystemError("too-large", `Cannot copy ${length} bytes to offset ${to.offset}`);
  }
  const start = () => operations.copyRange(request, from, to, length);
  const drop = { request, node: toNode as InodeNumber, mustDrop: mayNotKeepPrivileges(request) };
  replies.when(request, afterDroppingPrivileges(context, drop, start), reply);
}

const lseek: Handler = ({ operations, replies }, request, wire) => {
  const { handle, offset, whence } = readLseek(wire);
  if (whence !== seekWhence.data && whence !== seekWhence.hole) {
    replies.errno(request, constants.errno.EINVAL);
    return;
  }
  const found = operations.seek(request, request.node, handle, offset, whence === seekWhence.data ? "data" : "hole");
  replies.when(request, found, (position) => replies.offset(request, position));
};

export const fileHandlers: HandlerTable = {
  [opcode.open]: open,
  [opcode.create]: create,
  [opcode.read]: read,
  [opcode.write]: write,
  [opcode.flush]: flush,
  [opcode.release]: release,
  [opcode.fsync]: fsync,
  [opcode.fallocate]: fallocate,
  [opcode.lseek]: lseek,
  [opcode.tmpfile]: tmpfile,
  [opcode.copyFileRange]: copyFileRange,
  [opcode.copyFileRange64]: copyFileRange64,
};
