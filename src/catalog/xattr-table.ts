/** Extended attributes that users store; `user.casfs.*` is computed and never comes here. */

import type BetterSqlite3 from "better-sqlite3";
import type { InodeNumber } from "../domain/ids.js";

export class XattrTable {
  readonly #get: BetterSqlite3.Statement<[number, string], Buffer>;
  readonly #names: BetterSqlite3.Statement<[number], string>;
  readonly #set: BetterSqlite3.Statement<[number, string, Uint8Array]>;
  readonly #remove: BetterSqlite3.Statement<[number, string]>;
  readonly #copyAll: BetterSqlite3.Statement<[number, number]>;

  constructor(sql: BetterSqlite3.Database) {
    this.#get = sql.prepare<[number, string], Buffer>("SELECT value FROM xattr WHERE ino = ? AND name = ?").pluck();
    this.#names = sql.prepare<[number], string>("SELECT name FROM xattr WHERE ino = ? ORDER BY name").pluck();
    this.#set = sql.prepare("INSERT OR REPLACE INTO xattr (ino, name, value) VALUES (?, ?, ?)");
    this.#copyAll = sql.prepare("INSERT INTO xattr (ino, name, value) SELECT ?, name, value FROM xattr WHERE ino = ?");
    this.#remove = sql.prepare("DELETE FROM xattr WHERE ino = ? AND name = ?");
  }

  get(ino: InodeNumber, name: string): Uint8Array | undefined {
    return this.#get.get(ino, name);
  }

  names(ino: InodeNumber): string[] {
    return this.#names.all(ino);
  }

  set(ino: InodeNumber, name: string, value: Uint8Array): void {
    this.#set.run(ino, name, value);
  }

  copyAll(from: InodeNumber, into: InodeNumber): void {
    this.#copyAll.run(into, from);
  }

  remove(ino: InodeNumber, name: string): void {
    this.#remove.run(ino, name);
  }
}
