/** Inodes and names. */

import type BetterSqlite3 from "better-sqlite3";
import { type ContentId, type InodeNumber, rootIno } from "../domain/ids.js";
import type { FileTime } from "../domain/time.js";
import { invariant } from "../lib/invariant.js";
import { fileTypeMask, typeRegular } from "../vfs/attributes.js";
import type { DirectoryRow, InodeChanges, InodeRecord, NameVisitor, NewInode } from "../vfs/catalog-port.js";
import { DirectoryPages } from "./directory-pages.js";
import type { InodeRecords } from "./inode-records.js";
import { type Cells, inodeColumns, inodeJoined, inodeRecord } from "./inode-row.js";
import type { NumberMint } from "./number-mint.js";
import { type ColumnValue, PartialUpdate } from "./partial-update.js";
import type { VaultTable } from "./vault-table.js";

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

const directoryPathsMax = 64;
const setIdMask = 0o6000;

export interface InodeNumbers {
  readonly inodes: NumberMint;
  readonly entries: NumberMint;
}

export class InodeTable {
  readonly #vaults: VaultTable;
  readonly #numbers: InodeNumbers;
  readonly #records: InodeRecords;
  readonly #find: BetterSqlite3.Statement<[number], Cells>;
  readonly #lookup: BetterSqlite3.Statement<[number, string], Cells>;
  readonly #pages: DirectoryPages;
  readonly #isEmpty: BetterSqlite3.Statement<[number], number>;
  readonly #target: BetterSqlite3.Statement<[number], string | null>;
  readonly #anyName: BetterSqlite3.Statement<
    [number],
    { readonly parent: number; readonly name: string; readonly id: number }
  >;
  readonly #privilegedModes: BetterSqlite3.Statement<[number, number, number], [InodeNumber, number]>;
  readonly #orphans: BetterSqlite3.Statement<[], number>;
  readonly #inVault: BetterSqlite3.Statement<[number], number>;
  readonly #largest: BetterSqlite3.Statement<[], number | null>;
  readonly #insert: BetterSqlite3.Statement<unknown[]>;
  readonly #remove: BetterSqlite3.Statement<[number]>;
  readonly #removeXattrs: BetterSqlite3.Statement<[number]>;
  readonly #insertEntry: BetterSqlite3.Statement<[number, number, string, number]>;
  readonly #removeEntry: BetterSqlite3.Statement<[number, string]>;
  readonly #setEntry: BetterSqlite3.Statement<[number, number, string]>;
  readonly #update: PartialUpdate;
  /** Of directories that were asked for; a name that goes or moves may be one of theirs. */
  readonly #directoryPaths = new Map<InodeNumber, readonly string[]>();
  readonly #setVault: BetterSqlite3.Statement<[number, number]>;

  constructor(sql: BetterSqlite3.Database, vaults: VaultTable, numbers: InodeNumbers, records: InodeRecords) {
    this.#vaults = vaults;
    this.#numbers = numbers;
    this.#records = records;
    const columns = inodeColumns.join();
    this.#find = sql.prepare<[number], Cells>(`SELECT ${columns} FROM ${inodeJoined} WHERE i.ino = ?`).raw();
    this.#lookup = sql
      .prepare<[number, string], Cells>(
        `SELECT ${columns} FROM entry e CROSS JOIN ${inodeJoined} WHERE e.parent = ? AND e.name = ? AND i.ino = e.ino`,
      )
      .raw();
    this.#pages = new DirectoryPages(sql, vaults);
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
    this.#largest = sql.prepare<[], number | null>("SELECT max(ino) FROM inode").pluck();
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
    const known = this.#records.get(ino);
    if (known !== undefined) return known;
    const row = this.#find.get(ino);
    if (row === undefined) return undefined;
    const record = this.#record(row);
    this.#records.put(record);
    return record;
  }

  lookup(parent: InodeNumber, name: string): InodeRecord | undefined {
    const row = this.#lookup.get(parent, name);
    return row && this.#record(row);
  }

  /** Regular files with set-user-id or set-group-id. */
  privilegedModes(): (readonly [InodeNumber, number])[] {
    return this.#privilegedModes.all(setIdMask, fileTypeMask, typeRegular);
  }

  list(parent: InodeNumber, cookie: number, limit: number): DirectoryRow[] {
    return this.#pages.rows(parent, cookie, limit);
  }

  listNames(parent: InodeNumber, cookie: number, limit: number, each: NameVisitor): void {
    this.#pages.names(parent, cookie, limit, each);
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
    const entry = this.#anyName.get(ino);
    // The root has no name, and the name below it is the vault's.
    if (entry === undefined || entry.parent === rootIno) return [];
    return [...this.#directoryPath(entry.parent as InodeNumber), entry.name];
  }

  #directoryPath(directory: InodeNumber): readonly string[] {
    const known = this.#directoryPaths.get(directory);
    if (known !== undefined) return known;
    const names: string[] = [];
    for (let child = directory; ; ) {
      const entry = this.#anyName.get(child);
      // On its way to another name, or gone: not a path to remember.
      if (entry === undefined) return names;
      if (entry.parent === rootIno) break;
      names.unshift(entry.name);
      child = entry.parent as InodeNumber;
    }
    if (this.#directoryPaths.size >= directoryPathsMax) this.#directoryPaths.clear();
    this.#directoryPaths.set(directory, names);
    return names;
  }

  /** Names have gone or moved, or a change of them was undone. */
  forgetPaths(): void {
    this.#directoryPaths.clear();
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

  /** At least so many as there are: counting a million would hold up everybody for a tenth of a second. */
  countAtMost(): number {
    return this.#largest.get() ?? 0;
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
    const known = this.#records.get(ino);
    for (const [field, column] of plainColumns) {
      const value = changes[field];
      if (value === undefined || (field !== "content" && value === known?.[field])) continue;
      columns.push(column);
      values.push(value);
    }
    for (const field of timeFields) {
      const value = changes[field];
      // RELEASE has nothing to add to what FLUSH has just journaled.
      if (value === undefined || (known !== undefined && isSameTime(value, known[field]))) continue;
      columns.push(`${field}_s`, `${field}_ns`);
      values.push(value.seconds, value.nanoseconds);
    }
    if (columns.length === 0) return;
    invariant(this.#update.run(ino, columns, values), `inode ${ino} exists`);
    this.#records.changed(ino, changes);
  }

  /** A vault's directory is made before the vault has its row. */
  setVault(ino: InodeNumber, vaultId: number): void {
    this.#setVault.run(vaultId, ino);
    this.#records.forget(ino);
  }

  remove(ino: InodeNumber): void {
    this.#removeXattrs.run(ino);
    this.#remove.run(ino);
    this.#records.forget(ino);
  }

  insertEntry(parent: InodeNumber, name: string, ino: InodeNumber): void {
    this.#insertEntry.run(parent, this.#numbers.entries.next(), name, ino);
  }

  removeEntry(parent: InodeNumber, name: string): void {
    this.#removeEntry.run(parent, name);
    this.forgetPaths();
  }

  setEntry(parent: InodeNumber, name: string, ino: InodeNumber): void {
    this.#setEntry.run(ino, parent, name);
    this.forgetPaths();
  }

  #record(cells: Cells): InodeRecord {
    return inodeRecord(cells, 0, this.#vaults);
  }
}

function isSameTime(one: FileTime, other: FileTime): boolean {
  return one.seconds === other.seconds && one.nanoseconds === other.nanoseconds;
}
