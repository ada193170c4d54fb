/**
 * A window while it lands, at its place in the sparse file of its archive.
 *
 * Relies on: no other landing writes to the same bytes. Never: overwrites what was verified, nor lets a piece be read
 * that was not verified alone, or is not on the disk.
 */

import type { FileHandle } from "node:fs/promises";
import { type ByteRange, rangeLength } from "../domain/bytes.js";
import { CorruptError, FileSystemError } from "../domain/errors.js";
import { invariant } from "../lib/invariant.js";
import { writeAllAt } from "../lib/positioned-write.js";
import type { ArchiveWindow } from "../protocol/archive-window.js";
import type { TreeHashHex } from "../protocol/service.js";
import type { PieceProof } from "../restore/piece-download.js";
import type { ColdArchive, WindowLanding } from "../restore/ports.js";
import type { HashPool } from "./hash-pool.js";
import type { PartialEntry } from "./partial-entry.js";
import type { PartialPiece } from "./ports.js";

export interface PartialLandingParts {
  readonly archive: ColdArchive;
  readonly window: ArchiveWindow;
  readonly entry: PartialEntry;
  readonly file: FileHandle;
  readonly path: string;
  readonly hashPool: Pick<HashPool, "treeHash">;
  /** The piece is on the disk: readers see it from when this has resolved. */
  readonly publish: (piece: PartialPiece) => Promise<void>;
  /** Forgets the pieces of the window. */
  readonly forget: () => Promise<void>;
  readonly onEnd: () => void;
}

export class PartialLanding implements WindowLanding {
  readonly #parts: PartialLandingParts;
  #open = true;

  constructor(parts: PartialLandingParts) {
    this.#parts = parts;
  }

  missing(): readonly ByteRange[] {
    return this.#parts.entry.missing(this.#parts.window);
  }

  async write(offset: number, data: readonly Uint8Array[]): Promise<void> {
    const { archive, entry, file, window } = this.#parts;
    const length = data.reduce((sum, chunk) => sum + chunk.length, 0);
    invariant(offset >= window.start && offset + length <= window.end, "a landing stays within its window");
    this.#requireWanted();
    const touched = { start: offset, end: offset + length } as ByteRange;
    invariant(
      entry.missing(touched).some(({ start, end }) => start <= touched.start && end >= touched.end),
      "what was verified is not written again",
    );
    try {
      await writeAllAt(file, data, offset);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      // Somebody else has filled the disk since room was made.
      const message = `Cannot land a part of archive ${archive.id}: the disk is full`;
      throw new FileSystemError("no-space", message, { cause: error });
    }
  }

  hash(range: ByteRange): Promise<TreeHashHex> {
    return this.#parts.hashPool.treeHash(this.#parts.path, range);
  }

  async pieceVerified(range: ByteRange, { treeHash, checked }: PieceProof): Promise<void> {
    const { archive, file, publish } = this.#parts;
    if (!checked) {
      const bytes = `bytes ${range.start}-${range.end} of archive ${archive.id}`;
      throw new CorruptError(`Cannot verify ${bytes}: the service gives no hash of them`, {
        hint: "Run `casfs restore` on the file: the whole of it can be verified",
      });
    }
    await file.datasync();
    this.#requireWanted();
    await publish({ ...range, treeHash });
  }

  treeHash(): TreeHashHex {
    return this.#parts.entry.treeHash(this.#parts.window);
  }

  discard(): Promise<void> {
    return this.#parts.forget();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#parts.onEnd();
    await this.#parts.file.close();
  }

  /** The file may have been removed, or become whole another way, while its windows came. */
  #requireWanted(): void {
    const { archive, entry, window } = this.#parts;
    if (entry.state === "here") return;
    const message = `The part of archive ${archive.id} of ${rangeLength(window)} bytes is not wanted any more`;
    throw new FileSystemError("stale", message);
  }
}
