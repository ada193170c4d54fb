/** A rename that never replaces. */

import { link, rename, stat, unlink } from "node:fs/promises";

/** Of file systems without hard links. */
const linkless = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV"]);

/**
 * Gives the file at `path` the name `target`, in one step where the file system has hard links.
 *
 * @returns false when something is at `target`: nothing has happened then.
 */
export async function renameToNew(path: string, target: string): Promise<boolean> {
  try {
    await link(path, target);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    if (!linkless.has(code ?? "")) throw error;
    if ((await stat(target).catch(() => undefined)) !== undefined) return false;
    await rename(path, target);
    return true;
  }
  await unlink(path);
  return true;
}
