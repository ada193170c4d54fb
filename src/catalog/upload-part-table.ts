/** The parts of an upload that the service has confirmed. `upload-table.ts` says whose they are, and when they go. */

import type BetterSqlite3 from "better-sqlite3";
import { type ByteRange, byteRange } from "../domain/bytes.js";
import type { ContentId } from "../domain/ids.js";
import type { TreeHashHex } from "../protocol/service.js";

interface PartRow {
  readonly start_byte: number;
  readonly end_byte: number;
  readonly tree_hash: string;
}

/** A part as it was sent. */
export interface SentPart {
  readonly range: ByteRange;
  readonly treeHash: TreeHashHex;
}

/** Confirmed parts by content. Changes are made inside `mutate`. */
export class UploadPartTable {
  readonly #insert: BetterSqlite3.Statement<[number, number, number, string]>;
  readonly #sent: BetterSqlite3.Statement<[number], PartRow>;
  readonly #dropped: BetterSqlite3.Statement<[number], PartRow>;
  readonly #remove: BetterSqlite3.Statement<[number]>;

  constructor(sql: BetterSqlite3.Database) {
    this.#insert = sql.prepare(
      "INSERT OR REPLACE INTO upload_part (content_id, start_byte, end_byte, tree_hash) VALUES (?, ?, ?, ?)",
    );
    this.#sent = sql.prepare(
      "SELECT start_byte, end_byte, tree_hash FROM upload_part WHERE content_id = ? ORDER BY start_byte",
    );
    this.#dropped = sql.prepare(`SELECT p.start_byte, p.end_byte, p.tree_hash
      FROM upload_part p JOIN dropped_range d
        ON d.content_id = p.content_id AND p.start_byte >= d.start_byte AND p.end_byte <= d.end_byte
      WHERE p.content_id = ?`);
    this.#remove = sql.prepare("DELETE FROM upload_part WHERE content_id = ?");
  }

  insert(content: ContentId, { range, treeHash }: SentPart): void {
    this.#insert.run(content, range.start, range.end, treeHash);
  }

  sent(content: ContentId): SentPart[] {
    return this.#sent.all(content).map(toPart);
  }

  /** Those whose bytes are only in the service. */
  dropped(content: ContentId): SentPart[] {
    return this.#dropped.all(content).map(toPart);
  }

  remove(content: ContentId): void {
    this.#remove.run(content);
  }
}

function toPart(row: PartRow): SentPart {
  return { range: byteRange(row.start_byte, row.end_byte), treeHash: row.tree_hash as TreeHashHex };
}
