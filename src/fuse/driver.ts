/**
 * What a FUSE driver offers to the layer above: the one interface between them.
 *
 * A driver receives the kernel's requests by inode number, hands each to `FuseOperations` and writes the reply; a
 * rejected promise becomes an errno through `errno.ts`. It decides nothing about what an operation means.
 *
 * Buffers are lent: `data` of a write only until the operation's promise has settled, `into` of a read likewise.
 */

import type { InodeNumber } from "../domain/ids.js";
import type { FileTime, Milliseconds } from "../domain/time.js";
import type { Attributes } from "../vfs/attributes.js";
import type { ReadManner } from "../vfs/partial-reads.js";

/** Number of an open file or directory, minted by the layer above; below 2^53. */
export type HandleNumber = number & { readonly __brand: "HandleNumber" };

/** Who asks. `pid` is 0 when the caller lives in another pid namespace, -1 when the driver cannot tell. */
export interface FuseCaller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** Fires when the kernel sends INTERRUPT for this request. Made when first read: most requests never need it. */
  readonly signal: AbortSignal;
}

/** An inode that the kernel may keep; each one returned counts as one lookup until it is forgotten. */
export interface EntryReply {
  readonly attributes: Attributes;
  readonly entryTimeoutMs: Milliseconds;
  readonly attributesTimeoutMs: Milliseconds;
}

/** No such name, and the kernel may remember that for `entryTimeoutMs`. */
export interface NegativeEntryReply {
  readonly attributes: null;
  readonly entryTimeoutMs: Milliseconds;
}

export interface AttributesReply {
  readonly attributes: Attributes;
  readonly attributesTimeoutMs: Milliseconds;
}

export interface OpenReply {
  readonly handle: HandleNumber;
  /** Bypass the page cache: each read of the caller becomes a request of its own, and may wait. */
  readonly directIo?: boolean;
  /** The page cache of an earlier open still holds the right bytes. */
  readonly keepCache?: boolean;
  /** Of a directory: the kernel may answer later listings itself until something in it changes. */
  readonly cacheListing?: boolean;
}

/** Fields that a SETATTR changes; absent fields stay. `"now"` is the time of the request. */
export interface AttributeChanges {
  /** Permission bits; bits of the file type, which some drivers pass along, say nothing. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly sizeBytes?: number;
  readonly atime?: FileTime | "now";
  readonly mtime?: FileTime | "now";
  readonly ctime?: FileTime;
}

export interface StatfsReply {
  readonly blockSizeBytes: number;
  readonly blocks: number;
  readonly blocksFree: number;
  readonly blocksAvailable: number;
  readonly files: number;
  readonly filesFree: number;
  readonly nameBytesMax: number;
}

/** Takes the entries of one READDIR(PLUS) reply. */
export interface DirectorySink {
  /** How many entries with short names fit; a bound for asking the catalog. */
  readonly capacity: number;
  /** Which entries it takes attributes of; those of others may be null. */
  readonly takes: "all" | "directories" | "none";
  /**
   * Adds one entry; returns false, adding nothing, when the reply is full.
   *
   * @param cookie Where to go on after this entry; handed back as `cookie` of a later `readDirectory`.
   * @param entry null for `.` and `..`, which the kernel does not count as looked up, and where no attributes are taken.
   */
  add(name: string, cookie: number, ino: InodeNumber, mode: number, entry: EntryReply | null): boolean;
}

export interface FuseOperations {
  /** `name` may be `.` or `..` of a directory, and `.` of a file: who has kept a file handle looks for its inode. */
  lookup(caller: FuseCaller, parent: InodeNumber, name: string): Promise<EntryReply | NegativeEntryReply>;
  /** The kernel has dropped all its references to this inode. No reply. */
  forget(ino: InodeNumber): void;
  getAttributes(caller: FuseCaller, ino: InodeNumber, handle: HandleNumber | undefined): Promise<AttributesReply>;
  setAttributes(
    caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber | undefined,
    changes: AttributeChanges,
  ): Promise<AttributesReply>;
  readLink(caller: FuseCaller, ino: InodeNumber): Promise<string>;
  symlink(caller: FuseCaller, parent: InodeNumber, name: string, target: string): Promise<EntryReply>;
  /** `mode` has the file type; the caller's umask is already applied. */
  makeNode(caller: FuseCaller, parent: InodeNumber, name: string, mode: number, rdev: number): Promise<EntryReply>;
  /** `mode` has permission bits only. */
  makeDirectory(caller: FuseCaller, parent: InodeNumber, name: string, mode: number): Promise<EntryReply>;
  unlink(caller: FuseCaller, parent: InodeNumber, name: string): Promise<void>;
  removeDirectory(caller: FuseCaller, parent: InodeNumber, name: string): Promise<void>;
  rename(
    caller: FuseCaller,
    from: { readonly parent: InodeNumber; readonly name: string },
    to: { readonly parent: InodeNumber; readonly name: string },
    mode: "replace" | "no-replace" | "exchange",
  ): Promise<void>;
  link(caller: FuseCaller, ino: InodeNumber, parent: InodeNumber, name: string): Promise<EntryReply>;

  /** `flags`: the O_* bits of open(2) as the kernel passes them, O_TRUNC included. */
  open(caller: FuseCaller, ino: InodeNumber, flags: number): Promise<OpenReply>;
  create(
    caller: FuseCaller,
    parent: InodeNumber,
    name: string,
    mode: number,
    flags: number,
  ): Promise<{ readonly entry: EntryReply; readonly open: OpenReply }>;
  /** A file without a name in the file system of `parent` (O_TMPFILE); `link` may give it one. */
  createNameless(
    caller: FuseCaller,
    parent: InodeNumber,
    mode: number,
    flags: number,
  ): Promise<{ readonly entry: EntryReply; readonly open: OpenReply }>;
  /** Fills `into` from `offset`; resolves with the number of bytes, fewer than asked only at the end of the file. */
  read(
    caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber,
    offset: number,
    into: Uint8Array,
    /** Without it: to fill a page of the kernel's, which nobody can be kept waiting for. */
    manner?: ReadManner,
  ): Promise<number>;
  /**
   * Takes all of `data`; a write is never short. With `isAppend` it goes to the end, wherever `offset` is; a driver that
   * cannot tell leaves it to how the file was opened.
   */
  write(
    caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber,
    offset: number,
    data: Uint8Array,
    isAppend?: boolean,
  ): Promise<void>;
  flush(caller: FuseCaller, ino: InodeNumber, handle: HandleNumber): Promise<void>;
  /** Its result reaches no application. */
  release(ino: InodeNumber, handle: HandleNumber): Promise<void>;
  fsync(caller: FuseCaller, ino: InodeNumber, handle: HandleNumber, dataOnly: boolean): Promise<void>;
  /** Copies a range between two open files; resolves with the number of bytes, which may be fewer than asked. */
  copyRange(
    caller: FuseCaller,
    from: { readonly handle: HandleNumber; readonly offset: number },
    to: { readonly handle: HandleNumber; readonly offset: number },
    length: number,
  ): Promise<number>;
  allocate(
    caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber,
    range: { readonly offset: number; readonly length: number },
    mode: number,
  ): Promise<void>;
  seek(
    caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber,
    offset: number,
    whence: "data" | "hole",
  ): Promise<number>;

  openDirectory(caller: FuseCaller, ino: InodeNumber): Promise<OpenReply>;
  /** `cookie`: 0 from the start, else that of the last entry the caller has. */
  readDirectory(
    caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber,
    cookie: number,
    sink: DirectorySink,
  ): Promise<void>;
  releaseDirectory(ino: InodeNumber, handle: HandleNumber): Promise<void>;
  syncDirectory(caller: FuseCaller, ino: InodeNumber, handle: HandleNumber): Promise<void>;
  syncFileSystem(caller: FuseCaller): Promise<void>;
  statfs(caller: FuseCaller, ino: InodeNumber): Promise<StatfsReply>;

  /** Never asked for ACLs, labels and capabilities: drivers answer those themselves as not supported. */
  getExtendedAttribute(caller: FuseCaller, ino: InodeNumber, name: string): Promise<Uint8Array>;
  listExtendedAttributes(caller: FuseCaller, ino: InodeNumber): Promise<readonly string[]>;
  setExtendedAttribute(
    caller: FuseCaller,
    ino: InodeNumber,
    name: string,
    value: Uint8Array,
    mode: "any" | "create" | "replace",
  ): Promise<void>;
  removeExtendedAttribute(caller: FuseCaller, ino: InodeNumber, name: string): Promise<void>;
}

/** A FUSE device that is mounted already, and held by another process, too. */
export interface HeldDevice {
  readonly fileDescriptor: number;
  /** What the kernel may remember of an earlier process; undefined when nobody has answered its INIT yet. */
  readonly former: FormerService | undefined;
}

export interface FormerService {
  /** Modes of the regular files with set-user-id or set-group-id, which a write would have to drop. */
  readonly privilegedModes: Iterable<readonly [InodeNumber, number]>;
}

export interface FuseMountOptions {
  readonly mountpoint: string;
  /** First field of /proc/mounts; the command line finds the state directory by it. */
  readonly source: string;
  readonly allowOther: boolean;
  readonly readOnly: boolean;
  /** Mounts nothing, but serves what is mounted at `mountpoint`. */
  readonly device?: HeldDevice | undefined;
}

/** A mounted file system. */
export interface FuseSession {
  /** Resolves when the file system is no longer mounted, whoever unmounted it; rejects when the device fails. */
  readonly closed: Promise<void>;
  /** Attributes (and with `data`, cached pages) of `ino` have changed underneath. Never waits on the event loop. */
  invalidateInode(ino: InodeNumber, options: { readonly data: boolean }): void;
  /** `name` in `parent` came, went or points elsewhere. */
  invalidateEntry(parent: InodeNumber, name: string): void;
  /** Unmounts; `lazy` also when it is busy. @throws FileSystemError "busy" when it is in use and not `lazy`. */
  unmount(options: { readonly lazy: boolean }): Promise<void>;
}

export interface FuseDriver {
  /** Resolves when the kernel has been answered INIT, so that the mount works. The root is inode 1. */
  mount(options: FuseMountOptions, operations: FuseOperations): Promise<FuseSession>;
}
