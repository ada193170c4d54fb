import { expect, test } from "vitest";
import type { CostReport } from "../../src/app/cost-tally.js";
import type { LedgerMonth } from "../../src/app/ledger-report.js";
import { costLines, ledgerLines } from "../../src/cli/cost-text.js";
import { readyIn } from "../../src/protocol/prices.js";

const gib = 2 ** 30;
const now = Date.parse("2026-11-22T00:00:00Z");
const report: CostReport = {
  currency: "CNY",
  free: false,
  stored: { archives: 1200, bytes: 1000 * gib, pricePerMonth: 33 },
  restore: {
    archives: 1000,
    bytes: 900 * gib,
    running: 2,
    tiers: {
      expedited: { price: 54, readyInMs: readyIn.expedited },
      standard: { price: 54, readyInMs: readyIn.standard },
      bulk: { price: 14.4, readyInMs: readyIn.bulk },
    },
    trafficPrice: 576,
  },
  deletion: { price: 12.5, young: 30, freeAt: "2026-12-02T00:00:00Z" },
  notArchived: { files: 1, bytes: gib },
  trash: { files: 3, bytes: 2 * gib },
};

test("what keeping, restoring and deleting cost is told in a few lines", () => {
  expect(costLines(report, now)).toEqual([
    "storing    1200 archives, 1000GiB: about 33.00 CNY a month",
    "           of that in the trash: 3 files, 2GiB",
    "restoring  1000 archives (2 of them already on the way), 900GiB not here",
    "           expedited  about 54.00 CNY, ready in 1m to 5m",
    "           standard   about 54.00 CNY, ready in 3h to 5h",
    "           bulk       about 14.40 CNY, ready in 5h to 12h",
    "           from outside the service's region also about 576.00 CNY for traffic",
    "deleting   about 12.50 CNY for 30 archives billed for a minimum time; nothing in 10d",
    "           not archived yet: 1 file, 1GiB",
  ]);
});

test("what costs nothing is told as that, and whose prices these are", () => {
  const quiet: CostReport = {
    ...report,
    free: true,
    restore: { ...report.restore, archives: 0 },
    deletion: { price: 0.0002, young: 0, freeAt: null },
    notArchived: { files: 0, bytes: 0 },
    trash: null,
  };
  expect(costLines(quiet, now)).toEqual([
    "the service is on this machine and costs nothing; at the configured prices it would be:",
    "storing    1200 archives, 1000GiB: about 33.00 CNY a month",
    "restoring  nothing to restore: all of it is here",
    "deleting   less than 0.01 CNY, as everything is old enough",
  ]);
});

const none = { count: 0, bytes: 0, price: 0 };
const month: LedgerMonth = {
  month: "2026-11",
  retrievals: { expedited: none, standard: { count: 10, bytes: 1000 * gib, price: 60 }, bulk: none },
  inventories: 3,
  uploads: { count: 1000, bytes: 500 * gib, parts: 20_000 },
  deletions: { count: 5, bytes: 500 * gib, price: 33 },
  requests: { writes: 21_000, reads: 40_000, price: 2.5 },
  downloads: { bytes: 1000 * gib, trafficPrice: 640 },
  price: 95.5,
};

test("the ledger has a row for each month, what made its price, and the sum", () => {
  expect(
    ledgerLines({ currency: "CNY", free: false, months: [{ ...month, month: "2026-10", price: 1 }, month] }),
  ).toEqual([
    "MONTH    RETRIEVED  JOBS  UPLOADED  ARCHIVES  DELETED  INVENTORIES  REQUESTS  FETCHED  PRICE",
    "2026-10    1000GiB    10    500GiB      1000        5            3     61000  1000GiB   1.00",
    "2026-11    1000GiB    10    500GiB      1000        5            3     61000  1000GiB  95.50",
    ...["2026-10", "2026-11"].flatMap((name) => [
      `${name}  10 standard retrievals, 1000GiB: about 60.00 CNY`,
      `${name}  5 archives deleted, 500GiB before the minimum time: about 33.00 CNY`,
      `${name}  21000 requests that write, 40000 that read: about 2.50 CNY`,
    ]),
    "in all about 96.50 CNY, without storage; from outside the service's region also about 1280.00 CNY for traffic",
  ]);
});

test("without anything asked for there is nothing to tell", () => {
  expect(ledgerLines({ currency: "CNY", free: false, months: [] })).toEqual(["nothing was asked of the service"]);
});
