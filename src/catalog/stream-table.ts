/**
 * The journal of uploads that begin while their file is still written, and what of those files has left the disk.
 *
 * Their rows are those of `upload-table.ts`, which goes on with them when the file is closed. Which bytes are gone is
 * remembered apart, for as long as there is a staging file with holes: nobody may take a hole for zeros.
 */

import type BetterSqlite3 from "better-sqlite3";
import type { ByteCount, ByteRange } from "../domain/bytes.js";
import { byteRange } from "../domain/bytes.js";
import { CancelledError, type CasfsError } from "../domain/errors.js";
import type { ContentId, UploadId, VaultName } from "../domain/ids.js";
import { IntervalSet } from "../lib/interval-set.js";
import type { StreamJournal } from "../upload/ports.js";
import { nextUploadState } from "../upload/upload-state.js";
import type { ContentTable } from "./content-table.js";
import type { Database } from "./database.js";
import type { UploadTable } from "./upload-table.js";

interface RangeRow {
  readonly start_byte: number;
  readonly end_byte: number;
}

export interface StreamTableParts {
  readonly database: Database;
  readonly contents: ContentTable;
  readonly uploads: UploadTable;
  /** Why nothing may be sent to a vault now; undefined when it may. */
  readonly heldBecause: (vault: VaultName) => CasfsError | undefined;
  /** Inside `mutate`: an upload is to be aborted in the service. */
  readonly onAbandoned: () => void;
}

export class StreamTable implements StreamJournal {
  readonly #parts: StreamTableParts;
  readonly #insert: BetterSqlite3.Statement<[number, number, string]>;
  readonly #begin: BetterSqlite3.Statement<[string, number]>;
  readonly #ranges: BetterSqlite3.Statement<[number], RangeRow>;
  readonly #allRanges: BetterSqlite3.Statement<[], RangeRow & { readonly content_id: number }>;
  readonly #insertRange: BetterSqlite3.Statement<[number, number, number]>;
  readonly #removeRanges: BetterSqlite3.Statement<[number]>;

  constructor(parts: StreamTableParts) {
    this.#parts = parts;
    const { sql } = parts.database;
    this.#insert = sql.prepare(`INSERT INTO upload (content_id, step, part_size_bytes, description, streamed)
      VALUES (?, 'initiating', ?, ?, 1)
      ON CONFLICT (content_id) DO UPDATE SET step = excluded.step, upload_id = NULL,
      part_size_bytes = excluded.part_size_bytes, description = excluded.description, tree_hash = NULL, streamed = 1`);
    // Only the answer that the stream waits for: a content that was closed meanwhile has begun anew, or not at all.
    this.#begin = sql.prepare(`UPDATE upload SET step = 'parts', upload_id = ?, attempts = 0, error = NULL
      WHERE content_id = ? AND step = 'initiating' AND streamed = 1`);
    this.#ranges = sql.prepare("SELECT start_byte, end_byte FROM dropped_range WHERE content_id = ?");
    this.#allRanges = sql.prepare("SELECT content_id, start_byte, end_byte FROM dropped_range");
    this.#insertRange = sql.prepare("INSERT INTO dropped_range (content_id, start_byte, end_byte) VALUES (?, ?, ?)");
    this.#removeRanges = sql.prepare("DELETE FROM dropped_range WHERE content_id = ?");
  }

  describeOpen(content: ContentId): { readonly vault: VaultName; readonly description: string } {
    const { uploads, heldBecause } = this.#parts;
    const vault = uploads.vaultOf(content);
    const reason = heldBecause(vault);
    if (reason !== undefined) throw reason;
    return { vault, description: uploads.describe(content, { provisional: true }) };
  }

  willInitiateOpen(
    content: ContentId,
    { partSizeBytes, description }: { readonly partSizeBytes: ByteCount; readonly description: string },
  ): Promise<void> {
    const { contents, database, uploads } = this.#parts;
    return database.mutate(() => {
      if (contents.find(content)?.phase !== "writing") throw closed(content);
      nextUploadState(uploads.stepOf(content), "will-initiate");
      this.#insert.run(content, partSizeBytes, description);
    });
  }

  didInitiateOpen(
    content: ContentId,
    { uploadId, vault }: { readonly uploadId: UploadId; readonly vault: VaultName },
  ): Promise<boolean> {
    const { contents, database, uploads, onAbandoned } = this.#parts;
    return database.mutate(() => {
      const isWanted = contents.find(content)?.phase === "writing" && this.#begin.run(uploadId, content).changes === 1;
      if (isWanted) return true;
      uploads.abandonId(uploadId, vault);
      onAbandoned();
      return false;
    });
  }

  didSendPart(...step: Parameters<StreamJournal["didSendPart"]>): Promise<void> {
    return this.#parts.uploads.didSendPart(...step);
  }

  didLoseUpload(content: ContentId): Promise<void> {
    return this.#parts.uploads.didLoseUpload(content);
  }

  willDrop(content: ContentId, range: ByteRange): Promise<void> {
    return this.#parts.database.mutate(() => {
      const dropped = new IntervalSet(this.droppedRanges(content));
      dropped.add(range);
      this.#removeRanges.run(content);
      for (const { start, end } of dropped) this.#insertRange.run(content, start, end);
    });
  }

  flush(): Promise<void> {
    return this.#parts.database.flush();
  }

  /** What of the staging file of a content is holes that must not be read. */
  droppedRanges(content: ContentId): ByteRange[] {
    return this.#ranges.all(content).map(toRange);
  }

  /** The same of all contents. */
  allDroppedRanges(): { readonly content: ContentId; readonly range: ByteRange }[] {
    return this.#allRanges.all().map((row) => ({ content: row.content_id as ContentId, range: toRange(row) }));
  }

  hasDropped(content: ContentId): boolean {
    return this.#ranges.get(content) !== undefined;
  }

  /** Inside `mutate`: the staging file of the content is gone, or going with it. */
  forgetDropped(content: ContentId): void {
    this.#removeRanges.run(content);
  }
}

function toRange(row: RangeRow): ByteRange {
  return byteRange(row.start_byte, row.end_byte);
}

function closed(content: ContentId): CancelledError {
  return new CancelledError(`The upload of content ${content}, which is not written any more,`);
}
