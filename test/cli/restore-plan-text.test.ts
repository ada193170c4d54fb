import { expect, test } from "vitest";
import type { RestorePlan } from "../../src/app/control-api.js";
import { planLines, totalPrice } from "../../src/cli/restore-plan-text.js";

const hour = 3_600_000;
const plan: RestorePlan = {
  part: null,
  tier: "standard",
  files: 12,
  bytes: 3 * 2 ** 30,
  running: 0,
  slower: 0,
  jobsKnown: true,
  tooLarge: 0,
  otherTiers: [],
  cachedFiles: 0,
  localFiles: 0,
  price: 0.18,
  trafficPrice: 0,
  currency: "CNY",
  readyInMs: { from: 3 * hour, to: 5 * hour },
};

test("a plan says count, bytes, tier, price and when", () => {
  expect(planLines([plan])).toEqual(["12 files, 3GiB to restore at tier standard: about 0.18 CNY, ready in 3h to 5h"]);
});

test("a price is never shown as nothing when it is something", () => {
  expect(planLines([{ ...plan, price: 0.0004 }])[0]).toContain("less than 0.01 CNY");
});

test("no price is free of charge", () => {
  expect(planLines([{ ...plan, price: 0, readyInMs: null }])[0]).toContain("free of charge, ready soon");
});

test("what is under way already and what is here already is told", () => {
  expect(planLines([{ ...plan, running: 1, cachedFiles: 2, localFiles: 1 }])).toEqual([
    "12 files (1 already under way, free), 3GiB to restore at tier standard: about 0.18 CNY, ready in 3h to 5h",
    "3 files here already",
  ]);
});

test("when all is under way, nothing is ordered and nothing asked, but for traffic", () => {
  const joined = { ...plan, running: 12, price: 0 };
  expect(planLines([joined])).toEqual(["12 files, 3GiB: already under way, free of charge"]);
  expect(totalPrice([joined])).toBe(0);
  expect(planLines([{ ...joined, trafficPrice: 1.92 }])[0]).toContain("also about 1.92 CNY for traffic");
  expect(totalPrice([{ ...joined, trafficPrice: 1.92 }])).toBeGreaterThan(0);
});

test("a price that may be too high, because the service did not name its jobs, says so", () => {
  expect(planLines([{ ...plan, jobsKnown: false }])[1]).toContain("did not say which jobs it has");
});

test("when nothing is cold there is nothing to restore", () => {
  expect(planLines([{ ...plan, files: 0, bytes: 0, price: 0, cachedFiles: 7 }])).toEqual([
    "nothing to restore: 7 files here already",
  ]);
});

test("prices of several mounts add up", () => {
  expect(totalPrice([plan, { ...plan, price: 1 }])).toBeCloseTo(1.18);
});

test("the other tiers are offered with their prices, unless it is free", () => {
  const otherTiers = [{ tier: "bulk" as const, price: 0.05, readyInMs: { from: 5 * hour, to: 12 * hour } }];
  const lines = planLines([{ ...plan, otherTiers }]);
  expect(lines[1]).toBe("  or --tier bulk: about 0.05 CNY, ready in 5h to 12h");
  expect(planLines([{ ...plan, otherTiers, price: 0 }])).toHaveLength(1);
});

test("what a faster tier orders a second time is told", () => {
  expect(planLines([{ ...plan, running: 3, slower: 2 }])[0]).toContain(
    "(1 already under way, free; 2 under way at a slower tier: for those a second job is ordered)",
  );
});
