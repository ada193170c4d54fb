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
  cpSync,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
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

/** What survives although it was never synced: nothing, the catalog's log alone, or all but that log. */
export type Spared = "nothing" | "the log" | "all but the log";

type RecordedEntry = readonly [name: string, identity: string, isDirectory: boolean];

const catalogFile = "catalog.db";
const logFile = `${catalogFile}-wal`;

/** The same for the state directory of a mount in another process, which records its syncs in files (crash-points.mjs). */
export class DurableRecord {
  private constructor(readonly directory: string) {}

  static make(directory: string): DurableRecord {
    mkdirSync(directory);
    return new DurableRecord(directory);
  }

  /** Makes `to` what a power loss leaves of `from`. All of it is durable then: the next process finds it on its disk. */
  restore({ from, to, spared }: { readonly from: string; readonly to: string; readonly spared: Spared }): void {
    if (spared === "all but the log") cpSync(from, to, { recursive: true, filter: (path) => !isSocket(path) });
    else this.#restore(identityOf(statSync(from, { bigint: true })), to);
    if (existsSync(to) && existsSync(join(from, catalogFile))) {
      const log = join(from, logFile);
      copyFileSync(join(from, catalogFile), join(to, catalogFile));
      if (spared === "the log") copyFileSync(log, join(to, logFile));
      else writeFileSync(join(to, logFile), this.#bytes(identityOf(statSync(log, { bigint: true }))));
    }
    rmSync(this.directory, { recursive: true });
    mkdirSync(this.directory);
    this.#record(to);
  }

  #restore(identity: string, target: string): void {
    mkdirSync(target);
    const path = join(this.directory, `${identity}.entries`);
    const entries: RecordedEntry[] = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : [];
    for (const [name, inode, isDirectory] of entries) {
      if (isDirectory) this.#restore(inode, join(target, name));
      else writeFileSync(join(target, name), this.#bytes(inode));
    }
  }

  #bytes(identity: string): Buffer {
    const path = join(this.directory, `${identity}.bytes`);
    return existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  }

  #record(path: string): void {
    const stats = statSync(path, { bigint: true });
    if (!stats.isDirectory()) {
      copyFileSync(path, join(this.directory, `${identityOf(stats)}.bytes`));
      return;
    }
    const entries = readdirSync(path).map((name): RecordedEntry => {
      this.#record(join(path, name));
      const found = statSync(join(path, name), { bigint: true });
      return [name, identityOf(found), found.isDirectory()];
    });
    writeFileSync(join(this.directory, `${identityOf(stats)}.entries`), JSON.stringify(entries));
  }
}

function isSocket(path: string): boolean {
  return lstatSync(path).isSocket();
}
