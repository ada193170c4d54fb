/** Reads what is here of an archive that is not whole. */

import { type ByteRange, byteRange } from "../domain/bytes.js";
import { CorruptError, FileSystemError } from "../domain/errors.js";
import { invariant } from "../lib/invariant.js";
import type { PartialContentFile } from "../vfs/ports.js";
import { ContentFileHandle } from "./content-file.js";
import type { PartialEntry, PartialState } from "./partial-entry.js";

export interface PartialReaderHooks {
  readonly path: string;
  /** Where the file goes when the archive is whole. */
  readonly wholePath: string;
  readonly onRead: () => void;
  /** Called once. */
  readonly onClose: () => void;
}

export class PartialReader implements PartialContentFile {
  readonly #entry: PartialEntry;
  readonly #hooks: PartialReaderHooks;
  /** Opened at the first read: before the first window there is no file. */
  #file: Promise<ContentFileHandle> | undefined;
  #closing: Promise<void> | undefined;

  constructor(entry: PartialEntry, hooks: PartialReaderHooks) {
    this.#entry = entry;
    this.#hooks = hooks;
  }

  get state(): PartialState {
    return this.#entry.state;
  }

  missing(range: ByteRange): readonly ByteRange[] {
    return this.#entry.missing(range);
  }

  get landedBytes(): number {
    return this.#entry.landedBytes;
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    const range = byteRange(offset, Math.min(offset + into.length, this.#entry.sizeBytes));
    invariant(this.missing(range).length === 0, "only what is here is read");
    this.#hooks.onRead();
    this.#file ??= this.#open();
    const file = await this.#file;
    const length = await file.read(offset, into.subarray(0, range.end - range.start));
    // An end of file would be taken for the end of the content.
    if (length < range.end - range.start) {
      throw new CorruptError(`Cannot read ${this.#hooks.path}: it was cut while it was open`);
    }
    return length;
  }

  async #open(): Promise<ContentFileHandle> {
    const { path, wholePath } = this.#hooks;
    try {
      return await ContentFileHandle.open(path, "r");
    } catch (error) {
      if (!(error instanceof FileSystemError && error.kind === "not-found")) throw error;
      // The archive is becoming an ordinary copy: the file has moved, and the entry hears of it in a moment.
      return ContentFileHandle.open(wholePath, "r");
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await (await this.#file?.catch(() => undefined))?.close();
    } finally {
      this.#hooks.onClose();
    }
  }
}
