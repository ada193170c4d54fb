/**
 * The database of the local service: opening, the lock on the data directory, transactions and durability.
 *
 * Relies on: WAL with synchronous=NORMAL. A commit is then safe from kill -9 at once and from a power loss after
 * `durable()`, which syncs the log for all commits that wait, off the event loop; SQLite itself syncs the log before
 * every checkpoint. locking_mode=EXCLUSIVE is the lock of the data directory; the kernel frees it with the process.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import Database from "better-sqlite3";
import { FileSystemError, UsageError } from "../../domain/errors.js";
import { syncDirectory } from "../../lib/durable-file.js";
import { SharedRun } from "../../lib/shared-run.js";
import { migrations } from "./schema.js";

export class Metadata {
  readonly #log: FileHandle;
  readonly #sync = new SharedRun(() => this.#syncLog());
  #commits = 0;
  #syncedCommits = 0;
  #failure: unknown;

  private constructor(
    readonly database: Database.Database,
    log: FileHandle,
  ) {
    this.#log = log;
  }

  /** @throws FileSystemError "busy" when another process serves the directory; UsageError when a newer version wrote it. */
  static async open(dataDirectory: string): Promise<Metadata> {
    const path = join(dataDirectory, "metadata.db");
    await createPrivately(path);
    const database = new Database(path, { timeout: 0 });
    try {
      takeOver(database, dataDirectory);
      migrate(database, dataDirectory);
      const log = await open(`${path}-wal`, "r+");
      // What a killed process has committed is seen from now on, also if it did not come to sync it.
      await log.datasync();
      await syncDirectory(dataDirectory);
      return new Metadata(database, log);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** Runs `work`, which must not wait, as one transaction; all of it happens or nothing. */
  transaction<T>(work: () => T): T {
    const result = this.database.transaction(work).immediate();
    this.#commits += 1;
    return result;
  }

  /**
   * Resolves when every transaction so far would survive a power loss.
   *
   * @throws the first error of a sync, from then on always: what the disk has lost is unknown until a restart.
   */
  async durable(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#syncedCommits < this.#commits) await this.#sync.request();
  }

  async close(): Promise<void> {
    await this.durable().catch(() => undefined);
    await this.#log.close();
    this.database.close();
  }

  async #syncLog(): Promise<void> {
    const covered = this.#commits;
    try {
      await this.#log.datasync();
      this.#syncedCommits = covered;
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }
}

/**
 * Makes a database that only its owner reads, in whatever directory: it has policies and addresses. Its log gets its mode.
 *
 * Never: opens one that exists. Closing it again would give up the lock that another connection of this process has.
 */
async function createPrivately(path: string): Promise<void> {
  const handle = await open(path, "wx", 0o600).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  await handle?.close();
}

/** Takes the lock for the life of the connection and tells the next one who holds it. */
function takeOver(database: Database.Database, dataDirectory: string): void {
  const pidPath = join(dataDirectory, "server.pid");
  try {
    database.pragma("locking_mode = EXCLUSIVE");
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = NORMAL");
    database.pragma("foreign_keys = ON");
    // Also creates the log, whose handle `durable()` needs.
    database.exec("BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS opened (pid INTEGER); DELETE FROM opened;");
    database.prepare("INSERT INTO opened VALUES (?)").run(process.pid);
    database.exec("COMMIT");
  } catch (error) {
    if (!(error instanceof Database.SqliteError) || !error.code.startsWith("SQLITE_BUSY")) throw error;
    throw new FileSystemError("busy", `Cannot use ${dataDirectory}: process ${readPid(pidPath)} is serving it`, {
      cause: error,
      hint: "Stop that server first or choose another --data directory",
    });
  }
  writeFileSync(pidPath, `${process.pid}\n`, { mode: 0o600 });
}

function readPid(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "of unknown number";
  }
}

function migrate(database: Database.Database, dataDirectory: string): void {
  const version = database.pragma("user_version", { simple: true }) as number;
  if (version > migrations.length) {
    throw new UsageError(`Cannot use ${dataDirectory}: its format ${version} is newer than ${migrations.length}`);
  }
  for (const [index, step] of migrations.entries()) {
    if (index < version) continue;
    database.transaction(() => {
      database.exec(step);
      database.pragma(`user_version = ${index + 1}`);
    })();
  }
}
