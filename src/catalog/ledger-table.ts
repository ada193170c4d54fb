/**
 * What was really asked of the service, summed up by the day: the user's side of the bill.
 *
 * What costs most, retrievals, is written with the journal entry that it belongs to. Requests, uploads and deletions
 * are counted in memory and written once a second, with a commit that happens anyway where there is one: a kill -9
 * loses the counts of a second, and an upload of a small file costs no row of its own.
 * Days are those of UTC. Never: more than some rows for each of the last 400 days, and for each month before.
 */

import type BetterSqlite3 from "better-sqlite3";
import { type Clock, hours, type Instant, seconds } from "../domain/time.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { Database } from "./database.js";

export type LedgerItem =
  | `retrieval-${RetrievalTier}`
  | "inventory"
  | "upload"
  | "part"
  | "delete"
  | "download"
  | "read"
  | "write";

export interface LedgerEntry {
  readonly item: LedgerItem;
  readonly count: number;
  readonly bytes: number;
  /** Of deletions: the bytes times the days that are billed all the same. */
  readonly byteDays: number;
}

export interface LedgerRow extends LedgerEntry {
  /** When the day began; of old days, their month. */
  readonly day: Instant;
}

interface StoredRow {
  readonly day: number;
  readonly item: string;
  readonly count: number;
  readonly bytes: number;
  readonly byte_days: number;
}

type Sum = { count: number; bytes: number; byteDays: number };

const dayMs = hours(24);
const writeAfterMs = seconds(1);
const daysKept = 400;

export class LedgerTable {
  readonly #database: Database;
  readonly #clock: Pick<Clock, "now">;
  readonly #add: BetterSqlite3.Statement<[number, string, number, number, number]>;
  readonly #since: BetterSqlite3.Statement<[number], StoredRow>;
  readonly #before: BetterSqlite3.Statement<[number], StoredRow>;
  readonly #remove: BetterSqlite3.Statement<[number, string]>;
  #unwritten = new Map<LedgerItem, Sum>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(database: Database, clock: Pick<Clock, "now">) {
    this.#database = database;
    this.#clock = clock;
    const { sql } = database;
    this.#add = sql.prepare(`INSERT INTO ledger (day, item, count, bytes, byte_days) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (day, item) DO UPDATE SET
        count = count + excluded.count, bytes = bytes + excluded.bytes, byte_days = byte_days + excluded.byte_days`);
    this.#since = sql.prepare("SELECT * FROM ledger WHERE day >= ? ORDER BY day, item");
    this.#before = sql.prepare("SELECT * FROM ledger WHERE day < ?");
    this.#remove = sql.prepare("DELETE FROM ledger WHERE day = ? AND item = ?");
    sql.transaction(() => this.#foldOldDays())();
  }

  /** Inside `mutate`: an entry that is committed with what it belongs to. */
  write({ item, count, bytes, byteDays }: LedgerEntry): void {
    this.#add.run(this.#today, item, count, bytes, byteDays);
  }

  /** Counts an entry; it is written soon. */
  note(item: LedgerItem, { count = 1, bytes = 0, byteDays = 0 }: Partial<Omit<LedgerEntry, "item">> = {}): void {
    if (this.#isClosed) return;
    const sum = this.#unwritten.get(item) ?? { count: 0, bytes: 0, byteDays: 0 };
    sum.count += count;
    sum.bytes += bytes;
    sum.byteDays += byteDays;
    this.#unwritten.set(item, sum);
    this.#timer ??= setTimeout(() => this.writeNoted(), writeAfterMs).unref();
  }

  /** Hands what is counted to the next commit, or to one of its own within milliseconds. */
  writeNoted(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#unwritten.size === 0) return;
    const noted = this.#unwritten;
    this.#unwritten = new Map();
    const written = this.#database.mutateSoon(() => {
      for (const [item, sum] of noted) this.write({ item, ...sum });
    });
    // A commit that fails has written nothing: it is counted on.
    written.catch(() => {
      for (const [item, sum] of noted) this.note(item, sum);
    });
  }

  /** Before the catalog is closed: its last commit takes what is counted. */
  close(): void {
    this.writeNoted();
    this.#isClosed = true;
  }

  /** By day and item, from the day of `since` on. What is counted and not written yet is there too. */
  rows(since: Instant): LedgerRow[] {
    this.writeNoted();
    this.#database.runSoon();
    return this.#since.all(Math.floor(since / dayMs)).map((row) => ({
      day: (row.day * dayMs) as Instant,
      item: row.item as LedgerItem,
      count: row.count,
      bytes: row.bytes,
      byteDays: row.byte_days,
    }));
  }

  get #today(): number {
    return Math.floor(this.#clock.now() / dayMs);
  }

  #foldOldDays(): void {
    for (const { day, item, count, bytes, byte_days } of this.#before.all(this.#today - daysKept)) {
      const month = monthOf(day);
      if (month === day) continue;
      this.#remove.run(day, item);
      this.#add.run(month, item, count, bytes, byte_days);
    }
  }
}

/** The first day of the month of `day`, in days since 1970. */
function monthOf(day: number): number {
  const date = new Date(day * dayMs);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth()) / dayMs;
}
