/** What is in a directory, by content: the proof that two trees are the same. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { join, relative } from "node:path";
import { forEachConcurrently } from "../../lib/concurrency.js";

/** Path below the directory -> what is there, in one comparable text. */
export type Checksums = ReadonlyMap<string, string>;

/** SHA-256, permissions and modification time of every file, the target of every link, every directory. */
export async function checksumsOf(directory: string, signal: AbortSignal): Promise<Checksums> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const sums = new Map<string, string>();
  await forEachConcurrently(entries, { concurrency: 4, signal }, async (entry) => {
    const path = join(entry.parentPath, entry.name);
    sums.set(relative(directory, path), await checksumOf(path));
  });
  return sums;
}

/** The paths at which the two differ. */
export function differences(left: Checksums, right: Checksums): string[] {
  const paths = new Set([...left.keys(), ...right.keys()]);
  return [...paths].filter((path) => left.get(path) !== right.get(path)).sort();
}

async function checksumOf(path: string): Promise<string> {
  const found = await lstat(path, { bigint: true });
  if (found.isSymbolicLink()) return `link to ${await readlink(path)}`;
  if (found.isDirectory()) return "directory";
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) hash.update(chunk);
  return `${hash.digest("hex")} mode ${(found.mode & 0o7777n).toString(8)} mtime ${found.mtimeNs}`;
}
