/**
 * Keeps a part of the local disk free of staged bytes: the catalog needs room to journal even the removal that would
 * make room.
 */

import { statfsSync } from "node:fs";
import { MIB } from "../domain/bytes.js";

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

/** Frees about `wantedBytes`, and nothing where `needBytes` cannot be reached: copies are not dropped in vain. */
export type Evictor = (amount: { readonly needBytes: number; readonly wantedBytes: number }) => Promise<void>;

export class DiskReserve {
  readonly #directory: string;
  readonly #keepFreeBytes: number;
  #allowanceBytes = 0;
  #evict: Evictor = async () => {};

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

  /** Evicts cached copies, and takes. @returns false when all that may be evicted is not enough. */
  async reclaim(bytes: number): Promise<boolean> {
    const freeBytes = this.freeBytes();
    await this.#evict({ needBytes: bytes - freeBytes, wantedBytes: Math.max(bytes, stepBytesMax) - freeBytes });
    return this.take(bytes);
  }

  /** Bytes that may still be written, the reserve not counted. */
  freeBytes(): number {
    const { blockSizeBytes, blocksFree } = this.space();
    return blockSizeBytes * blocksFree;
  }

  /** Tells how cached copies are evicted; until then nothing can be. */
  setEvictor(evict: Evictor): void {
    this.#evict = evict;
  }

  /** The disk as writers may use it. */
  space(): DiskSpace {
    const { bsize, blocks, bavail } = statfsSync(this.#directory);
    const reserveBytes = Math.min(this.#keepFreeBytes, (blocks * bsize) / smallDiskShare);
    return { blockSizeBytes: bsize, blocks, blocksFree: Math.max(0, bavail - Math.ceil(reserveBytes / bsize)) };
  }
}
