import { expect, test } from "vitest";
import { deferred } from "../../src/lib/deferred.js";
import { Semaphore } from "../../src/lib/semaphore.js";

test("never more holders than permits, served in order", async () => {
  const semaphore = new Semaphore(2);
  const order: number[] = [];
  let holders = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 10 }, (_, index) =>
      semaphore.run(undefined, async () => {
        order.push(index);
        most = Math.max(most, ++holders);
        await new Promise((resolve) => setImmediate(resolve));
        holders -= 1;
      }),
    ),
  );
  expect(most).toBe(2);
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("who gives up waiting takes no permit with it, also when it was just handed over", async () => {
  const semaphore = new Semaphore(1);
  const gate = deferred<void>();
  const first = semaphore.run(undefined, () => gate.promise);
  const controller = new AbortController();
  const impatient = semaphore.run(controller.signal, async () => "never");
  const last = semaphore.run(undefined, async () => "served");
  gate.resolve();
  controller.abort(new Error("gave up"));
  await first;
  await expect(impatient).rejects.toThrow("gave up");
  expect(await last).toBe("served");
  expect(await semaphore.run(undefined, async () => "free")).toBe("free");
});

test("a failing holder gives its permit back", async () => {
  const semaphore = new Semaphore(1);
  await expect(semaphore.run(undefined, () => Promise.reject(new Error("failed")))).rejects.toThrow("failed");
  expect(await semaphore.run(undefined, async () => 1)).toBe(1);
});
