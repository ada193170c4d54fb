/**
 * Numbers that are never given twice, also after a crash.
 *
 * Not AUTOINCREMENT: that writes a page of its own table in every transaction. Here a block is reserved at a time; what
 * is left of it at a crash is never used.
 */

import type BetterSqlite3 from "better-sqlite3";

const blockSize = 4096;

export class NumberMint {
  readonly #name: string;
  readonly #get: BetterSqlite3.Statement<[string], string>;
  readonly #set: BetterSqlite3.Statement<[string, string]>;
  #next: number;
  #reservedUpTo = 0;

  /** @param first The first number of a new catalog. */
  constructor(sql: BetterSqlite3.Database, name: string, { first }: { readonly first: number }) {
    this.#name = `next ${name}`;
    this.#get = sql.prepare<[string], string>("SELECT value FROM meta WHERE name = ?").pluck();
    this.#set = sql.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)");
    this.#next = Number(this.#get.get(this.#name) ?? first);
  }

  /** Inside `mutate`, or before anything else uses the database. */
  next(): number {
    if (this.#next >= this.#reservedUpTo) this.#reserve();
    const number = this.#next;
    this.#next += 1;
    return number;
  }

  /** A transaction was undone, and with it perhaps a reservation. */
  forgetReservation(): void {
    this.#reservedUpTo = 0;
  }

  #reserve(): void {
    this.#reservedUpTo = this.#next + blockSize;
    this.#set.run(this.#name, String(this.#reservedUpTo));
  }
}
