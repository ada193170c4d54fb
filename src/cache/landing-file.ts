/**
 * A recalled content while it is put together, invisible to readers until `commit`.
 *
 * Relies on: being the only landing of its archive. Never: publishes; the cache does, in `commit`.
 */

import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type ByteRange, byteRange, MIB, splitRange } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import { removeIfPresent } from "../lib/durable-file.js";
import { invariant } from "../lib/invariant.js";
import { writeAllAt } from "../lib/positioned-write.js";
import { downloadPieceBytes } from "../protocol/limits.js";
import type { TreeHashHex } from "../protocol/service.js";
import { combineTreeHashes } from "../protocol/tree-hash.js";
import type { ColdArchive, Landing } from "../restore/ports.js";
import type { HashPool } from "./hash-pool.js";
import type { LandingPieces } from "./landing-pieces.js";

export interface LandingParts {
  readonly archive: ColdArchive;
  readonly path: string;
  readonly pieces: LandingPieces;
  readonly hashPool: HashPool;
  /** Makes the synced and closed file at `path` visible. */
  readonly publish: () => Promise<void>;
  /** The place is free again, whatever became of the bytes. */
  readonly onEnd: () => void;
}

export class LandingFile implements Landing {
  readonly #parts: LandingParts;
  readonly #file: FileHandle;
  /** Tree hashes of the nodes of `downloadPieceBytes` that were read back from disk, by their start. */
  readonly #nodes = new Map<number, TreeHashHex>();
  #open = true;

  private constructor(parts: LandingParts, file: FileHandle) {
    this.#parts = parts;
    this.#file = file;
  }

  static async open(parts: LandingParts): Promise<LandingFile> {
    const file = await open(parts.path, constants.O_RDWR | constants.O_CREAT, 0o600);
    await file.truncate(parts.archive.sizeBytes);
    return new LandingFile(parts, file);
  }

  get #sizeBytes(): number {
    return this.#parts.archive.sizeBytes;
  }

  missing(): readonly ByteRange[] {
    return this.#parts.pieces.missing;
  }

  // Always on the thread pool: what comes from the network fills the page cache faster than the disk empties it, and
  // the kernel then makes writers wait; that must not be the event loop.
  async write(offset: number, data: Uint8Array | readonly Uint8Array[]): Promise<void> {
    const chunks = data instanceof Uint8Array ? [data] : data;
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    invariant(offset + length <= this.#sizeBytes, "a landing stays within its archive");
    this.#forgetNodes(offset, offset + length);
    try {
      await writeAllAt(this.#file, chunks, offset);
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === "ENOSPC" ? diskFull(this.#parts.archive, error) : error;
    }
  }

  async hash(range: ByteRange): Promise<TreeHashHex> {
    const treeHash = await this.#parts.hashPool.treeHash(this.#parts.path, range);
    if (this.#isNode(range)) this.#nodes.set(range.start, treeHash);
    return treeHash;
  }

  async pieceVerified(range: ByteRange): Promise<void> {
    await this.#parts.pieces.add(range);
  }

  async *read(): AsyncGenerator<Uint8Array> {
    for (const piece of splitRange(byteRange(0, this.#sizeBytes), MIB)) {
      const buffer = Buffer.allocUnsafeSlow(piece.end - piece.start);
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, piece.start);
      invariant(bytesRead === buffer.length, "a landing file is as long as its archive");
      yield buffer;
    }
  }

  async treeHash(): Promise<TreeHashHex> {
    const ranges = splitRange(byteRange(0, this.#sizeBytes), downloadPieceBytes);
    const nodes = await Promise.all(ranges.map((range) => this.#nodes.get(range.start) ?? this.hash(range)));
    return combineTreeHashes(nodes);
  }

  async commit(): Promise<void> {
    invariant(this.missing().length === 0, "only a complete landing is committed");
    await this.#file.datasync();
    await this.#close();
    await this.#parts.publish();
    await this.#parts.pieces.remove();
    this.#parts.onEnd();
  }

  async discard(): Promise<void> {
    await this.#close();
    await this.#parts.pieces.remove();
    await removeIfPresent(this.#parts.path);
    this.#parts.onEnd();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
    this.#parts.onEnd();
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#parts.pieces.close();
    await this.#file.close();
  }

  /** The nodes of `downloadPieceBytes`, and the shorter one at the end, combine to the tree hash of the whole. */
  #isNode({ start, end }: ByteRange): boolean {
    return start % downloadPieceBytes === 0 && end === Math.min(start + downloadPieceBytes, this.#sizeBytes);
  }

  #forgetNodes(start: number, end: number): void {
    const first = start - (start % downloadPieceBytes);
    for (let node = first; node < end; node += downloadPieceBytes) this.#nodes.delete(node);
  }
}

/** Somebody else has filled the disk since room was made. */
function diskFull({ id }: ColdArchive, cause: unknown): FileSystemError {
  return new FileSystemError("no-space", `Cannot land archive ${id}: the disk is full`, { cause });
}
