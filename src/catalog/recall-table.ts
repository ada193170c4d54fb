/** The recall journal. A job that is paid for goes into the ledger in the same transaction. */

import type BetterSqlite3 from "better-sqlite3";
import { byteRange, rangeLength } from "../domain/bytes.js";
import type { ArchiveKey, JobId } from "../domain/ids.js";
import type { Clock, Instant } from "../domain/time.js";
import { archiveWindow } from "../protocol/archive-window.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { JournaledRecall, RecalledBytes, RecallIntent, RestoreJournal } from "../restore/ports.js";
import type { ContentTable } from "./content-table.js";
import type { Database } from "./database.js";
import type { LedgerTable } from "./ledger-table.js";
import type { RecallFailureTable } from "./recall-failure-table.js";

/** An archive, and where the recalled bytes begin and end in it. */
type Key = [number, number, number];
const byKey = "archive_key = ? AND start_byte = ? AND end_byte = ?";

interface RecallRow {
  readonly archive_key: number;
  readonly start_byte: number;
  readonly end_byte: number;
  readonly tier: string;
  readonly job_id: string | null;
  readonly requested_at_ms: number;
  readonly replaced: number;
  readonly kept: number;
  readonly charged_at_ms: number | null;
}

export class RecallTable implements RestoreJournal {
  readonly #database: Database;
  readonly #contents: ContentTable;
  readonly #clock: Clock;
  readonly #unfinished: BetterSqlite3.Statement<[], RecallRow>;
  readonly #insert: BetterSqlite3.Statement<[number, number, number, string, number, number, number | null]>;
  readonly #keep: BetterSqlite3.Statement<Key>;
  readonly #replace: BetterSqlite3.Statement<[number | null, ...Key]>;
  readonly #setJob: BetterSqlite3.Statement<[string, ...Key]>;
  readonly #remove: BetterSqlite3.Statement<Key>;
  readonly #removeAll: BetterSqlite3.Statement<[number]>;
  readonly #find: BetterSqlite3.Statement<Key, RecallRow>;
  readonly #ledger: LedgerTable;
  readonly #failures: RecallFailureTable;
  readonly #onLanded: (archive: ArchiveKey) => void;

  constructor(parts: {
    readonly database: Database;
    readonly contents: ContentTable;
    readonly ledger: LedgerTable;
    readonly failures: RecallFailureTable;
    readonly clock: Clock;
    /** Called inside `mutate` when a content has landed. */
    readonly onLanded: (archive: ArchiveKey) => void;
  }) {
    this.#onLanded = parts.onLanded;
    this.#database = parts.database;
    this.#contents = parts.contents;
    this.#ledger = parts.ledger;
    this.#failures = parts.failures;
    this.#clock = parts.clock;
    const { sql } = parts.database;
    this.#unfinished = sql.prepare("SELECT * FROM recall ORDER BY requested_at_ms, archive_key, start_byte");
    this.#insert = sql.prepare(`INSERT INTO recall
      (archive_key, start_byte, end_byte, tier, requested_at_ms, kept, charged_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (archive_key, start_byte, end_byte)
      DO UPDATE SET tier = excluded.tier, job_id = NULL, kept = excluded.kept, charged_at_ms = excluded.charged_at_ms`);
    this.#keep = sql.prepare(`UPDATE recall SET kept = 1 WHERE ${byKey}`);
    this.#replace = sql.prepare(
      `UPDATE recall SET job_id = NULL, replaced = replaced + 1, charged_at_ms = ? WHERE ${byKey}`,
    );
    this.#setJob = sql.prepare(`UPDATE recall SET job_id = ?, charged_at_ms = NULL WHERE ${byKey}`);
    this.#remove = sql.prepare(`DELETE FROM recall WHERE ${byKey}`);
    this.#removeAll = sql.prepare("DELETE FROM recall WHERE archive_key = ?");
    this.#find = sql.prepare(`SELECT * FROM recall WHERE ${byKey}`);
  }

  unfinished(): JournaledRecall[] {
    return this.#unfinished.all().flatMap((row) => {
      const archive = this.#contents.archive(row.archive_key as ArchiveKey);
      // The file was deleted meanwhile: nobody can read what would land.
      if (archive === undefined) return [];
      return {
        archive,
        window: archiveWindow(byteRange(row.start_byte, row.end_byte), archive.sizeBytes),
        tier: row.tier as RetrievalTier,
        jobId: row.job_id as JobId | null,
        requestedAt: row.requested_at_ms as Instant,
        replaced: row.replaced,
        isKept: row.kept === 1,
        chargedAt: row.charged_at_ms as Instant | null,
      };
    });
  }

  willRequest(bytes: RecalledBytes, { tier, isKept, chargedAt }: RecallIntent): Promise<void> {
    return this.#database.mutate(() => {
      this.#insert.run(...keyOf(bytes), tier, this.#clock.now(), isKept ? 1 : 0, chargedAt);
      this.#failures.remove(bytes.archive.key);
    });
  }

  willKeep(bytes: RecalledBytes): Promise<void> {
    return this.#database.mutate(() => void this.#keep.run(...keyOf(bytes)));
  }

  didWithdraw(bytes: RecalledBytes): Promise<void> {
    return this.#end(bytes);
  }

  willReplace(bytes: RecalledBytes, { chargedAt }: Pick<RecallIntent, "chargedAt">): Promise<void> {
    return this.#database.mutate(() => void this.#replace.run(chargedAt, ...keyOf(bytes)));
  }

  didRequest(recalled: RecalledBytes, job: JobId, { isFree }: { readonly isFree: boolean }): Promise<void> {
    return this.#database.mutate(() => {
      this.#setJob.run(job, ...keyOf(recalled));
      const tier = this.#find.get(...keyOf(recalled))?.tier as RetrievalTier | undefined;
      if (isFree || tier === undefined) return;
      const bytes = rangeLength(recalled.window);
      this.#ledger.write({ item: `retrieval-${tier}`, count: 1, bytes, byteDays: 0 });
    });
  }

  didLand(bytes: RecalledBytes): Promise<void> {
    return this.#end(bytes, () => this.#onLanded(bytes.archive.key));
  }

  didFail(bytes: RecalledBytes, message: string): Promise<void> {
    return this.#end(bytes, () => {
      const row = this.#find.get(...keyOf(bytes));
      if (row === undefined) return;
      const { tier, job_id: job } = row;
      const archive = bytes.archive.key;
      const failedAt = this.#clock.now();
      this.#failures.add({ archive, tier: tier as RetrievalTier, job: job as JobId | null, failedAt, message });
    });
  }

  /** Inside `mutate`: the archive is deleted, so its recalls are pointless. */
  remove(archive: ArchiveKey): void {
    this.#removeAll.run(archive);
    this.#failures.remove(archive);
  }

  #end(bytes: RecalledBytes, then: () => void = () => {}): Promise<void> {
    return this.#database.mutate(() => {
      then();
      this.#remove.run(...keyOf(bytes));
    });
  }
}

function keyOf({ archive, window }: RecalledBytes): Key {
  return [archive.key, window.start, window.end];
}
