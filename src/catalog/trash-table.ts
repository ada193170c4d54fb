/** What is in the trash of the vaults: files with the time of their end, and the directories that hold them. */

import type BetterSqlite3 from "better-sqlite3";
import type { ContentId, InodeNumber } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";

export interface TrashSummary {
  readonly files: number;
  readonly bytes: number;
  /** When the next file goes; null when none does. */
  readonly nextPurgeAt: Instant | null;
}

interface SummaryRow {
  readonly files: number;
  readonly bytes: number | null;
  readonly next: number | null;
}

export class TrashTable {
  readonly #isFile: BetterSqlite3.Statement<[number], number>;
  readonly #isDirectory: BetterSqlite3.Statement<[number], number>;
  readonly #add: BetterSqlite3.Statement<[number, number, number | null]>;
  readonly #addDirectory: BetterSqlite3.Statement<[number]>;
  readonly #remove: BetterSqlite3.Statement<[number]>;
  readonly #removeDirectory: BetterSqlite3.Statement<[number]>;
  readonly #due: BetterSqlite3.Statement<[number, number], number>;
  readonly #next: BetterSqlite3.Statement<[], number | null>;
  readonly #waitsFor: BetterSqlite3.Statement<[number], number | null>;
  readonly #setWaitsFor: BetterSqlite3.Statement<[number | null, number]>;
  readonly #replacedBy: BetterSqlite3.Statement<[number], number>;
  readonly #below: BetterSqlite3.Statement<[number], number>;
  readonly #emptyDirectories: BetterSqlite3.Statement<[], number>;
  readonly #summary: BetterSqlite3.Statement<[], SummaryRow>;

  constructor(sql: BetterSqlite3.Database) {
    this.#isFile = sql.prepare<[number], number>("SELECT 1 FROM trash WHERE ino = ?").pluck();
    this.#isDirectory = sql.prepare<[number], number>("SELECT 1 FROM trash_directory WHERE ino = ?").pluck();
    this.#add = sql.prepare("INSERT INTO trash (ino, purge_at_ms, waits_for) VALUES (?, ?, ?)");
    this.#addDirectory = sql.prepare("INSERT INTO trash_directory (ino) VALUES (?)");
    this.#remove = sql.prepare("DELETE FROM trash WHERE ino = ?");
    this.#removeDirectory = sql.prepare("DELETE FROM trash_directory WHERE ino = ?");
    this.#due = sql
      .prepare<[number, number], number>(
        // The service's clock must agree, within a day: ours may have jumped ahead, and a purge cannot be undone.
        `SELECT t.ino FROM trash t JOIN inode i ON i.ino = t.ino JOIN vault v ON v.id = i.vault_id
         WHERE t.waits_for IS NULL AND t.purge_at_ms <= ?
           AND (v.inventory_at_ms IS NULL OR t.purge_at_ms <= v.inventory_at_ms + 86400000)
         ORDER BY t.purge_at_ms LIMIT ?`,
      )
      .pluck();
    this.#next = sql.prepare<[], number | null>("SELECT min(purge_at_ms) FROM trash WHERE waits_for IS NULL").pluck();
    this.#waitsFor = sql.prepare<[number], number | null>("SELECT waits_for FROM trash WHERE ino = ?").pluck();
    this.#setWaitsFor = sql.prepare("UPDATE trash SET waits_for = ? WHERE waits_for = ?");
    this.#replacedBy = sql.prepare<[number], number>("SELECT ino FROM trash WHERE waits_for = ?").pluck();
    this.#below = sql
      .prepare<[number], number>(
        `WITH RECURSIVE below(ino) AS (VALUES (?) UNION ALL SELECT e.ino FROM below b JOIN entry e ON e.parent = b.ino)
         SELECT ino FROM below`,
      )
      .pluck();
    this.#emptyDirectories = sql
      .prepare<[], number>(
        "SELECT ino FROM trash_directory d WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.parent = d.ino)",
      )
      .pluck();
    this.#summary = sql.prepare(`SELECT count(*) AS files, sum(i.size_bytes) AS bytes, min(t.purge_at_ms) AS next
      FROM trash t JOIN inode i ON i.ino = t.ino`);
  }

  isFile(ino: InodeNumber): boolean {
    return this.#isFile.get(ino) !== undefined;
  }

  isDirectory(ino: InodeNumber): boolean {
    return this.#isDirectory.get(ino) !== undefined;
  }

  /** @param waitsFor The content that replaces the file: it stays until that is archived. */
  add(ino: InodeNumber, purgeAt: Instant, waitsFor: ContentId | null): void {
    this.#add.run(ino, purgeAt, waitsFor);
  }

  addDirectory(ino: InodeNumber): void {
    this.#addDirectory.run(ino);
  }

  /** A file or a directory is in the trash no more. */
  remove(ino: InodeNumber): void {
    if (this.#remove.run(ino).changes === 0) this.#removeDirectory.run(ino);
  }

  /** Files whose time has come and that wait for nothing, the oldest first. */
  due(now: Instant, limit: number): InodeNumber[] {
    return this.#due.all(now, limit) as InodeNumber[];
  }

  nextPurgeAt(): Instant | undefined {
    return (this.#next.get() ?? undefined) as Instant | undefined;
  }

  /** The content that replaces a file of the trash and is not archived yet. */
  waitsFor(ino: InodeNumber): ContentId | null {
    return (this.#waitsFor.get(ino) ?? null) as ContentId | null;
  }

  /** What waited for `content` now waits for `next`, or for nothing. @returns whether there was anything. */
  passOn(content: ContentId, next: ContentId | null): boolean {
    return this.#setWaitsFor.run(next, content).changes > 0;
  }

  /** Files that `content` replaces. */
  replacedBy(content: ContentId): InodeNumber[] {
    return this.#replacedBy.all(content) as InodeNumber[];
  }

  /** An inode and, if it is a directory, everything below it. */
  below(ino: InodeNumber): InodeNumber[] {
    return this.#below.all(ino) as InodeNumber[];
  }

  emptyDirectories(): InodeNumber[] {
    return this.#emptyDirectories.all() as InodeNumber[];
  }

  summary(): TrashSummary {
    const row = this.#summary.get();
    return { files: row?.files ?? 0, bytes: row?.bytes ?? 0, nextPurgeAt: (row?.next ?? null) as Instant | null };
  }
}
