/** Rows of vault locks; what time has made of them is for `vault-lock.ts` to say. */

import type { Database, Statement } from "better-sqlite3";

export interface VaultLockRow {
  readonly vault_key: number;
  readonly lock_id: string;
  readonly policy: string;
  readonly created_at_ms: number;
  readonly expires_at_ms: number;
  readonly locked_at_ms: number | null;
}

export class VaultLockTable {
  readonly #find: Statement<[number], VaultLockRow>;
  readonly #replace: Statement<[VaultLockRow]>;
  readonly #setLocked: Statement<[number, number]>;
  readonly #delete: Statement<[number]>;

  constructor(database: Database) {
    this.#find = database.prepare("SELECT * FROM vault_lock WHERE vault_key = ?");
    this.#replace = database.prepare(
      `INSERT OR REPLACE INTO vault_lock (vault_key, lock_id, policy, created_at_ms, expires_at_ms, locked_at_ms)
       VALUES (@vault_key, @lock_id, @policy, @created_at_ms, @expires_at_ms, @locked_at_ms)`,
    );
    this.#setLocked = database.prepare("UPDATE vault_lock SET locked_at_ms = ? WHERE vault_key = ?");
    this.#delete = database.prepare("DELETE FROM vault_lock WHERE vault_key = ?");
  }

  find(vaultKey: number): VaultLockRow | undefined {
    return this.#find.get(vaultKey);
  }

  replace(row: VaultLockRow): void {
    this.#replace.run(row);
  }

  setLocked(vaultKey: number, nowMs: number): void {
    this.#setLocked.run(nowMs, vaultKey);
  }

  delete(vaultKey: number): void {
    this.#delete.run(vaultKey);
  }
}
