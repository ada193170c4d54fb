/** The final name of a download: what may be there already. */

import { lstat } from "node:fs/promises";
import { FileSystemError } from "../domain/errors.js";

/** @throws FileSystemError "is-a-directory", or "exists" for anything else that is not to be replaced. */
export async function checkTarget(target: string, { overwrite }: { readonly overwrite: boolean }): Promise<void> {
  const present = await lstat(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    return undefined;
  });
  if (present?.isDirectory()) {
    throw new FileSystemError("is-a-directory", `Cannot download to ${target}: it is a directory`);
  }
  if (present !== undefined && !overwrite) throw existingTarget(target);
}

export function existingTarget(target: string): FileSystemError {
  return new FileSystemError("exists", `Cannot download to ${target}: it exists`);
}
