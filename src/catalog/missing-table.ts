/**
 * Archives that the service has lost, or that somebody deleted behind our back.
 *
 * Missing is what two complete inventories lack, made on different days than one another and at least a day after the
 * confirmation. It is reported, never dropped: the name stays, and a local copy is the last one.
 */

import type BetterSqlite3 from "better-sqlite3";
import type { ArchiveKey, InodeNumber } from "../domain/ids.js";

const runsMin = 2;

export class MissingTable {
  readonly #isMissing: BetterSqlite3.Statement<[number], number>;
  readonly #files: BetterSqlite3.Statement<[number], number>;
  readonly #count: BetterSqlite3.Statement<[], number>;
  readonly #newCopies: BetterSqlite3.Statement<[number], number>;
  readonly #newCount: BetterSqlite3.Statement<[number], number>;

  constructor(sql: BetterSqlite3.Database) {
    this.#isMissing = sql
      .prepare<[number], number>(`SELECT 1 FROM archive WHERE key = ? AND missing_runs >= ${runsMin}`)
      .pluck();
    // Few, by the index that has only archives which were lacked once.
    const files = `FROM archive a JOIN content c ON c.archive_key = a.key WHERE a.missing_runs > 0 AND a.missing_runs >= ${runsMin}`;
    this.#files = sql.prepare<[number], number>(`SELECT DISTINCT c.ino ${files} LIMIT ?`).pluck();
    this.#count = sql.prepare<[], number>(`SELECT count(DISTINCT c.ino) ${files}`).pluck();
    const inRun = `a.missing_runs > 0 AND a.missing_runs = ${runsMin} AND a.vault_id = ?`;
    this.#newCopies = sql
      .prepare<[number], number>(`SELECT a.key FROM archive a JOIN cached k ON k.archive_key = a.key WHERE ${inRun}`)
      .pluck();
    this.#newCount = sql.prepare<[number], number>(`SELECT count(*) FROM archive a WHERE ${inRun}`).pluck();
  }

  has(archive: ArchiveKey): boolean {
    return this.#isMissing.get(archive) !== undefined;
  }

  /** Files whose archive is missing, at most `limit` of them. */
  files(limit: number): InodeNumber[] {
    return this.#files.all(limit) as InodeNumber[];
  }

  fileCount(): number {
    return this.#count.get() ?? 0;
  }

  /** Inside a merge: what this inventory was the last proof for, and which of it has a local copy. */
  newIn(vaultId: number): { readonly archives: number; readonly copies: readonly ArchiveKey[] } {
    return { archives: this.#newCount.get(vaultId) ?? 0, copies: this.#newCopies.all(vaultId) as ArchiveKey[] };
  }
}
