/** A directory of known content for tests that copy. */

import { execFileSync } from "node:child_process";
import { lchown, link, lutimes, mkdir, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { testBytes } from "./test-bytes.js";

export interface SourceTree {
  readonly directory: string;
  /** Regular files that are not empty: each becomes one archive. */
  readonly nonEmptyFiles: number;
}

/** `count` files in nested directories, some empty, with odd names, modes, owners, times to the nanosecond and symlinks. */
export async function makeSourceTree(directory: string, count: number): Promise<SourceTree> {
  let nonEmptyFiles = 0;
  for (let i = 0; i < count; i++) {
    const below = join(directory, `dir ${i % 7}`, `deep${i % 3}`);
    await mkdir(below, { recursive: true });
    const path = join(below, i % 11 === 0 ? `grüße %?&= ${i}` : `file-${i}`);
    const size = i % 50 === 49 ? 0 : 1 + ((i * 7919) % 9000);
    if (size > 0) nonEmptyFiles += 1;
    await writeFile(path, testBytes(size, i), { mode: i % 5 === 0 ? 0o640 : 0o755 });
    await lchown(path, i % 4 === 0 ? 1000 : 0, i % 6 === 0 ? 100 : 0);
  }
  await symlink("dir 1/deep1/file-1", join(directory, "a link"));
  await symlink("nowhere", join(directory, "dangling"));
  await lutimes(join(directory, "dangling"), 1_000_000_000, 1_000_000_001);
  await link(join(directory, "dir 1/deep1/file-1"), join(directory, "second name"));
  await mkdir(join(directory, "empty directory"));
  await utimes(join(directory, "empty directory"), 1_111_111_111, 1_222_222_222);
  // Nanoseconds that no rounding would keep.
  execFileSync("touch", ["-d", "2019-03-04T05:06:07.123456789Z", join(directory, "dir 2/deep2/file-2")]);
  execFileSync("touch", ["-d", "1969-12-31T23:59:58.000000001Z", join(directory, "dir 3/deep0/file-3")]);
  return { directory, nonEmptyFiles };
}
