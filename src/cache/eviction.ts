/** Which contents to drop when room is needed. Pure. */

import type { ArchiveKey } from "../domain/ids.js";
import type { Instant, Milliseconds } from "../domain/time.js";

/** A content in the cache, as far as eviction cares. */
export interface EvictionCandidate {
  readonly key: ArchiveKey;
  readonly sizeBytes: number;
  readonly pinned: boolean;
  readonly openCount: number;
  readonly landedAt: Instant;
  readonly readSinceLanding: boolean;
}

export interface UsedCandidate extends EvictionCandidate {
  readonly lastUsedAt: Instant;
}

export interface EvictionChoice {
  readonly keys: readonly ArchiveKey[];
  /** What these occupy together; less than was needed when nothing more may go. */
  readonly freedBytes: number;
}

/**
 * Chooses the least recently used contents that together occupy at least `needBytes`.
 *
 * @param candidates Least recently used first; only as many are looked at as are needed.
 */
export function chooseEvictions(
  candidates: Iterable<EvictionCandidate>,
  {
    needBytes,
    now,
    recallKeepMs,
  }: { readonly needBytes: number; readonly now: Instant; readonly recallKeepMs: Milliseconds },
): EvictionChoice {
  const keys: ArchiveKey[] = [];
  let freedBytes = 0;
  if (needBytes <= 0) return { keys, freedBytes };
  for (const candidate of candidates) {
    if (!isEvictable(candidate, now, recallKeepMs)) continue;
    keys.push(candidate.key);
    freedBytes += candidate.sizeBytes;
    if (freedBytes >= needBytes) break;
  }
  return { keys, freedBytes };
}

/** Never a pinned or open content, nor one that was recalled, thus paid for, and not read within `recallKeepMs`. */
export function isEvictable(candidate: EvictionCandidate, now: Instant, recallKeepMs: Milliseconds): boolean {
  if (candidate.pinned || candidate.openCount > 0) return false;
  return candidate.readSinceLanding || now - candidate.landedAt >= recallKeepMs;
}

/** The candidates of both, which have the least recently used first, in one such order. */
export function* inOrderOfUse(
  one: Iterable<UsedCandidate>,
  other: Iterable<UsedCandidate>,
): Generator<EvictionCandidate> {
  const rest = other[Symbol.iterator]();
  let next = rest.next();
  for (const candidate of one) {
    for (; !next.done && next.value.lastUsedAt < candidate.lastUsedAt; next = rest.next()) yield next.value;
    yield candidate;
  }
  for (; !next.done; next = rest.next()) yield next.value;
}
