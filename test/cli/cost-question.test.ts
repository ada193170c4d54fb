import { expect, test } from "vitest";
import { checkTier, priceText, retrievalLine } from "../../src/cli/cost-question.js";
import { byteCount, GIB, MIB } from "../../src/domain/bytes.js";
import type { Instant } from "../../src/domain/time.js";
import { earlyDeletionPrice, publishedPrices } from "../../src/protocol/prices.js";

const day = 86_400_000;

test("a retrieval is told with its price and time, and per GiB when nobody knows its size", () => {
  expect(retrievalLine(publishedPrices, byteCount(1000 * GIB), "standard")).toBe(
    "a retrieval of 1000GiB at tier standard: about 60.32 CNY, ready in 3h to 5h; from outside the service's region also about 640.00 CNY for traffic",
  );
  expect(retrievalLine(publishedPrices, null, "bulk")).toBe(
    "a retrieval of unknown size at tier bulk: 0.016 CNY for each GiB, ready in 5h to 12h",
  );
});

test("a price never looks like nothing", () => {
  expect(priceText(0.0001, "CNY")).toBe("less than 0.01 CNY");
});

test("the expedited tier takes archives up to 256 MiB; of an unknown size the service decides", () => {
  expect(() => checkTier(byteCount(256 * MIB + 1), "expedited")).toThrow("the tier takes up to 256MiB");
  for (const size of [byteCount(256 * MIB), null]) expect(() => checkTier(size, "expedited")).not.toThrow();
  expect(() => checkTier(byteCount(300 * MIB), "bulk")).not.toThrow();
});

test("deleting early costs the rest of 90 days, as the published examples have it", () => {
  const stored = (gib: number, days: number) =>
    earlyDeletionPrice(
      publishedPrices,
      { sizeBytes: byteCount(gib * GIB), createdAt: 0 as Instant },
      (days * day) as Instant,
    );
  expect(stored(500, 30)).toBeCloseTo(33);
  expect(stored(1000, 60)).toBeCloseTo(33);
  expect(stored(1000, 90)).toBe(0);
  expect(stored(1000, 400)).toBe(0);
});
