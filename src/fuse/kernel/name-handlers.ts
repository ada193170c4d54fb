/** Requests that look at or change names: LOOKUP, and everything that makes, moves or removes an entry. */

import { constants } from "node:os";
import { FileSystemError } from "../../domain/errors.js";
import type { InodeNumber } from "../../domain/ids.js";
import { isDirectory } from "../../vfs/attributes.js";
import type { Handler, HandlerContext, HandlerTable } from "./handler.js";
import type { KernelRequest } from "./kernel-request.js";
import { opcode, renameFlag } from "./protocol.js";
import {
  nameAt,
  type RequestBytes,
  readFirstNode,
  readMkdirMode,
  readMknod,
  readName,
  readRename2Flags,
  readTwoNames,
} from "./wire-request.js";

const symlinkTargetBytesMax = 4095;

const lookup: Handler = ({ operations, replies, demand, listingChanged }, request, wire) => {
  const name = existingName(wire);
  if (name === undefined) {
    replies.errno(request, constants.errno.ENOENT);
    return;
  }
  replies.when(request, operations.lookup(request, request.node, name), (entry) => {
    replies.entry(request, entry);
    // Who walks a tree looks its directories up.
    if (entry.attributes === null || isDirectory(entry.attributes.mode)) return;
    if (demand.lookedUp(request.node, request.pid)) listingChanged(request.node);
  });
};

/** No entry has a name that is not UTF-8, so looking one up finds nothing; only making one is EILSEQ. */
function existingName(wire: RequestBytes): string | undefined {
  try {
    return readName(wire, nameAt(0));
  } catch (error) {
    if (error instanceof FileSystemError && error.kind === "bad-name") return undefined;
    throw error;
  }
}

const symlink: Handler = ({ operations, replies }, request, wire) => {
  const [name, target] = readTwoNames(wire, nameAt(0), symlinkTargetBytesMax);
  replies.when(request, operations.symlink(request, request.node, name, target), (entry) =>
    replies.entry(request, entry),
  );
};

const mknod: Handler = ({ operations, replies }, request, wire) => {
  const { mode, rdev } = readMknod(wire);
  const name = readName(wire, nameAt(16));
  replies.when(request, operations.makeNode(request, request.node, name, mode, rdev), (entry) =>
    replies.entry(request, entry),
  );
};

const mkdir: Handler = ({ operations, replies }, request, wire) => {
  const name = readName(wire, nameAt(8));
  replies.when(request, operations.makeDirectory(request, request.node, name, readMkdirMode(wire)), (entry) =>
    replies.entry(request, entry),
  );
};

const link: Handler = ({ operations, replies }, request, wire) => {
  const ino = readFirstNode(wire) as InodeNumber;
  replies.when(request, operations.link(request, ino, request.node, readName(wire, nameAt(8))), (entry) =>
    replies.entry(request, entry),
  );
};

const unlink: Handler = ({ operations, replies }, request, wire) => {
  const done = operations.unlink(request, request.node, readName(wire, nameAt(0)));
  replies.when(request, done, () => replies.empty(request));
};

const rmdir: Handler = ({ operations, replies }, request, wire) => {
  const done = operations.removeDirectory(request, request.node, readName(wire, nameAt(0)));
  replies.when(request, done, () => replies.empty(request));
};

type RenameMode = "replace" | "no-replace" | "exchange";

const rename: Handler = (context, request, wire) => move(context, request, wire, nameAt(8), "replace");

const rename2: Handler = (context, request, wire) =>
  move(context, request, wire, nameAt(16), renameMode(readRename2Flags(wire)));

/** @throws FileSystemError "invalid" for RENAME_WHITEOUT and combinations. */
function renameMode(flags: number): RenameMode {
  if (flags === 0) return "replace";
  if (flags === renameFlag.noReplace) return "no-replace";
  if (flags === renameFlag.exchange) return "exchange";
  throw new FileSystemError("invalid", `Cannot rename with flags ${flags}`);
}

function move(
  { operations, replies }: HandlerContext,
  request: KernelRequest,
  wire: RequestBytes,
  namesAt: number,
  mode: RenameMode,
): void {
  const [oldName, newName] = readTwoNames(wire, namesAt, 255);
  const from = { parent: request.node, name: oldName };
  const to = { parent: readFirstNode(wire) as InodeNumber, name: newName };
  replies.when(request, operations.rename(request, from, to, mode), () => replies.empty(request));
}

export const nameHandlers: HandlerTable = {
  [opcode.lookup]: lookup,
  [opcode.symlink]: symlink,
  [opcode.mknod]: mknod,
  [opcode.mkdir]: mkdir,
  [opcode.link]: link,
  [opcode.unlink]: unlink,
  [opcode.rmdir]: rmdir,
  [opcode.rename]: rename,
  [opcode.rename2]: rename2,
};
