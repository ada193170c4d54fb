/**
 * A file of which only windows are here, in the place of an open file's bytes. `PartialReads` brings what is missing.
 *
 * Never: waits; nor is it written, because who opens a file for writing has all of it recalled first.
 */

import type { ByteRange } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import { invariant } from "../lib/invariant.js";
import type { ColdArchive } from "../restore/ports.js";
import type { ContentFile, PartialContentFile } from "./ports.js";

export class PartialFile implements ContentFile {
  readonly archive: ColdArchive;
  readonly #here: PartialContentFile;

  constructor(archive: ColdArchive, here: PartialContentFile) {
    this.archive = archive;
    this.#here = here;
  }

  get state(): PartialContentFile["state"] {
    return this.#here.state;
  }

  missing(range: ByteRange): readonly ByteRange[] {
    return this.#here.missing(range);
  }

  /** @throws FileSystemError "not-supported" unless all is here: copy_file_range(2) is done by reading and writing then. */
  async read(offset: number, into: Uint8Array): Promise<number> {
    const range = { start: offset, end: Math.min(offset + into.length, this.archive.sizeBytes) } as ByteRange;
    if (this.state === "here" && this.missing(range).length === 0) return this.#here.read(offset, into);
    throw new FileSystemError("not-supported", `Not all bytes of archive ${this.archive.id} are here`);
  }

  async write(): Promise<void> {
    invariant(false, "a partial file is not written");
  }

  async truncate(): Promise<void> {
    invariant(false, "a partial file is not cut");
  }

  async extendTo(): Promise<void> {
    invariant(false, "a partial file is not extended");
  }

  /** All of it is data, as of any cold file. */
  allocatedBytes(): number {
    return this.archive.sizeBytes;
  }

  async sync(): Promise<void> {}

  close(): Promise<void> {
    return this.#here.close();
  }
}
