/** Requests about open files: OPEN and CREATE to RELEASE, and the bytes between them. */

import { constants } from "node:os";
import { FileSystemError } from "../../domain/errors.js";
import { transferBytesMax } from "./device-buffer.js";
import type { Handler, HandlerContext, HandlerTable } from "./handler.js";
import type { KernelRequest } from "./kernel-request.js";
import { fsyncFlag, opcode, openRequestFlag, seekWhence, wireBytes, writeFlag } from "./protocol.js";
import {
  isExact,
  nameAt,
  readCreate,
  readFallocate,
  readFsyncFlags,
  readHandle,
  readLseek,
  readName,
  readOpen,
  readTransfer,
} from "./wire-request.js";

const open: Handler = (context, request, wire) => {
  const { operations, replies } = context;
  const { flags, requestFlags } = readOpen(wire);
  const start = () => operations.open(request, request.node, flags);
  const opened = afterDroppingPrivileges(context, request, (requestFlags & openRequestFlag.killSuidgid) !== 0, start);
  replies.when(request, opened, (reply) => replies.opened(request, reply));
};

const create: Handler = ({ operations, replies }, request, wire) => {
  const { flags, mode } = readCreate(wire);
  const name = readName(wire, nameAt(16));
  replies.when(request, operations.create(request, request.node, name, mode, flags), (created) =>
    replies.created(request, created.entry, created.open),
  );
};

const read: Handler = ({ operations, replies, buffers }, request, wire) => {
  const { handle, offset, sizeBytes } = readTransfer(wire);
  if (!isExact(offset)) {
    replies.empty(request);
    return;
  }
  const lent = buffers.take(sizeBytes);
  const dataAt = wireBytes.replyHeader;
  const into = lent.bytes.subarray(dataAt, dataAt + Math.min(sizeBytes, transferBytesMax));
  replies.when(
    request,
    operations.read(request, request.node, handle, offset, into),
    (readBytes) => replies.lent(request, lent, readBytes),
    () => buffers.give(lent),
  );
};

const write: Handler = (context, request, wire) => {
  const { operations, replies, requests } = context;
  const { handle, offset, sizeBytes, flags } = readTransfer(wire);
  if (!isExact(offset + sizeBytes)) throw new FileSystemError("too-large", `Cannot write at offset ${offset}`);
  const lent = requests.holdRequest();
  const data = lent.bytes.subarray(wireBytes.writeRequest, wireBytes.writeRequest + sizeBytes);
  const start = () => operations.write(request, request.node, handle, offset, data);
  const written = afterDroppingPrivileges(context, request, (flags & writeFlag.killSuidgid) !== 0, start);
  replies.when(
    request,
    written,
    () => replies.size(request, sizeBytes),
    () => requests.releaseRequest(lent),
  );
};

/**
 * HANDLE_KILLPRIV_V2: the kernel says that this caller's change of the content must drop set-user-id and set-group-id.
 * `start` runs at once when there is nothing to drop, which is nearly always.
 */
function afterDroppingPrivileges<T>(
  context: HandlerContext,
  request: KernelRequest,
  mustDrop: boolean,
  start: () => Promise<T>,
): Promise<T> {
  const mode = mustDrop ? context.inodes.modeWithoutPrivileges(request.node) : undefined;
  if (mode === undefined) return start();
  return context.operations.setAttributes(request, request.node, undefined, { mode }).then(({ attributes }) => {
    context.inodes.sawMode(attributes.ino, attributes.mode);
    context.attributesChanged(attributes.ino);
    return start();
  });
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

const fallocate: Handler = ({ operations, replies }, request, wire) => {
  const { handle, offset, length, mode } = readFallocate(wire);
  if (!isExact(offset + length)) throw new FileSystemError("too-large", `Cannot allocate up to ${offset + length}`);
  const done = operations.allocate(request, request.node, handle, { offset, length }, mode);
  replies.when(request, done, () => replies.empty(request));
};

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
};
