/**
 * Leaves the last bit of the disk to the database.
 *
 * Without it a disk that is full could not be relieved: deleting an archive writes to the database before it frees bytes.
 */

import { statfs } from "node:fs/promises";
import { GIB, MIB } from "../../domain/bytes.js";

const reserveBytesMax = 64 * MIB;
/** Of a small disk the reserve is this part. */
const reserveFraction = 1 / 16;
/** With so much left beyond the reserve, the disk is not asked for every file: that took a tenth of a small upload. */
const plentyBytes = GIB;
/** Received before the disk is asked again; a small part of the reserve, in case others have filled the disk. */
const uncheckedBytesMax = 16 * MIB;
/** What a file counts for at least. */
const fileBytesMin = 64 * 1024;

export class FreeSpace {
  readonly #directory: string;
  #uncheckedBytes = 0;

  /** Of the disk below `directory`. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** @throws Error with the code ENOSPC when only the reserve is left. */
  async check(): Promise<void> {
    if (this.#uncheckedBytes > 0) return;
    const disk = await statfs(this.#directory);
    const reserveBytes = Math.min(reserveBytesMax, disk.blocks * disk.bsize * reserveFraction);
    const spareBytes = disk.bavail * disk.bsize - reserveBytes;
    if (spareBytes >= plentyBytes) this.#uncheckedBytes = uncheckedBytesMax;
    if (spareBytes >= 0) return;
    throw Object.assign(new Error(`Only the reserve of ${reserveBytes} bytes is left on the disk`), { code: "ENOSPC" });
  }

  /** Counts a file that was written. @throws as `check`. */
  async take(sizeBytes: number): Promise<void> {
    this.#uncheckedBytes -= Math.max(sizeBytes, fileBytesMin);
    await this.check();
  }
}
