/**
 * Entries of one READDIR or READDIRPLUS reply, serialised straight into the reply's buffer.
 *
 * READDIRPLUS entries count as looked up while they are added; `undo` takes that back when the reply does not arrive.
 */

import type { InodeNumber } from "../../domain/ids.js";
import { isDirectory } from "../../vfs/attributes.js";
import type { DirectorySink, EntryReply } from "../driver.js";
import type { ShownAttributes } from "./attribute-demand.js";
import type { DeviceBuffer } from "./device-buffer.js";
import type { KnownInodes } from "./known-inodes.js";
import { wireBytes } from "./protocol.js";
import { putDirectoryEntry, putEntry } from "./wire-reply.js";
import { uint64 } from "./wire-request.js";

const shortNameBytes = 8;

export class DirectoryReply implements DirectorySink {
  readonly capacity: number;
  readonly #buffer: DeviceBuffer;
  readonly #plus: boolean;
  readonly takes: "all" | "directories" | "none";
  /** The next file is shown without its attributes. */
  #withholds: boolean;
  readonly #inodes: KnownInodes;
  readonly #end: number;
  /** Bytes in front of a name. */
  readonly #fixedBytes: number;
  #at: number = wireBytes.replyHeader;

  constructor(
    buffer: DeviceBuffer,
    options: {
      readonly sizeBytes: number;
      /** Of READDIRPLUS; null for READDIR. */
      readonly shown: ShownAttributes | null;
      readonly inodes: KnownInodes;
    },
  ) {
    this.#buffer = buffer;
    this.#plus = options.shown !== null;
    this.takes = options.shown === null ? "none" : options.shown === "directories" ? "directories" : "all";
    this.#withholds = options.shown === "all-but-one";
    this.#inodes = options.inodes;
    this.#end = wireBytes.replyHeader + options.sizeBytes;
    // Once for all entries: what follows names, and attributes that are not shown.
    buffer.bytes.fill(0, wireBytes.replyHeader, this.#end);
    this.#fixedBytes = wireBytes.directoryEntry + (this.#plus ? wireBytes.entry : 0);
    this.capacity = Math.floor(options.sizeBytes / (this.#fixedBytes + shortNameBytes));
  }

  /** Bytes of entries, behind room for the reply's header. */
  get usedBytes(): number {
    return this.#at - wireBytes.replyHeader;
  }

  add(name: string, cookie: number, ino: InodeNumber, mode: number, entry: EntryReply | null): boolean {
    const nameStart = this.#at + this.#fixedBytes;
    const nameBytes = this.#putName(name, nameStart);
    if (nameBytes < 0) return false;
    const { view } = this.#buffer;
    if (this.#plus) this.#putEntry(this.#shows(mode) ? entry : null);
    const described = entry?.attributes ?? { ino, mode };
    const direntAt = nameStart - wireBytes.directoryEntry;
    putDirectoryEntry(view, direntAt, { ino: described.ino, cookie, nameBytes, mode: described.mode });
    this.#at = nameStart + aligned(nameBytes);
    return true;
  }

  /** Whether the kernel gets the attributes of the next entry; without them it does not count as looked up. */
  #shows(mode: number): boolean {
    if (isDirectory(mode)) return true;
    if (!this.#withholds) return this.takes === "all";
    this.#withholds = false;
    return false;
  }

  #putEntry(entry: EntryReply | null): void {
    if (entry === null) return;
    const { ino, mode } = entry.attributes;
    this.#inodes.count(ino);
    this.#inodes.sawMode(ino, mode);
    putEntry(this.#buffer.view, this.#at, entry);
  }

  /** Writes the name and returns its length, or -1 when it does not fit. */
  #putName(name: string, start: number): number {
    const { bytes } = this.#buffer;
    const room = this.#end - start;
    const { length } = name;
    // UTF-8 has at least as many bytes as the string has units.
    if (aligned(length) > room) return -1;
    for (let index = 0; index < length; index++) {
      const unit = name.charCodeAt(index);
      if (unit >= 0x80) return this.#putEncodedName(name, start, room);
      bytes[start + index] = unit;
    }
    return length;
  }

  #putEncodedName(name: string, start: number, room: number): number {
    const length = Buffer.byteLength(name);
    if (aligned(length) > room) return -1;
    return this.#buffer.bytes.write(name, start);
  }

  /** The reply will not arrive: no entry of it counts. `forgotten` hears of inodes that nothing refers to any more. */
  undo(forgotten: (ino: InodeNumber) => void): void {
    if (!this.#plus) return;
    const { view } = this.#buffer;
    for (let at: number = wireBytes.replyHeader; at < this.#at; ) {
      const ino = uint64(view, at) as InodeNumber;
      const nameBytes = view.getUint32(at + wireBytes.entry + 16, true);
      if (ino !== 0 && this.#inodes.forget(ino, 1)) forgotten(ino);
      at += this.#fixedBytes + aligned(nameBytes);
    }
  }
}

/** Entries begin at multiples of eight bytes. */
function aligned(bytes: number): number {
  return (bytes + 7) & ~7;
}
