/** Archives that are no longer wanted: deleted in the service once, remembered until an inventory lacks them. */

import type BetterSqlite3 from "better-sqlite3";
import { byteCount } from "../domain/bytes.js";
import type { ArchiveId, ContentId, VaultName } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import type { StoredArchive } from "../protocol/prices.js";
import type { PendingDelete } from "../upload/ports.js";
import type { VaultTable } from "./vault-table.js";

interface TombstoneRow {
  readonly vault_id: number;
  readonly archive_id: string;
  readonly due_at_ms: number;
  readonly attempts: number;
  readonly error: string | null;
}

interface FactsRow {
  readonly size_bytes: number | null;
  readonly created_at_ms: number | null;
}

type InsertParameters = [Record<string, number | string | null>];

interface Burial {
  readonly dueAt: Instant;
  /** The content that replaces the archive: the delete waits until that is archived. */
  readonly waitsFor: ContentId | null;
  readonly facts?: StoredArchive | undefined;
}

export class TombstoneTable {
  readonly #vaults: VaultTable;
  readonly #pending: BetterSqlite3.Statement<[], TombstoneRow>;
  readonly #pendingInVault: BetterSqlite3.Statement<[number], number>;
  readonly #find: BetterSqlite3.Statement<[number, string], number>;
  readonly #insert: BetterSqlite3.Statement<InsertParameters>;
  readonly #factsOf: BetterSqlite3.Statement<[number, string], FactsRow>;
  readonly #setWaitsFor: BetterSqlite3.Statement<[number | null, number]>;
  readonly #revoke: BetterSqlite3.Statement<[number, string]>;
  readonly #setDeleted: BetterSqlite3.Statement<[number, number, string]>;
  readonly #setFailed: BetterSqlite3.Statement<[number, string, number, string]>;
  readonly #forgetBefore: BetterSqlite3.Statement<[number, number, number]>;
  readonly #removeVault: BetterSqlite3.Statement<[number]>;

  constructor(sql: BetterSqlite3.Database, vaults: VaultTable) {
    this.#vaults = vaults;
    this.#pending = sql.prepare(
      "SELECT * FROM tombstone WHERE deleted_at_ms IS NULL AND waits_for IS NULL ORDER BY due_at_ms",
    );
    this.#pendingInVault = sql
      .prepare<[number], number>("SELECT count(*) FROM tombstone WHERE vault_id = ? AND deleted_at_ms IS NULL")
      .pluck();
    this.#find = sql
      .prepare<[number, string], number>("SELECT 1 FROM tombstone WHERE vault_id = ? AND archive_id = ?")
      .pluck();
    this.#insert = sql.prepare(
      `INSERT OR IGNORE INTO tombstone (vault_id, archive_id, due_at_ms, waits_for, size_bytes, created_at_ms)
       VALUES ($vault, $archive, $dueAt, $waitsFor,
         coalesce($size, (SELECT size_bytes FROM archive WHERE vault_id = $vault AND archive_id = $archive)),
         coalesce($createdAt, (SELECT created_at_ms FROM archive WHERE vault_id = $vault AND archive_id = $archive)))`,
    );
    this.#factsOf = sql.prepare(
      "SELECT size_bytes, created_at_ms FROM tombstone WHERE vault_id = ? AND archive_id = ?",
    );
    this.#setWaitsFor = sql.prepare("UPDATE tombstone SET waits_for = ? WHERE waits_for = ?");
    this.#revoke = sql.prepare("DELETE FROM tombstone WHERE vault_id = ? AND archive_id = ? AND deleted_at_ms IS NULL");
    this.#setDeleted = sql.prepare(
      "UPDATE tombstone SET deleted_at_ms = ?, error = NULL WHERE vault_id = ? AND archive_id = ?",
    );
    this.#setFailed = sql.prepare(
      "UPDATE tombstone SET due_at_ms = ?, error = ?, attempts = attempts + 1 WHERE vault_id = ? AND archive_id = ?",
    );
    this.#forgetBefore = sql.prepare(`DELETE FROM tombstone WHERE vault_id = ? AND deleted_at_ms < ?
      AND archive_id NOT IN (SELECT archive_id FROM inventory_row WHERE run_id = ?)`);
    this.#removeVault = sql.prepare("DELETE FROM tombstone WHERE vault_id = ?");
  }

  pending(): (PendingDelete & { readonly error: string | null })[] {
    return this.#pending.all().map((row) => ({
      vault: this.#vaults.nameOf(row.vault_id),
      archiveId: row.archive_id as ArchiveId,
      dueAt: row.due_at_ms as Instant,
      attempts: row.attempts,
      error: row.error,
    }));
  }

  hasPending(vault: VaultName): boolean {
    return (this.#pendingInVault.get(this.#vaults.idOf(vault)) ?? 0) > 0;
  }

  has(vault: VaultName, archive: ArchiveId): boolean {
    return this.#find.get(this.#vaults.idOf(vault), archive) !== undefined;
  }

  /** @param facts Of an archive that is not in the catalog. */
  insert(vault: VaultName, archive: ArchiveId, { dueAt, waitsFor, facts }: Burial): void {
    this.#insert.run({
      vault: this.#vaults.idOf(vault),
      archive,
      dueAt,
      waitsFor,
      size: facts?.sizeBytes ?? null,
      createdAt: facts?.createdAt ?? null,
    });
  }

  /** Size and age of an archive that is deleted; undefined when nobody knows them. */
  factsOf(vault: VaultName, archive: ArchiveId): StoredArchive | undefined {
    const { size_bytes: size, created_at_ms: createdAt } = this.#factsOf.get(this.#vaults.idOf(vault), archive) ?? {};
    if (size == null || createdAt == null) return undefined;
    return { sizeBytes: byteCount(size), createdAt: createdAt as Instant };
  }

  /**
   * What waited for `content` now waits for `next`, or for nothing.
   *
   * @returns whether there was anything.
   */
  passOn(content: ContentId, next: ContentId | null): boolean {
    return this.#setWaitsFor.run(next, content).changes > 0;
  }

  /** The archive is wanted after all, and was not deleted yet. */
  revoke(vault: VaultName, archive: ArchiveId): void {
    this.#revoke.run(this.#vaults.idOf(vault), archive);
  }

  setDeleted(vault: VaultName, archive: ArchiveId, at: Instant): void {
    this.#setDeleted.run(this.#vaults.notBefore(vault, at), this.#vaults.idOf(vault), archive);
  }

  setFailed(vault: VaultName, archive: ArchiveId, retryAt: Instant, message: string): void {
    this.#setFailed.run(retryAt, message, this.#vaults.idOf(vault), archive);
  }

  /** Drops tombstones deleted before `deletedBefore` whose archive the inventory `runId` lacks. */
  forget(vault: VaultName, deletedBefore: Instant, runId: number): void {
    this.#forgetBefore.run(this.#vaults.idOf(vault), deletedBefore, runId);
  }

  removeVault(vault: VaultName): void {
    this.#removeVault.run(this.#vaults.idOf(vault));
  }
}
