/** The final name of a download: what may be there already. */

import { lstat, stat } from "node:fs/promises";
import { FileSystemError } from "../domain/errors.js";

/**
 * Resolves when a file may appear at `target`.
 *
 * @throws FileSystemError "is-a-directory", "exists" for anything else that is not to be replaced, "invalid" for what
 * never is: renaming a file to `/dev/null` would take that name from all programs.
 */
export async function checkTarget(target: string, { overwrite }: { readonly overwrite: boolean }): Promise<void> {
  if (target === "") throw new FileSystemError("invalid", "Cannot download to a file without a name");
  const present = await lstat(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    return undefined;
  });
  if (present?.isDirectory()) {
    throw new FileSystemError("is-a-directory", `Cannot download to ${target}: it is a directory`);
  }
  if (present !== undefined && !overwrite) throw existingTarget(target);
  const meant = present?.isSymbolicLink() ? await stat(target).catch(() => undefined) : present;
  if (meant !== undefined && !meant.isFile()) {
    throw new FileSystemError("invalid", `Cannot download to ${target}: it is not a regular file`);
  }
}

export function existingTarget(target: string): FileSystemError {
  return new FileSystemError("exists", `Cannot download to ${target}: it exists`);
}
