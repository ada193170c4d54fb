/** Facts about a state directory: what it is bound to, and the name under which it writes. */

import { randomBytes } from "node:crypto";
import type BetterSqlite3 from "better-sqlite3";
import { UsageError } from "../domain/errors.js";

/** Another endpoint, account or region is another archive: its inventory would make ours look lost. */
export interface Binding {
  readonly endpoint: string;
  readonly appId: string;
  readonly region: string;
}

export class MetaTable {
  readonly #get: BetterSqlite3.Statement<[string], string>;
  readonly #set: BetterSqlite3.Statement<[string, string]>;

  constructor(sql: BetterSqlite3.Database) {
    this.#get = sql.prepare<[string], string>("SELECT value FROM meta WHERE name = ?").pluck();
    this.#set = sql.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)");
  }

  /** What it is bound to, in words that begin with the endpoint; empty when to nothing. */
  get boundTo(): string {
    return this.#get.get("binding") ?? "";
  }

  /** Binds at first use. @throws UsageError when the state directory belongs to another archive. */
  bind(binding: Binding): void {
    const wanted = `${binding.endpoint} (account ${binding.appId}, region ${binding.region})`;
    const bound = this.#get.get("binding");
    if (bound === undefined) {
      this.#set.run("binding", wanted);
    } else if (bound !== wanted) {
      throw new UsageError(`Cannot use this state directory for ${wanted}: it belongs to ${bound}`, {
        hint: "Give another --state directory, or the endpoint and account that it belongs to",
      });
    }
  }

  /** Random per state directory; in every archive description it writes. */
  writerId(): string {
    const known = this.#get.get("writer");
    if (known !== undefined) return known;
    const writer = randomBytes(9).toString("base64url");
    this.#set.run("writer", writer);
    return writer;
  }
}
