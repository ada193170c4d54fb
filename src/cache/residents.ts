/** The whole contents in the cache, in the order of their use, who has them open, and pins that wait for theirs. */

import { LRUCache } from "lru-cache";
import type { ArchiveKey } from "../domain/ids.js";
import type { UsedCandidate } from "./eviction.js";
import type { CachedRow } from "./ports.js";

export type Resident = { -readonly [Field in keyof Omit<CachedRow, "key">]: CachedRow[Field] } & {
  openCount: number;
  /** Whoever still has it open reads nothing from it any more. */
  isDamaged?: boolean;
};

export class Residents {
  /** Only an ordered index: it never drops anything by itself, because it does not know what may go. */
  readonly #byKey = new LRUCache<ArchiveKey, Resident>({
    maxSize: Number.MAX_SAFE_INTEGER,
    sizeCalculation: (resident) => resident.sizeBytes,
  });
  readonly #waitingPins = new Set<ArchiveKey>();

  get size(): number {
    return this.#byKey.size;
  }

  get bytes(): number {
    return this.#byKey.calculatedSize;
  }

  has(archive: ArchiveKey): boolean {
    return this.#byKey.has(archive);
  }

  /** Counts as a use. */
  get(archive: ArchiveKey): Resident | undefined {
    return this.#byKey.get(archive);
  }

  peek(archive: ArchiveKey): Resident | undefined {
    return this.#byKey.peek(archive);
  }

  admit(row: CachedRow): void {
    const { key, ...rest } = row;
    // Somebody may have the former copy of the same bytes open; it stays theirs, and the count stays with it.
    this.#byKey.set(key, { ...rest, openCount: 0 });
    this.#waitingPins.delete(key);
  }

  delete(archive: ArchiveKey): void {
    this.#byKey.delete(archive);
  }

  isPinned(archive: ArchiveKey): boolean {
    return this.#byKey.peek(archive)?.pinned ?? this.#waitingPins.has(archive);
  }

  /** What will be admitted under this key is pinned. */
  waitForPinned(archive: ArchiveKey): void {
    this.#waitingPins.add(archive);
  }

  /** @returns whether a pin has waited. */
  stopWaiting(archive: ArchiveKey): boolean {
    return this.#waitingPins.delete(archive);
  }

  /** Least recently used first. */
  *candidates(except: ArchiveKey | undefined): Generator<UsedCandidate> {
    for (const key of this.#byKey.rkeys()) {
      const resident = this.#byKey.peek(key);
      if (resident !== undefined && key !== except) yield { key, ...resident };
    }
  }
}

/** As the index keeps it. */
export function rowOf(key: ArchiveKey, { openCount: _, isDamaged: __, ...row }: Resident): CachedRow {
  return { key, ...row };
}
