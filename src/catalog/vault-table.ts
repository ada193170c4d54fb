/** Vaults, their directories and how far their inventory is. */

import type BetterSqlite3 from "better-sqlite3";
import type { ArchiveId, InodeNumber, JobId, VaultName } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import type { OtherWriter } from "../domain/vault-writers.js";
import { invariant } from "../lib/invariant.js";
import type { VaultRecord, VaultVisibility } from "../vfs/catalog-port.js";

interface VaultRow {
  readonly id: number;
  readonly name: string;
  readonly ino: number;
  readonly visible: number;
  readonly inventory_at_ms: number | null;
  readonly inventory_job: string | null;
  readonly inventory_error: string | null;
  readonly trash_ino: number | null;
  readonly whole_at_ms: number | null;
  readonly other_writer: string | null;
  readonly other_archive: string | null;
  readonly other_created_at_ms: number | null;
}

export interface VaultInventoryState {
  /** InventoryDate of the last merged inventory. */
  readonly mergedAtMs: number | null;
  readonly job: JobId | null;
  readonly error: string | null;
}

export class VaultTable {
  readonly #all: BetterSqlite3.Statement<[], VaultRow>;
  readonly #insert: BetterSqlite3.Statement<[string, number, number, number | null]>;
  readonly #remove: BetterSqlite3.Statement<[number]>;
  readonly #setJob: BetterSqlite3.Statement<[string | null, number]>;
  readonly #setError: BetterSqlite3.Statement<[string, number]>;
  readonly #setTrash: BetterSqlite3.Statement<[number | null, number]>;
  readonly #setMerged: BetterSqlite3.Statement<[number, number]>;
  readonly #setWhole: BetterSqlite3.Statement<[number, number]>;
  readonly #setOther: BetterSqlite3.Statement<[string, string, number, number]>;
  readonly #takeOver: BetterSqlite3.Statement<[number]>;
  // Few, and asked by every request: kept in memory, read again after each change.
  #byName = new Map<string, VaultRow>();
  #byId = new Map<number, VaultRow>();
  /** By the vault's directory, the directory of its trash. */
  #trashIn = new Map<number, number>();

  constructor(sql: BetterSqlite3.Database) {
    this.#all = sql.prepare("SELECT * FROM vault ORDER BY name");
    this.#insert = sql.prepare("INSERT INTO vault (name, ino, visible, whole_at_ms) VALUES (?, ?, ?, ?)");
    this.#remove = sql.prepare("DELETE FROM vault WHERE id = ?");
    this.#setJob = sql.prepare("UPDATE vault SET inventory_job = ?, inventory_error = NULL WHERE id = ?");
    this.#setError = sql.prepare("UPDATE vault SET inventory_job = NULL, inventory_error = ? WHERE id = ?");
    this.#setTrash = sql.prepare("UPDATE vault SET trash_ino = ? WHERE id = ?");
    this.#setMerged = sql.prepare(
      "UPDATE vault SET visible = 1, inventory_job = NULL, inventory_error = NULL, inventory_at_ms = ? WHERE id = ?",
    );
    this.#setWhole = sql.prepare("UPDATE vault SET whole_at_ms = ? WHERE id = ? AND whole_at_ms IS NULL");
    this.#setOther = sql.prepare(
      "UPDATE vault SET other_writer = ?, other_archive = ?, other_created_at_ms = ? WHERE id = ?",
    );
    // The inventory that is under way, if any, began before: it may lack what the other one did in the end.
    this.#takeOver = sql.prepare(`UPDATE vault SET other_writer = NULL, other_archive = NULL,
      other_created_at_ms = NULL, whole_at_ms = NULL, inventory_job = NULL WHERE id = ?`);
    this.reload();
  }

  /** Reads all vaults again; also needed after a transaction was rolled back. */
  reload(): void {
    const rows = this.#all.all();
    this.#byName = new Map(rows.map((row) => [row.name, row]));
    this.#byId = new Map(rows.map((row) => [row.id, row]));
    this.#trashIn = new Map(rows.flatMap((row) => (row.trash_ino === null ? [] : [[row.ino, row.trash_ino]])));
  }

  all(): VaultRecord[] {
    return [...this.#byName.values()].map(toRecord);
  }

  find(name: VaultName): VaultRecord | undefined {
    const row = this.#byName.get(name);
    return row && toRecord(row);
  }

  nameOf(id: number): VaultName {
    const row = this.#byId.get(id);
    invariant(row !== undefined, `vault ${id} exists`);
    return row.name as VaultName;
  }

  idOf(name: VaultName): number {
    const row = this.#byName.get(name);
    invariant(row !== undefined, `vault ${name} exists`);
    return row.id;
  }

  inventoryState(name: VaultName): VaultInventoryState {
    const row = this.#byName.get(name);
    return {
      mergedAtMs: row?.inventory_at_ms ?? null,
      job: (row?.inventory_job as JobId | null | undefined) ?? null,
      error: row?.inventory_error ?? null,
    };
  }

  /** The directory of a vault's trash; undefined while it has none. */
  trashOf(name: VaultName): InodeNumber | undefined {
    return (this.#byName.get(name)?.trash_ino ?? undefined) as InodeNumber | undefined;
  }

  /** The trash directory in `directory`, if that is a vault's. */
  trashIn(directory: InodeNumber): InodeNumber | undefined {
    return this.#trashIn.get(directory) as InodeNumber | undefined;
  }

  setTrash(name: VaultName, ino: InodeNumber): void {
    this.#setTrash.run(ino, this.idOf(name));
    this.reload();
  }

  /** A directory is gone; if it was a vault's trash, the vault has none now. */
  forgetTrash(ino: InodeNumber): void {
    for (const { id, trash_ino: trash } of this.#byId.values()) {
      if (trash === ino) this.#setTrash.run(null, id);
    }
    this.reload();
  }

  insert(name: VaultName, ino: InodeNumber, visibility: VaultVisibility): number {
    const isOwn = visibility === "visible";
    const { lastInsertRowid } = this.#insert.run(name, ino, isOwn ? 1 : 0, isOwn ? 0 : null);
    this.reload();
    return Number(lastInsertRowid);
  }

  remove(name: VaultName): void {
    this.#remove.run(this.idOf(name));
    this.reload();
  }

  setInventoryJob(name: VaultName, job: JobId | null): void {
    this.#setJob.run(job, this.idOf(name));
    this.reload();
  }

  setInventoryError(name: VaultName, message: string): void {
    this.#setError.run(message, this.idOf(name));
    this.reload();
  }

  /**
   * A moment of now that is not before what the service has told us already: our clock may be years behind its.
   */
  notBefore(name: VaultName, now: Instant): Instant {
    return Math.max(now, this.#byName.get(name)?.inventory_at_ms ?? 0) as Instant;
  }

  /** Until when, by the service's clock, the archives of other writers are history; undefined while that is not known. */
  wholeAt(name: VaultName): Instant | undefined {
    return (this.#byName.get(name)?.whole_at_ms ?? undefined) as Instant | undefined;
  }

  /** What is there at this moment is history, unless an earlier moment is known. */
  setWholeAt(name: VaultName, at: Instant): void {
    this.#setWhole.run(at, this.idOf(name));
    this.reload();
  }

  /** From now on the vault is read-only. */
  setOtherWriter(name: VaultName, { id, archiveId, createdAt }: OtherWriter): void {
    this.#setOther.run(id, archiveId, createdAt, this.idOf(name));
    this.reload();
  }

  /** All that other writers have made until the next inventory is history, and the vault may be written to. */
  takeOver(name: VaultName): void {
    this.#takeOver.run(this.idOf(name));
    this.reload();
  }

  setInventoryMerged(name: VaultName, inventoryAtMs: number): void {
    this.#setMerged.run(inventoryAtMs, this.idOf(name));
    this.reload();
  }
}

function toRecord(row: VaultRow): VaultRecord {
  return {
    name: row.name as VaultName,
    ino: row.ino as InodeNumber,
    visibility: row.visible === 1 ? "visible" : "awaiting-inventory",
    otherWriter: otherWriterOf(row),
  };
}

function otherWriterOf(row: VaultRow): OtherWriter | null {
  const { other_writer: id, other_archive: archiveId, other_created_at_ms: createdAt } = row;
  if (id === null || archiveId === null || createdAt === null) return null;
  return { id, archiveId: archiveId as ArchiveId, createdAt: createdAt as Instant };
}
