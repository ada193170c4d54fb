/** Who may recall nothing, and how often that is told. */

import { expect, test } from "vitest";
import { parseProcessRules } from "../../src/config/process-rules.js";
import type { CasfsEvent } from "../../src/domain/events.js";
import { hours, minutes } from "../../src/domain/time.js";
import { deferred } from "../../src/lib/deferred.js";
import { eventText } from "../../src/observability/event-text.js";
import { RecallRefusals } from "../../src/vfs/recall-refusals.js";
import { FakeClock } from "../support/fake-clock.js";
import { caller, reading, TestVault, type TestVaultOptions } from "../support/test-file-system.js";

const indexer = { ...caller, pid: 7, uid: 0 };
const reader = { ...caller, pid: 8, uid: 0 };
const names: Readonly<Record<number, readonly string[]>> = { 7: ["updatedb", "updatedb.plocate"], 8: ["cat"] };
const processes = { names: async (pid: number) => names[pid] ?? [] };
const overBudget = { kind: "over-budget" };

function withRules(rules: string, more: TestVaultOptions = {}): Promise<TestVault> {
  return TestVault.create({ processes, ...more, settings: { ...more.settings, recallDeny: parseProcessRules(rules) } });
}

const refusals = (it: TestVault) => it.events.filter((event) => event.type === "recall-refused");

test("an open by a denied program fails with EDQUOT and starts no job, that of another one recalls", async () => {
  await using it = await withRules("updatedb*");
  await it.writeCold("a", "cold");
  await expect(it.open("a", reading, indexer)).rejects.toMatchObject(overBudget);
  expect(it.service.calls.initiateJob).toBe(0);
  expect(refusals(it)).toEqual([
    expect.objectContaining({
      reason: "denied",
      pid: 7,
      command: "updatedb",
      path: "photos/a",
      sizeBytes: 4,
      repeats: 0,
    }),
  ]);
  await it.close(await it.open("a", reading, reader));
  // What is here costs nothing.
  await it.close(await it.open("a", reading, indexer));
});

test("a denied program does not even wait for a recall that goes on", async () => {
  await using it = await withRules("updatedb*", { retrievalMs: hours(4) });
  await it.writeCold("a", "cold");
  const text = it.text("a");
  await it.until(() => it.state("a") === "recalling");
  await expect(it.open("a", reading, indexer)).rejects.toMatchObject(overBudget);
  await it.until(() => it.state("a") === "cached", { stepMs: minutes(10) });
  expect(await text).toBe("cold");
});

test("a denied user is refused, also when nobody knows the process", async () => {
  await using it = await withRules("uid:1000");
  await it.writeCold("a", "cold");
  for (const pid of [8, 0, -1, 99]) {
    await expect(it.open("a", reading, { ...caller, pid, uid: 1000 })).rejects.toMatchObject(overBudget);
  }
  expect(refusals(it).map((event) => event.command)).toEqual(["cat", null]);
  await it.close(await it.open("a", reading, { ...caller, pid: 0, uid: 1 }));
});

test("an open with O_NONBLOCK gets EAGAIN from everybody, as it recalls nothing", async () => {
  await using it = await withRules("updatedb*");
  await it.writeCold("a", "cold");
  await expect(it.open("a", { ...reading, nonBlock: true }, indexer)).rejects.toMatchObject({ kind: "not-restored" });
  expect(refusals(it)).toEqual([]);
});

test("what the budget refuses is told with process, command and path", async () => {
  await using it = await withRules("none", { recallLimits: { bytes: { max: 3, periodMs: hours(24) }, cost: null } });
  await it.writeCold("a", "cold");
  await expect(it.open("a", reading, reader)).rejects.toMatchObject(overBudget);
  const [event] = refusals(it);
  expect(event).toMatchObject({ reason: "over-budget", pid: 8, command: "cat", path: "photos/a" });
  expect(eventText(event!).text).toMatch(
    /^refused the recall of photos\/a to process 8 \(cat\): Cannot recall archive .* 4B are more than --recall-limit 3B\/day ever allows\. Run `casfs restore`/,
  );
});

test("a file that is rewritten while its reader is looked at is not recalled", async () => {
  const looked = deferred<readonly string[]>();
  await using it = await withRules("updatedb*", { processes: { names: () => looked.promise } });
  await it.writeCold("a", "cold");
  const opened = it.open("a", reading, reader);
  await it.write("a", "new");
  looked.resolve(["cat"]);
  const handle = await opened;
  expect((await it.pread(handle, 0, 10)).toString()).toBe("new");
  await it.close(handle);
  expect(it.service.calls.initiateJob).toBe(0);
});

test("a flood of refusals is one line a minute and command, and is counted", async () => {
  const clock = new FakeClock();
  const events: CasfsEvent[] = [];
  const log = new RecallRefusals({ clock, observer: (event) => void events.push(event) });
  const refusal = {
    reason: "denied" as const,
    pid: 7,
    command: "updatedb",
    path: "photos/a",
    sizeBytes: 1,
    message: "no",
  };
  for (let second = 0; second < 150; second += 1) {
    for (let file = 0; file < 100; file += 1) log.note({ ...refusal, path: `photos/${file}` });
    await clock.advance(1000);
  }
  log.note({ ...refusal, command: "cat", reason: "over-budget" });
  expect(events.map((event) => event.type === "recall-refused" && [event.command, event.repeats])).toEqual([
    ["updatedb", 0],
    ["updatedb", 5999],
    ["updatedb", 5999],
    ["cat", 0],
  ]);
  expect(eventText(events[1]!).text).toContain("; 5999 more like it since the last line");
  expect(log.totals).toEqual({ denied: 15_000, "over-budget": 1 });
  expect(log.recent().map(({ command, count, path }) => [command, count, path])).toEqual([
    ["cat", 1, "photos/a"],
    ["updatedb", 15_000, "photos/99"],
  ]);
});

test("programs that make up names are not remembered for ever", () => {
  const log = new RecallRefusals({ clock: new FakeClock(), observer: () => undefined });
  for (let number = 0; number < 1000; number += 1) {
    log.note({ reason: "denied", pid: number, command: `x${number}`, path: "a", sizeBytes: 1, message: "no" });
  }
  expect(log.recent()).toHaveLength(32);
  expect(log.recent()[0]?.command).toBe("x999");
});
