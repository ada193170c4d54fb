/**
 * Leaves the last bit of the disk to the database.
 *
 * Without it a disk that is full could not be relieved: deleting an archive writes to the database before it frees bytes.
 */

import { statfs } from "node:fs/promises";
import { MIB } from "../domain/bytes.js";

const reserveBytesMax = 64 * MIB;
/** Of a small disk the reserve is this part. */
const reserveFraction = 1 / 16;

/** @throws Error with the code ENOSPC when only the reserve of the disk below `directory` is left. */
export async function checkSpaceLeft(directory: string): Promise<void> {
  const disk = await statfs(directory);
  const reserveBytes = Math.min(reserveBytesMax, disk.blocks * disk.bsize * reserveFraction);
  if (disk.bavail * disk.bsize >= reserveBytes) return;
  throw Object.assign(new Error(`Only the reserve of ${reserveBytes} bytes is left on the disk`), { code: "ENOSPC" });
}
