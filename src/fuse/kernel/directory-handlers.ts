/** Requests about open directories, and SYNCFS. */

import { transferBytesMax } from "./device-buffer.js";
import { DirectoryReply } from "./directory-reply.js";
import type { Handler, HandlerContext, HandlerTable } from "./handler.js";
import type { KernelRequest } from "./kernel-request.js";
import { opcode } from "./protocol.js";
import { type RequestBytes, readHandle, readTransfer } from "./wire-request.js";

const opendir: Handler = ({ operations, replies }, request) => {
  replies.when(request, operations.openDirectory(request, request.node), (reply) =>
    replies.openedDirectory(request, reply),
  );
};

const readdir: Handler = (context, request, wire) => list(context, request, wire, false);
const readdirplus: Handler = (context, request, wire) => list(context, request, wire, true);

function list(context: HandlerContext, request: KernelRequest, wire: RequestBytes, plus: boolean): void {
  const { operations, replies, inodes, buffers, demand } = context;
  const { handle, offset: cookie, sizeBytes: askedBytes } = readTransfer(wire);
  const sizeBytes = Math.min(askedBytes, transferBytesMax);
  const lent = buffers.take(sizeBytes);
  const shown = plus ? demand.ofPage(request.node, request.pid, cookie === 0) : null;
  const listing = new DirectoryReply(lent, { sizeBytes, shown, inodes });
  let arrived = false;
  replies.when(
    request,
    operations.readDirectory(request, request.node, handle, cookie, listing),
    () => {
      arrived = replies.lent(request, lent, listing.usedBytes);
    },
    () => {
      if (!arrived) listing.undo((ino) => operations.forget(ino));
      buffers.give(lent);
    },
  );
}

const releasedir: Handler = ({ operations, replies, handles }, request, wire) => {
  const handle = readHandle(wire);
  handles.releasedDirectory(handle);
  replies.when(request, operations.releaseDirectory(request.node, handle), () => replies.empty(request));
};

const fsyncdir: Handler = ({ operations, replies }, request, wire) => {
  const done = operations.syncDirectory(request, request.node, readHandle(wire));
  replies.when(request, done, () => replies.empty(request));
};

const syncfs: Handler = ({ operations, replies }, request) => {
  replies.when(request, operations.syncFileSystem(request), () => replies.empty(request));
};

export const directoryHandlers: HandlerTable = {
  [opcode.opendir]: opendir,
  [opcode.readdir]: readdir,
  [opcode.readdirplus]: readdirplus,
  [opcode.releasedir]: releasedir,
  [opcode.fsyncdir]: fsyncdir,
  [opcode.syncfs]: syncfs,
};
