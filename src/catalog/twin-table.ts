/**
 * Archives of one version that were made twice, because the answer to an upload was lost and it was sent again.
 *
 * Only archives of this writer that no file has: they came by an inventory.
 */

import type BetterSqlite3 from "better-sqlite3";
import type { ArchiveId, ArchiveKey, ContentId } from "../domain/ids.js";
import { parseDescription } from "../protocol/description.js";
import type { TreeHashHex } from "../protocol/service.js";

export interface Twin {
  readonly key: ArchiveKey;
  readonly archiveId: ArchiveId;
  readonly treeHash: TreeHashHex;
  readonly description: string;
  readonly fileId: string;
  readonly version: number;
}

interface TwinRow {
  readonly key: number;
  readonly archive_id: string;
  readonly tree_hash: string;
  readonly description: string;
}

export class TwinTable {
  readonly #writerId: string;
  readonly #ofContent: BetterSqlite3.Statement<[number, number], TwinRow>;
  readonly #ofArchive: BetterSqlite3.Statement<[number], TwinRow>;

  constructor(sql: BetterSqlite3.Database, writerId: string) {
    this.#writerId = writerId;
    this.#ofContent = sql.prepare(`SELECT a.* FROM content c JOIN inode i ON i.ino = c.ino
      JOIN archive a ON a.file_id = i.file_id AND a.vault_id = i.vault_id AND a.version = c.version
      WHERE c.id = ? AND a.size_bytes = ? AND a.missing_runs = 0 AND a.unreadable IS NULL
        AND NOT EXISTS (SELECT 1 FROM content o WHERE o.archive_key = a.key) AND NOT EXISTS
          (SELECT 1 FROM tombstone t WHERE t.vault_id = a.vault_id AND t.archive_id = a.archive_id)`);
    this.#ofArchive = sql.prepare(`SELECT t.* FROM archive a JOIN archive t
      ON t.file_id = a.file_id AND t.vault_id = a.vault_id AND t.version = a.version AND t.key <> a.key
        AND t.size_bytes = a.size_bytes AND t.tree_hash = a.tree_hash
      WHERE a.key = ? AND NOT EXISTS (SELECT 1 FROM content o WHERE o.archive_key = t.key)`);
  }

  /** Archives of the version that a content is, and of its size; it was sent before, and is not archived yet. */
  ofContent(content: ContentId, sizeBytes: number): Twin[] {
    return this.#own(this.#ofContent.all(content, sizeBytes));
  }

  /** Archives with the same version and bytes as this one, which a file has. */
  ofArchive(key: ArchiveKey): Twin[] {
    return this.#own(this.#ofArchive.all(key));
  }

  #own(rows: readonly TwinRow[]): Twin[] {
    return rows.flatMap((row) => {
      const parsed = parseDescription(row.description);
      if (parsed.kind !== "casfs" || parsed.writer !== this.#writerId) return [];
      const { fileId, version } = parsed;
      const { description } = row;
      const key = row.key as ArchiveKey;
      const [archiveId, treeHash] = [row.archive_id as ArchiveId, row.tree_hash as TreeHashHex];
      return { key, archiveId, treeHash, description, fileId, version };
    });
  }
}
