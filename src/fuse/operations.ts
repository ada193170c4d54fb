/**
 * A driver's requests -> calls on `FileSystem` -> replies.
 *
 * Knows the O_* flags, how long the kernel may remember an answer, and which inode is the root of the mount.
 * Never: decides what an operation means; that is `vfs/`.
 */

import { constants } from "node:fs";
import { describeError, FileSystemError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import { type InodeNumber, rootIno } from "../domain/ids.js";
import { hours, type Milliseconds } from "../domain/time.js";
import { type Attributes, isDirectory, typeDirectory } from "../vfs/attributes.js";
import type { FileSystem, RequestedAttributes } from "../vfs/filesystem.js";
import type { OpenIntent } from "../vfs/handle-table.js";
import type { Place } from "../vfs/namespace.js";
import type { ReadManner } from "../vfs/partial-reads.js";
import type {
  AttributeChanges,
  AttributesReply,
  DirectorySink,
  EntryReply,
  FuseCaller,
  FuseOperations,
  HandleNumber,
  NegativeEntryReply,
  OpenReply,
  StatfsReply,
} from "./driver.js";

// Everything changes through this mount or is invalidated, so the kernel may remember for long.
const timeoutMs: Milliseconds = hours(1);
const nameBytesMax = 255;
/** __FMODE_EXEC: what execve(2) opens carries it, and no open(2) can. */
const executeFlag = 0x20;
/** Modes of fallocate(2). */
const fallocate = { keepSize: 1, punchHole: 2, zeroRange: 16 } as const;
const allocateModes = fallocate.keepSize | fallocate.punchHole | fallocate.zeroRange;

export interface FileSystemOperationsOptions {
  readonly fileSystem: FileSystem;
  /** The inode that the mount shows as its root: 1, or the directory of one vault. */
  readonly root: InodeNumber;
  readonly readOnly: boolean;
  readonly observer: Observer;
}

export class FileSystemOperations implements FuseOperations {
  readonly #fs: FileSystem;
  readonly #root: InodeNumber;
  readonly #readOnly: boolean;
  readonly #observer: Observer;

  constructor(options: FileSystemOperationsOptions) {
    this.#fs = options.fileSystem;
    this.#root = options.root;
    this.#readOnly = options.readOnly;
    this.#observer = options.observer;
  }

  async lookup(_caller: FuseCaller, parent: InodeNumber, name: string): Promise<EntryReply | NegativeEntryReply> {
    if (name === ".") return this.#entry(this.#fs.attributes(this.#in(parent)));
    if (name === "..") return this.#entry(this.#fs.attributes(this.#parentOf(this.#in(parent))));
    const attributes = this.#fs.lookup(this.#in(parent), name);
    return attributes === undefined ? { attributes: null, entryTimeoutMs: timeoutMs } : this.#entry(attributes);
  }

  forget(ino: InodeNumber): void {
    this.#fs.forget(this.#in(ino)).catch((error: unknown) => this.#report("forget", ino, error));
  }

  async getAttributes(_caller: FuseCaller, ino: InodeNumber): Promise<AttributesReply> {
    return this.#attributes(this.#fs.attributes(this.#in(ino)));
  }

  async setAttributes(
    _caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber | undefined,
    changes: AttributeChanges,
  ): Promise<AttributesReply> {
    this.#requireWritable();
    const { ctime: _ctime, ...wanted } = changes;
    // ftruncate(2) moves the times even when the size stays, truncate(2) does not.
    const cut = handle === undefined || wanted.sizeBytes === undefined ? {} : ({ mtime: "now" } as const);
    const requested: RequestedAttributes = { ...cut, ...wanted };
    return this.#attributes(await this.#fs.setAttributes(this.#in(ino), requested));
  }

  async readLink(_caller: FuseCaller, ino: InodeNumber): Promise<string> {
    return this.#fs.readLink(this.#in(ino));
  }

  async symlink(caller: FuseCaller, parent: InodeNumber, name: string, target: string): Promise<EntryReply> {
    return this.#entry(await this.#fs.symlink(this.#place(parent, name), target, caller));
  }

  async makeNode(
    caller: FuseCaller,
    parent: InodeNumber,
    name: string,
    mode: number,
    rdev: number,
  ): Promise<EntryReply> {
    return this.#entry(await this.#fs.makeNode(this.#place(parent, name), mode, rdev, caller));
  }

  async makeDirectory(caller: FuseCaller, parent: InodeNumber, name: string, mode: number): Promise<EntryReply> {
    return this.#entry(await this.#fs.makeDirectory(this.#place(parent, name), mode, caller));
  }

  async unlink(_caller: FuseCaller, parent: InodeNumber, name: string): Promise<void> {
    await this.#fs.unlink(this.#place(parent, name));
  }

  async removeDirectory(_caller: FuseCaller, parent: InodeNumber, name: string): Promise<void> {
    await this.#fs.removeDirectory(this.#place(parent, name));
  }

  async rename(
    _caller: FuseCaller,
    from: Place,
    to: Place,
    mode: "replace" | "no-replace" | "exchange",
  ): Promise<void> {
    await this.#fs.rename(this.#place(from.parent, from.name), this.#place(to.parent, to.name), mode);
  }

  async link(_caller: FuseCaller, ino: InodeNumber, parent: InodeNumber, name: string): Promise<EntryReply> {
    return this.#entry(await this.#fs.link(this.#in(ino), this.#place(parent, name)));
  }

  async open(caller: FuseCaller, ino: InodeNumber, flags: number): Promise<OpenReply> {
    const intent = intentOf(flags);
    if (intent.write) this.#requireWritable();
    const handle = await this.#fs.open(this.#in(ino), intent, caller);
    return this.#fs.contents.isDirect(handle) ? { handle: handle as HandleNumber, directIo: true } : opened(handle);
  }

  async create(
    caller: FuseCaller,
    parent: InodeNumber,
    name: string,
    mode: number,
    flags: number,
  ): Promise<{ readonly entry: EntryReply; readonly open: OpenReply }> {
    const made = await this.#fs.create(this.#place(parent, name), mode, intentOf(flags), caller);
    return { entry: this.#entry(made.attributes), open: opened(made.handle) };
  }

  async createNameless(
    caller: FuseCaller,
    parent: InodeNumber,
    mode: number,
    flags: number,
  ): Promise<{ readonly entry: EntryReply; readonly open: OpenReply }> {
    this.#requireWritable();
    const made = await this.#fs.createNameless(this.#in(parent), mode, intentOf(flags), caller);
    return { entry: this.#entry(made.attributes), open: opened(made.handle) };
  }

  read(
    caller: FuseCaller,
    _ino: InodeNumber,
    handle: HandleNumber,
    offset: number,
    into: Uint8Array,
    manner?: ReadManner,
  ): Promise<number> {
    return this.#fs.contents.read(handle, offset, into, caller, manner);
  }

  write(
    caller: FuseCaller,
    _ino: InodeNumber,
    handle: HandleNumber,
    offset: number,
    data: Uint8Array,
    isAppend?: boolean,
  ): Promise<void> {
    return this.#fs.contents.write(handle, offset, data, caller, isAppend);
  }

  flush(caller: FuseCaller, _ino: InodeNumber, handle: HandleNumber): Promise<void> {
    return this.#fs.contents.flush(handle, caller);
  }

  async release(ino: InodeNumber, handle: HandleNumber): Promise<void> {
    await this.#fs.release(handle).catch((error: unknown) => this.#report("release", ino, error));
  }

  fsync(caller: FuseCaller, _ino: InodeNumber, handle: HandleNumber): Promise<void> {
    return this.#fs.contents.fsync(handle, () => caller.signal);
  }

  copyRange(
    caller: FuseCaller,
    from: { readonly handle: HandleNumber; readonly offset: number },
    to: { readonly handle: HandleNumber; readonly offset: number },
    length: number,
  ): Promise<number> {
    return this.#fs.ranges.copy(from, to, length, caller);
  }

  async allocate(
    caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber,
    range: { readonly offset: number; readonly length: number },
    mode: number,
  ): Promise<void> {
    if ((mode & ~allocateModes) !== 0) throw new FileSystemError("not-supported", `Cannot fallocate in mode ${mode}`);
    const { contents } = this.#fs;
    const span = { start: range.offset, end: range.offset + range.length };
    if ((mode & (fallocate.punchHole | fallocate.zeroRange)) !== 0) {
      await contents.clear(handle, span, caller, { frees: (mode & fallocate.punchHole) !== 0 });
    }
    // Staging files are sparse: keeping the size leaves nothing to do.
    if ((mode & fallocate.keepSize) === 0) await contents.extend(handle, span, caller);
    // Every fallocate moves the times, also one that finds nothing to do.
    await this.#fs.setAttributes(this.#in(ino), { mtime: "now" });
  }

  seek(
    _caller: FuseCaller,
    _ino: InodeNumber,
    handle: HandleNumber,
    offset: number,
    whence: "data" | "hole",
  ): Promise<number> {
    return this.#fs.ranges.seek(handle, offset, whence);
  }

  async openDirectory(_caller: FuseCaller, ino: InodeNumber): Promise<OpenReply> {
    this.#fs.requireListable(this.#in(ino));
    // A listing goes on by the cookies of its entries; there is nothing to remember. The kernel hears of every name that
    // comes or goes by itself.
    return { handle: 0 as HandleNumber, cacheListing: true };
  }

  async readDirectory(
    _caller: FuseCaller,
    ino: InodeNumber,
    _handle: HandleNumber,
    cookie: number,
    sink: DirectorySink,
  ): Promise<void> {
    const directory = this.#in(ino);
    if (cookie < 1 && !sink.add(".", 1, ino, typeDirectory, null)) return;
    if (cookie < 2 && !sink.add("..", 2, this.#out(this.#parentOf(directory)), typeDirectory, null)) return;
    const after = Math.max(cookie - 2, 0);
    if (sink.takes === "all") this.#listAll(directory, after, sink);
    else this.#listNames(directory, after, sink);
  }

  #listAll(directory: InodeNumber, after: number, sink: DirectorySink): void {
    for (const entry of this.#fs.list(directory, after, sink.capacity)) {
      const reply = this.#entry(entry.attributes);
      const { ino, mode } = reply.attributes;
      if (!sink.add(entry.name, entry.cookie + 2, ino, mode, reply)) return;
    }
  }

  #listNames(directory: InodeNumber, after: number, sink: DirectorySink): void {
    const withDirectories = sink.takes === "directories";
    this.#fs.listNames(directory, after, sink.capacity, (name, cookie, ino, mode) => {
      const entry = withDirectories && isDirectory(mode) ? this.#entry(this.#fs.attributes(ino)) : null;
      return sink.add(name, cookie + 2, this.#out(ino), mode, entry);
    });
  }

  async releaseDirectory(): Promise<void> {}

  syncDirectory(): Promise<void> {
    return this.#fs.syncDirectory();
  }

  syncFileSystem(): Promise<void> {
    return this.#fs.syncAll();
  }

  async statfs(): Promise<StatfsReply> {
    const { blockSizeBytes, blocks, blocksFree, inodes } = this.#fs.space();
    const filesMax = 2 ** 32;
    return {
      blockSizeBytes,
      blocks,
      blocksFree,
      blocksAvailable: blocksFree,
      files: filesMax,
      filesFree: filesMax - inodes,
      nameBytesMax,
    };
  }

  async getExtendedAttribute(_caller: FuseCaller, ino: InodeNumber, name: string): Promise<Uint8Array> {
    return this.#fs.extendedAttributes.get(this.#fs.record(this.#in(ino)), name);
  }

  /** What only the administrator may read is not shown to others, as on local file systems. */
  async listExtendedAttributes(caller: FuseCaller, ino: InodeNumber): Promise<readonly string[]> {
    const names = this.#fs.extendedAttributes.list(this.#in(ino));
    return caller.uid === 0 ? names : names.filter((name) => !name.startsWith("trusted."));
  }

  async setExtendedAttribute(
    _caller: FuseCaller,
    ino: InodeNumber,
    name: string,
    value: Uint8Array,
    mode: "any" | "create" | "replace",
  ): Promise<void> {
    await this.#fs.extendedAttributes.set(this.#fs.record(this.#in(ino)), name, value, mode);
  }

  async removeExtendedAttribute(_caller: FuseCaller, ino: InodeNumber, name: string): Promise<void> {
    await this.#fs.extendedAttributes.remove(this.#fs.record(this.#in(ino)), name);
  }

  #in(ino: InodeNumber): InodeNumber {
    return ino === rootIno ? this.#root : ino;
  }

  #out(ino: InodeNumber): InodeNumber {
    return ino === this.#root ? rootIno : ino;
  }

  #parentOf(directory: InodeNumber): InodeNumber {
    return directory === this.#root ? directory : this.#fs.parentOf(directory);
  }

  #place(parent: InodeNumber, name: string): Place {
    this.#requireWritable();
    return { parent: this.#in(parent), name };
  }

  #requireWritable(): void {
    if (this.#readOnly) throw new FileSystemError("read-only", "The file system is mounted read-only");
  }

  #attributes(attributes: Attributes): AttributesReply {
    const ino = this.#out(attributes.ino);
    return {
      attributes: ino === attributes.ino ? attributes : { ...attributes, ino },
      attributesTimeoutMs: timeoutMs,
    };
  }

  #entry(attributes: Attributes): EntryReply {
    return { ...this.#attributes(attributes), entryTimeoutMs: timeoutMs };
  }

  #report(operation: string, inode: InodeNumber, error: unknown): void {
    this.#observer({ type: "request-failed", operation, inode, message: describeError(error) });
  }
}

function opened(handle: number): OpenReply {
  // Bytes change only through this mount, which keeps the kernel's pages right.
  return { handle: handle as HandleNumber, keepCache: true };
}

function intentOf(flags: number): OpenIntent {
  const access = flags & 3;
  return {
    write: access === constants.O_WRONLY || access === constants.O_RDWR,
    append: (flags & constants.O_APPEND) !== 0,
    truncate: (flags & constants.O_TRUNC) !== 0,
    nonBlock: (flags & constants.O_NONBLOCK) !== 0,
    execute: (flags & executeFlag) !== 0,
  };
}
