/** Rows of archives, live and deleted: an inventory is the set of archives of one vault as of one change number. */

import type { Database, Statement } from "better-sqlite3";

export interface ArchiveRow {
  readonly vault_key: number;
  readonly archive_id: string;
  readonly description: string;
  readonly created_at_ms: number;
  readonly size_bytes: number;
  readonly tree_hash: Buffer;
  readonly body_key: number | null;
  readonly created_change: number;
  readonly deleted_change: number | null;
}

/** What an inventory says of an archive. */
export type ListedArchiveRow = Pick<
  ArchiveRow,
  "archive_id" | "description" | "created_at_ms" | "size_bytes" | "tree_hash"
>;
export type NewArchiveRow = Omit<ArchiveRow, "deleted_change">;

/** The archives that were live at `change` and created within the half-open time. */
export interface ListedFilter {
  readonly change: number;
  readonly createdFromMs: number;
  readonly createdBeforeMs: number;
}

/** Ids are of `A-Z a-z 0-9 _ -`. */
const afterAllIds = "~";

export class ArchiveTable {
  readonly #insert: Statement<[NewArchiveRow]>;
  readonly #find: Statement<[number, string], ArchiveRow>;
  readonly #markDeleted: Statement<[number, number, string]>;
  readonly #idAfter: Statement<[number, string, number], string>;
  readonly #listed: Statement<[ListedFilter & { vault: number; from: string; before: string }], ListedArchiveRow>;
  readonly #deleteOfVault: Statement<[number]>;

  constructor(database: Database) {
    this.#insert = database.prepare(
      `INSERT INTO archive (vault_key, archive_id, description, created_at_ms, size_bytes, tree_hash, body_key, created_change)
       VALUES (@vault_key, @archive_id, @description, @created_at_ms, @size_bytes, @tree_hash, @body_key, @created_change)`,
    );
    this.#find = database.prepare("SELECT * FROM archive WHERE vault_key = ? AND archive_id = ?");
    this.#markDeleted = database.prepare(
      "UPDATE archive SET deleted_change = ?, body_key = NULL WHERE vault_key = ? AND archive_id = ?",
    );
    this.#idAfter = database
      .prepare<[number, string, number], string>(
        "SELECT archive_id FROM archive WHERE vault_key = ? AND archive_id >= ? ORDER BY archive_id LIMIT 1 OFFSET ?",
      )
      .pluck();
    this.#listed = database.prepare(
      `SELECT archive_id, description, created_at_ms, size_bytes, tree_hash FROM archive
       WHERE vault_key = @vault AND archive_id >= @from AND archive_id < @before
         AND created_change <= @change AND (deleted_change IS NULL OR deleted_change > @change)
         AND created_at_ms >= @createdFromMs AND created_at_ms < @createdBeforeMs ORDER BY archive_id`,
    );
    this.#deleteOfVault = database.prepare("DELETE FROM archive WHERE vault_key = ?");
  }

  insert(archive: NewArchiveRow): void {
    this.#insert.run(archive);
  }

  find(vaultKey: number, archiveId: string): ArchiveRow | undefined {
    return this.#find.get(vaultKey, archiveId);
  }

  markDeleted(archive: ArchiveRow, change: number): void {
    this.#markDeleted.run(change, archive.vault_key, archive.archive_id);
  }

  /**
   * Those of the next `rows` archives from `fromId` on that pass the filter, in the order of their ids' bytes, and the id
   * to go on with. What a call costs depends on `rows` alone, however many archives are passed over.
   */
  listed(
    vaultKey: number,
    { fromId, rows, ...filter }: ListedFilter & { readonly fromId: string; readonly rows: number },
  ): { readonly archives: readonly ListedArchiveRow[]; readonly nextId: string | undefined } {
    const nextId = this.#idAfter.get(vaultKey, fromId, rows);
    const archives = this.#listed.all({ ...filter, vault: vaultKey, from: fromId, before: nextId ?? afterAllIds });
    return { archives, nextId };
  }

  deleteOfVault(vaultKey: number): void {
    this.#deleteOfVault.run(vaultKey);
  }
}
