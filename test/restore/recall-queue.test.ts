/** Jobs are ordered as fast as their outputs can be fetched and kept, and never twice. */

import { expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { FileSystemError, ServiceError } from "../../src/domain/errors.js";
import type { ArchiveId } from "../../src/domain/ids.js";
import { hours, seconds } from "../../src/domain/time.js";
import type { JobRequest } from "../../src/protocol/service.js";
import { settled } from "../support/fake-clock.js";
import { SimulatedCrash } from "../support/memory-journals.js";
import { RestoreFixture, vault } from "./restore-fixture.js";

const standard = { tier: "standard" } as const;
const batch = { tier: "standard", origin: "restore" } as const;

/** The archives whose jobs were ordered, in that order. */
function orders(fixture: RestoreFixture): ArchiveId[] {
  const ordered: ArchiveId[] = [];
  fixture.service.onCall = (operation, [, request]) => {
    const job = request as JobRequest;
    if (operation === "initiateJob" && job.action === "retrieve-archive") ordered.push(job.archiveId);
  };
  return ordered;
}

async function archives(fixture: RestoreFixture, count: number, sizeBytes = 1000) {
  return Promise.all(Array.from({ length: count }, (_, index) => fixture.archive(index + 1, sizeBytes + index)));
}

test("no more jobs run than the line can fetch within half the life of an output", async () => {
  const fixture = await RestoreFixture.create();
  // 2 MiB in half of 4 seconds at the speed that is assumed; what is measured is at most twice that.
  fixture.restart({ outputLifetimeMs: seconds(4) });
  const cold = await archives(fixture, 10, MIB - 10);
  let most = 0;
  fixture.service.onCall = (operation) => {
    if (operation !== "initiateJob") return;
    most = Math.max(most, fixture.service.calls.initiateJob - fixture.journal.landed.length);
  };
  await Promise.all(cold.map((archive) => fixture.manager.recall(archive, batch)));
  expect(cold.every((archive) => fixture.hasLanded(archive))).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(10);
  expect(most).toBeGreaterThan(1);
  expect(most).toBeLessThanOrEqual(4);
});

test("no more jobs run than the cache can take", async () => {
  const fixture = await RestoreFixture.create();
  const cold = await archives(fixture, 5);
  fixture.sink.noRoom = (sizeBytes, underWayBytes) => (sizeBytes + underWayBytes > 3100 ? "the cache is full" : null);
  const ordered = orders(fixture);
  let most = 0;
  const { onCall } = fixture.service;
  fixture.service.onCall = (operation, details) => {
    onCall(operation, details);
    most = Math.max(most, ordered.length - fixture.journal.landed.length);
  };
  await Promise.all(cold.map((archive) => fixture.manager.recall(archive, batch)));
  expect(ordered).toHaveLength(5);
  expect(most).toBeLessThanOrEqual(3);
});

test("what is queued survives a restart, in its order, and each archive is ordered once", async () => {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const cold = await archives(fixture, 5);
  const ordered = orders(fixture);
  fixture.sink.noRoom = () => "the cache is full";
  for (const archive of cold) void fixture.manager.recall(archive, batch);
  await fixture.clock.advance(hours(5));
  expect(fixture.manager.snapshot().map(({ state, heldBy }) => [state, heldBy])[0]).toEqual(["queued", "room"]);
  expect(ordered).toEqual([]);
  await fixture.manager.close();

  fixture.sink.noRoom = () => null;
  fixture.restart();
  fixture.manager.resume();
  await fixture.clock.advance(hours(1));
  expect(cold.every((archive) => fixture.hasLanded(archive))).toBe(true);
  expect(ordered).toEqual(cold.map(({ id }) => id));
  await fixture.manager.close();
});

test("an open goes before what nobody waits for, also when it joins a queued recall", async () => {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const [first, ahead, second, opened] = await archives(fixture, 4);
  const ordered = orders(fixture);
  fixture.sink.noRoom = () => "the cache is full";
  void fixture.manager.recall(first!, batch);
  void fixture.manager.recall(ahead!, { tier: "standard", origin: "ahead" });
  void fixture.manager.recall(second!, batch);
  void fixture.manager.recall(opened!, { tier: "standard", origin: "ahead" });
  await settled();
  void fixture.manager.recall(opened!, standard);
  await settled();
  fixture.sink.noRoom = (sizeBytes, underWayBytes) => (sizeBytes + underWayBytes > 1100 ? "one at a time" : null);
  await fixture.clock.advance(hours(1));
  expect(ordered).toEqual([opened, first, second, ahead].map((archive) => archive!.id));
  await fixture.manager.close();
});

test("an open for which there is no prospect of room fails with no-space, and orders nothing", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  fixture.sink.noRoom = () => "everything is pinned";
  const error = await fixture.manager.recall(archive, standard).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ kind: "no-space", message: expect.stringContaining("everything is pinned") });
  expect(fixture.service.calls.initiateJob).toBe(0);
});

test("a job that somebody orders meanwhile is joined when the turn comes", async () => {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const archive = await fixture.archive(1);
  fixture.sink.noRoom = () => "the cache is full";
  void fixture.manager.recall(archive, batch);
  await settled();
  await fixture.service.initiateJob(vault, { action: "retrieve-archive", archiveId: archive.id, tier: "standard" });
  fixture.sink.noRoom = () => null;
  await fixture.clock.advance(hours(1));
  expect(fixture.hasLanded(archive)).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(1);
});

test("a faster tier orders a second job only when that is said, and the bytes come from the faster one", async () => {
  const fixture = await RestoreFixture.create({
    retrievalMs: { expedited: 1000, standard: hours(4), bulk: hours(10) },
    autoAdvance: false,
  });
  const archive = await fixture.archive(1);
  const waiting = fixture.manager.recall(archive, { tier: "bulk" });
  await settled();
  void fixture.manager.recall(archive, { tier: "expedited" });
  await fixture.clock.advance(seconds(60));
  expect(fixture.service.calls.initiateJob).toBe(1);

  void fixture.manager.recall(archive, { tier: "expedited", origin: "restore", faster: true });
  await fixture.clock.advance(seconds(60));
  await waiting;
  expect(fixture.service.calls.initiateJob).toBe(2);
  expect(fixture.hasLanded(archive)).toBe(true);
  // Asked for once more, the job that ran is there.
  expect(fixture.journal.unfinished()).toEqual([]);
});

test("a faster tier that the service refuses leaves the recall as it was, and may be asked for again", async () => {
  const fixture = await RestoreFixture.create({
    retrievalMs: { expedited: 1000, standard: hours(4), bulk: hours(10) },
    autoAdvance: false,
  });
  const archive = await fixture.archive(1);
  void fixture.manager.recall(archive, { tier: "bulk" });
  await settled();
  fixture.service.fail({ operation: "initiateJob", error: new ServiceError("denied", "No access") });
  const faster = { tier: "expedited", origin: "restore", faster: true } as const;
  await expect(fixture.manager.recall(archive, faster)).rejects.toMatchObject({ fault: "denied" });
  expect(fixture.manager.status(archive.key)).toMatchObject({ tier: "bulk", state: "retrieving" });
  void fixture.manager.recall(archive, faster);
  await fixture.clock.advance(seconds(60));
  expect(fixture.hasLanded(archive)).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(3);
});

test("a crash after a faster tier was asked for leaves the jobs that were paid for to the next process", async () => {
  const fixture = await RestoreFixture.create({
    retrievalMs: { expedited: 1000, standard: hours(4), bulk: hours(10) },
    autoAdvance: false,
  });
  const archive = await fixture.archive(1);
  void fixture.manager.recall(archive, { tier: "bulk" });
  await settled();
  void fixture.manager.recall(archive, { tier: "expedited", faster: true });
  await settled();
  expect(fixture.service.calls.initiateJob).toBe(2);
  await fixture.manager.close();
  fixture.restart();
  fixture.manager.resume();
  await fixture.clock.advance(seconds(60));
  expect(fixture.hasLanded(archive)).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(2);
});

test("an output that expires is replaced once, restarts included", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  const error = new ServiceError("missing", "There is no such job");
  fixture.service.fail({ operation: "getJobOutput", error, times: 2 });
  fixture.journal.crash.crashAfter("willReplace");
  fixture.restart({ downloadConcurrency: 1 });
  fixture.journal.crash.crashAfter("willReplace");
  await expect(fixture.manager.recall(archive, standard)).rejects.toThrow(SimulatedCrash);
  fixture.restart({ downloadConcurrency: 1 });
  fixture.manager.resume();
  await expect(fixture.manager.recall(archive, standard)).rejects.toMatchObject({ fault: "missing" });
  expect(fixture.service.calls.initiateJob).toBeLessThanOrEqual(2);
  expect(fixture.journal.failures.has(archive.key)).toBe(true);
});

test.each(["polling", "landing"])(
  "a service that is down for an hour while %s delays a recall, and no more",
  async (when) => {
    const fixture = await RestoreFixture.create();
    const archive = await fixture.archive(1);
    const downFrom = fixture.clock.now();
    const broken = when === "polling" ? ["listJobs", "describeJob"] : ["getJobOutput"];
    let refusals = 0;
    fixture.service.onCall = (operation) => {
      const isBegun = fixture.service.calls.initiateJob > 0;
      if (!isBegun || !broken.includes(operation) || fixture.clock.now() - downFrom > hours(1)) return;
      refusals += 1;
      throw new ServiceError("unavailable", "The service is down");
    };
    await fixture.manager.recall(archive, standard);
    expect(refusals).toBeGreaterThan(5);
    expect(fixture.clock.now() - downFrom).toBeGreaterThan(hours(1));
    expect(fixture.hasLanded(archive)).toBe(true);
    expect(fixture.service.calls.initiateJob).toBe(1);
  },
);

test("what a person has ordered waits for a service that cannot be asked; an open is told", async () => {
  const fixture = await RestoreFixture.create();
  const [ordered, opened] = await archives(fixture, 2);
  const downFrom = fixture.clock.now();
  fixture.service.onCall = () => {
    if (fixture.clock.now() - downFrom < hours(1)) throw new ServiceError("unavailable", "The service is down");
  };
  await expect(fixture.manager.recall(opened!, standard)).rejects.toMatchObject({ kind: "unavailable" });
  await fixture.manager.recall(ordered!, batch);
  expect(fixture.hasLanded(ordered!)).toBe(true);
});

test("a full disk is waited for while a content lands, and is an error when it stays full", async () => {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const archive = await fixture.archive(1);
  fixture.sink.beginFailure = new FileSystemError("no-space", "The disk is full");
  const waiting = fixture.manager.recall(archive, standard);
  await fixture.clock.advance(seconds(30));
  fixture.sink.beginFailure = undefined;
  await fixture.clock.advance(seconds(30));
  await waiting;
  expect(fixture.hasLanded(archive)).toBe(true);

  const other = await fixture.archive(2);
  fixture.sink.beginFailure = new FileSystemError("no-space", "The disk is full");
  const failed = expect(fixture.manager.recall(other, standard)).rejects.toMatchObject({ kind: "no-space" });
  await fixture.clock.advance(seconds(120));
  await failed;
});

test.each([
  ["once", 1],
  ["twice", 2],
])("an output that lives its day and expires %s before it is fetched costs one more job, no more", async (_, times) => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1, 1000);
  let late = 0;
  fixture.service.onCall = async (operation) => {
    if (operation === "getJobOutput" && late++ < times) await fixture.clock.sleep(hours(25));
  };
  const recalled = fixture.manager.recall(archive, standard);
  if (times === 1) await recalled;
  else await expect(recalled).rejects.toMatchObject({ fault: "missing" });
  expect(fixture.hasLanded(archive)).toBe(times === 1);
  expect(fixture.service.calls.initiateJob).toBe(2);
});
