/**
 * An open local file: of staging, or of the cache.
 *
 * Relies on: the page cache. Reads and writes of at most 64 KiB are made synchronously: measured with warm pages on
 * 2 cores, one takes 2-12 microseconds so, and 45-60 by way of Node's thread pool, while from 256 KiB on the copy
 * itself is what costs. The price is that a cold page of a small read holds up the event loop for one disk access;
 * the kernel's read-ahead makes that one in many. Larger ones run on the thread pool.
 */

import { closeSync, fdatasync, fstatSync, ftruncateSync, openSync, read, readSync, write, writeSync } from "node:fs";
import { promisify } from "node:util";
import { KIB } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import type { ContentFile } from "../vfs/ports.js";
import type { Change } from "./written-content.js";

const synchronousBytesMax = 64 * KIB;
// The unit of st_blocks, whatever the file system's own block is.
export const statBlockBytes = 512;
const readOnPool = promisify(read);
const writeOnPool = promisify(write);
const syncOnPool = promisify(fdatasync);

/** Hears of every change to the bytes of a file, before it begins and when it is over. */
export interface FileChanges {
  willWrite(start: number, end: number): Change;
  didWrite(change: Change): void;
  didFail(change: Change): void;
  didCut(sizeBytes: number): void;
}

export interface ContentFileHooks {
  /** Called once, when the file was closed. */
  readonly onClose?: () => void;
  /** Called when the file was set to a size, which may be larger than before. */
  readonly onCut?: (sizeBytes: number) => void;
  readonly changes?: FileChanges | undefined;
  /** Called before bytes are read or written, and when they have been; throws when they are not the file's any more. */
  readonly require?: ((start: number, end: number) => void) | undefined;
  /** Makes the error of a read that finds the file's end before this many bytes: somebody else has cut it. */
  readonly whole?: { readonly sizeBytes: number; readonly onShort: () => Promise<Error> } | undefined;
}

export class ContentFileHandle implements ContentFile {
  readonly #fd: number;
  readonly #onClose: () => void;
  readonly #onCut: (sizeBytes: number) => void;
  readonly #changes: FileChanges | undefined;
  readonly #require: ((start: number, end: number) => void) | undefined;
  readonly #whole: ContentFileHooks["whole"];
  /** Reads, writes and syncs on the thread pool: the descriptor's number must not be reused before they are done. */
  readonly #pending = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  private constructor(fd: number, { onClose = () => {}, onCut = () => {}, changes, require, whole }: ContentFileHooks) {
    this.#fd = fd;
    this.#require = require;
    this.#whole = whole;
    this.#onClose = onClose;
    this.#onCut = onCut;
    this.#changes = changes;
  }

  /**
   * Opens synchronously: a hop to the thread pool and back takes three times as long as the open itself.
   *
   * @param flags As of open(2): "r", "r+", "w+".
   * @throws FileSystemError "not-found" when there is no such file; otherwise the system's error.
   */
  static async open(path: string, flags: "r" | "r+" | "w+", hooks: ContentFileHooks = {}): Promise<ContentFileHandle> {
    try {
      return new ContentFileHandle(openSync(path, flags, 0o600), hooks);
    } catch (error) {
      throw openFailure(path, error);
    }
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    this.#require?.(offset, offset + into.length);
    const length = await this.#read(offset, into);
    this.#require?.(offset, offset + length);
    if (this.#whole !== undefined && length < into.length && offset + length < this.#whole.sizeBytes) {
      throw await this.#whole.onShort();
    }
    return length;
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.#require?.(offset, offset + data.length);
    await this.#write(offset, data);
    this.#require?.(offset, offset + data.length);
  }

  async #read(offset: number, into: Uint8Array): Promise<number> {
    if (into.length > synchronousBytesMax) return this.#track(this.#readOnPool(offset, into));
    let done = 0;
    while (done < into.length) {
      const length = readSync(this.#fd, into, done, into.length - done, offset + done);
      if (length === 0) break;
      done += length;
    }
    return done;
  }

  async #write(offset: number, data: Uint8Array): Promise<void> {
    const change = this.#changes?.willWrite(offset, offset + data.length);
    try {
      if (data.length > synchronousBytesMax) await this.#track(this.#writeOnPool(offset, data));
      else this.#writeAtOnce(offset, data);
    } catch (error) {
      if (change !== undefined) this.#changes?.didFail(change);
      throw writeFailure(error);
    }
    if (change !== undefined) this.#changes?.didWrite(change);
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#settled();
    this.#setSize(sizeBytes);
    this.#changes?.didCut(sizeBytes);
    this.#onCut(sizeBytes);
  }

  async extendTo(sizeBytes: number): Promise<void> {
    await this.#settled();
    // No await between the two: a write in between would be cut off.
    if (fstatSync(this.#fd).size < sizeBytes) this.#setSize(sizeBytes);
  }

  #setSize(sizeBytes: number): void {
    try {
      ftruncateSync(this.#fd, sizeBytes);
    } catch (error) {
      throw writeFailure(error);
    }
  }

  async sync(): Promise<void> {
    await this.#settled();
    await this.#track(syncOnPool(this.#fd));
  }

  allocatedBytes(): number {
    return fstatSync(this.#fd).blocks * statBlockBytes;
  }

  /** Present length of the file, in bytes. */
  get sizeBytes(): number {
    return fstatSync(this.#fd).size;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#pending.size > 0) await this.#settled();
    try {
      closeSync(this.#fd);
    } finally {
      this.#onClose();
    }
  }

  async #readOnPool(offset: number, into: Uint8Array): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const { bytesRead } = await readOnPool(this.#fd, into, done, into.length - done, offset + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  #writeAtOnce(offset: number, data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      done += writeSync(this.#fd, data, done, data.length - done, offset + done);
    }
  }

  async #writeOnPool(offset: number, data: Uint8Array): Promise<void> {
    for (let done = 0; done < data.length; ) {
      const { bytesWritten } = await writeOnPool(this.#fd, data, done, data.length - done, offset + done);
      done += bytesWritten;
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const tracked = work.finally(() => this.#pending.delete(tracked));
    this.#pending.add(tracked);
    return tracked;
  }

  async #settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }
}

/** That the local disk can hold no file of this size is the caller's affair and no failure of the disk. */
function writeFailure(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === "EFBIG" ? new FileSystemError("too-large", message, { cause: error }) : error;
}

function openFailure(path: string, error: unknown): unknown {
  const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
  return missing ? new FileSystemError("not-found", `Cannot open ${path}: it is not there`, { cause: error }) : error;
}
