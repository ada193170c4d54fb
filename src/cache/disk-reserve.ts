/**
 * Keeps a part of the local disk free of staged bytes: the catalog needs room to journal even the removal that would
 * make room.
 */

import { statfsSync } from "node:fs";
import { MIB } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";

// On a disk smaller than the wanted reserve, this part of it is kept.
const smallDiskShare = 16;
// How much is written before the disk is asked again; others write on it, too.
const stepBytesMax = 64 * MIB;

export interface DiskSpace {
  readonly blockSizeBytes: number;
  readonly blocks: number;
  /** Without the reserve. */
  readonly blocksFree: number;
}

export class DiskReserve {
  readonly #directory: string;
  readonly #keepFreeBytes: number;
  #allowanceBytes = 0;
  #evict: (bytes: number) => Promise<void> = async () => {};

  /** @param keepFreeBytes Wanted reserve; less on a disk of which it would be more than a sixteenth. */
  constructor(directory: string, { keepFreeBytes }: { readonly keepFreeBytes: number }) {
    this.#directory = directory;
    this.#keepFreeBytes = keepFreeBytes;
  }

  /** @returns false when writing `bytes` more would touch the reserve. */
  take(bytes: number): boolean {
    this.#allowanceBytes -= bytes;
    if (this.#allowanceBytes >= 0) return true;
    const freeBytes = this.freeBytes();
    this.#allowanceBytes = Math.max(0, Math.min((freeBytes - bytes) / 2, stepBytesMax));
    return freeBytes >= bytes;
  }

  /** @throws FileSystemError "no-space" when all that may be evicted is not enough. */
  async reclaim(bytes: number): Promise<void> {
    await this.#evict(Math.max(bytes, stepBytesMax) - this.freeBytes());
    if (this.take(bytes)) return;
    throw new FileSystemError("no-space", `Cannot stage ${bytes} bytes: the disk of ${this.#directory} is full`);
  }

  /** Bytes that may still be written, the reserve not counted. */
  freeBytes(): number {
    const { blockSizeBytes, blocksFree } = this.space();
    return blockSizeBytes * blocksFree;
  }

  /** Tells how cached copies are evicted; until then nothing can be. */
  setEvictor(evict: (bytes: number) => Promise<void>): void {
    this.#evict = evict;
  }

  /** The disk as writers may use it. */
  space(): DiskSpace {
    const { bsize, blocks, bavail } = statfsSync(this.#directory);
    const reserveBytes = Math.min(this.#keepFreeBytes, (blocks * bsize) / smallDiskShare);
    return { blockSizeBytes: bsize, blocks, blocksFree: Math.max(0, bavail - Math.ceil(reserveBytes / bsize)) };
  }
}
