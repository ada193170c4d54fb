/** The recall journal, and the ledger of what was asked of the service. */

import type BetterSqlite3 from "better-sqlite3";
import type { ArchiveKey, JobId } from "../domain/ids.js";
import type { Clock, Instant } from "../domain/time.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { JournaledRecall, RestoreJournal } from "../restore/ports.js";
import type { ContentTable } from "./content-table.js";
import type { Database } from "./database.js";

interface RecallRow {
  readonly archive_key: number;
  readonly tier: string;
  readonly job_id: string | null;
  readonly requested_at_ms: number;
  readonly replaced: number;
}

export class RecallTable implements RestoreJournal {
  readonly #database: Database;
  readonly #contents: ContentTable;
  readonly #clock: Clock;
  readonly #unfinished: BetterSqlite3.Statement<[], RecallRow>;
  readonly #insert: BetterSqlite3.Statement<[number, string, number]>;
  readonly #replace: BetterSqlite3.Statement<[number]>;
  readonly #setJob: BetterSqlite3.Statement<[string, number]>;
  readonly #remove: BetterSqlite3.Statement<[number]>;
  readonly #book: BetterSqlite3.Statement<[string, number, number, number]>;
  readonly #settle: BetterSqlite3.Statement<[string, number]>;

  readonly #onLanded: (archive: ArchiveKey) => void;

  /** @param onLanded Called inside `mutate` when a content has landed. */
  constructor(database: Database, contents: ContentTable, clock: Clock, onLanded: (archive: ArchiveKey) => void) {
    this.#onLanded = onLanded;
    this.#database = database;
    this.#contents = contents;
    this.#clock = clock;
    const { sql } = database;
    this.#unfinished = sql.prepare("SELECT * FROM recall ORDER BY requested_at_ms, archive_key");
    this.#insert = sql.prepare(`INSERT INTO recall (archive_key, tier, requested_at_ms) VALUES (?, ?, ?)
      ON CONFLICT (archive_key) DO UPDATE SET tier = excluded.tier, job_id = NULL`);
    this.#replace = sql.prepare("UPDATE recall SET job_id = NULL, replaced = replaced + 1 WHERE archive_key = ?");
    this.#setJob = sql.prepare("UPDATE recall SET job_id = ? WHERE archive_key = ?");
    this.#remove = sql.prepare("DELETE FROM recall WHERE archive_key = ?");
    this.#book = sql.prepare(`INSERT INTO recall_ledger (job_id, size_bytes, requested_at_ms, archive_key, tier)
      SELECT ?, ?, ?, archive_key, tier FROM recall WHERE archive_key = ?`);
    this.#settle = sql.prepare("UPDATE recall_ledger SET outcome = ? WHERE archive_key = ? AND outcome IS NULL");
  }

  unfinished(): JournaledRecall[] {
    return this.#unfinished.all().flatMap((row) => {
      const archive = this.#contents.archive(row.archive_key as ArchiveKey);
      // The file was deleted meanwhile: nobody can read what would land.
      if (archive === undefined) return [];
      return {
        archive,
        tier: row.tier as RetrievalTier,
        jobId: row.job_id as JobId | null,
        requestedAt: row.requested_at_ms as Instant,
        replaced: row.replaced,
      };
    });
  }

  willRequest(archive: ArchiveKey, tier: RetrievalTier): Promise<void> {
    return this.#database.mutate(() => void this.#insert.run(archive, tier, this.#clock.now()));
  }

  willReplace(archive: ArchiveKey): Promise<void> {
    return this.#database.mutate(() => void this.#replace.run(archive));
  }

  didRequest(archive: ArchiveKey, job: JobId, { isFree }: { readonly isFree: boolean }): Promise<void> {
    return this.#database.mutate(() => {
      this.#setJob.run(job, archive);
      if (isFree) return;
      this.#book.run(job, this.#contents.archive(archive)?.sizeBytes ?? 0, this.#clock.now(), archive);
    });
  }

  didLand(archive: ArchiveKey): Promise<void> {
    return this.#end(archive, "landed", () => this.#onLanded(archive));
  }

  didFail(archive: ArchiveKey, message: string): Promise<void> {
    return this.#end(archive, message);
  }

  /** Inside `mutate`: the archive is deleted, so its recall is pointless. */
  remove(archive: ArchiveKey): void {
    this.#remove.run(archive);
  }

  #end(archive: ArchiveKey, outcome: string, then: () => void = () => {}): Promise<void> {
    return this.#database.mutate(() => {
      then();
      this.#remove.run(archive);
      this.#settle.run(outcome, archive);
    });
  }
}
