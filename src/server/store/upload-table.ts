/** Rows of multipart uploads: open ones, and for an hour the ended ones (cas-api sections 10.3, 10.6). */

import type { Database, Statement } from "better-sqlite3";
import type { Place } from "./page-place.js";

export interface UploadRow {
  readonly upload_key: number;
  readonly vault_key: number;
  readonly upload_id: string;
  readonly part_size_bytes: number;
  readonly description: string;
  readonly created_at_ms: number;
  readonly active_at_ms: number;
  readonly body_key: number | null;
  readonly ended_at_ms: number | null;
  readonly archive_id: string | null;
}

export type NewUploadRow = Omit<UploadRow, "upload_key" | "ended_at_ms" | "archive_id">;

export class UploadTable {
  readonly #insert: Statement<[NewUploadRow]>;
  readonly #find: Statement<[number, string], UploadRow>;
  readonly #list: Statement<[{ vault: number; at: number; id: string; limit: number }], UploadRow>;
  readonly #countOpen: Statement<[number], number>;
  readonly #touch: Statement<[number, number]>;
  readonly #end: Statement<[number, string | null, number]>;
  readonly #idle: Statement<[number], UploadRow>;
  readonly #oldestActivity: Statement<[], number | null>;
  readonly #delete: Statement<[number]>;
  readonly #forgetEnded: Statement<[number]>;
  readonly #deleteOfVault: Statement<[number]>;

  constructor(database: Database) {
    this.#insert = database.prepare(
      `INSERT INTO upload (vault_key, upload_id, part_size_bytes, description, created_at_ms, active_at_ms, body_key)
       VALUES (@vault_key, @upload_id, @part_size_bytes, @description, @created_at_ms, @active_at_ms, @body_key)`,
    );
    this.#find = database.prepare("SELECT * FROM upload WHERE vault_key = ? AND upload_id = ?");
    this.#list = database.prepare(
      `SELECT * FROM upload WHERE vault_key = @vault AND ended_at_ms IS NULL
         AND (created_at_ms, upload_id) >= (@at, @id) ORDER BY created_at_ms, upload_id LIMIT @limit`,
    );
    this.#countOpen = database
      .prepare<[number], number>("SELECT count(*) FROM upload WHERE vault_key = ? AND ended_at_ms IS NULL")
      .pluck();
    this.#touch = database.prepare("UPDATE upload SET active_at_ms = ? WHERE upload_key = ?");
    this.#end = database.prepare(
      "UPDATE upload SET ended_at_ms = ?, archive_id = ?, body_key = NULL WHERE upload_key = ?",
    );
    this.#idle = database.prepare("SELECT * FROM upload WHERE ended_at_ms IS NULL AND active_at_ms <= ?");
    this.#oldestActivity = database
      .prepare<[], number | null>("SELECT min(active_at_ms) FROM upload WHERE ended_at_ms IS NULL")
      .pluck();
    this.#delete = database.prepare("DELETE FROM upload WHERE upload_key = ?");
    this.#forgetEnded = database.prepare("DELETE FROM upload WHERE ended_at_ms IS NOT NULL AND ended_at_ms <= ?");
    this.#deleteOfVault = database.prepare("DELETE FROM upload WHERE vault_key = ?");
  }

  insert(upload: NewUploadRow): void {
    this.#insert.run(upload);
  }

  find(vaultKey: number, uploadId: string): UploadRow | undefined {
    return this.#find.get(vaultKey, uploadId);
  }

  /** Open uploads from the given one on, by (creation, id). */
  listOpen(vaultKey: number, from: Place, limit: number): UploadRow[] {
    return this.#list.all({ vault: vaultKey, at: from.atMs, id: from.id, limit });
  }

  countOpen(vaultKey: number): number {
    return this.#countOpen.get(vaultKey) ?? 0;
  }

  touch(uploadKey: number, nowMs: number): void {
    this.#touch.run(nowMs, uploadKey);
  }

  /** Ends an upload: completed to an archive, or aborted (null). */
  end(uploadKey: number, end: { readonly atMs: number; readonly archiveId: string | null }): void {
    this.#end.run(end.atMs, end.archiveId, uploadKey);
  }

  /** Open uploads without activity since `lastActiveMs`. */
  idleSince(lastActiveMs: number): UploadRow[] {
    return this.#idle.all(lastActiveMs);
  }

  /** When the open upload that has rested longest was last active. */
  oldestActivity(): number | undefined {
    return this.#oldestActivity.get() ?? undefined;
  }

  delete(uploadKey: number): void {
    this.#delete.run(uploadKey);
  }

  forgetEndedUntil(endedMs: number): void {
    this.#forgetEnded.run(endedMs);
  }

  deleteOfVault(vaultKey: number): void {
    this.#deleteOfVault.run(vaultKey);
  }
}
