import { expect, test } from "vitest";
import { type Deferred, deferred } from "../../src/lib/deferred.js";
import { SharedRun } from "../../src/lib/shared-run.js";

function controlled() {
  const runs: Deferred<void>[] = [];
  const shared = new SharedRun(() => {
    const run = deferred<void>();
    runs.push(run);
    return run.promise;
  });
  return { runs, shared };
}

test("all who ask during a run share the one that begins after it", async () => {
  const { runs, shared } = controlled();
  const first = shared.request();
  const later = [shared.request(), shared.request(), shared.request()];
  expect(runs.length).toBe(1);
  runs[0]!.resolve();
  await first;
  await expect.poll(() => runs.length).toBe(2);
  runs[1]!.resolve();
  await Promise.all(later);
  expect(runs.length).toBe(2);
});

test("a failed run rejects those it was for, and the next ones get another", async () => {
  const { runs, shared } = controlled();
  const first = shared.request();
  const second = shared.request();
  runs[0]!.reject(new Error("disk"));
  await expect(first).rejects.toThrow("disk");
  await expect.poll(() => runs.length).toBe(2);
  runs[1]!.resolve();
  await second;
});
