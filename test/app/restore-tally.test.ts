import { expect, test } from "vitest";
import { RestoreTally } from "../../src/app/restore-tally.js";
import { byteCount, GIB, MIB } from "../../src/domain/bytes.js";
import { publishedPrices as prices } from "../../src/protocol/prices.js";
import type { RetrievalTier } from "../../src/protocol/service.js";

const size = byteCount(10 * GIB);
const tallyOf = (wanted?: RetrievalTier) => new RestoreTally({ prices, wanted, usual: "standard", isLocal: false });
const job = { tier: "bulk", isReady: false, isOurs: false } as const;

test("a job that exists is free, whoever ordered it; another's has its traffic", () => {
  const tally = tallyOf();
  tally.cold(size, undefined);
  tally.cold(size, job);
  tally.cold(size, { ...job, isOurs: true });
  const plan = tally.plan(true);
  expect(plan).toMatchObject({ files: 3, running: 2, slower: 0, tier: "standard" });
  expect(plan.price).toBeCloseTo(10 * prices.retrievalPerGb.standard);
  expect(plan.trafficPrice).toBeCloseTo(20 * prices.trafficOutPerGb);
});

test("a job of a slower tier costs another one when a tier is named, unless its output is there", () => {
  const tally = tallyOf("expedited");
  tally.cold(byteCount(MIB), job);
  tally.cold(byteCount(MIB), { ...job, isReady: true });
  // Expedited does not take it: what is ordered is standard, which is faster than bulk too.
  tally.cold(size, job);
  tally.cold(size, { ...job, tier: "standard" });
  expect(tally.plan(true)).toMatchObject({ running: 4, slower: 2, tooLarge: 2 });
});

test("what cannot be read orders nothing", () => {
  const tally = tallyOf();
  tally.unreadable(size);
  expect(tally.plan(true)).toMatchObject({ files: 1, price: 0, trafficPrice: 0 });
});

test("a service on this machine costs nothing, and nobody knows how long it takes", () => {
  const tally = new RestoreTally({ prices, wanted: undefined, usual: "standard", isLocal: true });
  tally.cold(size, undefined);
  expect(tally.plan(true)).toMatchObject({ files: 1, price: 0, trafficPrice: 0, readyInMs: null, otherTiers: [] });
});
