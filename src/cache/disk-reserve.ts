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

  /** @param keepFreeBytes Wanted reserve; less on a disk of which it would be more than a sixteenth. */
  constructor(directory: string, { keepFreeBytes }: { readonly keepFreeBytes: number }) {
    this.#directory = directory;
    this.#keepFreeBytes = keepFreeBytes;
  }

  /** @throws FileSystemError "no-space" when writing `bytes` more would touch the reserve. */
  take(bytes: number): void {
    this.#allowanceBytes -= bytes;
    if (this.#allowanceBytes >= 0) return;
    const { blockSizeBytes, blocksFree } = this.space();
    const freeBytes = blocksFree * blockSizeBytes;
    if (freeBytes < bytes) {
      this.#allowanceBytes = 0;
      throw new FileSystemError("no-space", `Cannot stage ${bytes} bytes: the disk of ${this.#directory} is full`);
    }
    this.#allowanceBytes = Math.min((freeBytes - bytes) / 2, stepBytesMax);
  }

  /** The disk as writers may use it. */
  space(): DiskSpace {
    const { bsize, blocks, bavail } = statfsSync(this.#directory);
    const reserveBytes = Math.min(this.#keepFreeBytes, (blocks * bsize) / smallDiskShare);
    return { blockSizeBytes: bsize, blocks, blocksFree: Math.max(0, bavail - Math.ceil(reserveBytes / bsize)) };
  }
}
