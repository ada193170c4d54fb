/**
 * Values -> reply bytes: one function for each layout of a reply. Pure; little-endian.
 *
 * Every function writes at an offset of a `DataView` that is large enough, all bytes of the layout included, because
 * buffers are used again.
 */

import type { Milliseconds } from "../../domain/time.js";
import type { Attributes } from "../../vfs/attributes.js";
import type { AttributesReply, EntryReply, NegativeEntryReply, OpenReply, StatfsReply } from "../driver.js";
import { notifyCode, openReplyFlag, wireBytes } from "./protocol.js";

const twoTo32 = 0x1_0000_0000;
/** Unit of copying that programs such as cp ask `stat` for. */
const preferredBlockBytes = 128 * 1024;

/** Puts a whole number from -2^53 to 2^53, in two's complement. */
export function putInt64(view: DataView, at: number, value: number): void {
  view.setInt32(at, value | 0, true);
  view.setInt32(at + 4, Math.floor(value / twoTo32), true);
}

/** @param errno 0 for success, else positive. `uniqueHigh` keeps bit 63 of a resent request. */
export function putReplyHeader(
  view: DataView,
  at: number,
  lengthBytes: number,
  errno: number,
  uniqueLow: number,
  uniqueHigh: number,
): void {
  view.setUint32(at, lengthBytes, true);
  view.setInt32(at + 4, -errno, true);
  view.setUint32(at + 8, uniqueLow, true);
  view.setUint32(at + 12, uniqueHigh, true);
}

export interface InitReply {
  readonly minor: number;
  readonly maxReadaheadBytes: number;
  readonly flags: number;
  readonly flags2: number;
  readonly maxBackground: number;
  readonly congestionThreshold: number;
  readonly maxWriteBytes: number;
  readonly timeGranularityNanoseconds: number;
  readonly maxPages: number;
}

export function putInit(view: DataView, at: number, major: number, reply: InitReply): void {
  zero(view, at, wireBytes.initReply);
  view.setUint32(at, major, true);
  view.setUint32(at + 4, reply.minor, true);
  view.setUint32(at + 8, reply.maxReadaheadBytes, true);
  view.setUint32(at + 12, reply.flags, true);
  view.setUint16(at + 16, reply.maxBackground, true);
  view.setUint16(at + 18, reply.congestionThreshold, true);
  view.setUint32(at + 20, reply.maxWriteBytes, true);
  view.setUint32(at + 24, reply.timeGranularityNanoseconds, true);
  view.setUint16(at + 28, reply.maxPages, true);
  view.setUint32(at + 32, reply.flags2, true);
}

/** `fuse_entry_out`; node id 0 makes it a negative entry. Generations are always 0: inode numbers are never reused. */
export function putEntry(view: DataView, at: number, entry: EntryReply | NegativeEntryReply): void {
  if (entry.attributes === null) {
    zero(view, at, wireBytes.entry);
    putDuration(view, at + 16, at + 32, entry.entryTimeoutMs);
    return;
  }
  putInt64(view, at, entry.attributes.ino);
  putInt64(view, at + 8, 0);
  putDuration(view, at + 16, at + 32, entry.entryTimeoutMs);
  putDuration(view, at + 24, at + 36, entry.attributesTimeoutMs);
  putAttributes(view, at + 40, entry.attributes);
}

/** `fuse_attr_out`. */
export function putAttributesReply(view: DataView, at: number, reply: AttributesReply): void {
  putDuration(view, at, at + 8, reply.attributesTimeoutMs);
  view.setUint32(at + 12, 0, true);
  putAttributes(view, at + 16, reply.attributes);
}

function putAttributes(view: DataView, at: number, attributes: Attributes): void {
  const { atime, mtime, ctime } = attributes;
  putInt64(view, at, attributes.ino);
  putInt64(view, at + 8, attributes.sizeBytes);
  putInt64(view, at + 16, attributes.blocks);
  putInt64(view, at + 24, atime.seconds);
  putInt64(view, at + 32, mtime.seconds);
  putInt64(view, at + 40, ctime.seconds);
  view.setUint32(at + 48, atime.nanoseconds, true);
  view.setUint32(at + 52, mtime.nanoseconds, true);
  view.setUint32(at + 56, ctime.nanoseconds, true);
  view.setUint32(at + 60, attributes.mode, true);
  view.setUint32(at + 64, attributes.nlink, true);
  view.setUint32(at + 68, attributes.uid, true);
  view.setUint32(at + 72, attributes.gid, true);
  view.setUint32(at + 76, attributes.rdev, true);
  view.setUint32(at + 80, preferredBlockBytes, true);
  view.setUint32(at + 84, 0, true);
}

/** `fuse_open_out`. */
export function putOpen(view: DataView, at: number, open: OpenReply): void {
  const direct = open.directIo === true ? openReplyFlag.directIo : 0;
  const keep = open.keepCache === true ? openReplyFlag.keepCache : 0;
  putInt64(view, at, open.handle);
  // Without "keep" the next opening of the directory would drop what was cached.
  const listing = open.cacheListing === true ? openReplyFlag.cacheDir | openReplyFlag.keepCache : 0;
  view.setUint32(at + 8, direct | keep | listing, true);
  view.setUint32(at + 12, 0, true);
}

/** `fuse_write_out` and `fuse_getxattr_out`: a size and padding. */
export function putSize(view: DataView, at: number, sizeBytes: number): void {
  view.setUint32(at, sizeBytes, true);
  view.setUint32(at + 4, 0, true);
}

/** `fuse_statfs_out`. */
export function putStatfs(view: DataView, at: number, statfs: StatfsReply): void {
  zero(view, at, wireBytes.statfs);
  putInt64(view, at, statfs.blocks);
  putInt64(view, at + 8, statfs.blocksFree);
  putInt64(view, at + 16, statfs.blocksAvailable);
  putInt64(view, at + 24, statfs.files);
  putInt64(view, at + 32, statfs.filesFree);
  view.setUint32(at + 40, statfs.blockSizeBytes, true);
  view.setUint32(at + 44, statfs.nameBytesMax, true);
  view.setUint32(at + 48, statfs.blockSizeBytes, true);
}

/** `fuse_dirent` without the name. */
export function putDirectoryEntry(
  view: DataView,
  at: number,
  entry: { readonly ino: number; readonly cookie: number; readonly nameBytes: number; readonly mode: number },
): void {
  putInt64(view, at, entry.ino);
  putInt64(view, at + 8, entry.cookie);
  view.setUint32(at + 16, entry.nameBytes, true);
  view.setUint32(at + 20, (entry.mode >>> 12) & 0o17, true);
}

/** A whole INVAL_INODE notification. With `data` the cached pages are dropped too, without it only attributes. */
export function invalInodeNotification(ino: number, data: boolean): Buffer {
  const { bytes, view } = notification(notifyCode.invalInode, 24);
  putInt64(view, 16, ino);
  // An offset below 0 means attributes only; from 0 with length 0 means all pages.
  putInt64(view, 24, data ? 0 : -1);
  putInt64(view, 32, 0);
  return bytes;
}

/** A whole INVAL_ENTRY notification. */
export function invalEntryNotification(parent: number, name: string): Buffer {
  const nameBytes = Buffer.byteLength(name);
  const { bytes, view } = notification(notifyCode.invalEntry, 16 + nameBytes + 1);
  putInt64(view, 16, parent);
  view.setUint32(24, nameBytes, true);
  bytes.write(name, 32);
  return bytes;
}

/** A whole RESEND notification (7.40, Linux 6.9): what was read from the device and has no answer is sent again. */
export function resendNotification(): Buffer {
  return notification(notifyCode.resend, 0).bytes;
}

/** A reply with unique 0 is a notification, and its error field is the code. */
function notification(code: number, bodyBytes: number): { bytes: Buffer; view: DataView } {
  const bytes = Buffer.alloc(wireBytes.replyHeader + bodyBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  putReplyHeader(view, 0, bytes.length, -code, 0, 0);
  return { bytes, view };
}

function putDuration(view: DataView, secondsAt: number, nanosecondsAt: number, duration: Milliseconds): void {
  const seconds = Math.floor(duration / 1000);
  putInt64(view, secondsAt, seconds);
  view.setUint32(nanosecondsAt, Math.floor((duration - seconds * 1000) * 1e6), true);
}

/** Zero-fills; layouts are multiples of four bytes. */
export function zero(view: DataView, at: number, lengthBytes: number): void {
  for (let index = 0; index < lengthBytes; index += 4) view.setUint32(at + index, 0, true);
}
