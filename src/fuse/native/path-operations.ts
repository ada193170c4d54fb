/**
 * Requests by path -> calls on `FuseOperations` by inode -> answers.
 *
 * Relies on: libfuse holds a path still while a request about it is on its way, so a path may be walked step by step.
 * Never: remembers a path; lookups are answered from the catalog. Throws nothing into the binding, which would end the
 * process.
 */

import { constants } from "node:os";
import { CancelledError, CasfsError, FileSystemError } from "../../domain/errors.js";
import { type InodeNumber, rootIno } from "../../domain/ids.js";
import { fileTime, type Instant } from "../../domain/time.js";
import { type Attributes, isDirectory } from "../../vfs/attributes.js";
import type {
  AttributeChanges,
  DirectorySink,
  EntryReply,
  FuseCaller,
  FuseOperations,
  HandleNumber,
} from "../driver.js";
import { toErrno } from "../errno.js";
import type { Answer, NativeOperations, NativeStat, NativeStatfs } from "./fuse-native-package.js";
import { NativeFiles } from "./native-files.js";
import { callerWithoutDeadline, type RequestDeadlines } from "./request-deadline.js";

const { errno } = constants;
const unchangedId = 0xffff_ffff;
const uint32Max = 0xffff_ffff;
const readWrite = 2;
const xattrCreate = 1;
const xattrReplace = 2;
const listingRows = 1000;
const blockSizeBytes = 4096;

interface Place {
  readonly parent: InodeNumber;
  readonly name: string;
}

export interface PathOperationsParts {
  readonly operations: FuseOperations;
  readonly deadlines: RequestDeadlines;
  /** An operation failed with something that is not a `CasfsError`; its caller got EIO. */
  readonly onError: (operation: string, ino: InodeNumber, error: unknown) => void;
}

export class PathOperations implements NativeOperations {
  readonly #parts: PathOperationsParts;
  readonly #ops: FuseOperations;
  readonly #files = new NativeFiles();

  constructor(parts: PathOperationsParts) {
    this.#parts = parts;
    this.#ops = parts.operations;
  }

  getattr(path: string, answer: Answer<NativeStat>): void {
    this.#answer("getattr", answer, async () => nativeStat(await this.#attributes(path)));
  }

  fgetattr(path: string, _file: number, answer: Answer<NativeStat>): void {
    this.getattr(path, answer);
  }

  readdir(path: string, answer: (error: number, names?: readonly string[]) => void): void {
    this.#answer("readdir", answer, async () => {
      const ino = await this.#ino(path);
      const caller = callerWithoutDeadline;
      const { handle } = await this.#ops.openDirectory(caller, ino);
      try {
        return await this.#names(caller, ino, handle);
      } finally {
        await this.#ops.releaseDirectory(ino, handle);
      }
    });
  }

  readlink(path: string, answer: Answer<string>): void {
    this.#answer("readlink", answer, async () => this.#ops.readLink(callerWithoutDeadline, await this.#ino(path)));
  }

  mkdir(path: string, mode: number, answer: Answer): void {
    this.#waiting("mkdir", answer, async (caller) => {
      const { parent, name } = await this.#place(path);
      await this.#ops.makeDirectory(caller, parent, name, mode & 0o7777);
    });
  }

  mknod(path: string, mode: number, rdev: number, answer: Answer): void {
    this.#answer("mknod", answer, async () => {
      const { parent, name } = await this.#place(path);
      await this.#ops.makeNode(callerWithoutDeadline, parent, name, mode, rdev);
    });
  }

  symlink(target: string, path: string, answer: Answer): void {
    this.#answer("symlink", answer, async () => {
      const { parent, name } = await this.#place(path);
      await this.#ops.symlink(callerWithoutDeadline, parent, name, target);
    });
  }

  link(path: string, newPath: string, answer: Answer): void {
    this.#answer("link", answer, async () => {
      const { parent, name } = await this.#place(newPath);
      await this.#ops.link(callerWithoutDeadline, await this.#ino(path), parent, name);
    });
  }

  unlink(path: string, answer: Answer): void {
    this.#answer("unlink", answer, async () => {
      const { place, attributes } = await this.#named(path);
      await this.#ops.unlink(callerWithoutDeadline, place.parent, place.name);
      this.#lostName(attributes.ino);
    });
  }

  rmdir(path: string, answer: Answer): void {
    this.#waiting("rmdir", answer, async (caller) => {
      const { place, attributes } = await this.#named(path);
      await this.#ops.removeDirectory(caller, place.parent, place.name);
      this.#lostName(attributes.ino);
    });
  }

  rename(path: string, newPath: string, answer: Answer): void {
    this.#answer("rename", answer, async () => {
      const [from, to] = [await this.#place(path), await this.#place(newPath)];
      const replaced = await this.#lookup(to);
      await this.#ops.rename(callerWithoutDeadline, from, to, "replace");
      if (replaced !== undefined) this.#lostName(replaced.ino);
    });
  }

  chmod(path: string, mode: number, answer: Answer): void {
    this.#change("chmod", path, { mode }, answer);
  }

  chown(path: string, uid: number, gid: number, answer: Answer): void {
    const changes = { ...(uid === unchangedId ? {} : { uid }), ...(gid === unchangedId ? {} : { gid }) };
    this.#change("chown", path, changes, answer);
  }

  truncate(path: string, sizeBytes: number, answer: Answer): void {
    this.#change("truncate", path, { sizeBytes }, answer);
  }

  ftruncate(_path: string, file: number, sizeBytes: number, answer: Answer): void {
    this.#answer("ftruncate", answer, async () => {
      const { ino, handle } = this.#files.get(file);
      await this.#ops.setAttributes(callerWithoutDeadline, ino, handle, { sizeBytes });
    });
  }

  utimens(path: string, atimeMs: number, mtimeMs: number, answer: Answer): void {
    const [atime, mtime] = [fileTime(atimeMs as Instant), fileTime(mtimeMs as Instant)];
    this.#change("utimens", path, { atime, mtime }, answer);
  }

  open(path: string, flags: number, answer: Answer<number>): void {
    this.#waiting("open", answer, async (caller) => {
      const ino = await this.#ino(path);
      const { handle } = await this.#ops.open(caller, ino, flags);
      return this.#files.add({ ino, handle });
    });
  }

  /** The binding does not pass on how the file is opened: it may be read and written. */
  create(path: string, mode: number, answer: Answer<number>): void {
    this.#waiting("create", answer, async (caller) => {
      const { parent, name } = await this.#place(path);
      const { entry, open } = await this.#ops.create(caller, parent, name, mode & 0o7777, readWrite);
      return this.#files.add({ ino: entry.attributes.ino, handle: open.handle });
    });
  }

  read(_path: string, file: number, into: Buffer, length: number, offset: number, answer: Answer<number>): void {
    const done = (error: number, bytes = 0) => answer(error === 0 ? bytes : error, bytes);
    this.#waiting("read", done, (caller) => {
      const { ino, handle } = this.#files.get(file);
      return this.#ops.read(caller, ino, handle, offset, into.subarray(0, length));
    });
  }

  write(_path: string, file: number, data: Buffer, length: number, offset: number, answer: Answer<number>): void {
    const done = (error: number) => answer(error === 0 ? length : error, length);
    this.#waiting("write", done, (caller) => {
      const { ino, handle } = this.#files.get(file);
      return this.#ops.write(caller, ino, handle, offset, data.subarray(0, length));
    });
  }

  flush(_path: string, file: number, answer: Answer): void {
    this.#waiting("flush", answer, (caller) => {
      const { ino, handle } = this.#files.get(file);
      return this.#ops.flush(caller, ino, handle);
    });
  }

  fsync(_path: string, dataOnly: boolean, file: number, answer: Answer): void {
    this.#answer("fsync", answer, () => {
      const { ino, handle } = this.#files.get(file);
      return this.#ops.fsync(callerWithoutDeadline, ino, handle, dataOnly);
    });
  }

  release(_path: string, file: number, answer: Answer): void {
    this.#answer("release", answer, async () => {
      const { ino, handle } = this.#files.remove(file);
      await this.#ops.release(ino, handle);
      if (!this.#files.isOpen(ino)) this.#ops.forget(ino);
    });
  }

  fsyncdir(path: string, _dataOnly: boolean, _directory: number, answer: Answer): void {
    this.#answer("fsyncdir", answer, async () =>
      this.#ops.syncDirectory(callerWithoutDeadline, await this.#ino(path), 0 as HandleNumber),
    );
  }

  statfs(_path: string, answer: Answer<NativeStatfs>): void {
    this.#answer("statfs", answer, async () => nativeStatfs(await this.#ops.statfs(callerWithoutDeadline, rootIno)));
  }

  setxattr(path: string, name: string, value: Buffer, _position: number, flags: number, answer: Answer): void {
    this.#answer("setxattr", answer, async () => {
      refuseKernelNames(name);
      const mode = flags === xattrCreate ? "create" : flags === xattrReplace ? "replace" : "any";
      // The bytes are lent; what stores them may keep them for longer.
      await this.#ops.setExtendedAttribute(
        callerWithoutDeadline,
        await this.#ino(path),
        name,
        Buffer.from(value),
        mode,
      );
    });
  }

  getxattr(path: string, name: string, _position: number, answer: Answer<Buffer>): void {
    this.#answer("getxattr", answer, async () => {
      refuseKernelNames(name);
      return Buffer.from(await this.#ops.getExtendedAttribute(callerWithoutDeadline, await this.#ino(path), name));
    });
  }

  listxattr(path: string, answer: Answer<readonly string[]>): void {
    this.#answer("listxattr", answer, async () =>
      this.#ops.listExtendedAttributes(callerWithoutDeadline, await this.#ino(path)),
    );
  }

  removexattr(path: string, name: string, answer: Answer): void {
    this.#answer("removexattr", answer, async () => {
      refuseKernelNames(name);
      await this.#ops.removeExtendedAttribute(callerWithoutDeadline, await this.#ino(path), name);
    });
  }

  /** Nothing is mounted any more: gives up what was open. */
  async end(): Promise<void> {
    for (const { ino, handle } of this.#files.drain()) {
      await this.#ops.release(ino, handle);
      this.#ops.forget(ino);
    }
  }

  #change(operation: string, path: string, changes: AttributeChanges, answer: Answer): void {
    this.#answer(operation, answer, async () => {
      await this.#ops.setAttributes(callerWithoutDeadline, await this.#ino(path), undefined, changes);
    });
  }

  /** libfuse tells of no references: what has no name and is not open is used by nobody. */
  #lostName(ino: InodeNumber): void {
    if (!this.#files.isOpen(ino)) this.#ops.forget(ino);
  }

  async #names(caller: FuseCaller, ino: InodeNumber, handle: HandleNumber): Promise<string[]> {
    const names: string[] = [];
    for (let cookie = 0; ; ) {
      const page = new NamePage();
      await this.#ops.readDirectory(caller, ino, handle, cookie, false, page);
      names.push(...page.names);
      if (page.names.length === 0) return names;
      cookie = page.cookie;
    }
  }

  async #attributes(path: string): Promise<Attributes> {
    if (path === "/") {
      return (await this.#ops.getAttributes(callerWithoutDeadline, rootIno, undefined)).attributes;
    }
    return (await this.#named(path)).attributes;
  }

  async #ino(path: string): Promise<InodeNumber> {
    return path === "/" ? rootIno : (await this.#named(path)).attributes.ino;
  }

  async #named(path: string): Promise<{ readonly place: Place; readonly attributes: Attributes }> {
    const place = await this.#place(path);
    const attributes = await this.#lookup(place);
    if (attributes === undefined) throw new FileSystemError("not-found", `${place.name} is not there`);
    return { place, attributes };
  }

  /** The directory of a path's last name. */
  async #place(path: string): Promise<Place> {
    const names = path.split("/").filter((name) => name !== "");
    const name = names.pop();
    if (name === undefined) throw new FileSystemError("exists", "The root is always there");
    let parent = rootIno;
    for (const step of names) {
      const attributes = await this.#lookup({ parent, name: step });
      if (attributes === undefined) throw new FileSystemError("not-found", `${step} is not there`);
      if (!isDirectory(attributes.mode)) throw new FileSystemError("not-a-directory", `${step} is no directory`);
      parent = attributes.ino;
    }
    return { parent, name };
  }

  async #lookup({ parent, name }: Place): Promise<Attributes | undefined> {
    if (Buffer.byteLength(name) > 255)
      throw new FileSystemError("name-too-long", `A name has ${name.length} characters`);
    // libfuse has made valid UTF-8 of what was none.
    if (name.includes("\ufffd")) throw new FileSystemError("bad-name", "A name is not UTF-8");
    return (await this.#ops.lookup(callerWithoutDeadline, parent, name)).attributes ?? undefined;
  }

  /** For what may wait: at its deadline it fails with EAGAIN. */
  #waiting<T>(operation: string, answer: Answer<T>, work: (caller: FuseCaller) => Promise<T>): void {
    this.#answer(operation, answer, () => this.#parts.deadlines.run(work));
  }

  #answer<T>(operation: string, answer: Answer<T>, work: () => Promise<T>): void {
    // A promise even when `work` throws at once.
    void Promise.resolve()
      .then(work)
      .then(
        (result) => answer(0, result),
        (error: unknown) => {
          if (!(error instanceof CasfsError)) this.#parts.onError(operation, rootIno, error);
          answer(-(error instanceof CancelledError ? errno.EAGAIN : toErrno(error)));
        },
      );
  }
}

/** Takes one page of names. */
class NamePage implements DirectorySink {
  readonly capacity = listingRows;
  readonly names: string[] = [];
  cookie = 0;

  add(name: string, cookie: number, _ino: InodeNumber, _mode: number, _entry: EntryReply | null): boolean {
    if (this.names.length >= listingRows) return false;
    this.names.push(name);
    this.cookie = cookie;
    return true;
  }
}

/** ACLs would be stored and not enforced; the kernel asks for capabilities with every write. */
function refuseKernelNames(name: string): void {
  if (/^(system|security)\./.test(name)) throw new FileSystemError("not-supported", `Cannot keep ${name}`);
}

function nativeStat(attributes: Attributes): NativeStat {
  const { ino, mode, uid, gid, nlink, rdev, sizeBytes, blocks, atime, mtime, ctime } = attributes;
  const times = { atime: milliseconds(atime), mtime: milliseconds(mtime), ctime: milliseconds(ctime) };
  return {
    ino: ino % uint32Max,
    mode,
    uid,
    gid,
    nlink,
    rdev,
    size: sizeBytes,
    blksize: blockSizeBytes,
    blocks,
    ...times,
  };
}

function milliseconds({ seconds, nanoseconds }: { readonly seconds: number; readonly nanoseconds: number }): number {
  return Math.max(0, seconds * 1000 + Math.floor(nanoseconds / 1e6));
}

/** libfuse's binding has 32 bits for each number: larger blocks make them fit. */
function nativeStatfs(reply: Awaited<ReturnType<FuseOperations["statfs"]>>): NativeStatfs {
  let scale = 1;
  while (reply.blocks / scale > uint32Max) scale *= 2;
  const scaled = (blocks: number) => Math.floor(blocks / scale);
  const size = reply.blockSizeBytes * scale;
  const files = Math.min(reply.files, uint32Max);
  const filesFree = Math.min(reply.filesFree, uint32Max);
  return {
    bsize: size,
    frsize: size,
    blocks: scaled(reply.blocks),
    bfree: scaled(reply.blocksFree),
    bavail: scaled(reply.blocksAvailable),
    files,
    ffree: filesFree,
    favail: filesFree,
    namemax: reply.nameBytesMax,
  };
}
