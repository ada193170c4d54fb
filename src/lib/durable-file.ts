/** Files that appear whole or not at all, also when the power fails. */

import { mkdir, open, rename, unlink } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/** Writes the entries of `directory` to the disk; without it a new or renamed file may be gone after a power loss. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Creates `directory`, for the user alone, and what is missing above it; it is there after a power loss, too. */
export async function makeDirectoryDurably(directory: string): Promise<void> {
  const path = resolve(directory);
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  // Also when it existed: whoever made it may have crashed before it was durable.
  for (let made = path; ; made = dirname(made)) {
    // A directory that we may enter but not list cannot be opened to be synced.
    await syncDirectory(dirname(made)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EACCES") throw error;
    });
    if (first === undefined || made === resolve(first)) return;
  }
}

/** Makes `temporary` (already synced) visible as `final`, durably. */
export async function publishFile(temporary: string, final: string): Promise<void> {
  await rename(temporary, final);
  await syncDirectory(dirname(final));
}

/** Replaces `path` by a file of `content`: temporary name, fsync, rename, fsync of the directory. */
export async function writeFileDurably(
  path: string,
  content: string | Uint8Array,
  { mode = 0o600 }: { readonly mode?: number } = {},
): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  const handle = await open(temporary, "w", mode);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await publishFile(temporary, path);
}

/** Removes the file at `path`; a file that is not there is fine. */
export async function removeIfPresent(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}
