import { expect, test } from "vitest";
import { chooseEvictions, isEvictable } from "../../src/cache/eviction.js";
import type { ArchiveKey } from "../../src/domain/ids.js";
import { hours, type Instant } from "../../src/domain/time.js";
import { fc } from "../support/seeded-fast-check.js";

const now = (100 * 3600 * 1000) as Instant;
const recallKeepMs = hours(48);

const candidates = fc.array(
  fc.record({
    key: fc.nat().map((value) => value as ArchiveKey),
    sizeBytes: fc.integer({ min: 1, max: 1000 }),
    pinned: fc.boolean(),
    openCount: fc.nat({ max: 1 }),
    landedAt: fc.nat({ max: now }).map((value) => value as Instant),
    readSinceLanding: fc.boolean(),
  }),
  { maxLength: 30 },
);

test("what is chosen may go, is enough or all there is, and is the oldest", () => {
  fc.assert(
    fc.property(candidates, fc.integer({ min: -10, max: 20_000 }), (all, needBytes) => {
      const unique = all.filter(({ key }, index) => all.findIndex((other) => other.key === key) === index);
      const { keys, freedBytes } = chooseEvictions(unique, { needBytes, now, recallKeepMs });
      const evictable = unique.filter((candidate) => isEvictable(candidate, now, recallKeepMs));
      expect(keys).toEqual(evictable.slice(0, keys.length).map(({ key }) => key));
      expect(freedBytes >= needBytes || keys.length === evictable.length).toBe(true);
      const last = evictable[keys.length - 1];
      if (last !== undefined) expect(freedBytes - last.sizeBytes).toBeLessThan(needBytes);
    }),
  );
});

test("pinned, open, and recalled but unread contents are never chosen", () => {
  const base = {
    key: 1 as ArchiveKey,
    sizeBytes: 1,
    pinned: false,
    openCount: 0,
    landedAt: now,
    readSinceLanding: true,
  };
  expect(isEvictable(base, now, recallKeepMs)).toBe(true);
  expect(isEvictable({ ...base, pinned: true }, now, recallKeepMs)).toBe(false);
  expect(isEvictable({ ...base, openCount: 1 }, now, recallKeepMs)).toBe(false);
  expect(isEvictable({ ...base, readSinceLanding: false }, now, recallKeepMs)).toBe(false);
  const later = (now + recallKeepMs) as Instant;
  expect(isEvictable({ ...base, readSinceLanding: false }, later, recallKeepMs)).toBe(true);
});
