/**
 * Opens the catalog's SQLite file and gives it group commit.
 *
 * Relies on: better-sqlite3 is synchronous, so the changes of one turn of the event loop are one transaction that
 * nothing interrupts. A commit (WAL, synchronous=NORMAL) survives kill -9; `flush` makes it survive power loss.
 * One process per file: the lock is SQLite's own, so that it is gone when the process is.
 */

import { type FileHandle, open } from "node:fs/promises";
import BetterSqlite3 from "better-sqlite3";
import { UsageError } from "../domain/errors.js";
import { type Deferred, deferred } from "../lib/deferred.js";
import { SharedRun } from "../lib/shared-run.js";
import { migrate } from "./migrations.js";

/**
 * After so many commits the log is synced in the background: a checkpoint syncs it on the event loop, and 64 MiB that
 * nobody has written out yet would hold up every request for a third of a second.
 */
const commitsPerSync = 128;
/** How long a change may wait for company. */
const soonMs = 5;

export class Database {
  readonly sql: BetterSqlite3.Database;
  readonly #begin: BetterSqlite3.Statement;
  readonly #commit: BetterSqlite3.Statement;
  readonly #rollback: BetterSqlite3.Statement;
  readonly #savepoint: BetterSqlite3.Statement;
  readonly #release: BetterSqlite3.Statement;
  readonly #rollbackTo: BetterSqlite3.Statement;
  #turn: Deferred<void> | undefined;
  /** Nothing has been changed in this turn yet: who throws now is taken back with the transaction. */
  #isUntouched = true;
  #afterCommit: (() => void)[] = [];
  readonly #soon: (() => void)[] = [];
  #soonTimer: NodeJS.Timeout | undefined;
  #commitsSinceSync = 0;
  readonly #backgroundSync = new SharedRun(() => this.#walFile!.datasync());
  readonly #rollbackListeners: (() => void)[] = [];
  #walFile: FileHandle | undefined;
  readonly #flush = new SharedRun(() => {
    this.runSoon();
    this.#commitTurn();
    return this.#walFile!.datasync();
  });

  /** @throws UsageError when another process has it open, or when it is not a catalog. */
  static async open(path: string): Promise<Database> {
    const database = new Database(path);
    database.#walFile = await open(`${path}-wal`, "r");
    return database;
  }

  private constructor(path: string) {
    this.sql = openLocked(path);
    this.#begin = this.sql.prepare("BEGIN IMMEDIATE");
    this.#commit = this.sql.prepare("COMMIT");
    this.#rollback = this.sql.prepare("ROLLBACK");
    this.#savepoint = this.sql.prepare("SAVEPOINT request");
    this.#release = this.sql.prepare("RELEASE request");
    this.#rollbackTo = this.sql.prepare("ROLLBACK TO request");
  }

  /**
   * Runs `change` in this turn's transaction; when it throws, nothing of it stays. The first of a turn needs no savepoint.
   *
   * Resolves with its result when the turn is committed. When the commit fails, all promises of the turn reject and
   * nothing of the turn has happened.
   */
  mutate<T>(change: () => T): Promise<T> {
    const turn = this.#joinTurn();
    const isFirst = this.#isUntouched;
    const callbacksBefore = this.#afterCommit.length;
    let result: T;
    this.#isUntouched = false;
    if (!isFirst) this.#savepoint.run();
    try {
      result = change();
      if (!isFirst) this.#release.run();
    } catch (error) {
      this.#afterCommit.length = callbacksBefore;
      if (isFirst) this.#undoTurn();
      else this.#undo(error);
      return Promise.reject(error);
    }
    return turn.promise.then(() => result);
  }

  /**
   * As `mutate`, for a change that nobody waits for: it joins the next transaction that others need, or gets its own
   * after a few milliseconds. One commit less for every small file that is closed.
   */
  mutateSoon<T>(change: () => T): Promise<T> {
    const soon = deferred<T>();
    const run = async () => this.mutate(change);
    this.#soon.push(() => run().then(soon.resolve, soon.reject));
    if (this.#turn !== undefined) this.runSoon();
    else this.#soonTimer ??= setTimeout(() => this.runSoon(), soonMs);
    return soon.promise;
  }

  /** Runs what `mutateSoon` holds back: somebody waits for it after all. */
  runSoon(): void {
    clearTimeout(this.#soonTimer);
    this.#soonTimer = undefined;
    for (const run of this.#soon.splice(0)) run();
  }

  /**
   * Inside `mutate`: runs `callback` right after the commit, before any promise of the turn resolves; never when the
   * change is rolled back. It must not throw.
   */
  afterCommit(callback: () => void): void {
    this.#afterCommit.push(callback);
  }

  /** Runs `listener` whenever changes were undone, so that memory which mirrors them is read again. */
  onRollback(listener: () => void): void {
    this.#rollbackListeners.push(listener);
  }

  /**
   * All that is committed, this turn included, survives power loss.
   *
   * Calls during a running fdatasync share the next one.
   */
  flush(): Promise<void> {
    return this.#flush.request();
  }

  async close(): Promise<void> {
    this.runSoon();
    await this.flush();
    // The descriptor must not go while a sync of it is under way.
    await this.#backgroundSync.request();
    this.sql.close();
    await this.#walFile?.close();
  }

  #joinTurn(): Deferred<void> {
    if (this.#turn === undefined && this.#soon.length > 0) this.runSoon();
    this.#turn ??= this.#beginTurn();
    return this.#turn;
  }

  #beginTurn(): Deferred<void> {
    this.#begin.run();
    this.#isUntouched = true;
    const turn = deferred<void>();
    // The requests of this turn handle their own rejection; a turn that nobody waits for must not end the process.
    turn.promise.catch(() => {});
    setImmediate(() => this.#commitTurn());
    return turn;
  }

  #commitTurn(): void {
    const turn = this.#turn;
    if (turn === undefined) return;
    this.#turn = undefined;
    if (!this.sql.open) {
      turn.reject(new Error("The catalog was closed before the commit"));
      return;
    }
    const callbacks = this.#afterCommit.splice(0);
    try {
      this.#commit.run();
    } catch (error) {
      if (this.sql.inTransaction) this.sql.exec("ROLLBACK");
      this.#failTurn(turn, error);
      return;
    }
    for (const callback of callbacks) callback();
    turn.resolve();
    this.#syncNowAndThen();
  }

  // Who comes later in the same turn of the event loop begins another transaction.
  #undoTurn(): void {
    this.#turn = undefined;
    if (this.sql.inTransaction) this.#rollback.run();
    for (const listener of this.#rollbackListeners) listener();
  }

  // A full disk makes SQLite roll back the whole transaction by itself: then every request of the turn has failed.
  #undo(error: unknown): void {
    if (this.sql.inTransaction) {
      this.#rollbackTo.run();
      this.#release.run();
      for (const listener of this.#rollbackListeners) listener();
      return;
    }
    const turn = this.#turn;
    this.#turn = undefined;
    this.#afterCommit.length = 0;
    if (turn !== undefined) this.#failTurn(turn, error);
  }

  #syncNowAndThen(): void {
    this.#commitsSinceSync += 1;
    if (this.#commitsSinceSync < commitsPerSync || this.#walFile === undefined) return;
    this.#commitsSinceSync = 0;
    // Only a help: who needs the sync asks for it with `flush`, and hears of its failure there.
    this.#backgroundSync.request().catch(() => {});
  }

  #failTurn(turn: Deferred<void>, error: unknown): void {
    for (const listener of this.#rollbackListeners) listener();
    turn.reject(error);
  }
}

function openLocked(path: string): BetterSqlite3.Database {
  const sql = new BetterSqlite3(path, { timeout: 0 });
  try {
    // Half of SQLite's default: a small request changes ten pages in ten places, and each is written whole.
    sql.pragma("page_size = 2048");
    // Without shared memory file, and held until the process ends, however it ends.
    sql.pragma("locking_mode = EXCLUSIVE");
    sql.pragma("journal_mode = WAL");
    sql.pragma("synchronous = NORMAL");
    // A checkpoint runs on the event loop; 64 MiB of log make it rare.
    sql.pragma("wal_autocheckpoint = 32768");
    sql.pragma("cache_size = -65536");
    sql.pragma("temp_store = MEMORY");
    migrate(sql);
    // Writes the log, so that the file exists and the lock is taken.
    sql.exec("BEGIN IMMEDIATE; INSERT OR REPLACE INTO meta (name, value) VALUES ('opened', '1'); COMMIT");
    return sql;
  } catch (error) {
    sql.close();
    throw explain(path, error);
  }
}

function explain(path: string, error: unknown): unknown {
  const code = (error as { code?: string }).code ?? "";
  if (code.startsWith("SQLITE_BUSY")) {
    return new UsageError(`Cannot open catalog ${path}: another casfs process is using it`, { cause: error });
  }
  if (code === "SQLITE_NOTADB" || code === "SQLITE_CORRUPT") {
    return new UsageError(`Cannot open catalog ${path}: it is damaged or not a catalog`, {
      cause: error,
      hint: "Keep the state directory as it is and mount with a new one: the tree comes back from the inventory",
    });
  }
  return error;
}
