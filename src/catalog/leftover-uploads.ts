/**
 * What uploads have left in the service, or may have, and nobody waits for any more: uploads in parts that are to be
 * aborted, and archives that an answer never confirmed.
 *
 * The former are aborted by `upload/abandoned-uploads.ts`, the latter found by `inventory-table.ts`.
 */

import type BetterSqlite3 from "better-sqlite3";
import type { UploadId, VaultName } from "../domain/ids.js";
import type { VaultTable } from "./vault-table.js";

/** A version of a file, as descriptions name it; the vault by the number of its row. */
interface SentVersion {
  readonly vaultId: number;
  readonly fileId: string;
  readonly version: number;
}

/** Uploads to abort, and versions that were sent without an answer. Changes are made inside `mutate`. */
export class LeftoverUploads {
  readonly #vaults: VaultTable;
  readonly #abandon: BetterSqlite3.Statement<[string, number]>;
  readonly #abandoned: BetterSqlite3.Statement<[], { upload_id: string; vault_id: number }>;
  readonly #didAbort: BetterSqlite3.Statement<[string]>;
  readonly #removeAbandoned: BetterSqlite3.Statement<[number]>;
  readonly #insertUnanswered: BetterSqlite3.Statement<[number, string, number]>;
  readonly #unanswered: BetterSqlite3.Statement<[number, string, number], number>;
  readonly #removeUnanswered: BetterSqlite3.Statement<[number]>;

  constructor(sql: BetterSqlite3.Database, vaults: VaultTable) {
    this.#vaults = vaults;
    this.#abandon = sql.prepare("INSERT OR IGNORE INTO abandoned_upload (upload_id, vault_id) VALUES (?, ?)");
    this.#abandoned = sql.prepare("SELECT upload_id, vault_id FROM abandoned_upload");
    this.#didAbort = sql.prepare("DELETE FROM abandoned_upload WHERE upload_id = ?");
    this.#removeAbandoned = sql.prepare("DELETE FROM abandoned_upload WHERE vault_id = ?");
    this.#insertUnanswered = sql.prepare(
      "INSERT OR IGNORE INTO unanswered_upload (vault_id, file_id, version) VALUES (?, ?, ?)",
    );
    this.#unanswered = sql
      .prepare<[number, string, number], number>(
        "SELECT 1 FROM unanswered_upload WHERE vault_id = ? AND file_id = ? AND version = ?",
      )
      .pluck();
    this.#removeUnanswered = sql.prepare("DELETE FROM unanswered_upload WHERE vault_id = ?");
  }

  /** Nobody wants that upload: it is to be aborted. */
  abandon(uploadId: UploadId, vaultId: number): void {
    this.#abandon.run(uploadId, vaultId);
  }

  abandoned(): { readonly vault: VaultName; readonly uploadId: UploadId }[] {
    return this.#abandoned.all().map((row) => ({
      vault: this.#vaults.nameOf(row.vault_id),
      uploadId: row.upload_id as UploadId,
    }));
  }

  didAbort(uploadId: UploadId): void {
    this.#didAbort.run(uploadId);
  }

  /** An archive of this version may be there: it was sent, and what the service said of it is not known. */
  rememberUnanswered({ vaultId, fileId, version }: SentVersion): void {
    this.#insertUnanswered.run(vaultId, fileId, version);
  }

  /** Whether an archive of this version may exist although its content went before the answer came. */
  isUnanswered(vault: VaultName, fileId: string, version: number): boolean {
    return this.#unanswered.get(this.#vaults.idOf(vault), fileId, version) !== undefined;
  }

  /** The vault is gone, and with it all that was left in it. */
  removeVault(vault: VaultName): void {
    this.#removeAbandoned.run(this.#vaults.idOf(vault));
    this.#removeUnanswered.run(this.#vaults.idOf(vault));
  }
}
