/**
 * Looks for what must not be in a catalog, and lists what must be on the disk.
 *
 * Everything comes in slices of some milliseconds: a mount that checks itself answers requests in between.
 * Never: changes anything.
 */

import type BetterSqlite3 from "better-sqlite3";
import { type ByteRange, byteRange } from "../domain/bytes.js";
import type { ArchiveId, ArchiveKey, ContentId } from "../domain/ids.js";
import { rootIno } from "../domain/ids.js";
import type { TreeHashHex } from "../protocol/service.js";
import { Database } from "./database.js";

/** Something in the catalog that contradicts itself, or that a person should know of. */
export interface CatalogFinding {
  readonly kind:
    | "catalog-damaged"
    | "name-without-file"
    | "file-without-name"
    | "wrong-link-count"
    | "content-missing"
    | "archive-unknown"
    | "archive-missing"
    | "archive-unreadable"
    | "version-hidden";
  readonly path: string;
  readonly detail: string;
}

/** A content whose only bytes are in staging. */
export interface StagedContent {
  readonly id: ContentId;
  readonly path: string;
  readonly phase: string;
  readonly sizeBytes: number;
  /** close() has promised the bytes. */
  readonly flushed: boolean;
  readonly interrupted: boolean;
  readonly durable: boolean;
  readonly bootId: string;
}

export interface CachedArchive {
  readonly key: ArchiveKey;
  readonly archiveId: ArchiveId;
  readonly path: string;
  readonly sizeBytes: number;
  readonly treeHash: TreeHashHex;
  readonly pinned: boolean;
  /** Inventories say that the vault lacks the archive. */
  readonly missing: boolean;
}

/** An archive of which only pieces should be in the cache. */
export interface PartialArchive extends Pick<CachedArchive, "key" | "archiveId" | "path" | "sizeBytes"> {
  readonly pieces: readonly (ByteRange & { readonly treeHash: TreeHashHex })[];
}

interface ArchiveRow {
  readonly key: number;
  readonly archive_id: string;
  readonly missing_runs: number;
  readonly unreadable: string | null;
  readonly ino: number | null;
  readonly buried: number;
  readonly version: number | null;
  readonly description: string;
}

const sliceRows = 500;
/** After so many complete inventories that lack it, an archive is missing. */
const missingRunsMin = 2;
const depthMax = 4096;
const regularFile = 0o100000;
const fileTypeMask = 0o170000;

export class CatalogCheck {
  readonly #sql: BetterSqlite3.Database;
  readonly #nameOf: BetterSqlite3.Statement<[number], { readonly parent: number; readonly name: string }>;

  constructor({ sql }: Pick<Database, "sql">) {
    this.#sql = sql;
    this.#nameOf = sql.prepare("SELECT parent, name FROM entry WHERE ino = ? ORDER BY parent, id LIMIT 1");
  }

  /** Opens the catalog at `path`, which nobody else may use. @throws UsageError when it is in use, or none. */
  static async open(path: string): Promise<CatalogCheck & AsyncDisposable> {
    const database = await Database.open(path);
    return Object.assign(new CatalogCheck(database), { [Symbol.asyncDispose]: () => database.close() });
  }

  /** What SQLite finds in its file; reads all of it, so only for a catalog that nobody waits for. */
  damage(): CatalogFinding[] {
    const found = this.#sql.pragma("integrity_check(20)") as { readonly integrity_check: string }[];
    return found.flatMap(({ integrity_check: detail }) =>
      detail === "ok" ? [] : { kind: "catalog-damaged" as const, path: this.#sql.name, detail },
    );
  }

  counts(): { readonly files: number; readonly archives: number } {
    const count = (from: string) => this.#sql.prepare<[], number>(`SELECT count(*) FROM ${from}`).pluck().get() ?? 0;
    return { files: count("entry"), archives: count("archive") };
  }

  *names(): Generator<CatalogFinding[]> {
    const rows = this.#sql.prepare<
      [number, number, number],
      { parent: number; id: number; name: string; ino: number; has_file: number; has_parent: number }
    >(`SELECT e.parent, e.id, e.name, e.ino, EXISTS (SELECT 1 FROM inode WHERE ino = e.ino) AS has_file,
        EXISTS (SELECT 1 FROM inode WHERE ino = e.parent) AS has_parent
      FROM entry e WHERE (e.parent, e.id) > (?, ?) ORDER BY e.parent, e.id LIMIT ?`);
    for (let parent = 0, id = 0; ; ) {
      const slice = rows.all(parent, id, sliceRows);
      yield slice.flatMap((row) => {
        const path = `${this.#pathOf(row.parent)}/${row.name}`;
        if (!row.has_file) return { kind: "name-without-file", path, detail: `there is no inode ${row.ino}` } as const;
        if (row.has_parent) return [];
        return { kind: "file-without-name", path, detail: `its directory ${row.parent} is gone` } as const;
      });
      const last = slice.at(-1);
      if (last === undefined) return;
      ({ parent, id } = last);
    }
  }

  *files(): Generator<CatalogFinding[]> {
    const rows = this.#sql.prepare<
      [number, number],
      { ino: number; mode: number; nlink: number; names: number; content_id: number | null; has_content: number }
    >(`SELECT i.ino, i.mode, i.nlink, i.content_id, (SELECT count(*) FROM entry WHERE ino = i.ino) AS names,
        EXISTS (SELECT 1 FROM content WHERE id = i.content_id) AS has_content
      FROM inode i WHERE i.ino > ? ORDER BY i.ino LIMIT ?`);
    for (const slice of slices(rows, ({ ino }) => ino)) {
      yield slice.flatMap((row): CatalogFinding[] => {
        const path = this.#pathOf(row.ino);
        const isFile = (row.mode & fileTypeMask) === regularFile;
        const findings: CatalogFinding[] = [];
        if (row.names === 0 && row.nlink > 0 && row.ino !== rootIno)
          findings.push({ kind: "file-without-name", path, detail: `inode ${row.ino} has no name` });
        else if (isFile && row.names !== row.nlink) {
          findings.push({ kind: "wrong-link-count", path, detail: `it says ${row.nlink} and has ${row.names}` });
        }
        if (row.content_id !== null && !row.has_content)
          findings.push({ kind: "content-missing", path, detail: `there is no content ${row.content_id}` });
        return findings;
      });
    }
  }

  *archives(): Generator<CatalogFinding[]> {
    const orphans = this.#sql.prepare<[], { ino: number; archive_key: number }>(
      `SELECT ino, archive_key FROM content WHERE archive_key IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM archive WHERE key = archive_key) LIMIT 1000`,
    );
    yield orphans.all().map(({ ino, archive_key: key }) => {
      return { kind: "archive-unknown", path: this.#pathOf(ino), detail: `there is no archive ${key}` };
    });
    const rows = this.#sql.prepare<[number, number], ArchiveRow>(
      `SELECT a.key, a.archive_id, a.missing_runs, a.unreadable, a.version, a.description,
        (SELECT ino FROM content WHERE archive_key = a.key LIMIT 1) AS ino,
        EXISTS (SELECT 1 FROM tombstone t WHERE t.vault_id = a.vault_id AND t.archive_id = a.archive_id) AS buried
      FROM archive a WHERE a.key > ? ORDER BY a.key LIMIT ?`,
    );
    for (const slice of slices(rows, ({ key }) => key)) yield slice.flatMap((row) => this.#archiveFindings(row));
  }

  *staged(): Generator<StagedContent[]> {
    const rows = this.#sql.prepare<[number, number], Record<string, number | string>>(
      `SELECT id, ino, phase, size_bytes, flushed, interrupted, durable, boot_id FROM content
      WHERE phase <> 'archived' AND id > ? ORDER BY id LIMIT ?`,
    );
    for (const slice of slices(rows, ({ id }) => id as number)) {
      yield slice.map((row) => ({
        id: row.id as ContentId,
        path: this.#pathOf(row.ino as number),
        phase: row.phase as string,
        sizeBytes: row.size_bytes as number,
        flushed: row.flushed === 1,
        interrupted: row.interrupted === 1,
        durable: row.durable === 1,
        bootId: row.boot_id as string,
      }));
    }
  }

  /** Copies that should be in the cache; pins that wait for theirs are left out. */
  *cached(): Generator<CachedArchive[]> {
    const rows = this.#sql.prepare<[number, number], Record<string, number | string | null>>(
      `SELECT c.archive_key, c.size_bytes, c.pinned, a.archive_id, a.tree_hash, a.missing_runs,
        (SELECT ino FROM content WHERE archive_key = c.archive_key LIMIT 1) AS ino
      FROM cached c JOIN archive a ON a.key = c.archive_key
      WHERE c.size_bytes > 0 AND c.archive_key > ? ORDER BY c.archive_key LIMIT ?`,
    );
    for (const slice of slices(rows, (row) => row.archive_key as number)) {
      yield slice.map((row) => ({
        ...this.#copyOf(row),
        treeHash: row.tree_hash as TreeHashHex,
        pinned: row.pinned === 1,
        missing: (row.missing_runs as number) >= missingRunsMin,
      }));
    }
  }

  *partial(): Generator<PartialArchive[]> {
    const rows = this.#sql.prepare<[number, number], Record<string, number | string | null>>(
      `SELECT p.archive_key, p.size_bytes, a.archive_id,
        (SELECT ino FROM content WHERE archive_key = p.archive_key LIMIT 1) AS ino
      FROM partial p JOIN archive a ON a.key = p.archive_key WHERE p.archive_key > ? ORDER BY p.archive_key LIMIT ?`,
    );
    const pieces = this.#sql.prepare<[number], { start_byte: number; end_byte: number; tree_hash: string }>(
      "SELECT start_byte, end_byte, tree_hash FROM partial_piece WHERE archive_key = ? ORDER BY start_byte",
    );
    for (const slice of slices(rows, (row) => row.archive_key as number)) {
      yield slice.map((row) => ({
        ...this.#copyOf(row),
        pieces: pieces.all(row.archive_key as number).map((piece) => {
          return { ...byteRange(piece.start_byte, piece.end_byte), treeHash: piece.tree_hash as TreeHashHex };
        }),
      }));
    }
  }

  hasPartial(key: number): boolean {
    return this.#sql.prepare("SELECT 1 FROM partial WHERE archive_key = ?").get(key) !== undefined;
  }

  hasContent(id: number): boolean {
    return this.#sql.prepare("SELECT 1 FROM content WHERE id = ? AND phase <> 'archived'").get(id) !== undefined;
  }

  hasCached(key: number): boolean {
    return this.#sql.prepare("SELECT 1 FROM cached WHERE archive_key = ? AND size_bytes > 0").get(key) !== undefined;
  }

  #copyOf(row: Readonly<Record<string, number | string | null>>): Omit<PartialArchive, "pieces"> {
    return {
      key: row.archive_key as ArchiveKey,
      archiveId: row.archive_id as ArchiveId,
      path: row.ino === null ? `archive ${row.archive_id}` : this.#pathOf(row.ino as number),
      sizeBytes: row.size_bytes as number,
    };
  }

  #archiveFindings(row: ArchiveRow): CatalogFinding[] {
    const path = row.ino === null ? row.description || `archive ${row.archive_id}` : this.#pathOf(row.ino);
    if (row.ino === null) {
      if (row.buried) return [];
      const detail = `archive ${row.archive_id} has version ${row.version ?? "?"} of a file that has a newer one, or no file`;
      return [{ kind: "version-hidden", path, detail }];
    }
    const findings: CatalogFinding[] = [];
    if (row.missing_runs >= missingRunsMin) {
      const detail = `archive ${row.archive_id} is not in the vault any more, say ${row.missing_runs} inventories`;
      findings.push({ kind: "archive-missing", path, detail });
    }
    if (row.unreadable !== null) findings.push({ kind: "archive-unreadable", path, detail: row.unreadable });
    return findings;
  }

  /** From the root; an inode without a name has its number. */
  #pathOf(ino: number): string {
    const names: string[] = [];
    for (let child = ino; child !== rootIno && names.length < depthMax; ) {
      const entry = this.#nameOf.get(child);
      if (entry === undefined) return [`inode ${child}`, ...names].join("/");
      names.unshift(entry.name);
      child = entry.parent;
    }
    return names.join("/");
  }
}

/** All rows in the order of their keys; the last slice is empty. */
function* slices<Row>(
  rows: BetterSqlite3.Statement<[after: number, limit: number], Row>,
  keyOf: (row: Row) => number,
): Generator<Row[]> {
  for (let after = 0; ; ) {
    const slice = rows.all(after, sliceRows);
    yield slice;
    const last = slice.at(-1);
    if (last === undefined) return;
    after = keyOf(last);
  }
}
