/**
 * The file that is uploaded, as it was when the upload began.
 *
 * Relies on: a writer leaving its trace in size, modification time or inode; where it does not, the service's check of
 * a part's hash notices, and the part is hashed again to tell whose fault it was.
 */

import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { type ByteCount, type ByteRange, byteCount, MIB } from "../domain/bytes.js";
import { CasfsError, FileSystemError, ServiceError } from "../domain/errors.js";
import { lentBlocks } from "../lib/lent-blocks.js";
import type { NewPart } from "../protocol/service.js";
import type { PartHash } from "../upload/part-sender.js";
import type { UploadableSource } from "./source-upload.js";
import type { RangeHasher } from "./transfer-deps.js";
import { SourceChangedError } from "./transfer-errors.js";

export class SourceFile implements UploadableSource, AsyncDisposable {
  readonly sizeBytes: ByteCount;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #first: BigIntStats;
  readonly #hasher: RangeHasher;

  private constructor(path: string, file: FileHandle, first: BigIntStats, hasher: RangeHasher) {
    this.#path = path;
    this.#file = file;
    this.#first = first;
    this.#hasher = hasher;
    this.sizeBytes = byteCount(Number(first.size));
  }

  /** @throws FileSystemError "not-found", or "invalid" for anything but a regular file; else the system's error. */
  static async open(path: string, hasher: RangeHasher): Promise<SourceFile> {
    // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== "ENOENT") throw cause;
      throw new FileSystemError("not-found", `Cannot upload ${path}: it is not there`, { cause });
    });
    try {
      const first = await file.stat({ bigint: true });
      if (!first.isFile()) throw new FileSystemError("invalid", `Cannot upload ${path}: it is not a regular file`);
      return new SourceFile(resolve(path), file, first, hasher);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get name(): string {
    return this.#path;
  }

  async hash(range: ByteRange): Promise<PartHash> {
    try {
      return await this.#hasher.hash(this.#path, range);
    } catch (cause) {
      const gone = cause instanceof CasfsError && (cause.kind === "corrupt" || cause.kind === "not-found");
      throw gone ? this.#changed("it became shorter or went away", cause) : cause;
    }
  }

  async *read(range: ByteRange): AsyncGenerator<Uint8Array> {
    await this.checkUnchanged();
    yield* lentBlocks({ ...range, blockBytes: MIB, fill: (block, offset) => this.#fill(block, offset) });
  }

  async #fill(block: Buffer, offset: number): Promise<void> {
    for (let filled = 0; filled < block.length; ) {
      const { bytesRead } = await this.#file.read(block, filled, block.length - filled, offset + filled);
      if (bytesRead === 0) throw this.#changed("it became shorter");
      filled += bytesRead;
    }
  }

  async checkUnchanged(): Promise<void> {
    // By its name: the hasher opens it by its name, and a file that was put in its place is another one.
    const now = await stat(this.#path, { bigint: true }).catch((cause: unknown) => {
      throw this.#changed("it was moved or removed", cause);
    });
    const { dev, ino, size, mtimeNs } = this.#first;
    if (now.ino !== ino || now.dev !== dev) throw this.#changed("another file took its place");
    if (now.size !== size) throw this.#changed("its size changed");
    if (now.mtimeNs !== mtimeNs) throw this.#changed("it was written to");
  }

  async explainRefusal(error: unknown, part: Pick<NewPart, "range" | "sha256">): Promise<unknown> {
    if (!(error instanceof ServiceError) || error.fault !== "digest") return error;
    const now = await this.hash(part.range);
    return now.sha256 === part.sha256 ? error : this.#changed("it was written to", error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  #changed(what: string, cause?: unknown): SourceChangedError {
    return new SourceChangedError(this.#path, what, cause === undefined ? {} : { cause });
  }
}
