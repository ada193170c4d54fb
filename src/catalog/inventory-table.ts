/**
 * Reads an inventory into the catalog.
 *
 * Rows are collected first; `merge` then places the archives that the catalog does not know. A known archive never
 * moves: descriptions place only unknown ones. Everything runs in slices, so that no request waits for it; a vault
 * that was never merged becomes visible with the last one.
 */

import type BetterSqlite3 from "better-sqlite3";
import type { ArchiveId, InodeNumber, JobId, VaultName } from "../domain/ids.js";
import { type FileTime, fileTime, hours, type Instant } from "../domain/time.js";
import { invariant } from "../lib/invariant.js";
import { parseDescription } from "../protocol/description.js";
import type { TreeHashHex } from "../protocol/service.js";
import type { InventoryCatalog, InventoryEntry, InventoryMerge } from "../restore/ports.js";
import type { ContentTable } from "./content-table.js";
import type { Database } from "./database.js";
import type { TombstoneTable } from "./tombstone-table.js";
import { type PlacedFile, type TreeBuilder, treePlace } from "./tree-builder.js";
import type { UploadTable } from "./upload-table.js";
import type { VaultTable } from "./vault-table.js";

interface InventoryRow {
  readonly archive_id: string;
  readonly description: string;
  readonly created_at_ms: number;
  readonly size_bytes: number;
  readonly tree_hash: string;
  readonly file_id: string | null;
  readonly version: number | null;
}

/** Rows per slice: a few milliseconds each. */
const sliceRows = 200;

export class InventoryTable implements InventoryCatalog {
  readonly #database: Database;
  readonly #vaults: VaultTable;
  readonly #contents: ContentTable;
  readonly #tombstones: TombstoneTable;
  readonly #uploads: Pick<UploadTable, "isUnanswered">;
  readonly #bury: (vault: VaultName, archive: ArchiveId) => void;
  readonly #tree: TreeBuilder;
  readonly #writerId: string;
  readonly #insert: BetterSqlite3.Statement<
    [number, string, string, number, number, string, string | null, number | null]
  >;
  readonly #before: BetterSqlite3.Statement<[number, number, number, string, number], InventoryRow>;
  readonly #newerVersion: BetterSqlite3.Statement<[number, string, number], number>;
  readonly #clear: BetterSqlite3.Statement<[number]>;
  readonly #count: BetterSqlite3.Statement<[number], number>;
  readonly #markSeen: BetterSqlite3.Statement<[number, number, number]>;
  readonly #markMissing: BetterSqlite3.Statement<[number, number, number]>;

  constructor(options: {
    readonly database: Database;
    readonly vaults: VaultTable;
    readonly contents: ContentTable;
    readonly tombstones: TombstoneTable;
    readonly uploads: Pick<UploadTable, "isUnanswered">;
    /** Inside `mutate`: the archive is to be deleted. */
    readonly bury: (vault: VaultName, archive: ArchiveId) => void;
    readonly tree: TreeBuilder;
    /** Of this state directory. */
    readonly writerId: string;
  }) {
    this.#database = options.database;
    this.#vaults = options.vaults;
    this.#contents = options.contents;
    this.#tombstones = options.tombstones;
    this.#uploads = options.uploads;
    this.#bury = options.bury;
    this.#tree = options.tree;
    this.#writerId = options.writerId;
    const { sql } = options.database;
    this.#insert = sql.prepare(`INSERT OR REPLACE INTO inventory_row
      (run_id, archive_id, description, created_at_ms, size_bytes, tree_hash, file_id, version)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#before = sql.prepare(`SELECT * FROM inventory_row WHERE run_id = ?
      AND (created_at_ms < ? OR (created_at_ms = ? AND archive_id > ?)) ORDER BY created_at_ms DESC, archive_id LIMIT ?`);
    this.#newerVersion = sql
      .prepare<[number, string, number], number>(
        "SELECT 1 FROM inventory_row WHERE run_id = ? AND file_id = ? AND version > ? LIMIT 1",
      )
      .pluck();
    this.#clear = sql.prepare("DELETE FROM inventory_row WHERE run_id = ?");
    this.#count = sql.prepare<[number], number>("SELECT count(*) FROM inventory_row WHERE run_id = ?").pluck();
    const listed = "archive_id IN (SELECT archive_id FROM inventory_row WHERE run_id = ?)";
    this.#markSeen = sql.prepare(
      `UPDATE archive SET seen_at_ms = ?, missing_runs = 0 WHERE vault_id = ? AND ${listed}`,
    );
    this.#markMissing = sql.prepare(
      `UPDATE archive SET missing_runs = missing_runs + 1 WHERE vault_id = ? AND created_at_ms < ? AND NOT ${listed}`,
    );
  }

  inventoryJob(vault: VaultName): JobId | null {
    return this.#vaults.inventoryState(vault).job;
  }

  didRequestInventory(vault: VaultName, job: JobId): Promise<void> {
    return this.#database.mutate(() => this.#vaults.setInventoryJob(vault, job));
  }

  didFailInventory(vault: VaultName, message: string): Promise<void> {
    return this.#database.mutate(() => this.#vaults.setInventoryError(vault, message));
  }

  beginInventory(vault: VaultName): InventoryMerge {
    const run = this.#vaults.idOf(vault);
    let fresh = true;
    return {
      add: async (entries) => {
        for (let start = 0; start < entries.length; start += sliceRows) {
          await this.#database.mutate(() => {
            if (fresh) this.#clear.run(run);
            fresh = false;
            for (const entry of entries.slice(start, start + sliceRows)) this.#insertRow(run, entry);
          });
        }
      },
      merge: async (inventoryDate) => {
        if (fresh) await this.#database.mutate(() => this.#clear.run(run));
        await this.#placeAll(vault, run);
        return this.#database.mutate(() => this.#finish(vault, run, inventoryDate));
      },
      discard: async () => {
        await this.#database.mutate(() => this.#clear.run(run));
      },
    };
  }

  #insertRow(run: number, entry: InventoryEntry): void {
    const parsed = parseDescription(entry.description);
    const origin = parsed.kind === "casfs" ? parsed : undefined;
    this.#insert.run(
      run,
      entry.archiveId,
      entry.description,
      entry.createdAt,
      entry.sizeBytes,
      entry.treeHash,
      origin?.fileId ?? null,
      origin?.version ?? null,
    );
  }

  // The newest first: of two archives that claim a name, the older one was overwritten or moved away.
  async #placeAll(vault: VaultName, run: number): Promise<void> {
    for (let time = Number.MAX_SAFE_INTEGER, id = ""; ; ) {
      const rows = this.#before.all(run, time, time, id, sliceRows);
      const last = rows.at(-1);
      if (last === undefined) return;
      await this.#database.mutate(() => {
        for (const row of rows) this.#place(vault, run, row);
      });
      time = last.created_at_ms;
      id = last.archive_id;
    }
  }

  #place(vault: VaultName, run: number, row: InventoryRow): void {
    const id = row.archive_id as ArchiveId;
    if (this.#contents.archiveById(vault, id) !== undefined || this.#tombstones.has(vault, id)) return;
    const parsed = parseDescription(row.description);
    const isKnown = row.file_id !== null && this.#isKnownFile(vault, row.file_id, parsed);
    const isOwn = parsed.kind === "casfs" && parsed.writer === this.#writerId;
    if (isOwn && this.#isForsaken(vault, row) && (!isKnown || this.#isTwin(vault, row))) {
      this.#bury(vault, id);
      return;
    }
    const key = this.#contents.insertArchive({
      vault,
      id,
      sizeBytes: row.size_bytes,
      treeHash: row.tree_hash as TreeHashHex,
      description: row.description,
      createdAt: row.created_at_ms as Instant,
      fileId: row.file_id ?? undefined,
      version: row.version ?? undefined,
      unreadable: parsed.kind === "unreadable" ? parsed.reason : undefined,
    });
    // A file that is known already keeps what it has; of several unknown versions the highest is the file. The others
    // stay in the archive table without a name, for fsck to list.
    if (isKnown || this.#hasNewerVersion(run, row)) return;
    const directory = this.#vaults.find(vault)?.ino;
    invariant(directory !== undefined, `vault ${vault} exists`);
    const created = fileTime(row.created_at_ms as Instant);
    const ino = this.#tree.placeFile(vault, directory as InodeNumber, toFile(row, id, parsed, created));
    this.#contents.insertArchived(ino, row.version ?? 1, key, row.size_bytes);
  }

  // A file of our own may be staged while its archive is known to the inventory only: the answer to an upload was lost.
  #isKnownFile(vault: VaultName, fileId: string, parsed: ReturnType<typeof parseDescription>): boolean {
    if (this.#contents.isNamed(vault, fileId)) return true;
    return parsed.kind === "casfs" && parsed.writer === this.#writerId && this.#contents.isStaged(fileId);
  }

  // The journal knows of an upload of this version whose answer never came: its file was deleted, or it was sent again.
  #isForsaken(vault: VaultName, row: InventoryRow): boolean {
    if (row.file_id === null || row.version === null) return false;
    return this.#uploads.isUnanswered(vault, row.file_id, row.version);
  }

  #isTwin(vault: VaultName, row: InventoryRow): boolean {
    if (row.file_id === null || row.version === null) return false;
    const { file_id: fileId, version, size_bytes: sizeBytes, tree_hash: treeHash } = row;
    return this.#contents.hasTwin(vault, { fileId, version, sizeBytes, treeHash });
  }

  #hasNewerVersion(run: number, row: InventoryRow): boolean {
    if (row.file_id === null || row.version === null) return false;
    return this.#newerVersion.get(run, row.file_id, row.version) !== undefined;
  }

  #finish(vault: VaultName, run: number, inventoryDate: Instant): { readonly archives: number } {
    const archives = this.#count.get(run) ?? 0;
    const dayBefore = (inventoryDate - hours(24)) as Instant;
    this.#markSeen.run(inventoryDate, run, run);
    // Only what existed a day before the inventory was made can be called missing from it.
    this.#markMissing.run(run, dayBefore, run);
    this.#tombstones.forget(vault, dayBefore, run);
    this.#clear.run(run);
    this.#vaults.setInventoryMerged(vault, inventoryDate);
    return { archives };
  }
}

function toFile(
  row: InventoryRow,
  id: ArchiveId,
  parsed: ReturnType<typeof parseDescription>,
  created: FileTime,
): PlacedFile {
  const base = { archiveId: id, sizeBytes: row.size_bytes, fileId: row.file_id };
  if (parsed.kind === "casfs") {
    const { mode, mtime, uid, gid, segments } = parsed;
    return { ...base, ...treePlace(segments, id), mode, uid, gid, mtime };
  }
  const segments = parsed.kind === "path" ? parsed.segments : [];
  return { ...base, ...treePlace(segments, id), mtime: created };
}
