import { expect, test } from "vitest";
import { realSleep } from "../../src/lib/real-sleep.js";

test("a sleep takes its time", async () => {
  const before = performance.now();
  await realSleep(30);
  expect(performance.now() - before).toBeGreaterThanOrEqual(28);
  await realSleep(0);
});

test("an abort ends a sleep with the signal's own reason, also one of months", async () => {
  const abort = new AbortController();
  const sleeping = realSleep(90 * 24 * 3_600_000, { signal: abort.signal });
  setTimeout(() => abort.abort("wake up"), 10);
  await expect(sleeping).rejects.toBe("wake up");
  await expect(realSleep(10, { signal: AbortSignal.abort("never") })).rejects.toBe("never");
});
