/**
 * Reads an inventory into the catalog.
 *
 * Rows are collected first; `merge` then places the archives that the catalog does not know. A known archive never
 * moves: descriptions place only unknown ones. Everything runs in slices, so that no request waits for it; a vault
 * that was never merged becomes visible with the last one.
 */

import type BetterSqlite3 from "better-sqlite3";
import { byteCount } from "../domain/bytes.js";
import type { ArchiveId, ArchiveKey, InodeNumber, JobId, VaultName } from "../domain/ids.js";
import { type Clock, type FileTime, fileTime, hours, type Instant } from "../domain/time.js";
import { type OtherWriter, writtenByAnother } from "../domain/vault-writers.js";
import { invariant } from "../lib/invariant.js";
import { parseDescription } from "../protocol/description.js";
import type { StoredArchive } from "../protocol/prices.js";
import type { TreeHashHex } from "../protocol/service.js";
import type { InventoryCatalog, InventoryEntry, InventoryMerge, InventoryOutcome } from "../restore/ports.js";
import type { ContentTable } from "./content-table.js";
import type { Database } from "./database.js";
import type { LeftoverUploads } from "./leftover-uploads.js";
import type { MissingTable } from "./missing-table.js";
import type { TombstoneTable } from "./tombstone-table.js";
import { type PlacedFile, type TreeBuilder, treePlace } from "./tree-builder.js";
import type { VaultTable } from "./vault-table.js";

interface InventoryRow {
  readonly archive_id: string;
  readonly description: string;
  readonly created_at_ms: number;
  readonly size_bytes: number;
  readonly tree_hash: string;
  readonly file_id: string | null;
  readonly version: number | null;
  readonly writer: string | null;
}

/** One inventory that is being read. */
interface Run {
  readonly vault: VaultName;
  readonly id: number;
  /** As it was when the run began: what is taken over meanwhile is not judged by this run. */
  readonly wholeAt: Instant | undefined;
  /** The newest archive of another writer that was made since. */
  newest: OtherWriter | undefined;
}

/** Rows per slice: a few milliseconds each. */
const sliceRows = 200;

export class InventoryTable implements InventoryCatalog {
  readonly #database: Database;
  readonly #vaults: VaultTable;
  readonly #contents: ContentTable;
  readonly #tombstones: TombstoneTable;
  readonly #leftovers: Pick<LeftoverUploads, "isUnanswered">;
  readonly #bury: (vault: VaultName, archive: ArchiveId, facts: StoredArchive) => void;
  readonly #tree: TreeBuilder;
  readonly #missing: MissingTable;
  readonly #onMissing: (copies: readonly ArchiveKey[]) => void;
  readonly #writerId: string;
  readonly #clock: Clock;
  readonly #insert: BetterSqlite3.Statement<
    [number, string, string, number, number, string, string | null, number | null, string | null]
  >;
  readonly #before: BetterSqlite3.Statement<[number, number, number, string, number], InventoryRow>;
  readonly #newerVersion: BetterSqlite3.Statement<[number, string, number], number>;
  readonly #clear: BetterSqlite3.Statement<[number]>;
  readonly #count: BetterSqlite3.Statement<[number], number>;
  readonly #limitCreated: BetterSqlite3.Statement<[number, number, number]>;
  readonly #markSeen: BetterSqlite3.Statement<[number, number, number, string]>;
  readonly #markMissing: BetterSqlite3.Statement<[number, number, number]>;

  constructor(options: {
    readonly database: Database;
    readonly vaults: VaultTable;
    readonly contents: ContentTable;
    readonly tombstones: TombstoneTable;
    readonly leftovers: Pick<LeftoverUploads, "isUnanswered">;
    /** Inside `mutate`: the archive is to be deleted. */
    readonly bury: (vault: VaultName, archive: ArchiveId, facts: StoredArchive) => void;
    readonly tree: TreeBuilder;
    readonly missing: MissingTable;
    /** Inside `mutate`: these copies in the cache are the last of their bytes. */
    readonly onMissing: (copies: readonly ArchiveKey[]) => void;
    /** Of this state directory. */
    readonly writerId: string;
    readonly clock: Clock;
  }) {
    this.#database = options.database;
    this.#vaults = options.vaults;
    this.#contents = options.contents;
    this.#tombstones = options.tombstones;
    this.#leftovers = options.leftovers;
    this.#bury = options.bury;
    this.#tree = options.tree;
    this.#missing = options.missing;
    this.#onMissing = options.onMissing;
    this.#writerId = options.writerId;
    this.#clock = options.clock;
    const { sql } = options.database;
    this.#insert = sql.prepare(`INSERT OR REPLACE INTO inventory_row
      (run_id, archive_id, description, created_at_ms, size_bytes, tree_hash, file_id, version, writer)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`);
    this.#before = sql.prepare(`SELECT * FROM inventory_row WHERE run_id = ?
      AND (created_at_ms < ? OR (created_at_ms = ? AND archive_id > ?)) ORDER BY created_at_ms DESC, archive_id LIMIT ?`);
    this.#newerVersion = sql
      .prepare<[number, string, number], number>(
        "SELECT 1 FROM inventory_row WHERE run_id = ? AND file_id = ? AND version > ? LIMIT 1",
      )
      .pluck();
    this.#clear = sql.prepare("DELETE FROM inventory_row WHERE run_id = ?");
    this.#count = sql.prepare<[number], number>("SELECT count(*) FROM inventory_row WHERE run_id = ?").pluck();
    this.#limitCreated = sql.prepare("UPDATE archive SET created_at_ms = ? WHERE vault_id = ? AND created_at_ms > ?");
    // What was confirmed by our clock gets the time of the service's.
    this.#markSeen = sql.prepare(
      "UPDATE archive SET seen_at_ms = ?, missing_runs = 0, created_at_ms = ? WHERE vault_id = ? AND archive_id = ?",
    );
    this.#markMissing = sql.prepare(`UPDATE archive SET missing_runs = missing_runs + 1
      WHERE vault_id = ? AND created_at_ms < ? AND seen_at_ms IS NOT ?`);
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
    const run: Run = { vault, id: this.#vaults.idOf(vault), wholeAt: this.#vaults.wholeAt(vault), newest: undefined };
    let fresh = true;
    return {
      add: async (entries) => {
        for (let start = 0; start < entries.length; start += sliceRows) {
          await this.#database.mutate(() => {
            if (fresh) this.#clear.run(run.id);
            fresh = false;
            for (const entry of entries.slice(start, start + sliceRows)) this.#insertRow(run.id, entry);
          });
        }
      },
      merge: async (inventoryDate, seenAt = inventoryDate) => {
        if (fresh) await this.#database.mutate(() => this.#clear.run(run.id));
        await this.#placeAll(run, inventoryDate);
        return this.#database.mutate(() => this.#finish(run, inventoryDate, seenAt));
      },
      discard: async () => {
        await this.#database.mutate(() => this.#clear.run(run.id));
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
      origin?.writer ?? null,
    );
  }

  // The newest first: of two archives that claim a name, the older one was overwritten or moved away.
  async #placeAll(run: Run, takenAt: Instant): Promise<void> {
    for (let time = Number.MAX_SAFE_INTEGER, id = ""; ; ) {
      const rows = this.#before.all(run.id, time, time, id, sliceRows);
      const last = rows.at(-1);
      if (last === undefined) return;
      await this.#database.mutate(() => {
        for (const row of rows) this.#place(run, row, takenAt);
      });
      time = last.created_at_ms;
      id = last.archive_id;
    }
  }

  #place(run: Run, row: InventoryRow, takenAt: Instant): void {
    const { vault } = run;
    const id = row.archive_id as ArchiveId;
    const isOfAnother = this.#isOfAnother(run, row);
    if (isOfAnother) run.newest ??= { id: row.writer!, archiveId: id, createdAt: row.created_at_ms as Instant };
    const isListed = this.#markSeen.run(takenAt, row.created_at_ms, run.id, id).changes > 0;
    const isForsaken = this.#isForsaken(vault, row);
    if ((isListed && !isForsaken) || this.#tombstones.has(vault, id)) return;
    const parsed = parseDescription(row.description);
    const isKnown = row.file_id !== null && this.#isKnownFile(vault, row.file_id, parsed);
    const isOwn = parsed.kind === "casfs" && parsed.writer === this.#writerId;
    if (isOwn && isForsaken && (!isKnown || this.#isReplaced(vault, row))) {
      this.#buryUnlessUsed(vault, row);
      return;
    }
    if (isListed) return;
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
      seenAt: takenAt,
    });
    // A file that is known already keeps what it has; of several unknown versions the highest is the file. The others
    // stay in the archive table without a name, for fsck to list. What another writer made of a known file is neither
    // older nor newer than what we have: it gets a name beside it.
    const isBeside = isKnown && (isOfAnother || this.#hasOtherBytes(vault, row));
    if ((isKnown && !isBeside) || this.#hasNewerVersion(run.id, row)) return;
    const directory = this.#vaults.find(vault)?.ino;
    invariant(directory !== undefined, `vault ${vault} exists`);
    const created = fileTime(row.created_at_ms as Instant);
    const ino = this.#tree.placeFile(vault, directory as InodeNumber, toFile(row, { id, parsed, created, isBeside }));
    this.#contents.insertArchived(ino, row.version ?? 1, key, row.size_bytes);
  }

  // What the vault held before this state directory could write to it is history, whoever made it.
  #isOfAnother({ wholeAt }: Run, row: InventoryRow): boolean {
    return wholeAt !== undefined && row.created_at_ms > wholeAt && row.writer !== null && row.writer !== this.#writerId;
  }

  // Two writers have made the same version of a file, each its own.
  #hasOtherBytes(vault: VaultName, row: InventoryRow): boolean {
    if (row.file_id === null || row.version === null || row.writer === this.#writerId) return false;
    const { file_id: fileId, version, size_bytes: sizeBytes, tree_hash: treeHash } = row;
    return this.#contents.hasOtherBytes(vault, { fileId, version, sizeBytes, treeHash });
  }

  // A file of our own may be staged while its archive is known to the inventory only: the answer to an upload was lost.
  #isKnownFile(vault: VaultName, fileId: string, parsed: ReturnType<typeof parseDescription>): boolean {
    if (this.#contents.isNamed(vault, fileId)) return true;
    return parsed.kind === "casfs" && parsed.writer === this.#writerId && this.#contents.isStaged(fileId);
  }

  // The journal knows of an upload of this version whose answer never came: its file was deleted, or it was sent again.
  #isForsaken(vault: VaultName, row: InventoryRow): boolean {
    if (row.file_id === null || row.version === null) return false;
    return this.#leftovers.isUnanswered(vault, row.file_id, row.version);
  }

  // By a twin of the same bytes, or by a later version that is archived: then its twin has gone for that one already.
  #isReplaced(vault: VaultName, row: InventoryRow): boolean {
    if (row.file_id === null || row.version === null) return false;
    const { file_id: fileId, version, size_bytes: sizeBytes, tree_hash: treeHash } = row;
    if (this.#contents.hasTwin(vault, { fileId, version, sizeBytes, treeHash })) return true;
    return this.#contents.isOutdated(vault, { fileId, version });
  }

  // An earlier inventory may have brought it, when it was not replaced yet.
  #buryUnlessUsed(vault: VaultName, row: InventoryRow): void {
    const id = row.archive_id as ArchiveId;
    const known = this.#contents.archiveById(vault, id)?.key;
    if (known !== undefined) {
      if (this.#contents.referencesTo(known) > 0) return;
      this.#contents.removeArchive(known);
    }
    this.#bury(vault, id, { sizeBytes: byteCount(row.size_bytes), createdAt: row.created_at_ms as Instant });
  }

  #hasNewerVersion(run: number, row: InventoryRow): boolean {
    if (row.file_id === null || row.version === null) return false;
    return this.#newerVersion.get(run, row.file_id, row.version) !== undefined;
  }

  #finish(run: Run, inventoryDate: Instant, seenAt: Instant): InventoryOutcome {
    const { vault, id } = run;
    const archives = this.#count.get(id) ?? 0;
    const dayBefore = (inventoryDate - hours(24)) as Instant;
    const { mergedAtMs } = this.#vaults.inventoryState(vault);
    // A clock of ours that was ahead when something was confirmed must not keep it from being missed for years.
    const present = Math.max(inventoryDate, this.#clock.now());
    this.#limitCreated.run(present, id, present + hours(24));
    // Only what existed a day before the inventory was made can be called missing from it; the same one says nothing new.
    const isNewer = mergedAtMs === null || inventoryDate > mergedAtMs;
    if (isNewer) this.#markMissing.run(id, dayBefore, inventoryDate);
    const missing = isNewer ? this.#missing.newIn(id) : { archives: 0, copies: [] };
    if (missing.copies.length > 0) this.#onMissing(missing.copies);
    this.#tombstones.forget(vault, dayBefore, id);
    this.#clear.run(id);
    this.#vaults.setInventoryMerged(vault, inventoryDate);
    this.#judgeWriters(run, seenAt);
    const other = this.#vaults.find(vault)?.otherWriter;
    if (other == null) return { archives, missing: missing.archives };
    return { archives, missing: missing.archives, heldBecause: writtenByAnother(vault, this.#writerId, other).message };
  }

  #judgeWriters({ vault, wholeAt, newest }: Run, seenAt: Instant): void {
    if (wholeAt === undefined) this.#vaults.setWholeAt(vault, seenAt);
    else if (newest !== undefined && this.#vaults.wholeAt(vault) !== undefined) {
      this.#vaults.setOtherWriter(vault, newest);
    }
  }
}

interface Placing {
  readonly id: ArchiveId;
  readonly parsed: ReturnType<typeof parseDescription>;
  readonly created: FileTime;
  /** It belongs to a file that has a name already, and becomes one of its own. */
  readonly isBeside: boolean;
}

function toFile(row: InventoryRow, { id, parsed, created, isBeside }: Placing): PlacedFile {
  const base = { archiveId: id, sizeBytes: row.size_bytes, fileId: isBeside ? null : row.file_id };
  if (parsed.kind === "casfs") {
    const { mode, mtime, uid, gid, segments } = parsed;
    return { ...base, ...treePlace(segments, id), mode, uid, gid, mtime };
  }
  const segments = parsed.kind === "path" ? parsed.segments : [];
  return { ...base, ...treePlace(segments, id), mtime: created };
}
