/** Waits of the driver fuse-native have an end, and their number too. */

import { expect, test } from "vitest";
import { ms } from "../../../src/domain/time.js";
import type { FuseCaller } from "../../../src/fuse/driver.js";
import { RequestDeadlines } from "../../../src/fuse/native/request-deadline.js";

const untilGivenUp = ({ signal }: FuseCaller) =>
  new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });

test("what waits for too long is given up, what does not wait is not", async () => {
  const deadlines = new RequestDeadlines(ms(20));
  await expect(deadlines.run(untilGivenUp)).rejects.toMatchObject({ kind: "cancelled" });
  expect(await deadlines.run(async () => "done")).toBe("done");
});

test("while 64 requests wait the next does not, and when they are done it may again", async () => {
  const deadlines = new RequestDeadlines(ms(60_000));
  let letGo: (value: string) => void = () => undefined;
  const held = new Promise<string>((resolve) => {
    letGo = resolve;
  });
  const waiting = Array.from({ length: 64 }, () => deadlines.run(() => held));
  await expect(deadlines.run(untilGivenUp)).rejects.toMatchObject({ kind: "cancelled" });
  expect(await deadlines.run(async () => "answered at once")).toBe("answered at once");
  letGo("done");
  await Promise.all(waiting);
  await deadlines.run(async ({ signal }) => expect(signal.aborted).toBe(false));
});

test("nobody but the user who mounted is known", async () => {
  const caller = await new RequestDeadlines(ms(1000)).run(async (known) => known);
  expect(caller).toMatchObject({ uid: process.geteuid?.(), gid: process.getegid?.(), pid: -1 });
});
