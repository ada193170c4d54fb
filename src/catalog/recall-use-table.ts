/** What opens have recalled, by the minute: the memory of the recall budget. */

import type BetterSqlite3 from "better-sqlite3";
import type { Instant } from "../domain/time.js";
import type { RecallUseStore } from "../restore/recall-budget.js";
import type { MinuteOfUse } from "../restore/use-window.js";
import type { Database } from "./database.js";

interface UseRow {
  readonly minute_ms: number;
  readonly bytes: number;
  readonly cost: number;
  readonly recalls: number;
}

export class RecallUseTable implements RecallUseStore {
  readonly #database: Database;
  readonly #all: BetterSqlite3.Statement<[], UseRow>;
  readonly #add: BetterSqlite3.Statement<[number, number, number, number]>;
  readonly #forget: BetterSqlite3.Statement<[number]>;

  constructor(database: Database) {
    this.#database = database;
    const { sql } = database;
    this.#all = sql.prepare("SELECT * FROM recall_use");
    this.#add = sql.prepare(`INSERT INTO recall_use (minute_ms, bytes, cost, recalls) VALUES (?, ?, ?, ?)
      ON CONFLICT (minute_ms) DO UPDATE SET
        bytes = bytes + excluded.bytes, cost = cost + excluded.cost, recalls = recalls + excluded.recalls`);
    this.#forget = sql.prepare("DELETE FROM recall_use WHERE minute_ms < ?");
  }

  load(): MinuteOfUse[] {
    return this.#all.all().map(({ minute_ms, ...use }) => ({ minute: minute_ms as Instant, ...use }));
  }

  add({ minute, bytes, cost, recalls }: MinuteOfUse): void {
    this.#change(() => this.#add.run(minute, bytes, cost, recalls));
  }

  forgetBefore(minute: Instant): void {
    this.#change(() => this.#forget.run(minute));
  }

  /** With the recall's own entry in the journal, in one transaction: when that fails, the recall fails too. */
  #change(change: () => unknown): void {
    this.#database.mutate(change).catch(() => {});
  }
}
