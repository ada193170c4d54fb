/**
 * Who uses a state directory. SQLite's lock on the catalog decides; this file lets the second one say who holds it.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { UsageError } from "../domain/errors.js";
import { removeIfPresent, writeFileDurably } from "../lib/durable-file.js";

export class StateOwner implements AsyncDisposable {
  readonly #lock: BetterSqlite3.Database;
  readonly #path: string;

  private constructor(lock: BetterSqlite3.Database, path: string) {
    this.#lock = lock;
    this.#path = path;
  }

  /** @throws UsageError that names process and mountpoint of the present owner. */
  static async claim(stateDirectory: string, mountpoint: string): Promise<StateOwner> {
    const path = join(stateDirectory, "owner.json");
    const lock = new BetterSqlite3(join(stateDirectory, "lock.db"), { timeout: 0 });
    try {
      // Held by the open transaction, and gone with the process however it ends.
      lock.exec("BEGIN EXCLUSIVE");
    } catch (error) {
      lock.close();
      throw new UsageError(`Cannot use state directory ${stateDirectory}: ${await describeOwner(path)} is using it`, {
        cause: error,
        hint: "Unmount that first, or give another --state directory",
      });
    }
    await writeFileDurably(path, JSON.stringify({ pid: process.pid, mountpoint }));
    return new StateOwner(lock, path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeIfPresent(this.#path);
    this.#lock.close();
  }
}

async function describeOwner(path: string): Promise<string> {
  try {
    const { pid, mountpoint } = JSON.parse(await readFile(path, "utf8"));
    return `process ${pid}, which has it mounted on ${mountpoint},`;
  } catch {
    return "another casfs process";
  }
}
