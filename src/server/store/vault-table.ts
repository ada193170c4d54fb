/** Rows of vaults: counts are live, the inventory columns are those of the last inventory (cas-api section 12.1). */

import type { Database, Statement } from "better-sqlite3";
import { invariant } from "../../lib/invariant.js";

export interface VaultRow {
  readonly vault_key: number;
  readonly account: string;
  readonly name: string;
  readonly created_at_ms: number;
  readonly change_number: number;
  readonly archive_count: number;
  readonly size_bytes: number;
  readonly inventory_change: number | null;
  readonly inventory_at_ms: number | null;
  readonly inventory_count: number | null;
  readonly inventory_bytes: number | null;
  readonly inventory_checked_at_ms: number | null;
  readonly access_policy: string | null;
  readonly notification: string | null;
}

/** Columns that the owner sets; null is not set. */
export type VaultSetting = "access_policy" | "notification";

export class VaultTable {
  readonly #find: Statement<[string, string], VaultRow>;
  readonly #get: Statement<[number], VaultRow>;
  readonly #insert: Statement<[string, string, number]>;
  readonly #count: Statement<[string], number>;
  readonly #list: Statement<[string, string, number], VaultRow>;
  readonly #change: Statement<[number, number, number], number>;
  readonly #takeInventory: Statement<[number, number]>;
  readonly #unchecked: Statement<[{ before: number; now: number; limit: number }], VaultRow>;
  readonly #oldestCheck: Statement<[], number | null>;
  readonly #check: Statement<[number, number]>;
  readonly #set: Record<VaultSetting, Statement<[string | null, number]>>;
  readonly #delete: Statement<[number]>;

  constructor(database: Database) {
    this.#find = database.prepare("SELECT * FROM vault WHERE account = ? AND name = ?");
    this.#get = database.prepare("SELECT * FROM vault WHERE vault_key = ?");
    this.#insert = database.prepare("INSERT INTO vault (account, name, created_at_ms) VALUES (?, ?, ?)");
    this.#count = database.prepare<[string], number>("SELECT count(*) FROM vault WHERE account = ?").pluck();
    this.#list = database.prepare("SELECT * FROM vault WHERE account = ? AND name >= ? ORDER BY name LIMIT ?");
    this.#change = database
      .prepare<[number, number, number], number>(
        `UPDATE vault SET change_number = change_number + 1, archive_count = archive_count + ?,
           size_bytes = size_bytes + ? WHERE vault_key = ? RETURNING change_number`,
      )
      .pluck();
    this.#takeInventory = database.prepare(
      `UPDATE vault SET inventory_change = change_number, inventory_at_ms = ?, inventory_count = archive_count,
         inventory_bytes = size_bytes WHERE vault_key = ?`,
    );
    const checkedAt = "coalesce(inventory_checked_at_ms, created_at_ms)";
    this.#unchecked = database.prepare(
      `SELECT * FROM vault WHERE ${checkedAt} <= @before OR ${checkedAt} > @now ORDER BY ${checkedAt} LIMIT @limit`,
    );
    this.#oldestCheck = database.prepare<[], number | null>(`SELECT min(${checkedAt}) FROM vault`).pluck();
    this.#check = database.prepare("UPDATE vault SET inventory_checked_at_ms = ? WHERE vault_key = ?");
    this.#set = {
      access_policy: database.prepare("UPDATE vault SET access_policy = ? WHERE vault_key = ?"),
      notification: database.prepare("UPDATE vault SET notification = ? WHERE vault_key = ?"),
    };
    this.#delete = database.prepare("DELETE FROM vault WHERE vault_key = ?");
  }

  find(account: string, name: string): VaultRow | undefined {
    return this.#find.get(account, name);
  }

  /** The vault of a row that refers to it. */
  get(vaultKey: number): VaultRow {
    const vault = this.#get.get(vaultKey);
    invariant(vault !== undefined, "rows of a vault do not outlive it");
    return vault;
  }

  insert(account: string, name: string, createdAtMs: number): void {
    this.#insert.run(account, name, createdAtMs);
  }

  count(account: string): number {
    return this.#count.get(account) ?? 0;
  }

  /** In the order of their names' bytes, which is the order of their QCS. */
  list(account: string, fromName: string, limit: number): VaultRow[] {
    return this.#list.all(account, fromName, limit);
  }

  /** Counts one archive in or out and returns the number of that change. */
  recordChange(vaultKey: number, change: { readonly archives: 1 | -1; readonly bytes: number }): number {
    const changeNumber = this.#change.get(change.archives, change.bytes, vaultKey);
    invariant(changeNumber !== undefined, "an archive's vault exists");
    return changeNumber;
  }

  /** Makes the present state the vault's last inventory. */
  takeInventory(vaultKey: number, nowMs: number): void {
    this.#takeInventory.run(nowMs, vaultKey);
  }

  /** Vaults at which the periodic inventory has not looked since `before`, or only by a clock that was ahead of `now`. */
  unchecked(options: { readonly before: number; readonly now: number; readonly limit: number }): VaultRow[] {
    return this.#unchecked.all(options);
  }

  /** When the periodic inventory looked at the vault that has waited longest. */
  oldestCheck(): number | undefined {
    return this.#oldestCheck.get() ?? undefined;
  }

  markChecked(vaultKey: number, checkedMs: number): void {
    this.#check.run(checkedMs, vaultKey);
  }

  set(vaultKey: number, setting: VaultSetting, value: string | null): void {
    this.#set[setting].run(value, vaultKey);
  }

  delete(vaultKey: number): void {
    this.#delete.run(vaultKey);
  }
}
