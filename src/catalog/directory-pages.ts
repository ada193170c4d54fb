/**
 * Directories, read a page at a time in the order of their cookies.
 *
 * A page leaves SQLite as one text, a JSON array of all its cells: handing over each cell by itself takes three times as
 * long as finding it.
 */

import type BetterSqlite3 from "better-sqlite3";
import type { InodeNumber } from "../domain/ids.js";
import { invariant } from "../lib/invariant.js";
import type { DirectoryRow, NameVisitor } from "../vfs/catalog-port.js";
import { type Cells, inodeColumns, inodeJoined, inodeRecord } from "./inode-row.js";
import type { VaultTable } from "./vault-table.js";

type Page = BetterSqlite3.Statement<[parent: number, after: number, hidden: number, limit: number], string | null>;

const nameColumns = ["e.id", "e.name", "e.ino", "i.mode"];
const rowColumns = ["e.id", "e.name", ...inodeColumns];
const texts = new Set(["e.name", "c.phase"]);
const nullable = new Set(inodeColumns.filter((column) => column.startsWith("c.")).concat("i.vault_id", "i.parent"));

const noInode = 0;

export class DirectoryPages {
  readonly #vaults: VaultTable;
  readonly #rows: Page;
  readonly #names: Page;

  constructor(sql: BetterSqlite3.Database, vaults: VaultTable) {
    this.#vaults = vaults;
    this.#rows = page(sql, rowColumns, inodeJoined);
    this.#names = page(sql, nameColumns, "inode i");
  }

  /** A vault's trash is not listed: `rsync --delete` would empty it. */
  rows(parent: InodeNumber, cookie: number, limit: number): DirectoryRow[] {
    const cells = this.#cells(this.#rows, parent, cookie, limit);
    const rows: DirectoryRow[] = [];
    for (let at = 0, last = cookie; at < cells.length; at += rowColumns.length) {
      last = following(cells, at, last);
      rows.push({ cookie: last, name: cells[at + 1] as string, inode: inodeRecord(cells, at + 2, this.#vaults) });
    }
    return rows;
  }

  names(parent: InodeNumber, cookie: number, limit: number, each: NameVisitor): void {
    const cells = this.#cells(this.#names, parent, cookie, limit);
    for (let at = 0, last = cookie; at < cells.length; at += nameColumns.length) {
      last = following(cells, at, last);
      if (!each(cells[at + 1] as string, last, cells[at + 2] as InodeNumber, cells[at + 3] as number)) return;
    }
  }

  #cells(statement: Page, parent: InodeNumber, cookie: number, limit: number): Cells {
    const text = statement.get(parent, cookie, this.#vaults.trashIn(parent) ?? noInode, limit);
    return text == null ? [] : (JSON.parse(text) as Cells);
  }
}

// The order is that of the subquery; SQLite keeps it, but does not promise it.
function following(cells: Cells, at: number, last: number): number {
  const cookie = cells[at] as number;
  invariant(cookie > last, "entries come in the order of their cookies");
  return cookie;
}

function page(sql: BetterSqlite3.Database, columns: readonly string[], joined: string): Page {
  const row = columns.map(json).join(" || ',' || ");
  return sql
    .prepare(
      `SELECT '[' || group_concat(row) || ']' FROM (
         SELECT ${row} AS row FROM entry e CROSS JOIN ${joined}
         WHERE e.parent = ? AND e.id > ? AND e.ino <> ? AND i.ino = e.ino ORDER BY e.id LIMIT ?)`,
    )
    .pluck() as Page;
}

function json(column: string): string {
  if (texts.has(column)) return `json_quote(${column})`;
  return nullable.has(column) || column === "i.content_id" ? `ifnull(${column}, 'null')` : column;
}
