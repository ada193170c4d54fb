/** The recall journal. A job that is paid for goes into the ledger in the same transaction. */

import type BetterSqlite3 from "better-sqlite3";
import type { ArchiveKey, JobId } from "../domain/ids.js";
import type { Clock, Instant } from "../domain/time.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { JournaledRecall, RestoreJournal } from "../restore/ports.js";
import type { ContentTable } from "./content-table.js";
import type { Database } from "./database.js";
import type { LedgerTable } from "./ledger-table.js";

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
  readonly #tierOf: BetterSqlite3.Statement<[number], string>;
  readonly #ledger: LedgerTable;
  readonly #onLanded: (archive: ArchiveKey) => void;

  constructor(parts: {
    readonly database: Database;
    readonly contents: ContentTable;
    readonly ledger: LedgerTable;
    readonly clock: Clock;
    /** Called inside `mutate` when a content has landed. */
    readonly onLanded: (archive: ArchiveKey) => void;
  }) {
    this.#onLanded = parts.onLanded;
    this.#database = parts.database;
    this.#contents = parts.contents;
    this.#ledger = parts.ledger;
    this.#clock = parts.clock;
    const { sql } = parts.database;
    this.#unfinished = sql.prepare("SELECT * FROM recall ORDER BY requested_at_ms, archive_key");
    this.#insert = sql.prepare(`INSERT INTO recall (archive_key, tier, requested_at_ms) VALUES (?, ?, ?)
      ON CONFLICT (archive_key) DO UPDATE SET tier = excluded.tier, job_id = NULL`);
    this.#replace = sql.prepare("UPDATE recall SET job_id = NULL, replaced = replaced + 1 WHERE archive_key = ?");
    this.#setJob = sql.prepare("UPDATE recall SET job_id = ? WHERE archive_key = ?");
    this.#remove = sql.prepare("DELETE FROM recall WHERE archive_key = ?");
    this.#tierOf = sql.prepare<[number], string>("SELECT tier FROM recall WHERE archive_key = ?").pluck();
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
      const tier = this.#tierOf.get(archive) as RetrievalTier | undefined;
      if (isFree || tier === undefined) return;
      const bytes = this.#contents.archive(archive)?.sizeBytes ?? 0;
      this.#ledger.write({ item: `retrieval-${tier}`, count: 1, bytes, byteDays: 0 });
    });
  }

  didLand(archive: ArchiveKey): Promise<void> {
    return this.#end(archive, () => this.#onLanded(archive));
  }

  didFail(archive: ArchiveKey): Promise<void> {
    return this.#end(archive);
  }

  /** Inside `mutate`: the archive is deleted, so its recall is pointless. */
  remove(archive: ArchiveKey): void {
    this.#remove.run(archive);
  }

  #end(archive: ArchiveKey, then: () => void = () => {}): Promise<void> {
    return this.#database.mutate(() => {
      then();
      this.#remove.run(archive);
    });
  }
}
