import { expect, test } from "vitest";
import { backoffDelayMs } from "../../src/lib/backoff.js";
import { fc } from "../support/seeded-fast-check.js";

const limits = { delayMsMin: 1000, delayMsMax: 300_000 };

test("pauses stay between the limits, and the bound doubles with every attempt", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (attempt, random) => {
        const delayMs = backoffDelayMs(attempt, limits, () => random);
        expect(delayMs).toBeGreaterThanOrEqual(1000);
        expect(delayMs).toBeLessThanOrEqual(Math.min(300_000, 1000 * 2 ** attempt));
      },
    ),
  );
});
