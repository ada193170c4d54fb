/** What files cost, on a real catalog; and what was asked for. */

import { expect, test } from "vitest";
import { CostSurvey } from "../../src/app/cost-survey.js";
import { CostTally } from "../../src/app/cost-tally.js";
import { ledgerReport } from "../../src/app/ledger-report.js";
import { MountPaths } from "../../src/app/mount-paths.js";
import type { LedgerRow } from "../../src/catalog/ledger-table.js";
import { byteCount, GIB, MIB } from "../../src/domain/bytes.js";
import { rootIno } from "../../src/domain/ids.js";
import { hours, type Instant } from "../../src/domain/time.js";
import { publishedPrices } from "../../src/protocol/prices.js";
import { TestVault } from "../support/test-file-system.js";

const day = hours(24);
const now = (1000 * day) as Instant;
const prices = publishedPrices;

function surveyOf(it: TestVault): CostSurvey {
  const { catalog } = it;
  return new CostSurvey({
    catalog,
    paths: new MountPaths(catalog, rootIno),
    vault: null,
    placeOf: (archive) => (it.cache.has(archive) ? "here" : "cold"),
    prices,
    isFree: false,
    clock: it.clock,
  });
}

test("keeping, bringing back and deleting cost what the published examples say", () => {
  const tally = new CostTally(prices, now);
  // 500 GB stored for 30 days, 1000 GB for 60, in archives of 1 GB; and old ones.
  const add = (gib: number, days: number, place: "cold" | "here") => {
    const archive = { sizeBytes: byteCount(GIB), createdAt: (now - days * day) as Instant };
    for (let count = 0; count < gib; count += 1) tally.add(archive, place);
  };
  add(500, 30, "here");
  add(1000, 60, "cold");
  const { stored, restore, deletion } = tally.report({ free: false, trash: null });
  expect(stored).toMatchObject({ archives: 1500, bytes: 1500 * GIB });
  expect(stored.pricePerMonth).toBeCloseTo(1500 * 0.033);
  // Besides the bytes: a request for each job, one that asks for it, and 32 that fetch it.
  const requests = 1000 * (1 / 10_000 + (33 * 0.1) / 10_000);
  expect(restore.tiers.standard.price).toBeCloseTo(60 + requests);
  expect(restore.tiers.bulk.price).toBeCloseTo(16 + requests);
  // Expedited does not take a GiB: it is Standard's price then.
  expect(restore.tiers.expedited.price).toBeCloseTo(60 + requests);
  expect(restore.trafficPrice).toBeCloseTo(640);
  expect(deletion.price).toBeCloseTo(33 + 33 + 0.15);
  expect(deletion).toMatchObject({ young: 1500, freeAt: new Date(now + 60 * day).toISOString() });
});

test("a recall that goes on costs nothing more, and what is old enough costs nothing to delete but its request", () => {
  const tally = new CostTally(prices, now);
  const createdAt = (now - 91 * day) as Instant;
  tally.add({ sizeBytes: byteCount(200 * MIB), createdAt }, "recalling");
  tally.add({ sizeBytes: byteCount(256 * MIB), createdAt }, "cold");
  tally.addNotArchived(7);
  const report = tally.report({ free: true, trash: null });
  expect(report.restore).toMatchObject({ archives: 2, bytes: 456 * MIB, running: 1 });
  expect(report.restore.tiers.expedited.price).toBeCloseTo(0.05, 2);
  expect(report.deletion).toEqual({ price: 0.0002, young: 0, freeAt: null });
  expect(report).toMatchObject({ free: true, notArchived: { files: 1, bytes: 7 } });
});

test("a path means the files below it, each archive once; without one everything that is billed, the trash too", async () => {
  await using it = await TestVault.create({ trash: true });
  await it.mkdir("d");
  await it.writeCold("d/cold", "12345");
  await it.writeArchived("d/here", "123");
  await it.writeArchived("old", "1234567");
  await it.unlink("old");
  await it.write("d/new", "12");
  const { parent } = it.place("d/linked");
  await it.fs.link(it.ino("d/here"), { parent, name: "linked" });
  const survey = surveyOf(it);
  const below = await survey.cost([
    ["photos", "d"],
    ["photos", "d", "cold"],
  ]);
  expect(below.stored).toMatchObject({ archives: 2, bytes: 8 });
  expect(below.restore).toMatchObject({ archives: 1, bytes: 5 });
  expect(below).toMatchObject({ trash: null, notArchived: { files: 1, bytes: 2 } });
  for (const paths of [[], [[]]]) {
    const all = await survey.cost(paths);
    expect(all.stored).toMatchObject({ archives: 3, bytes: 15 });
    expect(all).toMatchObject({ trash: { files: 1, bytes: 7 }, notArchived: { files: 1 } });
  }
  await expect(survey.cost([["photos", "nothing"]])).rejects.toMatchObject({ kind: "not-found" });
  await it.archiveAll();
});

test("a recall and a deletion are in the ledger, with what of 90 days was left, across a crash", async () => {
  await using it = await TestVault.create();
  await it.writeCold("a", "cold text");
  await it.text("a");
  // A look writes what is counted; otherwise it is a second until it is.
  surveyOf(it).ledger(null);
  await it.clock.advance(40 * day);
  await it.unlink("a");
  await it.archiveAll();
  surveyOf(it).ledger(null);
  await it.catalog.flush();
  await it.reopen();
  const { months } = surveyOf(it).ledger(null);
  expect(months).toHaveLength(2);
  expect(months[0]!.retrievals.standard).toMatchObject({ count: 1, bytes: 9 });
  expect(months[0]!.uploads).toEqual({ count: 1, bytes: 9, parts: 0 });
  expect(months[0]!.downloads.bytes).toBe(9);
  expect(months[1]!.deletions).toMatchObject({ count: 1, bytes: 9 });
  expect(months[1]!.requests.writes).toBe(1);
  // 50 of 90 days, to the minute that uploading took.
  expect(months[1]!.deletions.price / ((9 / GIB) * 50 * (0.033 / 30))).toBeCloseTo(1, 2);
});

test("months add up their days, with the price of each part", () => {
  const row = (date: string, item: LedgerRow["item"], count: number, bytes = 0, byteDays = 0): LedgerRow => ({
    day: Date.parse(date) as Instant,
    item,
    count,
    bytes,
    byteDays,
  });
  const report = ledgerReport(
    [
      row("2026-10-31", "retrieval-bulk", 2, 100 * GIB),
      row("2026-11-01", "retrieval-standard", 3, 500 * GIB),
      row("2026-11-02", "retrieval-standard", 7, 500 * GIB),
      row("2026-11-02", "delete", 5, 500 * GIB, 500 * GIB * 60),
      row("2026-11-02", "write", 1000),
      row("2026-11-03", "read", 1000),
      row("2026-11-03", "download", 40, 1000 * GIB),
      row("2026-11-03", "upload", 4, 10),
      row("2026-11-03", "part", 64, 9),
      row("2026-11-03", "inventory", 1),
    ],
    prices,
    false,
  );
  expect(report.months.map(({ month }) => month)).toEqual(["2026-10", "2026-11"]);
  const [october, november] = report.months;
  expect(october!.price).toBeCloseTo(1.6);
  expect(november!.retrievals.standard).toMatchObject({ count: 10, bytes: 1000 * GIB });
  expect(november!.retrievals.standard.price).toBeCloseTo(60);
  expect(november!.deletions.price).toBeCloseTo(33);
  expect(november!.requests.price).toBeCloseTo(0.11);
  expect(november!.downloads.trafficPrice).toBeCloseTo(640);
  expect(november!).toMatchObject({ uploads: { count: 4, bytes: 10, parts: 64 }, inventories: 1 });
  expect(november!.price).toBeCloseTo(60 + 33 + 0.11);
});
