/** Rows of jobs. Their state is not stored: `job-schedule.ts` computes it from the times that are. */

import type { Database, Statement } from "better-sqlite3";
import type { JobAction } from "../../protocol/job-names.js";
import type { InventoryFormat, RetrievalTier } from "../../protocol/service.js";
import type { ArchiveRow } from "./archive-table.js";
import type { Place } from "./page-place.js";

export interface JobRow {
  readonly job_key: number;
  readonly vault_key: number;
  readonly job_id: string;
  readonly action: JobAction;
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
  readonly bucket: string | null;
  readonly object: string | null;
  readonly object_condition: string | null;
  readonly archive_description: string | null;
  readonly finished_at_ms: number | null;
  readonly failure: string | null;
  readonly is_announced: number;
}

/** With what is shown of the archive that a retrieval is about. */
export interface JobWithArchive extends JobRow {
  readonly archive_size_bytes: number | null;
  readonly archive_tree_hash: Buffer | null;
}

export type NewJobRow = Omit<JobRow, "job_key" | "finished_at_ms" | "failure">;

/** How a copy ended. */
export interface CopyEnd {
  readonly finished_at_ms: number;
  readonly expires_at_ms: number;
  readonly failure: string | null;
  /** Of the new archive; null leaves the column as it is. */
  readonly archive_id: string | null;
}

/** What tells the state of a job, and its place in listings. */
export type JobTimes = Pick<
  JobRow,
  | "job_key"
  | "job_id"
  | "action"
  | "created_at_ms"
  | "ready_at_ms"
  | "expires_at_ms"
  | "body_key"
  | "finished_at_ms"
  | "failure"
>;

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
  "bucket",
  "object",
  "object_condition",
  "archive_description",
  "is_announced",
] as const satisfies readonly (keyof NewJobRow)[];

const select = `SELECT job.*, archive.size_bytes AS archive_size_bytes,
  archive.tree_hash AS archive_tree_hash FROM job LEFT JOIN archive USING (vault_key, archive_id)`;

export class JobTable {
  readonly #insert: Statement<[NewJobRow]>;
  readonly #find: Statement<[number, string], JobWithArchive>;
  readonly #get: Statement<[number], JobWithArchive>;
  readonly #list: Statement<[{ vault: number; at: number; id: string; limit: number }], JobTimes>;
  readonly #loseSource: Statement<[number, string, number]>;
  readonly #expired: Statement<[number, number], JobRow>;
  readonly #nextExpiry: Statement<[], number | null>;
  readonly #unannounced: Statement<[number, number], JobWithArchive>;
  readonly #nextUnannounced: Statement<[], number | null>;
  readonly #announce: Statement<[number]>;
  readonly #copies: Statement<[number, number], JobWithArchive>;
  readonly #nextCopy: Statement<[number], number | null>;
  readonly #endCopy: Statement<[CopyEnd & { job_key: number }]>;
  readonly #ofVault: Statement<[number], JobRow>;
  readonly #delete: Statement<[number]>;
  readonly #continued: Statement<[number, string, number], { inventory_change: number; inventory_at_ms: number }>;

  constructor(database: Database) {
    this.#insert = database.prepare(
      `INSERT INTO job (${newColumns.join(", ")}) VALUES (${newColumns.map((column) => `@${column}`).join(", ")})`,
    );
    this.#find = database.prepare(`${select} WHERE job.vault_key = ? AND job.job_id = ?`);
    this.#list = database.prepare(
      `SELECT job_key, job_id, action, created_at_ms, ready_at_ms, expires_at_ms, body_key, finished_at_ms, failure
       FROM job WHERE vault_key = @vault AND (created_at_ms, job_id) >= (@at, @id)
       ORDER BY created_at_ms, job_id LIMIT @limit`,
    );
    this.#get = database.prepare(`${select} WHERE job.job_key = ?`);
    this.#loseSource = database.prepare(
      "UPDATE job SET body_key = NULL WHERE vault_key = ? AND archive_id = ? AND ready_at_ms > ?",
    );
    this.#expired = database.prepare(
      "SELECT * FROM job WHERE expires_at_ms <= ? AND is_announced = 1 ORDER BY expires_at_ms LIMIT ?",
    );
    this.#nextExpiry = database
      .prepare<[], number | null>("SELECT min(expires_at_ms) FROM job WHERE is_announced = 1")
      .pluck();
    this.#unannounced = database.prepare(
      `${select} WHERE job.is_announced = 0 AND job.ready_at_ms <= ? ORDER BY job.ready_at_ms LIMIT ?`,
    );
    this.#nextUnannounced = database
      .prepare<[], number | null>("SELECT min(ready_at_ms) FROM job WHERE is_announced = 0")
      .pluck();
    this.#announce = database.prepare("UPDATE job SET is_announced = 1 WHERE job_key = ?");
    const isCopy = "job.finished_at_ms IS NULL AND job.action IN ('push-to-cos', 'pull-from-cos')";
    this.#copies = database.prepare(
      `${select} WHERE ${isCopy} AND job.ready_at_ms <= ? ORDER BY job.ready_at_ms, job.job_key LIMIT ?`,
    );
    this.#nextCopy = database
      .prepare<[number], number | null>(`SELECT min(ready_at_ms) FROM job WHERE ${isCopy} AND ready_at_ms > ?`)
      .pluck();
    this.#endCopy = database.prepare(
      `UPDATE job SET finished_at_ms = @finished_at_ms, expires_at_ms = @expires_at_ms, failure = @failure,
         archive_id = coalesce(@archive_id, archive_id), body_key = NULL WHERE job_key = @job_key`,
    );
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

  get(jobKey: number): JobWithArchive | undefined {
    return this.#get.get(jobKey);
  }

  /** Jobs from the given one on, by (creation, id). */
  listFrom(vaultKey: number, { from, limit }: { readonly from: Place; readonly limit: number }): JobTimes[] {
    return this.#list.all({ vault: vaultKey, at: from.atMs, id: from.id, limit });
  }

  /** Takes the bytes away from the archive's jobs that are not ready yet. */
  loseSource(archive: ArchiveRow, nowMs: number): void {
    this.#loseSource.run(archive.vault_key, archive.archive_id, nowMs);
  }

  /** Expired jobs whose completion was announced: after a long pause of the service both are due. */
  expiredUntil(nowMs: number, limit: number): JobRow[] {
    return this.#expired.all(nowMs, limit);
  }

  nextExpiry(): number | undefined {
    return this.#nextExpiry.get() ?? undefined;
  }

  /** Jobs that were ready by `nowMs` and whose completion nobody was told. */
  unannounced(nowMs: number, limit: number): JobWithArchive[] {
    return this.#unannounced.all(nowMs, limit);
  }

  nextUnannounced(): number | undefined {
    return this.#nextUnannounced.get() ?? undefined;
  }

  markAnnounced(jobKey: number): void {
    this.#announce.run(jobKey);
  }

  /** Copies from and to COS whose time has come and which have not ended. */
  copiesDue(nowMs: number, limit: number): JobWithArchive[] {
    return this.#copies.all(nowMs, limit);
  }

  /** When the next copy after `nowMs` begins. */
  nextCopy(nowMs: number): number | undefined {
    return this.#nextCopy.get(nowMs) ?? undefined;
  }

  /** Records how a copy ended and lets go of the bytes that it kept. */
  endCopy(jobKey: number, end: CopyEnd): void {
    this.#endCopy.run({ ...end, job_key: jobKey });
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
