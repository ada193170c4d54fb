/** UPDATE of some columns of one row: one prepared statement for each set of columns that is ever asked for. */

import type BetterSqlite3 from "better-sqlite3";

export type ColumnValue = string | number | null;

export class PartialUpdate {
  readonly #sql: BetterSqlite3.Database;
  readonly #table: string;
  readonly #key: string;
  readonly #statements = new Map<string, BetterSqlite3.Statement<ColumnValue[]>>();

  /** @param key Column of the primary key. */
  constructor(sql: BetterSqlite3.Database, table: string, key: string) {
    this.#sql = sql;
    this.#table = table;
    this.#key = key;
  }

  /** @returns whether there is such a row. Column names come from the code, never from outside. */
  run(key: number, columns: readonly string[], values: readonly ColumnValue[]): boolean {
    const id = columns.join(" = ?, ");
    let statement = this.#statements.get(id);
    if (statement === undefined) {
      statement = this.#sql.prepare(`UPDATE ${this.#table} SET ${id} = ? WHERE ${this.#key} = ?`);
      this.#statements.set(id, statement);
    }
    return statement.run(...values, key).changes === 1;
  }
}
