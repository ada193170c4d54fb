/**
 * What a power loss would leave of a directory: only what was synced, as POSIX promises it and nothing more.
 *
 *   const disk = vi.hoisted(...)  // see test/server/durability-power-loss.test.ts
 *   vi.mock("node:fs/promises", async (original) => recordingSyncs(await original(), disk));
 *
 * A file has the content of its last fsync or fdatasync, taken when that began; a directory has the entries of its last
 * fsync. Never synced: an empty file, no entry. Simulated at the level of system calls: no torn sectors, no lying disk.
 * Never: sees what SQLite writes by itself; the database's main file counts as durable, which it is until a checkpoint.
 */

import {
  type BigIntStats,
  copyFileSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import type * as FsPromises from "node:fs/promises";
import { join } from "node:path";

interface DurableEntry {
  readonly name: string;
  readonly identity: string;
  readonly isDirectory: boolean;
}

/** Remembers what is on the disk for good. */
export class DurableDisk {
  readonly #contents = new Map<string, Buffer>();
  readonly #entries = new Map<string, readonly DurableEntry[]>();
  /** Syncs of files and directories whose path matches fail with EIO. */
  failing: RegExp | undefined;

  /** At the beginning of a sync: what it will have covered. */
  covered(path: string, stats: BigIntStats): () => void {
    if (this.failing?.test(path)) throw Object.assign(new Error("injected"), { code: "EIO" });
    const identity = identityOf(stats);
    if (!stats.isDirectory()) {
      const content = readFileSync(path);
      return () => this.#contents.set(identity, content);
    }
    const entries = readdirSync(path, { withFileTypes: true }).flatMap((entry): DurableEntry[] => {
      const stats = statSync(join(path, entry.name), { bigint: true, throwIfNoEntry: false });
      // Renamed by another thread since the directory was read: that is none that this sync covers.
      if (stats === undefined) return [];
      return [{ name: entry.name, identity: identityOf(stats), isDirectory: entry.isDirectory() }];
    });
    return () => this.#entries.set(identity, entries);
  }

  /** Writes what is left now of `directory`, which itself is durable, to `target`. */
  restore(directory: string, target: string): void {
    // Without a wait: meanwhile nothing becomes durable.
    this.#restore(identityOf(statSync(directory, { bigint: true })), target);
    copyFileSync(join(directory, "metadata.db"), join(target, "metadata.db"));
  }

  #restore(identity: string, target: string): void {
    mkdirSync(target, { recursive: true });
    for (const entry of this.#entries.get(identity) ?? []) {
      const path = join(target, entry.name);
      if (entry.isDirectory) this.#restore(entry.identity, path);
      else writeFileSync(path, this.#contents.get(entry.identity) ?? "");
    }
  }
}

/** The module `node:fs/promises` with handles that report their syncs to `disk`. */
export function recordingSyncs(fs: typeof FsPromises, disk: DurableDisk): typeof FsPromises {
  const names = new Map<string, string>();
  const open: typeof fs.open = async (path, ...rest) => {
    const handle = await fs.open(path, ...rest);
    const identity = identityOf(fstatSync(handle.fd, { bigint: true }));
    names.set(identity, String(path));
    for (const method of ["sync", "datasync"] as const) {
      const sync = handle[method].bind(handle);
      handle[method] = async () => {
        const done = disk.covered(names.get(identity)!, fstatSync(handle.fd, { bigint: true }));
        await sync();
        done();
      };
    }
    return handle;
  };
  return { ...fs, open };
}

/** A number of an inode is used again after an unlink; its birth is not. */
function identityOf({ ino, birthtimeNs }: BigIntStats): string {
  return `${ino}.${birthtimeNs}`;
}
