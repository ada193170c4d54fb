import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Database } from "../../src/catalog/database.js";
import { LedgerTable } from "../../src/catalog/ledger-table.js";
import type { Instant } from "../../src/domain/time.js";

let directory: string;
let now: Instant;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "casfs-ledger-"));
  now = Date.parse("2026-11-22T10:00:00Z") as Instant;
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const open = () => Database.open(join(directory, "catalog.db"));
const from = (date: string) => Date.parse(date) as Instant;

test("what is counted is written by the day, added up, and found by the next process", async () => {
  const database = await open();
  const ledger = new LedgerTable(database, { now: () => now });
  for (let request = 0; request < 10_000; request += 1) ledger.note("write");
  ledger.note("upload", { bytes: 5 });
  await database.mutate(() => ledger.write({ item: "retrieval-bulk", count: 1, bytes: 7, byteDays: 0 }));
  now = from("2026-11-23T00:00:01Z");
  ledger.note("write", { count: 2 });
  ledger.close();
  ledger.note("write");
  await database.close();

  const again = await open();
  const rows = new LedgerTable(again, { now: () => now }).rows(from("2026-11-22T23:00:00Z"));
  expect(
    rows.map(({ day, item, count, bytes }) => [new Date(day).toISOString().slice(0, 10), item, count, bytes]),
  ).toEqual([
    ["2026-11-22", "retrieval-bulk", 1, 7],
    ["2026-11-23", "upload", 1, 5],
    ["2026-11-23", "write", 10_002, 0],
  ]);
  await again.close();
});

test("ten thousand requests cost no more than a few rows and commits", async () => {
  const database = await open();
  const ledger = new LedgerTable(database, { now: () => now });
  const before = database.sql.prepare("SELECT total_changes()").pluck().get() as number;
  for (let request = 0; request < 10_000; request += 1) {
    ledger.note("write");
    if (request % 1000 === 0) await database.mutate(() => undefined);
  }
  ledger.rows(now);
  const after = database.sql.prepare("SELECT total_changes()").pluck().get() as number;
  // One write of the sum, and whatever a slow machine's seconds have added.
  expect(after - before).toBeLessThan(20);
  await database.close();
});

test("a commit that fails loses no count", async () => {
  const database = await open();
  const ledger = new LedgerTable(database, { now: () => now });
  ledger.note("read", { count: 3 });
  database.sql.exec("ALTER TABLE ledger RENAME TO hidden");
  ledger.writeNoted();
  database.runSoon();
  await new Promise((resolve) => setTimeout(resolve, 20));
  database.sql.exec("ALTER TABLE hidden RENAME TO ledger");
  expect(ledger.rows(now)).toMatchObject([{ item: "read", count: 3 }]);
  await database.close();
});

test("days of more than a year ago become their month, and nothing is lost", async () => {
  const database = await open();
  const ledger = new LedgerTable(database, { now: () => now });
  const days = ["2025-01-03", "2025-01-20", "2025-02-01", "2026-11-01"];
  for (const day of days) {
    now = from(`${day}T12:00:00Z`);
    await database.mutate(() => ledger.write({ item: "retrieval-bulk", count: 1, bytes: 10, byteDays: 0.5 }));
  }
  now = from("2026-11-22T00:00:00Z");
  for (let start = 0; start < 2; start += 1) {
    const rows = new LedgerTable(database, { now: () => now }).rows(0 as Instant);
    expect(
      rows.map(({ day, count, bytes, byteDays }) => [new Date(day).toISOString().slice(0, 10), count, bytes, byteDays]),
    ).toEqual([
      ["2025-01-01", 2, 20, 1],
      ["2025-02-01", 1, 10, 0.5],
      ["2026-11-01", 1, 10, 0.5],
    ]);
  }
  await database.close();
});
