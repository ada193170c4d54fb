/** The index of archives of which only pieces are on the disk. Rows are those of `cache/ports.ts`. */

import type BetterSqlite3 from "better-sqlite3";
import { type ByteRange, byteRange } from "../domain/bytes.js";
import type { ArchiveKey } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import type { TreeHashHex } from "../protocol/service.js";
import type { Database } from "./database.js";

interface Row {
  readonly archive_key: number;
  readonly size_bytes: number;
  readonly last_used_at_ms: number;
  readonly landed_at_ms: number;
  readonly was_read: number;
}

interface PieceRow {
  readonly archive_key: number;
  readonly start_byte: number;
  readonly end_byte: number;
  readonly tree_hash: string;
}

interface PartialPiece extends ByteRange {
  readonly treeHash: TreeHashHex;
}

interface PartialCopy {
  readonly key: ArchiveKey;
  readonly sizeBytes: number;
  readonly lastUsedAt: Instant;
  readonly landedAt: Instant;
  readonly readSinceLanding: boolean;
  readonly pieces: readonly PartialPiece[];
}

export class PartialTable {
  readonly #database: Database;
  readonly #all: BetterSqlite3.Statement<[], Row>;
  readonly #pieces: BetterSqlite3.Statement<[], PieceRow>;
  readonly #put: BetterSqlite3.Statement<[number, number, number, number, number]>;
  readonly #putPiece: BetterSqlite3.Statement<[number, number, number, string]>;
  readonly #removePieces: BetterSqlite3.Statement<[number, number, number]>;
  readonly #remove: BetterSqlite3.Statement<[number]>;
  readonly #touch: BetterSqlite3.Statement<[number, number, number]>;

  constructor(database: Database) {
    this.#database = database;
    const { sql } = database;
    this.#all = sql.prepare("SELECT * FROM partial ORDER BY last_used_at_ms");
    this.#pieces = sql.prepare("SELECT * FROM partial_piece ORDER BY archive_key, start_byte");
    this.#put = sql.prepare(`INSERT OR REPLACE INTO partial
      (archive_key, size_bytes, last_used_at_ms, landed_at_ms, was_read) VALUES (?, ?, ?, ?, ?)`);
    this.#putPiece = sql.prepare(`INSERT OR REPLACE INTO partial_piece
      (archive_key, start_byte, end_byte, tree_hash) VALUES (?, ?, ?, ?)`);
    this.#removePieces = sql.prepare(
      "DELETE FROM partial_piece WHERE archive_key = ? AND start_byte >= ? AND end_byte <= ?",
    );
    this.#remove = sql.prepare("DELETE FROM partial WHERE archive_key = ?");
    this.#touch = sql.prepare("UPDATE partial SET last_used_at_ms = ?, was_read = ? WHERE archive_key = ?");
  }

  load(): PartialCopy[] {
    const pieces = new Map<number, PartialPiece[]>();
    for (const { archive_key: key, start_byte, end_byte, tree_hash } of this.#pieces.all()) {
      const piece = { ...byteRange(start_byte, end_byte), treeHash: tree_hash as TreeHashHex };
      const known = pieces.get(key);
      if (known === undefined) pieces.set(key, [piece]);
      else known.push(piece);
    }
    return this.#all.all().map((row) => ({
      key: row.archive_key as ArchiveKey,
      sizeBytes: row.size_bytes,
      lastUsedAt: row.last_used_at_ms as Instant,
      landedAt: row.landed_at_ms as Instant,
      readSinceLanding: row.was_read === 1,
      pieces: pieces.get(row.archive_key) ?? [],
    }));
  }

  addPiece(row: Omit<PartialCopy, "pieces">, piece: PartialPiece): Promise<void> {
    return this.#database.mutate(() => {
      this.#put.run(row.key, row.sizeBytes, row.lastUsedAt, row.landedAt, row.readSinceLanding ? 1 : 0);
      // A larger piece takes the place of those within it.
      this.#removePieces.run(row.key, piece.start, piece.end);
      this.#putPiece.run(row.key, piece.start, piece.end, piece.treeHash);
    });
  }

  removePieces(key: ArchiveKey, { start, end }: ByteRange): Promise<void> {
    return this.#database.mutate(() => void this.#removePieces.run(key, start, end));
  }

  remove(key: ArchiveKey): Promise<void> {
    return this.#database.mutate(() => {
      this.#removePieces.run(key, 0, Number.MAX_SAFE_INTEGER);
      this.#remove.run(key);
    });
  }

  touch(uses: readonly Pick<PartialCopy, "key" | "lastUsedAt" | "readSinceLanding">[]): Promise<void> {
    return this.#database.mutate(() => {
      for (const use of uses) this.#touch.run(use.lastUsedAt, use.readSinceLanding ? 1 : 0, use.key);
    });
  }
}
