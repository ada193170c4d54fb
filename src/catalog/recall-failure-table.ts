/** Why files could not be recalled: kept until they land, somebody asks for them again, or for a month. */

import type BetterSqlite3 from "better-sqlite3";
import type { ArchiveKey, JobId } from "../domain/ids.js";
import { hours, type Instant } from "../domain/time.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { RecallFailure } from "../restore/ports.js";
import type { Database } from "./database.js";

interface FailureRow {
  readonly archive_key: number;
  readonly tier: string;
  readonly job_id: string | null;
  readonly failed_at_ms: number;
  readonly message: string;
}

const keptMs = hours(30 * 24);

export class RecallFailureTable {
  readonly #insert: BetterSqlite3.Statement<[number, string, string | null, number, string]>;
  readonly #remove: BetterSqlite3.Statement<[number]>;
  readonly #removeUntil: BetterSqlite3.Statement<[number]>;
  readonly #find: BetterSqlite3.Statement<[number], FailureRow>;
  readonly #latest: BetterSqlite3.Statement<[number], FailureRow>;

  constructor({ sql }: Database) {
    this.#insert = sql.prepare("INSERT OR REPLACE INTO recall_failure VALUES (?, ?, ?, ?, ?)");
    this.#remove = sql.prepare("DELETE FROM recall_failure WHERE archive_key = ?");
    this.#removeUntil = sql.prepare("DELETE FROM recall_failure WHERE failed_at_ms <= ?");
    this.#find = sql.prepare("SELECT * FROM recall_failure WHERE archive_key = ?");
    this.#latest = sql.prepare("SELECT * FROM recall_failure ORDER BY failed_at_ms DESC, archive_key LIMIT ?");
  }

  /** Inside `mutate`. */
  add({ archive, tier, job, failedAt, message }: RecallFailure): void {
    this.#removeUntil.run(failedAt - keptMs);
    this.#insert.run(archive, tier, job, failedAt, message);
  }

  /** Inside `mutate`. */
  remove(archive: ArchiveKey): void {
    this.#remove.run(archive);
  }

  find(archive: ArchiveKey): RecallFailure | undefined {
    const row = this.#find.get(archive);
    return row === undefined ? undefined : toFailure(row);
  }

  /** The latest first. */
  latest(limit: number): RecallFailure[] {
    return this.#latest.all(limit).map(toFailure);
  }
}

function toFailure(row: FailureRow): RecallFailure {
  return {
    archive: row.archive_key as ArchiveKey,
    tier: row.tier as RetrievalTier,
    job: row.job_id as JobId | null,
    failedAt: row.failed_at_ms as Instant,
    message: row.message,
  };
}
