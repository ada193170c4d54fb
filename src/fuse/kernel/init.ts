/** What the kernel and this driver agree upon in INIT. Pure. */

import { transferBytesMax } from "./device-buffer.js";
import { initFlag, protocolMajor, protocolMinorMax, protocolMinorMin } from "./protocol.js";
import type { InitReply } from "./wire-reply.js";
import type { InitRequest } from "./wire-request.js";

/**
 * The features that we ask for; the kernel's own list limits them.
 *
 * - EXPLICIT_INVAL_DATA and not AUTO_INVAL_DATA: content changes only through this mount or with a notification, and
 *   a changed mtime after our own write must not drop the pages.
 * - EXPORT_SUPPORT: inode numbers are never used again, so a file handle (NFS, open_by_handle_at) finds its file later.
 * - HANDLE_KILLPRIV_V2: without it each write first asks for `security.capability`.
 * - Not READDIRPLUS_AUTO: it makes `find -size` ask for each entry; `AttributeDemand` decides instead. Not WRITEBACK_CACHE: the kernel would own size and
 *   mtime of open files. Locks are not asked for either, so the kernel keeps them itself.
 */
const wantedFlags =
  initFlag.asyncRead |
  initFlag.atomicOTrunc |
  initFlag.exportSupport |
  initFlag.bigWrites |
  initFlag.doReaddirplus |
  initFlag.asyncDio |
  initFlag.parallelDirops |
  initFlag.maxPages |
  initFlag.cacheSymlinks |
  initFlag.explicitInvalData |
  initFlag.handleKillprivV2 |
  initFlag.initExt;

/** Requests that the kernel may have on the way without anybody waiting for them: readahead, direct asynchronous I/O. */
const maxBackground = 128;
const pageBytes = 4096;

/** - `agreed`: send this reply; `again`: say our major version and wait for another INIT; `refused`: too old. */
export type Negotiation =
  | { readonly outcome: "agreed"; readonly reply: InitReply }
  | { readonly outcome: "again" }
  | { readonly outcome: "refused" };

export function negotiate(request: InitRequest): Negotiation {
  if (request.major > protocolMajor) return { outcome: "again" };
  if (request.major < protocolMajor || request.minor < protocolMinorMin) return { outcome: "refused" };
  return { outcome: "agreed", reply: initReply(request) };
}

function initReply(request: InitRequest): InitReply {
  return {
    minor: Math.min(request.minor, protocolMinorMax),
    maxReadaheadBytes: request.maxReadaheadBytes,
    flags: request.flags & wantedFlags,
    flags2: 0,
    maxBackground,
    congestionThreshold: (maxBackground * 3) / 4,
    maxWriteBytes: transferBytesMax,
    timeGranularityNanoseconds: 1,
    maxPages: transferBytesMax / pageBytes,
  };
}
