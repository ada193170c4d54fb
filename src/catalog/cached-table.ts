/** The index of the content cache: which verified copies are on the disk. Rows are those of `cache/ports.ts`. */

import type BetterSqlite3 from "better-sqlite3";
import type { ArchiveKey } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import type { Database } from "./database.js";

interface Row {
  readonly archive_key: number;
  readonly size_bytes: number;
  readonly last_used_at_ms: number;
  readonly pinned: number;
  readonly landed_at_ms: number;
  readonly was_read: number;
}

interface CachedCopy {
  readonly key: ArchiveKey;
  readonly sizeBytes: number;
  readonly lastUsedAt: Instant;
  readonly pinned: boolean;
  readonly landedAt: Instant;
  readonly readSinceLanding: boolean;
}

export class CachedTable {
  readonly #database: Database;
  readonly #all: BetterSqlite3.Statement<[], Row>;
  readonly #put: BetterSqlite3.Statement<[number, number, number, number, number, number]>;
  readonly #has: BetterSqlite3.Statement<[number, number], number>;
  readonly #remove: BetterSqlite3.Statement<[number]>;
  readonly #touch: BetterSqlite3.Statement<[number, number, number]>;

  constructor(database: Database) {
    this.#database = database;
    const { sql } = database;
    this.#all = sql.prepare("SELECT * FROM cached ORDER BY last_used_at_ms");
    this.#put = sql.prepare(`INSERT OR REPLACE INTO cached
      (archive_key, size_bytes, last_used_at_ms, pinned, landed_at_ms, was_read) VALUES (?, ?, ?, ?, ?, ?)`);
    this.#has = sql
      .prepare<[number, number], number>("SELECT 1 FROM cached WHERE archive_key = ? AND size_bytes = ?")
      .pluck();
    this.#remove = sql.prepare("DELETE FROM cached WHERE archive_key = ?");
    this.#touch = sql.prepare("UPDATE cached SET last_used_at_ms = ?, was_read = ? WHERE archive_key = ?");
  }

  load(): CachedCopy[] {
    return this.#all.all().map((row) => ({
      key: row.archive_key as ArchiveKey,
      sizeBytes: row.size_bytes,
      lastUsedAt: row.last_used_at_ms as Instant,
      pinned: row.pinned === 1,
      landedAt: row.landed_at_ms as Instant,
      readSinceLanding: row.was_read === 1,
    }));
  }

  put(row: CachedCopy): Promise<void> {
    return this.#database.mutate(() => this.insert(row));
  }

  /** Whether a copy of this size is known. */
  has(key: ArchiveKey, sizeBytes: number): boolean {
    return this.#has.get(key, sizeBytes) !== undefined;
  }

  /** Inside `mutate`: as `put`. */
  insert(row: CachedCopy): void {
    this.#put.run(
      row.key,
      row.sizeBytes,
      row.lastUsedAt,
      row.pinned ? 1 : 0,
      row.landedAt,
      row.readSinceLanding ? 1 : 0,
    );
  }

  remove(key: ArchiveKey): Promise<void> {
    return this.#database.mutate(() => void this.#remove.run(key));
  }

  touch(uses: readonly Pick<CachedCopy, "key" | "lastUsedAt" | "readSinceLanding">[]): Promise<void> {
    return this.#database.mutate(() => {
      for (const use of uses) this.#touch.run(use.lastUsedAt, use.readSinceLanding ? 1 : 0, use.key);
    });
  }

  flush(): Promise<void> {
    return this.#database.flush();
  }
}
