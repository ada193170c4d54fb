import { expect, test } from "vitest";
import type { RestorePlan } from "../../src/app/control-api.js";
import { planLines, totalPrice } from "../../src/cli/restore-plan-text.js";

const hour = 3_600_000;
const plan: RestorePlan = {
  tier: "standard",
  files: 12,
  bytes: 3 * 2 ** 30,
  running: 0,
  slower: 0,
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

test("what is running already and what is here already is told", () => {
  expect(planLines([{ ...plan, files: 1, running: 1, cachedFiles: 2, localFiles: 1 }])).toEqual([
    "1 file (1 of them already on the way), 3GiB to restore at tier standard: about 0.18 CNY, ready in 3h to 5h",
    "3 files here already",
  ]);
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
    "(3 of them already on the way, 2 at a slower tier: for those a second job is ordered)",
  );
});
