/**
 * The files that hold the bytes of archives and parts: written once, hashed on the way, never changed.
 *
 * A file is `bodies/<number / 1000>/<number>`, from its first byte on: what makes it count is its row in the database,
 * which is written when the file and its name are on the disk. Numbers grow and are never reused, so the files of
 * concurrent uploads share a directory and one sync of it serves them all.
 * Never: decides which files are needed; a file without a row in the database is removed at the next start.
 */

import { type FileHandle, mkdir, open, readdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { MIB } from "../../domain/bytes.js";
import { CorruptError } from "../../domain/errors.js";
import { removeIfPresent, syncDirectory } from "../../lib/durable-file.js";
import { GivenMemory } from "../../lib/given-memory.js";
import { lentBlocks } from "../../lib/lent-blocks.js";
import { SharedRun } from "../../lib/shared-run.js";
import type { ContentDigest } from "../../protocol/tree-hash.js";
import { BodyFile } from "./body-file.js";
import { type ByteSource, receiveInto } from "./body-sink.js";
import { FreeSpace } from "./free-space.js";

/** A file that was received and is not published yet; nothing refers to it. */
export interface IncomingFile {
  readonly fileId: number;
  readonly digest: ContentDigest;
  /** Makes the file and its name survive a power loss. */
  publish(): Promise<void>;
  /** Removes the file, published or not. */
  discard(): Promise<void>;
}

/** Bytes of one file, half-open. */
export interface FilePiece {
  readonly fileId: number;
  readonly start: number;
  readonly end: number;
}

const filesPerDirectory = 1000;

export class BodyFiles {
  readonly #root: string;
  readonly #space: FreeSpace;
  readonly #memory = new GivenMemory();
  #nextFileId: number;
  readonly #directorySyncs = new Map<number, SharedRun>();
  /** The newest directory, and when it is there for good. */
  #prepared: { readonly number: number; readonly ready: Promise<void> } | undefined;

  private constructor(root: string, nextFileId: number) {
    this.#root = root;
    this.#space = new FreeSpace(root);
    this.#nextFileId = nextFileId;
  }

  /**
   * Opens the files below `dataDirectory` and removes those that a crash left behind.
   *
   * @param known Which file numbers of an inclusive range the database refers to.
   */
  static async open(
    dataDirectory: string,
    options: { readonly highestKnown: number; readonly known: (first: number, last: number) => ReadonlySet<number> },
  ): Promise<BodyFiles> {
    const root = join(dataDirectory, "bodies");
    await mkdir(root, { recursive: true, mode: 0o700 });
    await syncDirectory(dataDirectory);
    let highest = options.highestKnown;
    for (const name of await readdir(root)) {
      if (!/^\d+$/.test(name)) continue;
      highest = Math.max(highest, await removeOrphans(join(root, name), Number(name), options.known));
    }
    return new BodyFiles(root, highest + 1);
  }

  /**
   * Writes `source` to a new file.
   *
   * @throws whatever reading or writing throws; nothing is left then. ENOSPC also when only the reserve would be left.
   */
  async receive(source: ByteSource): Promise<IncomingFile> {
    await this.#space.check();
    const fileId = this.#nextFileId++;
    await this.#prepareDirectoryOf(fileId);
    const file = new BodyFile(this.#path(fileId));
    const discard = () => this.#discard(fileId, file);
    try {
      const digest = await receiveInto(file, source, this.#memory);
      await this.#space.take(digest.sizeBytes);
      return { fileId, digest, discard, publish: () => this.#publish(fileId, file) };
    } catch (error) {
      await discard();
      throw error;
    }
  }

  /** The bytes of `pieces`, in order. @throws CorruptError when a file is missing or short. */
  async *read(pieces: Iterable<FilePiece>): AsyncGenerator<Buffer, void, undefined> {
    for (const piece of pieces) {
      const handle = await this.#openForReading(piece);
      try {
        yield* lentBlocks({ ...piece, blockBytes: MIB, fill: (block, offset) => fill(handle, piece, block, offset) });
      } finally {
        await handle.close();
      }
    }
  }

  /** Removes files that no row refers to any more. One that cannot be removed is an orphan, until the next start. */
  async remove(fileIds: Iterable<number>): Promise<void> {
    for (const fileId of fileIds) await removeIfPresent(this.#path(fileId)).catch(() => undefined);
  }

  async #openForReading(piece: FilePiece): Promise<FileHandle> {
    try {
      return await open(this.#path(piece.fileId), "r");
    } catch (error) {
      throw new CorruptError(`Cannot open body file ${piece.fileId}`, { cause: error });
    }
  }

  async #discard(fileId: number, file: BodyFile): Promise<void> {
    closeQuietly(file);
    await removeIfPresent(this.#path(fileId)).catch(() => undefined);
  }

  async #publish(fileId: number, file: BodyFile): Promise<void> {
    const syncs = await Promise.allSettled([file.datasync(), this.#syncDirectoryOf(fileId)]);
    file.close();
    const failed = syncs.find((sync) => sync.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  #syncDirectoryOf(fileId: number): Promise<void> {
    const number = directoryNumber(fileId);
    let run = this.#directorySyncs.get(number);
    if (run === undefined) {
      run = new SharedRun(() => syncDirectory(join(this.#root, String(number))));
      this.#directorySyncs.set(number, run);
      // Only the newest directory sees uploads; a straggler simply makes its own.
      this.#directorySyncs.delete(number - 2);
    }
    return run.request();
  }

  #path(fileId: number): string {
    return join(this.#root, String(directoryNumber(fileId)), String(fileId));
  }

  /** Makes sure, once for each directory, that it exists and survives a power loss. */
  async #prepareDirectoryOf(fileId: number): Promise<void> {
    const number = directoryNumber(fileId);
    if (this.#prepared?.number !== number) {
      const ready = mkdir(join(this.#root, String(number)), { recursive: true, mode: 0o700 }).then(() =>
        syncDirectory(this.#root),
      );
      this.#prepared = { number, ready };
      ready.catch(() => {
        this.#prepared = undefined;
      });
    }
    await this.#prepared.ready;
  }
}

/** @throws CorruptError when the file ends before the block does. */
async function fill(handle: FileHandle, { fileId, end }: FilePiece, block: Buffer, offset: number): Promise<void> {
  for (let filled = 0; filled < block.length; ) {
    const { bytesRead } = await handle.read(block, filled, block.length - filled, offset + filled);
    if (bytesRead === 0) throw new CorruptError(`Body file ${fileId} ends before byte ${end}`);
    filled += bytesRead;
  }
}

/** The file is removed in any case. */
function closeQuietly(file: BodyFile): void {
  try {
    file.close();
  } catch {}
}

function directoryNumber(fileId: number): number {
  return Math.floor(fileId / filesPerDirectory);
}

/** Removes unfinished and unknown files of one directory; returns the highest file number seen. */
async function removeOrphans(
  directory: string,
  number: number,
  knownOf: (first: number, last: number) => ReadonlySet<number>,
): Promise<number> {
  const known = knownOf(number * filesPerDirectory, (number + 1) * filesPerDirectory - 1);
  let highest = 0;
  let kept = 0;
  for (const name of await readdir(directory)) {
    const isOurs = /^\d+(\.tmp)?$/.test(name);
    if (isOurs) highest = Math.max(highest, Number.parseInt(name, 10));
    if (isOurs && !known.has(Number(name))) await removeIfPresent(join(directory, name));
    else kept += 1;
  }
  if (kept === 0) await rmdir(directory);
  return highest;
}
