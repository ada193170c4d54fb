/**
 * Inodes and names.
 *
 * The statements that listings use return rows as arrays: naming 22 columns for each of 100,000 rows costs more than
 * reading them.
 */

import type BetterSqlite3 from "better-sqlite3";
import type { ArchiveKey, ContentId, InodeNumber } from "../domain/ids.js";
import type { FileTime } from "../domain/time.js";
import { invariant } from "../lib/invariant.js";
import { fileTypeMask, typeRegular } from "../vfs/attributes.js";
import type { ContentPhase, DirectoryRow, InodeChanges, InodeRecord, NewInode } from "../vfs/catalog-port.js";
import type { NumberMint } from "./number-mint.js";
import { type ColumnValue, PartialUpdate } from "./partial-update.js";
import type { VaultTable } from "./vault-table.js";

type InodeRow = [
  ino: number,
  vaultId: number | null,
  mode: number,
  nlink: number,
  uid: number,
  gid: number,
  rdev: number,
  sizeBytes: number,
  atimeS: number,
  atimeNs: number,
  mtimeS: number,
  mtimeNs: number,
  ctimeS: number,
  ctimeNs: number,
  parent: number | null,
  contentId: number | null,
  version: number | null,
  phase: ContentPhase | null,
  archiveKey: number | null,
  interrupted: number | null,
];

const inodeColumns = `i.ino, i.vault_id, i.mode, i.nlink, i.uid, i.gid, i.rdev, i.size_bytes,
  i.atime_s, i.atime_ns, i.mtime_s, i.mtime_ns, i.ctime_s, i.ctime_ns, i.parent,
  i.content_id, c.version, c.phase, c.archive_key, c.interrupted`;
const inodeColumnCount = 20;

const plainColumns = [
  ["mode", "mode"],
  ["nlink", "nlink"],
  ["uid", "uid"],
  ["gid", "gid"],
  ["sizeBytes", "size_bytes"],
  ["parent", "parent"],
  ["content", "content_id"],
] as const satisfies readonly (readonly [keyof InodeChanges, string])[];
const timeFields = ["atime", "mtime", "ctime"] as const;

export interface EntryPlace {
  readonly parent: InodeNumber;
  readonly name: string;
}

const noInode = 0;
const setIdMask = 0o6000;

export interface InodeNumbers {
  readonly inodes: NumberMint;
  readonly entries: NumberMint;
}

export class InodeTable {
  readonly #vaults: VaultTable;
  readonly #numbers: InodeNumbers;
  readonly #find: BetterSqlite3.Statement<[number], InodeRow>;
  readonly #lookup: BetterSqlite3.Statement<[number, string], InodeRow>;
  readonly #list: BetterSqlite3.Statement<[number, number, number, number], [...InodeRow, number, string]>;
  readonly #isEmpty: BetterSqlite3.Statement<[number], number>;
  readonly #target: BetterSqlite3.Statement<[number], string | null>;
  readonly #anyName: BetterSqlite3.Statement<
    [number],
    { readonly parent: number; readonly name: string; readonly id: number }
  >;
  readonly #privilegedModes: BetterSqlite3.Statement<[number, number, number], [InodeNumber, number]>;
  readonly #orphans: BetterSqlite3.Statement<[], number>;
  readonly #inVault: BetterSqlite3.Statement<[number], number>;
  readonly #count: BetterSqlite3.Statement<[], number>;
  readonly #insert: BetterSqlite3.Statement<unknown[]>;
  readonly #remove: BetterSqlite3.Statement<[number]>;
  readonly #removeXattrs: BetterSqlite3.Statement<[number]>;
  readonly #insertEntry: BetterSqlite3.Statement<[number, number, string, number]>;
  readonly #removeEntry: BetterSqlite3.Statement<[number, string]>;
  readonly #setEntry: BetterSqlite3.Statement<[number, number, string]>;
  readonly #update: PartialUpdate;
  readonly #setVault: BetterSqlite3.Statement<[number, number]>;

  constructor(sql: BetterSqlite3.Database, vaults: VaultTable, numbers: InodeNumbers) {
    this.#vaults = vaults;
    this.#numbers = numbers;
    const joined = "inode i LEFT JOIN content c ON c.id = i.content_id";
    this.#find = sql.prepare<[number], InodeRow>(`SELECT ${inodeColumns} FROM ${joined} WHERE i.ino = ?`).raw();
    this.#lookup = sql
      .prepare<[number, string], InodeRow>(
        `SELECT ${inodeColumns} FROM entry e CROSS JOIN ${joined} WHERE e.parent = ? AND e.name = ? AND i.ino = e.ino`,
      )
      .raw();
    this.#list = sql
      .prepare<[number, number, number, number], [...InodeRow, number, string]>(
        `SELECT ${inodeColumns}, e.id, e.name FROM entry e CROSS JOIN ${joined}
         WHERE e.parent = ? AND e.id > ? AND e.ino <> ? AND i.ino = e.ino ORDER BY e.id LIMIT ?`,
      )
      .raw();
    this.#isEmpty = sql.prepare<[number], number>("SELECT NOT EXISTS (SELECT 1 FROM entry WHERE parent = ?)").pluck();
    this.#target = sql.prepare<[number], string | null>("SELECT target FROM inode WHERE ino = ?").pluck();
    this.#anyName = sql.prepare("SELECT parent, name, id FROM entry WHERE ino = ? ORDER BY parent, id LIMIT 1");
    this.#privilegedModes = sql
      .prepare<[number, number, number], [InodeNumber, number]>(
        "SELECT ino, mode FROM inode WHERE mode & ? <> 0 AND mode & ? = ?",
      )
      .raw();
    this.#orphans = sql.prepare<[], number>("SELECT ino FROM inode WHERE nlink = 0").pluck();
    this.#inVault = sql.prepare<[number], number>("SELECT ino FROM inode WHERE vault_id = ?").pluck();
    this.#count = sql.prepare<[], number>("SELECT count(*) FROM inode").pluck();
    this.#insert = sql.prepare(`INSERT INTO inode (ino, vault_id, mode, nlink, uid, gid, rdev, size_bytes,
      atime_s, atime_ns, mtime_s, mtime_ns, ctime_s, ctime_ns, parent, target, file_id, content_id, versions)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#remove = sql.prepare("DELETE FROM inode WHERE ino = ?");
    this.#removeXattrs = sql.prepare("DELETE FROM xattr WHERE ino = ?");
    this.#insertEntry = sql.prepare("INSERT INTO entry (parent, id, name, ino) VALUES (?, ?, ?, ?)");
    this.#removeEntry = sql.prepare("DELETE FROM entry WHERE parent = ? AND name = ?");
    this.#setEntry = sql.prepare("UPDATE entry SET ino = ? WHERE parent = ? AND name = ?");
    this.#setVault = sql.prepare("UPDATE inode SET vault_id = ? WHERE ino = ?");
    this.#update = new PartialUpdate(sql, "inode", "ino");
  }

  find(ino: InodeNumber): InodeRecord | undefined {
    const row = this.#find.get(ino);
    return row && this.#toRecord(row);
  }

  lookup(parent: InodeNumber, name: string): InodeRecord | undefined {
    const row = this.#lookup.get(parent, name);
    return row && this.#toRecord(row);
  }

  /** Regular files with set-user-id or set-group-id. */
  privilegedModes(): (readonly [InodeNumber, number])[] {
    return this.#privilegedModes.all(setIdMask, fileTypeMask, typeRegular);
  }

  /** A vault's trash is not listed: `rsync --delete` would empty it. */
  list(parent: InodeNumber, cookie: number, limit: number): DirectoryRow[] {
    const hidden = this.#vaults.trashIn(parent) ?? noInode;
    return this.#list.all(parent, cookie, hidden, limit).map((row) => ({
      inode: this.#toRecord(row as unknown as InodeRow),
      cookie: row[inodeColumnCount] as number,
      name: row[inodeColumnCount + 1] as string,
    }));
  }

  /** The rows after the first name of `ino`, in the order of a listing. */
  listAfter(ino: InodeNumber, limit: number): DirectoryRow[] {
    const entry = this.#anyName.get(ino);
    return entry === undefined ? [] : this.list(entry.parent as InodeNumber, entry.id, limit);
  }

  isEmpty(directory: InodeNumber): boolean {
    return this.#isEmpty.get(directory) === 1;
  }

  linkTarget(ino: InodeNumber): string | undefined {
    return this.#target.get(ino) ?? undefined;
  }

  /** Names from the vault's directory (left out) down to `ino`. */
  pathInVault(ino: InodeNumber): string[] {
    const names: string[] = [];
    for (let child = ino as number; ; ) {
      const entry = this.#anyName.get(child);
      // The root has no name, and the name below it is the vault's.
      if (entry === undefined || entry.parent === 1) return names;
      names.unshift(entry.name);
      child = entry.parent;
    }
  }

  /** The first name of an inode and its directory. */
  placeOf(ino: InodeNumber): EntryPlace | undefined {
    return this.#anyName.get(ino) as EntryPlace | undefined;
  }

  orphans(): InodeNumber[] {
    return this.#orphans.all() as InodeNumber[];
  }

  /** Reads the whole table: for the removal of a vault. */
  inVault(vaultId: number): InodeNumber[] {
    return this.#inVault.all(vaultId) as InodeNumber[];
  }

  count(): number {
    return this.#count.get() ?? 0;
  }

  insert(inode: NewInode, fileId: string | null, content: ContentId | null = null): InodeNumber {
    const { seconds, nanoseconds } = inode.time;
    const ino = this.#numbers.inodes.next() as InodeNumber;
    this.#insert.run(
      ino,
      inode.vault === null ? null : this.#vaults.idOf(inode.vault),
      inode.mode,
      inode.nlink,
      inode.uid,
      inode.gid,
      inode.rdev ?? 0,
      inode.sizeBytes ?? 0,
      seconds,
      nanoseconds,
      seconds,
      nanoseconds,
      seconds,
      nanoseconds,
      inode.parent ?? null,
      inode.target ?? null,
      fileId,
      content,
      content === null ? 0 : 1,
    );
    return ino;
  }

  update(ino: InodeNumber, changes: InodeChanges): void {
    const columns: string[] = [];
    const values: ColumnValue[] = [];
    for (const [field, column] of plainColumns) {
      const value = changes[field];
      if (value === undefined) continue;
      columns.push(column);
      values.push(value);
    }
    for (const field of timeFields) {
      const value = changes[field];
      if (value === undefined) continue;
      columns.push(`${field}_s`, `${field}_ns`);
      values.push(value.seconds, value.nanoseconds);
    }
    if (columns.length > 0) invariant(this.#update.run(ino, columns, values), `inode ${ino} exists`);
  }

  /** A vault's directory is made before the vault has its row. */
  setVault(ino: InodeNumber, vaultId: number): void {
    this.#setVault.run(vaultId, ino);
  }

  remove(ino: InodeNumber): void {
    this.#removeXattrs.run(ino);
    this.#remove.run(ino);
  }

  insertEntry(parent: InodeNumber, name: string, ino: InodeNumber): void {
    this.#insertEntry.run(parent, this.#numbers.entries.next(), name, ino);
  }

  removeEntry(parent: InodeNumber, name: string): void {
    this.#removeEntry.run(parent, name);
  }

  setEntry(parent: InodeNumber, name: string, ino: InodeNumber): void {
    this.#setEntry.run(ino, parent, name);
  }

  #toRecord(row: InodeRow): InodeRecord {
    return {
      ino: row[0] as InodeNumber,
      vault: row[1] === null ? null : this.#vaults.nameOf(row[1]),
      mode: row[2],
      nlink: row[3],
      uid: row[4],
      gid: row[5],
      rdev: row[6],
      sizeBytes: row[7],
      atime: time(row[8], row[9]),
      mtime: time(row[10], row[11]),
      ctime: time(row[12], row[13]),
      parent: row[14] as InodeNumber | null,
      content:
        row[15] === null
          ? null
          : {
              id: row[15] as ContentId,
              version: row[16]!,
              phase: row[17]!,
              archive: row[18] as ArchiveKey | null,
              interrupted: row[19] === 1,
            },
    };
  }
}

function time(seconds: number, nanoseconds: number): FileTime {
  return { seconds, nanoseconds };
}
