/** What the catalog knows of archives that are here in part, and of recalls from before there were such. */

import BetterSqlite3 from "better-sqlite3";
import { expect, test } from "vitest";
import { partialStep } from "../../src/catalog/schema.js";
import { byteRange, MIB } from "../../src/domain/bytes.js";
import type { ArchiveKey } from "../../src/domain/ids.js";
import type { Instant } from "../../src/domain/time.js";
import type { TreeHashHex } from "../../src/protocol/service.js";
import { TestVault } from "../support/test-file-system.js";

const hashOf = (digit: string) => digit.repeat(64) as TreeHashHex;

test("a recall that an older casfs has begun is one of the whole archive", () => {
  const sql = new BetterSqlite3(":memory:");
  sql.exec(`CREATE TABLE archive (key INTEGER PRIMARY KEY, size_bytes INTEGER NOT NULL);
    CREATE TABLE recall (archive_key INTEGER PRIMARY KEY, tier TEXT NOT NULL, job_id TEXT,
      requested_at_ms INTEGER NOT NULL, replaced INTEGER NOT NULL DEFAULT 0);
    INSERT INTO archive VALUES (7, 5000);
    INSERT INTO recall VALUES (7, 'bulk', 'job', 11, 1), (8, 'bulk', NULL, 12, 0);`);
  sql.exec(partialStep);
  // Of archive 8 nothing is known: nobody can read it.
  expect(sql.prepare("SELECT * FROM recall").all()).toEqual([
    { archive_key: 7, start_byte: 0, end_byte: 5000, tier: "bulk", job_id: "job", requested_at_ms: 11, replaced: 1 },
  ]);
  sql.close();
});

test("pieces survive a restart; a larger one takes the place of those within it", async () => {
  await using it = await TestVault.create();
  const { partial } = it.catalog;
  const row = (landedAt: number) => {
    const times = { lastUsedAt: 1 as Instant, landedAt: landedAt as Instant, readSinceLanding: false };
    return { key: 3 as ArchiveKey, sizeBytes: 9 * MIB, ...times };
  };
  const piece = (start: number, end: number, digit: string) => ({
    ...byteRange(start * MIB, end * MIB),
    treeHash: hashOf(digit),
  });
  await partial.addPiece(row(1), piece(8, 9, "8"));
  await partial.addPiece(row(2), piece(1, 2, "1"));
  await partial.addPiece(row(3), piece(0, 4, "0"));
  await partial.touch([{ key: row(0).key, lastUsedAt: 5 as Instant, readSinceLanding: true }]);
  const known = { ...row(3), lastUsedAt: 5, readSinceLanding: true, pieces: [piece(0, 4, "0"), piece(8, 9, "8")] };
  expect(partial.load()).toEqual([known]);
  await partial.removePieces(row(0).key, byteRange(8 * MIB, 9 * MIB));
  expect(partial.load()).toEqual([{ ...known, pieces: [piece(0, 4, "0")] }]);
  await partial.remove(row(0).key);
  expect(partial.load()).toEqual([]);
});
