/** Rows of bodies and their files: which bytes on disk make up an archive or an unfinished upload, and who needs them. */

import type { Database, Statement } from "better-sqlite3";

export interface BodyFileRow {
  readonly file_id: number;
  readonly start: number;
  readonly size_bytes: number;
  readonly tree_hash: Buffer;
}

export interface NewBodyFile extends BodyFileRow {
  readonly body_key: number;
  readonly leaves: Buffer;
}

export class BodyTable {
  readonly #create: Statement<[number]>;
  readonly #letGo: Statement<[number]>;
  readonly #insertFile: Statement<[NewBodyFile]>;
  readonly #takeFileAt: Statement<[number, number], number>;
  readonly #files: Statement<[number, number, number], BodyFileRow>;
  readonly #filesPage: Statement<[number, number, number], BodyFileRow>;
  readonly #leaves: Statement<[number], Buffer>;
  readonly #isNeeded: Statement<[{ body: number }], number>;
  readonly #takeFiles: Statement<[number], number>;
  readonly #delete: Statement<[number]>;
  readonly #highestFile: Statement<[], number | null>;
  readonly #knownFiles: Statement<[number, number], number>;

  constructor(database: Database) {
    const columns = "file_id, start, size_bytes, tree_hash";
    this.#create = database.prepare("INSERT INTO body (is_held) VALUES (?)");
    this.#letGo = database.prepare("UPDATE body SET is_held = 0 WHERE body_key = ?");
    this.#insertFile = database.prepare(
      `INSERT INTO body_file (file_id, body_key, start, size_bytes, tree_hash, leaves)
       VALUES (@file_id, @body_key, @start, @size_bytes, @tree_hash, @leaves)`,
    );
    this.#takeFileAt = database
      .prepare<[number, number], number>("DELETE FROM body_file WHERE body_key = ? AND start = ? RETURNING file_id")
      .pluck();
    this.#files = database.prepare(
      `SELECT ${columns} FROM body_file WHERE body_key = ? AND start < ? AND start + size_bytes > ? ORDER BY start`,
    );
    this.#filesPage = database.prepare(
      `SELECT ${columns} FROM body_file WHERE body_key = ? AND start >= ? ORDER BY start LIMIT ?`,
    );
    this.#leaves = database.prepare<[number], Buffer>("SELECT leaves FROM body_file WHERE file_id = ?").pluck();
    this.#isNeeded = database
      .prepare<[{ body: number }], number>(
        `SELECT EXISTS (SELECT 1 FROM body WHERE body_key = @body AND is_held = 1)
             OR EXISTS (SELECT 1 FROM job WHERE body_key = @body)`,
      )
      .pluck();
    this.#takeFiles = database
      .prepare<[number], number>("DELETE FROM body_file WHERE body_key = ? RETURNING file_id")
      .pluck();
    this.#delete = database.prepare("DELETE FROM body WHERE body_key = ?");
    this.#highestFile = database.prepare<[], number | null>("SELECT max(file_id) FROM body_file").pluck();
    this.#knownFiles = database
      .prepare<[number, number], number>("SELECT file_id FROM body_file WHERE file_id BETWEEN ? AND ?")
      .pluck();
  }

  /** @param options.held Whether an archive or an upload has it; else only the rows of jobs keep it. */
  create({ held }: { readonly held: boolean }): number {
    return Number(this.#create.run(held ? 1 : 0).lastInsertRowid);
  }

  /** Its archive or upload does not need it any more; `releaseIfUnneeded` has to follow. */
  letGo(bodyKey: number): void {
    this.#letGo.run(bodyKey);
  }

  /** Adds a file at its offset; returns the file that it replaces, which nobody refers to any more. */
  putFile(file: NewBodyFile): number | undefined {
    const replaced = this.#takeFileAt.get(file.body_key, file.start);
    this.#insertFile.run(file);
    return replaced;
  }

  /** The files that hold bytes of the half-open range, in order. */
  filesOf(bodyKey: number, range: { readonly start: number; readonly end: number }): BodyFileRow[] {
    return this.#files.all(bodyKey, range.end, range.start);
  }

  filesFrom(bodyKey: number, options: { readonly start: number; readonly limit: number }): BodyFileRow[] {
    return this.#filesPage.all(bodyKey, options.start, options.limit);
  }

  /** SHA-256 of each MiB of one file, 32 bytes each. */
  leaves(fileId: number): Buffer | undefined {
    return this.#leaves.get(fileId);
  }

  /** Forgets the body when no archive, upload or job needs it; returns the files to remove after the commit. */
  releaseIfUnneeded(bodyKey: number): number[] {
    if (this.#isNeeded.get({ body: bodyKey }) === 1) return [];
    const files = this.#takeFiles.all(bodyKey);
    this.#delete.run(bodyKey);
    return files;
  }

  highestFileId(): number {
    return this.#highestFile.get() ?? 0;
  }

  /** Which ids of `first`..`last` (inclusive) belong to a body. */
  knownFileIds(first: number, last: number): ReadonlySet<number> {
    return new Set(this.#knownFiles.all(first, last));
  }
}
