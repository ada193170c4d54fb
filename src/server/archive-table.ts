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

export class ArchiveTable {
  readonly #insert: Statement<[NewArchiveRow]>;
  readonly #find: Statement<[number, string], ArchiveRow>;
  readonly #markDeleted: Statement<[number, number, string]>;
  readonly #listed: Statement<[number, string, number, number, number], ListedArchiveRow>;
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
    this.#listed = database.prepare(
      `SELECT archive_id, description, created_at_ms, size_bytes, tree_hash FROM archive
       WHERE vault_key = ? AND archive_id >= ? AND created_change <= ?
         AND (deleted_change IS NULL OR deleted_change > ?) ORDER BY archive_id LIMIT ?`,
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

  /** Archives that were live at `change`, from `fromId` on, in the order of their ids' bytes. */
  listed(vaultKey: number, options: { readonly change: number; readonly fromId: string; readonly limit: number }) {
    return this.#listed.all(vaultKey, options.fromId, options.change, options.change, options.limit);
  }

  deleteOfVault(vaultKey: number): void {
    this.#deleteOfVault.run(vaultKey);
  }
}
