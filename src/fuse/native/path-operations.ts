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
import type { AttributeChanges, FuseCaller, FuseOperations, HandleNumber } from "../driver.js";
import { toErrno } from "../errno.js";
import type { Answer, NativeEntry, NativeOperations, NativeStat, NativeStatfs } from "./fuse-native-package.js";
import { NativeFiles } from "./native-files.js";
import { type Listing, listNames } from "./native-listing.js";
import { nativeStat, nativeStatfs } from "./native-stat.js";
import { callerWithoutDeadline, type RequestDeadlines } from "./request-deadline.js";

const { errno } = constants;
const unchangedId = 0xffff_ffff;
const readWrite = 2;
const xattrCreate = 1;
const xattrReplace = 2;

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

  readdir(
    path: string,
    answer: (error: number, names?: readonly string[], entries?: readonly NativeEntry[]) => void,
  ): void {
    const done = (error: number, listing?: Listing) => answer(error, listing?.names, listing?.entries);
    this.#answer("readdir", done, async () => {
      const ino = await this.#ino(path);
      const caller = callerWithoutDeadline;
      const { handle } = await this.#ops.openDirectory(caller, ino);
      try {
        return await listNames((cookie, page) => this.#ops.readDirectory(caller, ino, handle, cookie, page));
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
    this.#answer("truncate", answer, async () => {
      requireExact(sizeBytes);
      await this.#ops.setAttributes(callerWithoutDeadline, await this.#ino(path), undefined, { sizeBytes });
    });
  }

  ftruncate(_path: string, file: number, sizeBytes: number, answer: Answer): void {
    this.#answer("ftruncate", answer, async () => {
      requireExact(sizeBytes);
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
    this.#waiting("write", done, async (caller) => {
      requireExact(offset + length);
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

/** Numbers above 2^53 have lost their last bits on their way here. */
function requireExact(sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes)) {
    throw new FileSystemError("too-large", `Cannot make a file of ${sizeBytes} bytes`);
  }
}

/** ACLs would be stored and not enforced; the kernel asks for capabilities with every write. */
function refuseKernelNames(name: string): void {
  if (/^(system|security)\./.test(name)) throw new FileSystemError("not-supported", `Cannot keep ${name}`);
}
