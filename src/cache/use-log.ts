/** Collects the uses of cached contents and writes them to the index in batches: an open must not cost a commit. */

import { describeError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ArchiveKey } from "../domain/ids.js";
import { type Clock, seconds } from "../domain/time.js";
import type { CachedRow, CacheIndex } from "./ports.js";

type Use = Pick<CachedRow, "key" | "lastUsedAt" | "readSinceLanding">;

// A crash forgets so much of the order of use; that costs at most an eviction that was not the best one.
const collectMs = seconds(5);

export class UseLog {
  readonly #index: Pick<CacheIndex, "touch">;
  readonly #clock: Clock;
  readonly #observer: Observer;
  readonly #ending = new AbortController();
  #uses = new Map<ArchiveKey, Use>();
  #collecting: Promise<void> | undefined;

  constructor(index: Pick<CacheIndex, "touch">, clock: Clock, observer: Observer) {
    this.#index = index;
    this.#clock = clock;
    this.#observer = observer;
  }

  add(use: Use): void {
    this.#uses.set(use.key, use);
    this.#collecting ??= this.#collect();
  }

  forget(key: ArchiveKey): void {
    this.#uses.delete(key);
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#collecting;
    await this.#write();
  }

  async #collect(): Promise<void> {
    await this.#clock.sleep(collectMs, { signal: this.#ending.signal }).catch(() => undefined);
    this.#collecting = undefined;
    await this.#write();
  }

  async #write(): Promise<void> {
    if (this.#uses.size === 0) return;
    const uses = [...this.#uses.values()];
    this.#uses = new Map();
    try {
      await this.#index.touch(uses);
    } catch (error) {
      this.#observer({ type: "warning", message: `Cannot record the use of cached files: ${describeError(error)}` });
    }
  }
}
