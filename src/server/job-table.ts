/** Rows of jobs. Their state is not stored: `job-schedule.ts` computes it from the times that are. */

import type { Database, Statement } from "better-sqlite3";
import type { InventoryFormat, RetrievalTier } from "../protocol/service.js";
import type { ArchiveRow } from "./archive-table.js";

export interface JobRow {
  readonly job_key: number;
  readonly vault_key: number;
  readonly job_id: string;
  readonly action: "retrieve-archive" | "retrieve-inventory";
  readonly description: string;
  readonly callback_url: string | null;
  readonly created_at_ms: number;
  readonly ready_at_ms: number;
  readonly expires_at_ms: number;
  readonly tier: RetrievalTier | null;
  readonly archive_id: string | null;
  readonly body_key: number | null;
  readonly range_start: number | null;
  readonly range_end: number | null;
  readonly format: InventoryFormat | null;
  readonly created_from_ms: number | null;
  readonly created_until_ms: number | null;
  readonly row_limit: number;
  readonly marker: string | null;
  readonly inventory_change: number | null;
  readonly inventory_at_ms: number | null;
  readonly output_bytes: number | null;
  readonly next_marker: string | null;
}

/** With what is shown of the archive that a retrieval is about. */
export interface JobWithArchive extends JobRow {
  readonly archive_size_bytes: number | null;
  readonly archive_tree_hash: Buffer | null;
}

export type NewJobRow = Omit<JobRow, "job_key">;

const newColumns = [
  "vault_key",
  "job_id",
  "action",
  "description",
  "callback_url",
  "created_at_ms",
  "ready_at_ms",
  "expires_at_ms",
  "tier",
  "archive_id",
  "body_key",
  "range_start",
  "range_end",
  "format",
  "created_from_ms",
  "created_until_ms",
  "row_limit",
  "marker",
  "inventory_change",
  "inventory_at_ms",
  "output_bytes",
  "next_marker",
] as const satisfies readonly (keyof NewJobRow)[];

const select = `SELECT job.*, archive.size_bytes AS archive_size_bytes,
  archive.tree_hash AS archive_tree_hash FROM job LEFT JOIN archive USING (vault_key, archive_id)`;

export class JobTable {
  readonly #insert: Statement<[NewJobRow]>;
  readonly #find: Statement<[number, string], JobWithArchive>;
  readonly #list: Statement<[{ vault: number; at: number; id: string }], JobWithArchive>;
  readonly #loseSource: Statement<[number, string, number]>;
  readonly #expired: Statement<[number], JobRow>;
  readonly #ofVault: Statement<[number], JobRow>;
  readonly #delete: Statement<[number]>;
  readonly #continued: Statement<[number, string, number], { inventory_change: number; inventory_at_ms: number }>;

  constructor(database: Database) {
    this.#insert = database.prepare(
      `INSERT INTO job (${newColumns.join(", ")}) VALUES (${newColumns.map((column) => `@${column}`).join(", ")})`,
    );
    this.#find = database.prepare(`${select} WHERE job.vault_key = ? AND job.job_id = ?`);
    this.#list = database.prepare(
      `${select} WHERE job.vault_key = @vault AND (job.created_at_ms, job.job_id) >= (@at, @id)
       ORDER BY job.created_at_ms, job.job_id`,
    );
    this.#loseSource = database.prepare(
      "UPDATE job SET body_key = NULL WHERE vault_key = ? AND archive_id = ? AND ready_at_ms > ?",
    );
    this.#expired = database.prepare("SELECT * FROM job WHERE expires_at_ms <= ?");
    this.#ofVault = database.prepare("SELECT * FROM job WHERE vault_key = ?");
    this.#delete = database.prepare("DELETE FROM job WHERE job_key = ?");
    this.#continued = database.prepare(
      `SELECT inventory_change, inventory_at_ms FROM job WHERE vault_key = ? AND next_marker = ? AND expires_at_ms > ?
       ORDER BY job_key DESC LIMIT 1`,
    );
  }

  insert(job: NewJobRow): void {
    this.#insert.run(job);
  }

  find(vaultKey: number, jobId: string): JobWithArchive | undefined {
    return this.#find.get(vaultKey, jobId);
  }

  /** All jobs from the given one on, by (creation, id); the caller stops when its page is full. */
  listFrom(vaultKey: number, from: { readonly atMs: number; readonly id: string }): Iterable<JobWithArchive> {
    return this.#list.iterate({ vault: vaultKey, at: from.atMs, id: from.id });
  }

  /** Takes the bytes away from the archive's jobs that are not ready yet. */
  loseSource(archive: ArchiveRow, nowMs: number): void {
    this.#loseSource.run(archive.vault_key, archive.archive_id, nowMs);
  }

  expiredUntil(nowMs: number): JobRow[] {
    return this.#expired.all(nowMs);
  }

  ofVault(vaultKey: number): JobRow[] {
    return this.#ofVault.all(vaultKey);
  }

  delete(jobKey: number): void {
    this.#delete.run(jobKey);
  }

  /** The inventory whose next page `marker` names, while the job that said so lives (12.3). */
  inventoryContinuedBy(vaultKey: number, marker: string, nowMs: number) {
    return this.#continued.get(vaultKey, marker, nowMs);
  }
}
