/**
 * An object store in a local directory: an object is the file `<directory>/<bucket>/<object>`.
 *
 * Relies on: Linux. Every directory on the way is opened from its parent's descriptor and never through a symbolic link,
 * so no name and no link, whenever it is made, leads out of the directory.
 * An object appears whole or not at all: temporary name below `.casfs-tmp`, fsync, rename, fsync of the directory.
 */

import { createHash } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { type FileHandle, mkdir, open, rename, stat } from "node:fs/promises";
import { type ByteRange, byteRange, MIB } from "../../domain/bytes.js";
import { UsageError } from "../../domain/errors.js";
import type { Instant } from "../../domain/time.js";
import { removeIfPresent } from "../../lib/durable-file.js";
import {
  type ObjectName,
  type ObjectSource,
  type ObjectStore,
  ObjectStoreError,
  type ObjectVersion,
  type PutOptions,
} from "./object-store.js";

const { O_CREAT, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_TRUNC, O_WRONLY } = constants;
/** No bucket is called so: the names of buckets begin with a letter or a digit. */
const temporaryBucket = ".casfs-tmp";

export class DirectoryObjectStore implements ObjectStore {
  readonly #root: FileHandle;

  private constructor(root: FileHandle) {
    this.#root = root;
  }

  /** @throws UsageError when the directory cannot be made or opened. */
  static async open(directory: string): Promise<DirectoryObjectStore> {
    try {
      await mkdir(directory, { recursive: true });
      return new DirectoryObjectStore(await open(directory, O_RDONLY | O_DIRECTORY));
    } catch (cause) {
      throw new UsageError(`Cannot use ${directory} as the object store`, { cause });
    }
  }

  async find(name: ObjectName): Promise<ObjectVersion | undefined> {
    const file = await this.#openFile(name);
    if (file === undefined) return undefined;
    try {
      const found = await file.stat();
      const etag = () => this.#md5(name, versionOf(found));
      const modifiedAt = Math.floor(found.mtimeMs) as Instant;
      return { sizeBytes: found.size, modifiedAt, version: versionOf(found), etag };
    } finally {
      await file.close();
    }
  }

  async *read(
    name: ObjectName,
    { version }: Pick<ObjectVersion, "version">,
    range: ByteRange,
    signal?: AbortSignal,
  ): AsyncGenerator<Buffer, void, undefined> {
    const file = await this.#openFile(name);
    if (file === undefined) throw changed();
    try {
      if (versionOf(await file.stat()) !== version) throw changed();
      for (let start: number = range.start; start < range.end; start += MIB) {
        signal?.throwIfAborted();
        yield await readBlock(file, byteRange(start, Math.min(start + MIB, range.end)));
      }
      // Of a file that was written meanwhile some bytes may be old and some new.
      if (versionOf(await file.stat()) !== version) throw changed();
    } finally {
      await file.close();
    }
  }

  async put(name: ObjectName, source: ObjectSource, { key, signal }: PutOptions): Promise<void> {
    const { directories, file } = pathOf(name);
    await using temporaries = await this.#makeDirectories([temporaryBucket]);
    const temporary = temporaries.entry(key);
    try {
      await writeTemporary(temporary, source, signal);
      await using parent = await this.#makeDirectories(directories);
      await rename(temporary, parent.entry(file));
      await parent.sync();
    } catch (error) {
      await removeIfPresent(temporary).catch(() => undefined);
      throw signal.aborted ? error : storeError(error, name);
    }
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  async #md5(name: ObjectName, version: string): Promise<string> {
    const found = await this.find(name);
    const hash = createHash("md5");
    const whole = byteRange(0, found?.sizeBytes ?? 0);
    for await (const block of this.read(name, { version }, whole)) hash.update(block);
    return hash.digest("hex");
  }

  /** Undefined when there is no such file. @throws ObjectStoreError for anything but a file. */
  async #openFile(name: ObjectName): Promise<FileHandle | undefined> {
    const { directories, file } = pathOf(name);
    try {
      await using parent = await this.#walk(directories, (directory, entry) => directory.open(entry));
      // A pipe would wait for its other end.
      const handle = await open(parent.entry(file), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      if ((await handle.stat()).isFile()) return handle;
      await handle.close();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw storeError(error, name);
    }
    throw new ObjectStoreError(`${file} is not an object`, "final");
  }

  #makeDirectories(names: readonly string[]): Promise<Directory> {
    return this.#walk(names, (directory, name) => directory.make(name));
  }

  async #walk(
    names: readonly string[],
    step: (directory: Directory, name: string) => Promise<Directory>,
  ): Promise<Directory> {
    let directory = new Directory(this.#root, { isRoot: true });
    for (const name of names) {
      await using parent = directory;
      directory = await step(parent, name);
    }
    return directory;
  }
}

/** An open directory; its entries are named by its descriptor, whatever happens to its path. */
class Directory implements AsyncDisposable {
  readonly #handle: FileHandle;
  readonly #isRoot: boolean;

  constructor(handle: FileHandle, { isRoot }: { readonly isRoot: boolean }) {
    this.#handle = handle;
    this.#isRoot = isRoot;
  }

  entry(name: string): string {
    return `/proc/self/fd/${this.#handle.fd}/${name}`;
  }

  async open(name: string): Promise<Directory> {
    const handle = await open(this.entry(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    return new Directory(handle, { isRoot: false });
  }

  /** Opens a directory that is made, durably, when it is missing. */
  async make(name: string): Promise<Directory> {
    try {
      await mkdir(this.entry(name), 0o777);
      await this.sync();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    return this.open(name);
  }

  async sync(): Promise<void> {
    await this.#handle.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isRoot) await this.#handle.close();
  }
}

/** @throws ObjectStoreError for an object that cannot be a file: an empty step of its path, or one that leads upwards. */
function pathOf({ bucket, object }: ObjectName): { readonly directories: readonly string[]; readonly file: string } {
  // COS takes the path with and without a slash at its beginning.
  const steps = [bucket, ...object.replace(/^\//, "").split("/")];
  const isPath = steps.every((step) => step !== "" && step !== "." && step !== ".." && !step.includes("\0"));
  const file = steps.pop();
  if (!isPath || file === undefined || /^\.|\//.test(bucket)) {
    throw new ObjectStoreError("The object has a name that this store cannot hold", "final");
  }
  return { directories: steps, file };
}

async function writeTemporary(path: string, source: ObjectSource, signal: AbortSignal): Promise<void> {
  const handle = await open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o666);
  try {
    let sizeBytes = 0;
    for await (const block of source.read(byteRange(0, source.sizeBytes))) {
      signal.throwIfAborted();
      await handle.writeFile(block);
      sizeBytes += block.length;
    }
    if (sizeBytes !== source.sizeBytes) throw new Error(`${sizeBytes} bytes instead of ${source.sizeBytes}`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  if ((await stat(path)).size !== source.sizeBytes) throw new Error("the file has another size than was written");
}

async function readBlock(file: FileHandle, range: ByteRange): Promise<Buffer> {
  const block = Buffer.allocUnsafe(range.end - range.start);
  let filled = 0;
  while (filled < block.length) {
    const { bytesRead } = await file.read(block, filled, block.length - filled, range.start + filled);
    if (bytesRead === 0) throw changed();
    filled += bytesRead;
  }
  return block;
}

function versionOf({ ino, size, mtimeMs, ctimeMs }: Stats): string {
  return [ino, size, mtimeMs, ctimeMs].join("-");
}

function changed(): ObjectStoreError {
  return new ObjectStoreError("The object has changed while it was read", "changed");
}

/** What only an operator can change does not become better by trying again. */
const finalCodes = new Set(["ELOOP", "ENOTDIR", "EISDIR", "ENOTEMPTY", "EEXIST", "ENAMETOOLONG", "EACCES", "EPERM"]);

function storeError(error: unknown, { object }: ObjectName): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (error instanceof ObjectStoreError || code === undefined) return error;
  const kind = finalCodes.has(code) || code === "EXDEV" || code === "EROFS" ? "final" : "transient";
  return new ObjectStoreError(`The object store failed on ${object} (${code})`, kind, { cause: error });
}
