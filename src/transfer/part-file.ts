/**
 * A downloaded file while it is put together: `<target>.casfs-part`, beside it the journal of its verified pieces.
 *
 * Relies on: being the only user of that file, which a lock ensures.
 * Never: shows it under its final name before it is whole and synced.
 */

import { constants } from "node:fs";
import { type FileHandle, open, rename, stat, unlink } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { ByteRange } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import { AsyncStack } from "../lib/async-stack.js";
import { forEachConcurrently } from "../lib/concurrency.js";
import { removeIfPresent, syncDirectory } from "../lib/durable-file.js";
import { writeAllAt } from "../lib/positioned-write.js";
import { tryLock } from "../lib/process-lock.js";
import { renameToNew } from "../lib/rename-to-new.js";
import { SharedRun } from "../lib/shared-run.js";
import type { TreeHashHex } from "../protocol/service.js";
import type { PieceProof, PieceSink } from "../restore/piece-download.js";
import { type DownloadBinding, DownloadJournal, type JournaledPiece } from "./download-journal.js";
import { existingTarget } from "./download-target.js";
import type { RangeHasher } from "./transfer-deps.js";

export interface PartFileOptions {
  /** The final name. */
  readonly target: string;
  readonly binding: DownloadBinding;
  /** For a download that begins anew. */
  readonly pieceBytes: number;
  readonly hasher: RangeHasher;
  /** Pieces of an earlier attempt that are hashed at a time. */
  readonly parallel: number;
  readonly signal: AbortSignal | undefined;
}

export class PartFile implements PieceSink, AsyncDisposable {
  readonly #options: PartFileOptions;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #stack: AsyncStack;
  readonly #sync: SharedRun;
  /** By their start. */
  readonly #pieces = new Map<number, JournaledPiece>();
  #journal!: DownloadJournal;
  #pieceBytes: number;
  #published = false;

  private constructor(options: PartFileOptions, path: string, file: FileHandle, stack: AsyncStack) {
    this.#options = options;
    this.#path = path;
    this.#file = file;
    this.#stack = stack;
    this.#pieceBytes = options.pieceBytes;
    this.#sync = new SharedRun(() => file.datasync());
  }

  /**
   * Goes on with what an earlier attempt at the same bytes left, as far as it is still what it was.
   *
   * @throws FileSystemError "busy" while somebody else downloads to the same target; else the system's error.
   */
  static async open(options: PartFileOptions): Promise<PartFile> {
    const stack = new AsyncStack();
    try {
      const path = `${resolve(options.target)}.casfs-part`;
      const file = await openLocked(path, stack);
      const part = new PartFile(options, path, file, stack);
      await part.#takeUp();
      return part;
    } catch (error) {
      await stack[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Of this download, which may be the one that an earlier attempt chose. */
  get pieceBytes(): number {
    return this.#pieceBytes;
  }

  /** What is known of the piece with exactly this range. */
  proofOf({ start, end }: ByteRange): PieceProof | undefined {
    const piece = this.#pieces.get(start);
    return piece?.range.end === end ? piece : undefined;
  }

  async write(offset: number, data: readonly Uint8Array[]): Promise<void> {
    await this.#orDiskFull(writeAllAt(this.#file, data, offset));
  }

  async hash(range: ByteRange): Promise<TreeHashHex> {
    return await this.#options.hasher.treeHash(this.#path, range);
  }

  async pieceVerified(range: ByteRange, proof: PieceProof): Promise<void> {
    await this.#orDiskFull(this.#sync.request());
    await this.#orDiskFull(this.#journal.add(range, proof));
    this.#pieces.set(range.start, { range, ...proof });
  }

  /** Forgets all pieces: the whole was wrong, and none of them can be trusted. */
  async beginAnew(): Promise<void> {
    this.#pieces.clear();
    await this.#file.truncate(0);
    await this.#file.truncate(this.#options.binding.sizeBytes);
    this.#journal = this.#stack.use(
      await this.#orDiskFull(DownloadJournal.begin(this.#journalPath, this.#options.binding, this.#pieceBytes)),
    );
  }

  /**
   * Makes the file appear at its target, durably.
   *
   * @throws FileSystemError "exists" when something else has appeared there and is not to be replaced.
   */
  async publish({ overwrite }: { readonly overwrite: boolean }): Promise<void> {
    const { target } = this.#options;
    await this.#orDiskFull(this.#file.sync());
    if (overwrite) await rename(this.#path, target);
    else if (!(await renameToNew(this.#path, target))) throw existingTarget(target);
    this.#published = true;
    await syncDirectory(dirname(resolve(target)));
    await this.#journal.remove();
  }

  /** Throws the bytes away. */
  async discard(): Promise<void> {
    this.#pieces.clear();
    await this.#journal.remove();
    await removeIfPresent(this.#path);
  }

  /** Keeps the pieces for a later call; without any there is nothing to keep. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (!this.#published && this.#pieces.size === 0) await this.discard();
    } finally {
      await this.#stack[Symbol.asyncDispose]();
    }
  }

  get #journalPath(): string {
    return `${this.#path}.journal`;
  }

  async #takeUp(): Promise<void> {
    const { binding } = this.#options;
    const isNew = (await this.#file.stat()).size === 0;
    const earlier = isNew ? undefined : await DownloadJournal.read(this.#journalPath, binding);
    if (earlier === undefined) return this.beginAnew();
    this.#pieceBytes = earlier.pieceBytes;
    this.#journal = this.#stack.use(await DownloadJournal.goOn(this.#journalPath));
    await this.#file.truncate(binding.sizeBytes);
    await this.#keepWhatIsRight(earlier.pieces);
  }

  /** Reading a piece again costs far less than fetching it, and the file may have been written to meanwhile. */
  async #keepWhatIsRight(pieces: readonly JournaledPiece[]): Promise<void> {
    const { parallel: concurrency, signal } = this.#options;
    await forEachConcurrently(pieces, { concurrency, signal }, async (piece) => {
      if ((await this.hash(piece.range)) === piece.treeHash) this.#pieces.set(piece.range.start, piece);
    });
  }

  async #orDiskFull<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code !== "ENOSPC" && code !== "EDQUOT") throw cause;
      const hint = "Make room and download again: it goes on where it was";
      throw new FileSystemError("no-space", `Cannot download to ${this.#options.target}: the disk is full`, {
        cause,
        hint,
      });
    }
  }
}

/** The file at `path`, locked; by its inode, which every name of it shares. */
async function openLocked(path: string, stack: AsyncStack): Promise<FileHandle> {
  for (;;) {
    // Whoever may write to the directory could have put a link there, to a file that is not theirs to write to.
    const file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o666);
    const handle = { [Symbol.asyncDispose]: () => file.close() };
    const { dev, ino, nlink } = await file.stat({ bigint: true });
    const lock = await tryLock(`download-${dev}-${ino}`);
    if (lock === undefined) {
      await file.close();
      throw new FileSystemError("busy", `Cannot download to ${path}: another download is writing to it`);
    }
    // Between opening and locking, a download that ended may have given it its final name.
    const named = await stat(path, { bigint: true }).catch(() => undefined);
    const isNamed = named?.ino === ino && named.dev === dev;
    // A download that was killed while it was published: the file has its final name, too, and is finished.
    if (isNamed && nlink > 1n) await unlink(path);
    else if (isNamed) {
      stack.use(lock);
      stack.use(handle);
      return file;
    }
    await file.close();
    await lock[Symbol.asyncDispose]();
  }
}
