import { expect, test } from "vitest";
import { deferred } from "../../src/lib/deferred.js";
import { WorkSlots } from "../../src/lib/work-slots.js";

test("work takes a slot until it ends, and tells when the slot is free", async () => {
  const slots = new WorkSlots<string>(2);
  const [one, other] = [deferred<void>(), deferred<void>()];
  const freed: number[] = [];
  slots.start(
    "one",
    () => one.promise,
    () => freed.push(slots.free),
  );
  slots.start(
    "other",
    () => other.promise,
    () => freed.push(slots.free),
  );
  expect([slots.free, slots.has("one")]).toEqual([0, true]);
  one.resolve();
  await expect.poll(() => freed).toEqual([1]);
  expect(slots.has("one")).toBe(false);
  other.resolve();
  await expect.poll(() => freed).toEqual([1, 2]);
});

test("close aborts what is running, waits for its end and frees no slot any more", async () => {
  const slots = new WorkSlots<string>(2);
  let ended = false;
  const untilAborted = (signal: AbortSignal) =>
    new Promise<void>((resolve) => signal.addEventListener("abort", () => setTimeout(resolve, 5))).then(() => {
      ended = true;
    });
  let told = false;
  slots.start("work", untilAborted, () => {
    told = true;
  });
  await slots.close();
  expect({ ended, told, free: slots.free }).toEqual({ ended: true, told: false, free: 0 });
});

test("the same work twice, or more than there are slots, is a mistake of the caller", () => {
  const slots = new WorkSlots<string>(1);
  const forever = () => new Promise<void>(() => undefined);
  slots.start("work", forever, () => undefined);
  expect(() => slots.start("work", forever, () => undefined)).toThrow();
  expect(() => slots.start("other", forever, () => undefined)).toThrow();
});
