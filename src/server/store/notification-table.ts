/** Rows of the outbox of notifications (cas-api section 8.2). */

import type { Database, Statement } from "better-sqlite3";

export interface NotificationRow {
  readonly notification_key: number;
  readonly url: string;
  readonly body: string;
  /** Including the one that is going on. */
  readonly attempts: number;
  readonly due_at_ms: number;
}

export class NotificationTable {
  readonly #insert: Statement<[string, string, number]>;
  readonly #take: Statement<[number, number]>;
  readonly #due: Statement<[number, number], NotificationRow>;
  readonly #postpone: Statement<[number, number]>;
  readonly #delete: Statement<[number]>;
  readonly #next: Statement<[], number | null>;

  constructor(database: Database) {
    this.#insert = database.prepare("INSERT INTO notification (url, body, due_at_ms) VALUES (?, ?, ?)");
    this.#due = database.prepare(
      "SELECT * FROM notification WHERE due_at_ms <= ? ORDER BY due_at_ms, notification_key LIMIT ?",
    );
    this.#take = database.prepare(
      "UPDATE notification SET attempts = attempts + 1, due_at_ms = ? WHERE notification_key = ?",
    );
    this.#postpone = database.prepare("UPDATE notification SET due_at_ms = ? WHERE notification_key = ?");
    this.#delete = database.prepare("DELETE FROM notification WHERE notification_key = ?");
    this.#next = database.prepare<[], number | null>("SELECT min(due_at_ms) FROM notification").pluck();
  }

  insert({ url, body, dueAtMs }: { readonly url: string; readonly body: string; readonly dueAtMs: number }): void {
    this.#insert.run(url, body, dueAtMs);
  }

  /** Takes what is due to be sent; what is neither deleted nor postponed, because of a crash, is due again at `untilMs`. */
  take(nowMs: number, { limit, untilMs }: { readonly limit: number; readonly untilMs: number }): NotificationRow[] {
    const due = this.#due.all(nowMs, limit);
    for (const row of due) this.#take.run(untilMs, row.notification_key);
    return due.map((row) => ({ ...row, attempts: row.attempts + 1 }));
  }

  postpone(key: number, dueAtMs: number): void {
    this.#postpone.run(dueAtMs, key);
  }

  delete(key: number): void {
    this.#delete.run(key);
  }

  nextDue(): number | undefined {
    return this.#next.get() ?? undefined;
  }
}
