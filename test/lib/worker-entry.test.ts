import { expect, test } from "vitest";
import { workerEntry } from "../../src/lib/worker-entry.js";

test("compiled code finds the worker beside it, source code finds the compiled one", () => {
  const entry = "file:///home/src/casfs/dist/cache/hash-worker.js";
  expect(workerEntry("file:///home/src/casfs/dist/cache/hash-pool.js", "./hash-worker.js").href).toBe(entry);
  expect(workerEntry("file:///home/src/casfs/src/cache/hash-pool.ts", "./hash-worker.js").href).toBe(entry);
});
