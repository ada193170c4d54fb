/**
 * A file system in memory behind `FuseOperations`, for tests of drivers. Simple rather than complete: permissions are
 * the kernel's (default_permissions), times come from a counter, and what tests ask about is recorded in public fields.
 */

import { CancelledError, FileSystemError } from "../../src/domain/errors.js";
import type { InodeNumber } from "../../src/domain/ids.js";
import { type FileTime, hours, type Milliseconds } from "../../src/domain/time.js";
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
} from "../../src/fuse/driver.js";
import {
  type Attributes,
  fileTypeMask,
  isDirectory,
  permissionMask,
  typeDirectory,
  typeRegular,
  typeSymlink,
} from "../../src/vfs/attributes.js";

export interface MemoryNode {
  attributes: Attributes;
  data: Buffer;
  readonly children: Map<string, MemoryNode>;
  parent: MemoryNode | undefined;
  target: string;
  readonly xattrs: Map<string, Uint8Array>;
}

/** What an open met: tests look at `flags`, `caller` and whether it was `interrupted`. */
export interface RecordedOpen {
  readonly ino: InodeNumber;
  readonly flags: number;
  readonly caller: FuseCaller;
  interrupted: boolean;
}

export class MemoryFuseOperations implements FuseOperations {
  readonly root: MemoryNode;
  readonly nodes = new Map<InodeNumber, MemoryNode>();
  readonly opens: RecordedOpen[] = [];
  readonly openHandles = new Map<HandleNumber, InodeNumber>();
  readonly openDirectories = new Map<HandleNumber, readonly [string, MemoryNode][]>();
  readonly forgotten: InodeNumber[] = [];
  readonly calls: string[] = [];
  cachesListings = false;
  /** Requests for entries of directories. */
  listings = 0;
  /** Opens of these inodes wait until their caller gives up or `unpark`. */
  readonly parked = new Map<InodeNumber, Set<() => void>>();
  /** Thrown by each lookup of this name, and by `flush`. */
  readonly failures = new Map<string, unknown>();
  timeoutMs: Milliseconds = hours(1);
  /** How opens are answered. */
  openReply: Omit<OpenReply, "handle"> = {};
  /** Awaited in each lookup: a test can keep lookups unanswered. */
  beforeLookup: (() => Promise<void>) | undefined;
  /** Awaited in each write: a test can keep writes pending. */
  beforeWrite: (() => Promise<void>) | undefined;
  #nextIno = 2;
  #nextHandle = 1;
  #clock = 1_700_000_000;

  constructor() {
    this.root = this.#node(1 as InodeNumber, typeDirectory | 0o755, undefined);
  }

  /** Makes a file (or with `content` null a directory) at an absolute path whose parent exists. */
  add(path: string, content: string | Buffer | null, mode = content === null ? 0o755 : 0o644): MemoryNode {
    const names = path.split("/").filter((name) => name !== "");
    const name = names.pop()!;
    const parent = names.reduce((node, step) => node.children.get(step)!, this.root);
    const node = this.#attach(parent, name, (content === null ? typeDirectory : typeRegular) | mode);
    if (content !== null) this.setContent(node, Buffer.from(content));
    return node;
  }

  at(path: string): MemoryNode | undefined {
    const names = path.split("/").filter((name) => name !== "");
    return names.reduce<MemoryNode | undefined>((node, name) => node?.children.get(name), this.root);
  }

  setContent(node: MemoryNode, data: Buffer): void {
    node.data = data;
    this.#resized(node, data.length);
  }

  unpark(ino: InodeNumber): void {
    for (const resume of this.parked.get(ino) ?? []) resume();
    this.parked.delete(ino);
  }

  async lookup(_caller: FuseCaller, parent: InodeNumber, name: string): Promise<EntryReply | NegativeEntryReply> {
    this.#fail(name);
    if (name === ".") return this.#entry(this.#get(parent));
    if (name === "..") return this.#entry(this.#get(parent).parent ?? this.root);
    if (this.beforeLookup !== undefined) await this.beforeLookup();
    const child = this.#get(parent).children.get(name);
    return child === undefined ? { attributes: null, entryTimeoutMs: this.timeoutMs } : this.#entry(child);
  }

  forget(ino: InodeNumber): void {
    this.forgotten.push(ino);
  }

  async getAttributes(_caller: FuseCaller, ino: InodeNumber): Promise<AttributesReply> {
    return this.#attributes(this.#get(ino));
  }

  async setAttributes(
    _caller: FuseCaller,
    ino: InodeNumber,
    _handle: HandleNumber | undefined,
    changes: AttributeChanges,
  ): Promise<AttributesReply> {
    const node = this.#get(ino);
    const { mode, uid, gid, sizeBytes, atime, mtime } = changes;
    if (sizeBytes !== undefined) this.#truncate(node, sizeBytes);
    const before = node.attributes;
    node.attributes = {
      ...before,
      mode: mode === undefined ? before.mode : (before.mode & fileTypeMask) | (mode & permissionMask),
      uid: uid ?? before.uid,
      gid: gid ?? before.gid,
      atime: atime === "now" ? this.#now() : (atime ?? before.atime),
      mtime: mtime === "now" ? this.#now() : (mtime ?? before.mtime),
      ctime: this.#now(),
    };
    return this.#attributes(node);
  }

  async readLink(_caller: FuseCaller, ino: InodeNumber): Promise<string> {
    return this.#get(ino).target;
  }

  async symlink(caller: FuseCaller, parent: InodeNumber, name: string, target: string): Promise<EntryReply> {
    const node = this.#create(caller, parent, name, typeSymlink | 0o777);
    node.target = target;
    this.#resized(node, Buffer.byteLength(target));
    return this.#entry(node);
  }

  async makeNode(caller: FuseCaller, parent: InodeNumber, name: string, mode: number): Promise<EntryReply> {
    if ((mode & fileTypeMask) !== typeRegular) throw new FileSystemError("not-permitted", "Only regular files");
    return this.#entry(this.#create(caller, parent, name, mode));
  }

  async makeDirectory(caller: FuseCaller, parent: InodeNumber, name: string, mode: number): Promise<EntryReply> {
    return this.#entry(this.#create(caller, parent, name, typeDirectory | (mode & permissionMask)));
  }

  async unlink(_caller: FuseCaller, parent: InodeNumber, name: string): Promise<void> {
    this.#detach(parent, name);
  }

  async removeDirectory(_caller: FuseCaller, parent: InodeNumber, name: string): Promise<void> {
    const node = this.#get(parent).children.get(name);
    if (node !== undefined && node.children.size > 0) throw new FileSystemError("not-empty", "Not empty");
    this.#detach(parent, name);
  }

  async rename(
    _caller: FuseCaller,
    from: { readonly parent: InodeNumber; readonly name: string },
    to: { readonly parent: InodeNumber; readonly name: string },
    mode: "replace" | "no-replace" | "exchange",
  ): Promise<void> {
    this.calls.push(`rename ${mode}`);
    const oldParent = this.#get(from.parent);
    const newParent = this.#get(to.parent);
    const node = oldParent.children.get(from.name);
    const target = newParent.children.get(to.name);
    if (node === undefined) throw new FileSystemError("not-found", "No such name");
    if (mode === "no-replace" && target !== undefined) throw new FileSystemError("exists", "Exists");
    if (mode === "exchange" && target === undefined) throw new FileSystemError("not-found", "No such name");
    oldParent.children.delete(from.name);
    if (mode === "exchange") oldParent.children.set(from.name, target!);
    newParent.children.set(to.name, node);
    node.parent = newParent;
  }

  async link(_caller: FuseCaller, ino: InodeNumber, parent: InodeNumber, name: string): Promise<EntryReply> {
    const node = this.#get(ino);
    const directory = this.#get(parent);
    if (directory.children.has(name)) throw new FileSystemError("exists", "Exists");
    directory.children.set(name, node);
    node.attributes = { ...node.attributes, nlink: node.attributes.nlink + 1 };
    return this.#entry(node);
  }

  async open(caller: FuseCaller, ino: InodeNumber, flags: number): Promise<OpenReply> {
    const recorded: RecordedOpen = { ino, flags, caller, interrupted: false };
    this.opens.push(recorded);
    const waiting = this.parked.get(ino);
    if (waiting !== undefined) await this.#wait(recorded, waiting);
    if ((flags & 0o1000) !== 0) this.#truncate(this.#get(ino), 0);
    return this.#open(ino);
  }

  #wait(open: RecordedOpen, waiting: Set<() => void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const resume = () => {
        waiting.delete(resume);
        resolve();
      };
      waiting.add(resume);
      open.caller.signal.addEventListener("abort", () => {
        open.interrupted = true;
        waiting.delete(resume);
        reject(open.caller.signal.reason ?? new CancelledError("open"));
      });
    });
  }

  async create(caller: FuseCaller, parent: InodeNumber, name: string, mode: number, flags: number) {
    const node = this.#create(caller, parent, name, typeRegular | (mode & permissionMask));
    this.opens.push({ ino: node.attributes.ino, flags, caller, interrupted: false });
    return { entry: this.#entry(node), open: this.#open(node.attributes.ino) };
  }

  async createNameless(caller: FuseCaller, _parent: InodeNumber, mode: number, flags: number) {
    const node = this.#node(this.#nextIno++ as InodeNumber, typeRegular | (mode & permissionMask), undefined);
    node.attributes = { ...node.attributes, nlink: 0, uid: caller.uid, gid: caller.gid };
    this.opens.push({ ino: node.attributes.ino, flags, caller, interrupted: false });
    return { entry: this.#entry(node), open: this.#open(node.attributes.ino) };
  }

  async copyRange(
    _caller: FuseCaller,
    from: { readonly handle: HandleNumber; readonly offset: number },
    to: { readonly handle: HandleNumber; readonly offset: number },
    length: number,
  ): Promise<number> {
    const source = this.#get(this.openHandles.get(from.handle)!);
    const target = this.#get(this.openHandles.get(to.handle)!);
    const data = source.data.subarray(from.offset, Math.min(from.offset + length, source.attributes.sizeBytes));
    this.#put(target, to.offset, Buffer.from(data));
    this.calls.push(`copyRange ${length}`);
    return data.length;
  }

  async read(_caller: FuseCaller, ino: InodeNumber, _handle: HandleNumber, offset: number, into: Uint8Array) {
    const { data, attributes } = this.#get(ino);
    const end = Math.min(offset + into.length, attributes.sizeBytes);
    if (end <= offset) return 0;
    into.set(data.subarray(offset, end));
    return end - offset;
  }

  async write(
    _caller: FuseCaller,
    ino: InodeNumber,
    _handle: HandleNumber,
    offset: number,
    data: Uint8Array,
    isAppend = false,
  ) {
    if (this.beforeWrite !== undefined) await this.beforeWrite();
    const node = this.#get(ino);
    this.#put(node, isAppend ? node.attributes.sizeBytes : offset, data);
  }

  #put(node: MemoryNode, offset: number, data: Uint8Array): void {
    const end = offset + data.length;
    if (end > node.data.length) this.#reserve(node, end);
    node.data.set(data, offset);
    this.#resized(node, Math.max(end, node.attributes.sizeBytes));
  }

  async flush(): Promise<void> {
    this.#fail("flush");
  }

  async release(_ino: InodeNumber, handle: HandleNumber): Promise<void> {
    if (!this.openHandles.delete(handle)) throw new Error(`Released twice: ${handle}`);
  }

  async fsync(_caller: FuseCaller, _ino: InodeNumber, _handle: HandleNumber, dataOnly: boolean): Promise<void> {
    this.calls.push(`fsync ${dataOnly ? "data" : "all"}`);
  }

  async allocate(
    _caller: FuseCaller,
    ino: InodeNumber,
    _handle: HandleNumber,
    { offset, length }: { readonly offset: number; readonly length: number },
    mode: number,
  ): Promise<void> {
    if (mode !== 0) throw new FileSystemError("not-supported", "Only plain allocation");
    const node = this.#get(ino);
    this.#truncate(node, Math.max(node.attributes.sizeBytes, offset + length));
  }

  async seek(
    _caller: FuseCaller,
    ino: InodeNumber,
    _handle: HandleNumber,
    offset: number,
    whence: "data" | "hole",
  ): Promise<number> {
    const { sizeBytes } = this.#get(ino).attributes;
    if (offset >= sizeBytes) throw new FileSystemError("out-of-range", "Behind the end");
    return whence === "data" ? offset : sizeBytes;
  }

  async openDirectory(_caller: FuseCaller, ino: InodeNumber): Promise<OpenReply> {
    const handle = this.#nextHandle++ as HandleNumber;
    this.openDirectories.set(handle, [...this.#get(ino).children]);
    return { handle, cacheListing: this.cachesListings };
  }

  async readDirectory(
    _caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber,
    cookie: number,
    sink: DirectorySink,
  ): Promise<void> {
    this.listings += 1;
    const node = this.#get(ino);
    const parent = node.parent ?? node;
    const entries = this.openDirectories.get(handle)!;
    if (cookie < 1 && !sink.add(".", 1, ino, node.attributes.mode, null)) return;
    if (cookie < 2 && !sink.add("..", 2, parent.attributes.ino, parent.attributes.mode, null)) return;
    for (let index = Math.max(cookie - 2, 0); index < entries.length; index++) {
      const [name, child] = entries[index]!;
      const { ino: childIno, mode } = child.attributes;
      if (!sink.add(name, index + 3, childIno, mode, this.#entry(child))) return;
    }
  }

  async releaseDirectory(_ino: InodeNumber, handle: HandleNumber): Promise<void> {
    if (!this.openDirectories.delete(handle)) throw new Error(`Released twice: ${handle}`);
  }

  async syncDirectory(): Promise<void> {
    this.calls.push("syncDirectory");
  }

  async syncFileSystem(): Promise<void> {
    this.calls.push("syncFileSystem");
  }

  async statfs(): Promise<StatfsReply> {
    return {
      blockSizeBytes: 4096,
      blocks: 2 ** 40,
      blocksFree: 2 ** 39,
      blocksAvailable: 2 ** 38,
      files: 1000,
      filesFree: 500,
      nameBytesMax: 255,
    };
  }

  async getExtendedAttribute(_caller: FuseCaller, ino: InodeNumber, name: string): Promise<Uint8Array> {
    const value = this.#get(ino).xattrs.get(name);
    if (value === undefined) throw new FileSystemError("no-attribute", `No attribute ${name}`);
    return value;
  }

  async listExtendedAttributes(_caller: FuseCaller, ino: InodeNumber): Promise<readonly string[]> {
    return [...this.#get(ino).xattrs.keys()];
  }

  async setExtendedAttribute(
    _caller: FuseCaller,
    ino: InodeNumber,
    name: string,
    value: Uint8Array,
    mode: "any" | "create" | "replace",
  ): Promise<void> {
    const { xattrs } = this.#get(ino);
    if (mode === "create" && xattrs.has(name)) throw new FileSystemError("exists", `Attribute ${name} exists`);
    if (mode === "replace" && !xattrs.has(name)) throw new FileSystemError("no-attribute", `No attribute ${name}`);
    xattrs.set(name, value);
  }

  async removeExtendedAttribute(_caller: FuseCaller, ino: InodeNumber, name: string): Promise<void> {
    if (!this.#get(ino).xattrs.delete(name)) throw new FileSystemError("no-attribute", `No attribute ${name}`);
  }

  #fail(key: string): void {
    if (this.failures.has(key)) throw this.failures.get(key);
  }

  #now(): FileTime {
    return { seconds: this.#clock++, nanoseconds: 123_456_789 };
  }

  #get(ino: InodeNumber): MemoryNode {
    const node = this.nodes.get(ino);
    if (node === undefined) throw new FileSystemError("stale", `No inode ${ino}`);
    return node;
  }

  #node(ino: InodeNumber, mode: number, parent: MemoryNode | undefined): MemoryNode {
    const now = this.#now();
    const attributes: Attributes = {
      ...{ ino, mode, nlink: isDirectory(mode) ? 2 : 1, uid: 0, gid: 0, rdev: 0, sizeBytes: 0, blocks: 0 },
      ...{ atime: now, mtime: now, ctime: now },
    };
    const node = { attributes, data: Buffer.alloc(0), children: new Map(), parent, target: "", xattrs: new Map() };
    this.nodes.set(ino, node);
    return node;
  }

  #attach(parent: MemoryNode, name: string, mode: number): MemoryNode {
    const node = this.#node(this.#nextIno++ as InodeNumber, mode, parent);
    parent.children.set(name, node);
    parent.attributes = { ...parent.attributes, mtime: this.#now() };
    return node;
  }

  #create(caller: FuseCaller, parent: InodeNumber, name: string, mode: number): MemoryNode {
    const directory = this.#get(parent);
    if (directory.children.has(name)) throw new FileSystemError("exists", "Exists");
    const node = this.#attach(directory, name, mode);
    node.attributes = { ...node.attributes, uid: caller.uid, gid: caller.gid };
    return node;
  }

  #detach(parent: InodeNumber, name: string): void {
    const directory = this.#get(parent);
    const node = directory.children.get(name);
    if (node === undefined) throw new FileSystemError("not-found", "No such name");
    directory.children.delete(name);
    directory.attributes = { ...directory.attributes, mtime: this.#now() };
    node.attributes = { ...node.attributes, nlink: node.attributes.nlink - 1 };
  }

  #open(ino: InodeNumber): OpenReply {
    const handle = this.#nextHandle++ as HandleNumber;
    this.openHandles.set(handle, ino);
    return { handle, ...this.openReply };
  }

  #truncate(node: MemoryNode, sizeBytes: number): void {
    if (sizeBytes > node.data.length) this.#reserve(node, sizeBytes);
    else node.data.fill(0, sizeBytes);
    this.#resized(node, sizeBytes);
  }

  #reserve(node: MemoryNode, sizeBytes: number): void {
    const grown = Buffer.alloc(Math.max(sizeBytes, node.data.length * 2));
    node.data.copy(grown);
    node.data = grown;
  }

  #resized(node: MemoryNode, sizeBytes: number): void {
    const now = this.#now();
    const blocks = Math.ceil(sizeBytes / 512);
    node.attributes = { ...node.attributes, sizeBytes, blocks, mtime: now, ctime: now };
  }

  #entry(node: MemoryNode): EntryReply {
    return { ...this.#attributes(node), entryTimeoutMs: this.timeoutMs };
  }

  #attributes(node: MemoryNode): AttributesReply {
    return { attributes: node.attributes, attributesTimeoutMs: this.timeoutMs };
  }
}
