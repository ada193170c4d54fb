/** The files below the cache's directory: what is there, and what an earlier process has left that is of no use. */

import { linkSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import type { ArchiveKey } from "../domain/ids.js";
import { hours, type Instant, type Milliseconds } from "../domain/time.js";
import { type CacheLayout, numberOfName, shardCount } from "./layout.js";
import type { CachedRow } from "./ports.js";

const staleLandingMs = hours(48);

/** Removes files that no row describes; the keys of the others. One shard at a time, so that nothing stalls long. */
export async function sweepContents(
  layout: CacheLayout,
  rows: ReadonlyMap<ArchiveKey, CachedRow>,
): Promise<Set<ArchiveKey>> {
  const present = new Set<ArchiveKey>();
  for (let shard = 0; shard < shardCount; shard += 1) {
    const directory = layout.shardDirectory(shard);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(directory)) {
      const key = numberOfName(name) as ArchiveKey | undefined;
      const row = key === undefined ? undefined : rows.get(key);
      if (row !== undefined && isFileOf(`${directory}/${name}`, row.sizeBytes)) present.add(row.key);
      else rmSync(`${directory}/${name}`, { recursive: true, force: true });
    }
    await new Promise(setImmediate);
  }
  return present;
}

/** Removes landings that nobody has gone on with for longer than the service keeps a job's output, and than `keepMs`. */
export function sweepLandings(layout: CacheLayout, now: Instant, keepMs: Milliseconds): void {
  const directory = layout.landingDirectory;
  const oldest = now - Math.max(keepMs, staleLandingMs);
  for (const name of readdirSync(directory)) {
    const path = `${directory}/${name}`;
    if (statSync(path).mtimeMs < oldest) rmSync(path, { recursive: true, force: true });
  }
}

/** Whether `path` is a regular file of exactly `sizeBytes`. */
export function isFileOf(path: string, sizeBytes: number): boolean {
  return sizeOfFile(path) === sizeBytes;
}

/** undefined when there is no regular file at `path`. */
export function sizeOfFile(path: string): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true ? found.size : undefined;
}

/** Gives the file at `from` the name `to` as well, whatever has that name. */
export function linkOver(from: string, to: string): void {
  rmSync(to, { force: true });
  linkSync(from, to);
}
