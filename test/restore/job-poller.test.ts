import { expect, test } from "vitest";
import { ServiceError } from "../../src/domain/errors.js";
import type { CasfsEvent } from "../../src/domain/events.js";
import { vaultName } from "../../src/domain/ids.js";
import { ms } from "../../src/domain/time.js";
import { JobCallbacks } from "../../src/restore/job-callbacks.js";
import { JobPoller, pollDelayMs } from "../../src/restore/job-poller.js";
import { FakeClock, settled } from "../support/fake-clock.js";
import { MemoryCasService } from "../support/memory-cas-service.js";
import { newArchive, testBytes } from "../support/test-bytes.js";

const vault = vaultName("photos");

async function fixture({ retrievalMs = 4 * 3600 * 1000 } = {}) {
  const clock = new FakeClock();
  const service = new MemoryCasService({ clock, retrievalMs: { standard: retrievalMs, expedited: 1000 } });
  const events: CasfsEvent[] = [];
  const poller = new JobPoller({ service, clock, observer: (event) => events.push(event) });
  await service.createVault(vault);
  const archiveId = await service.uploadArchive(vault, newArchive(testBytes(10)));
  const start = (tier: "standard" | "expedited" = "standard") =>
    service.initiateJob(vault, { action: "retrieve-archive", archiveId, tier });
  return { clock, service, events, poller, start };
}

test("the pause grows with the time waited, from 200 ms to 5 minutes", () => {
  expect(pollDelayMs(0)).toBe(200);
  expect(pollDelayMs(10_000)).toBe(500);
  expect(pollDelayMs(3_600_000)).toBe(180_000);
  expect(pollDelayMs(1e9)).toBe(300_000);
});

test("a job of four hours is asked for less than 200 times and noticed within 5 minutes", async () => {
  const { clock, service, poller, start } = await fixture();
  const waiting = poller.wait(vault, await start());
  let done = false;
  void waiting.then(() => {
    done = true;
  });
  await clock.advance(4 * 3600 * 1000 - 1);
  expect(done).toBe(false);
  await clock.advance(300_001);
  expect(await waiting).toMatchObject({ status: "succeeded" });
  expect(service.calls.listJobs).toBeLessThan(200);
  expect(clock.sleepers).toBe(0);
});

test("many waiters of one vault share one question at a time", async () => {
  const { clock, service, poller, start } = await fixture({ retrievalMs: 1000 });
  const jobs = await Promise.all(Array.from({ length: 50 }, () => start()));
  const waiting = Promise.all(jobs.map((job) => poller.wait(vault, job)));
  await clock.advance(2000);
  expect((await waiting).every(({ status }) => status === "succeeded")).toBe(true);
  expect(service.calls.listJobs).toBeLessThan(12);
  expect(service.calls.describeJob).toBe(0);
});

test("questions that take long are asked rarely: a tenth of the time, and all the same every five seconds", async () => {
  const { clock, service, start } = await fixture({ retrievalMs: 60_000 });
  for (const [listingMs, questionsMax] of [
    [300, 12],
    [2000, 7],
  ] as const) {
    let questions = 0;
    const slow = {
      describeJob: service.describeJob.bind(service),
      listJobs: async (...words: Parameters<typeof service.listJobs>) => {
        questions += 1;
        await clock.sleep(ms(listingMs));
        return service.listJobs(...words);
      },
    };
    const poller = new JobPoller({ service: slow, clock, observer: () => undefined });
    const controller = new AbortController();
    const waiting = poller.wait(vault, await start(), { signal: controller.signal });
    await clock.advance(30_000);
    expect(questions).toBeLessThanOrEqual(questionsMax);
    expect(questions).toBeGreaterThan(2);
    controller.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await clock.advance(10_000);
  }
});

test("a new waiter is answered soon though old ones wait for hours", async () => {
  const { clock, poller, start } = await fixture();
  const controller = new AbortController();
  const slow = poller.wait(vault, await start(), { signal: controller.signal });
  slow.catch(() => undefined);
  await clock.advance(3 * 3600 * 1000);
  const quick = poller.wait(vault, await start("expedited"));
  await clock.advance(1300);
  expect(await quick).toMatchObject({ status: "succeeded" });
  controller.abort(new Error("enough"));
  await expect(slow).rejects.toThrow("enough");
  await settled();
  expect(clock.sleepers).toBe(0);
});

test("a job that the service has forgotten is not waited for", async () => {
  const { clock, poller, start } = await fixture({ retrievalMs: 0 });
  const job = await start();
  await clock.advance(25 * 3600 * 1000);
  await expect(poller.wait(vault, job)).rejects.toMatchObject({ fault: "missing" });
});

test("errors that pass are reported and survived", async () => {
  const { clock, service, events, poller, start } = await fixture({ retrievalMs: 0 });
  service.fail({ operation: "listJobs", error: new ServiceError("unavailable", "Come back later"), times: 5 });
  const waiting = poller.wait(vault, await start());
  await clock.advance(60_000);
  expect(await waiting).toMatchObject({ status: "succeeded" });
  expect(events).toHaveLength(5);
});

test("errors that do not pass go to the waiters", async () => {
  const { service, poller, start } = await fixture();
  service.fail({ operation: "listJobs", error: new ServiceError("denied", "No access") });
  await expect(poller.wait(vault, await start())).rejects.toMatchObject({ fault: "denied" });
});

test("closing rejects who waits", async () => {
  const { poller, start, clock } = await fixture();
  const waiting = poller.wait(vault, await start());
  await settled();
  const closed = poller.close(new Error("the end"));
  await expect(waiting).rejects.toThrow("the end");
  await closed;
  expect(clock.sleepers).toBe(0);
});

test("a job whose end is reported is asked for ten times less often, and at once when the message comes", async () => {
  const plain = await fixture();
  const told = await fixture();
  const callbacks = new JobCallbacks({ service: told.service, observer: () => undefined, url: "http://127.0.0.1:1/" });
  const poller = new JobPoller({ service: told.service, clock: told.clock, observer: () => undefined, callbacks });
  const [asked, reported] = [plain.poller.wait(vault, await plain.start()), poller.wait(vault, await told.start())];
  let done = false;
  void reported.then(() => {
    done = true;
  });
  for (const { clock } of [plain, told]) await clock.advance(4 * 3600 * 1000 + 1);
  expect(told.service.calls.listJobs).toBeLessThan(plain.service.calls.listJobs / 5);
  expect(done).toBe(false);
  poller.nudge(vault);
  await told.clock.advance(1000);
  expect(done).toBe(true);
  await plain.clock.advance(300_001);
  expect(await asked).toMatchObject({ status: "succeeded" });
});

test("a lost message delays a job by half an hour at most, and a flood of them asks no more than five times a second", async () => {
  const { clock, service, start } = await fixture();
  const callbacks = { claim: async () => undefined, isOurs: () => true };
  const poller = new JobPoller({ service, clock, observer: () => undefined, callbacks });
  const waiting = poller.wait(vault, await start());
  for (let message = 0; message < 1000; message++) {
    poller.nudge(vault);
    await clock.advance(1);
  }
  expect(service.calls.listJobs).toBeLessThanOrEqual(8);
  await clock.advance(4.5 * 3600 * 1000);
  expect(await waiting).toMatchObject({ status: "succeeded" });
});

test("an address that somebody else has set stays, and the vault is asked as ever", async () => {
  const { clock, service, start, events } = await fixture({ retrievalMs: 1000 });
  await service.setVaultCallback(vault, "http://somebody.else/");
  const observer = (event: CasfsEvent) => void events.push(event);
  const callbacks = new JobCallbacks({ service, observer, url: "http://127.0.0.1:1/" });
  const poller = new JobPoller({ service, clock, observer, callbacks });
  const waiting = poller.wait(vault, await start());
  await clock.advance(2000);
  expect(await waiting).toMatchObject({ status: "succeeded" });
  expect(await service.vaultCallback(vault)).toBe("http://somebody.else/");
  expect(events).toContainEqual(expect.objectContaining({ message: expect.stringContaining("http://somebody.else/") }));
});
