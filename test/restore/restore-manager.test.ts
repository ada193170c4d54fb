import { expect, test } from "vitest";
import { type ByteRange, MIB } from "../../src/domain/bytes.js";
import { FileSystemError, ServiceError } from "../../src/domain/errors.js";
import { hours, seconds } from "../../src/domain/time.js";
import { abortable } from "../../src/lib/abort-scope.js";
import { settled } from "../support/fake-clock.js";
import { SimulatedCrash } from "../support/memory-journals.js";
import { RestoreFixture, vault } from "./restore-fixture.js";

const standard = { tier: "standard" } as const;
const lost = () => new ServiceError("connection", "The answer was lost");

/** Corrupts outputs while `isWrong` says so. */
function corrupting(isWrong: (range: ByteRange) => boolean) {
  return async function* (body: AsyncIterable<Uint8Array>, range: ByteRange) {
    const wrong = isWrong(range);
    for await (const chunk of body) yield wrong ? Buffer.alloc(chunk.length, 0xee) : chunk;
  };
}

test("a recall lands the archive, verified, and is journaled step by step", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  await fixture.manager.recall(archive, standard);
  expect(fixture.hasLanded(archive)).toBe(true);
  expect(fixture.journal.crash.steps).toEqual(["willRequest", "didRequest", "didLand"]);
  expect(fixture.service.calls).toMatchObject({ initiateJob: 1, getJobOutput: 4 });
  expect(fixture.eventsOf("recall-started")).toMatchObject([{ joined: false }]);
  expect(fixture.eventsOf("recall-landed")).toHaveLength(1);
  expect(fixture.manager.snapshot()).toEqual([]);
  expect(fixture.sink.largestWrite).toBeLessThan(2 * MIB);
});

test("many waiters share one job", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  await Promise.all(Array.from({ length: 20 }, () => fixture.manager.recall(archive, standard)));
  expect(fixture.service.calls.initiateJob).toBe(1);
  expect(fixture.journal.landed).toEqual([archive.key]);
});

test("a content that is here is not recalled", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  await fixture.manager.recall(archive, standard);
  await fixture.manager.recall(archive, standard);
  expect(fixture.service.calls.initiateJob).toBe(1);
});

test("a waiter that gives up leaves the job to the others, and it lands also when nobody waits", async () => {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const archive = await fixture.archive(1);
  const controller = new AbortController();
  const waiting = abortable(fixture.manager.recall(archive, standard), controller.signal);
  await settled();
  controller.abort(new Error("no patience"));
  await expect(waiting).rejects.toThrow("no patience");
  await fixture.clock.advance(5000);
  await fixture.clock.advance(5000);
  expect(fixture.hasLanded(archive)).toBe(true);
});

test("a retrieval that somebody else started is joined, running or finished", async () => {
  const fixture = await RestoreFixture.create();
  const running = await fixture.archive(1);
  const finished = await fixture.archive(2);
  for (const { id } of [running, finished]) {
    await fixture.service.initiateJob(vault, { action: "retrieve-archive", archiveId: id, tier: "bulk" });
  }
  await fixture.manager.recall(running, standard);
  await fixture.manager.recall(finished, standard);
  expect(fixture.hasLanded(running) && fixture.hasLanded(finished)).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(2);
  expect(fixture.eventsOf("recall-started")).toMatchObject([{ joined: true }, { joined: true }]);
});

test("a running retrieval of somebody else is passed over by who has agreed to pay for a faster tier, and a finished one is not", async () => {
  const fixture = await RestoreFixture.create({ retrievalMs: { expedited: 1000, standard: 2000, bulk: hours(12) } });
  const [running, finished] = [await fixture.archive(1), await fixture.archive(2)];
  const jobOf = ({ id }: typeof running, tier: "bulk" | "standard") =>
    fixture.service.initiateJob(vault, { action: "retrieve-archive", archiveId: id, tier });
  await jobOf(finished, "standard");
  await fixture.clock.sleep(seconds(10));
  await jobOf(running, "bulk");
  const existing = await fixture.manager.jobsIn(vault);
  expect(existing(running)).toMatchObject({ tier: "bulk", status: "in-progress" });
  expect(existing(finished)).toMatchObject({ tier: "standard", status: "succeeded" });
  const faster = { tier: "expedited", origin: "restore", faster: true } as const;
  const since = fixture.clock.now();
  await Promise.all([fixture.manager.recall(running, faster), fixture.manager.recall(finished, faster)]);
  expect(fixture.clock.now() - since).toBeLessThan(hours(1));
  expect(fixture.service.calls.initiateJob).toBe(3);
});

test("a retrieval of a part of the archive is not joined", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  const range = { start: 0, end: MIB } as ByteRange;
  await fixture.service.initiateJob(vault, { action: "retrieve-archive", archiveId: archive.id, tier: "bulk", range });
  await fixture.manager.recall(archive, standard);
  expect(fixture.service.calls.initiateJob).toBe(2);
  expect(fixture.hasLanded(archive)).toBe(true);
});

test("a lost answer to Initiate Job is looked for in the list before asking again", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  fixture.service.fail({ operation: "initiateJob", error: lost(), when: "after" });
  await fixture.manager.recall(archive, standard);
  expect(fixture.service.calls.initiateJob).toBe(1);
  expect(fixture.hasLanded(archive)).toBe(true);
});

test.each(["willRequest", "didRequest", "didLand"])(
  "after a crash following %s the next process lands with one job",
  async (step) => {
    const fixture = await RestoreFixture.create();
    const archive = await fixture.archive(1);
    fixture.journal.crash.crashAfter(step);
    await expect(fixture.manager.recall(archive, standard)).rejects.toThrow(SimulatedCrash);
    fixture.restart();
    fixture.manager.resume();
    await fixture.manager.recall(archive, standard);
    expect(fixture.hasLanded(archive)).toBe(true);
    expect(fixture.service.calls.initiateJob).toBe(1);
    expect(fixture.journal.unfinished()).toEqual([]);
  },
);

test("a crash between Initiate Job and its journal entry does not pay twice", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  fixture.journal.crash.crashAfter("willRequest");
  await expect(fixture.manager.recall(archive, standard)).rejects.toThrow(SimulatedCrash);
  await fixture.service.initiateJob(vault, { action: "retrieve-archive", archiveId: archive.id, tier: "standard" });
  fixture.restart();
  fixture.manager.resume();
  await fixture.manager.recall(archive, standard);
  expect(fixture.service.calls.initiateJob).toBe(1);
});

test("a restart in the middle of a download fetches only what is missing", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1, 8 * MIB);
  fixture.service.fail({ operation: "getJobOutput", error: new ServiceError("denied", "No access"), skip: 4 });
  fixture.restart({ downloadConcurrency: 1 });
  await expect(fixture.manager.recall(archive, standard)).rejects.toMatchObject({ fault: "denied" });
  const before = fixture.service.bytesServed;
  expect(before).toBe(4 * MIB);
  fixture.restart();
  await fixture.manager.recall(archive, standard);
  expect(fixture.service.bytesServed - before).toBe(4 * MIB);
  expect(fixture.hasLanded(archive)).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(1);
});

test("a corrupted piece is reported and fetched again, and only that one", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1, 8 * MIB);
  let wrong = 0;
  fixture.service.transformOutput = corrupting(({ start }) => start === 3 * MIB && wrong++ === 0);
  await fixture.manager.recall(archive, standard);
  expect(fixture.eventsOf("piece-corrupt")).toEqual([
    { type: "piece-corrupt", archiveId: archive.id, start: 3 * MIB, end: 4 * MIB },
  ]);
  expect(fixture.service.calls.getJobOutput).toBe(9);
  expect(fixture.hasLanded(archive)).toBe(true);
});

test("a piece that stays wrong is an error and never shown", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  fixture.service.transformOutput = corrupting(({ start }) => start === MIB);
  await expect(fixture.manager.recall(archive, standard)).rejects.toMatchObject({ kind: "corrupt" });
  expect(fixture.sink.has(archive.key)).toBe(false);
  expect(fixture.journal.failures.has(archive.key)).toBe(true);
});

test("a whole that is wrong though no piece was refused is fetched once more, then it is an error", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  fixture.restart({ pieceBytes: 3 * MIB }); // No subtree, so the service announces no hash for the first piece.
  fixture.service.transformOutput = corrupting(({ start }) => start === 0);
  await expect(fixture.manager.recall(archive, standard)).rejects.toMatchObject({ kind: "corrupt" });
  expect(fixture.sink.discards).toBe(2);

  fixture.restart({ pieceBytes: 3 * MIB });
  let wrong = 0;
  fixture.service.transformOutput = corrupting(({ start }) => start === 0 && wrong++ === 0);
  await fixture.manager.recall(archive, standard);
  expect(fixture.hasLanded(archive)).toBe(true);
});

test("a download that breaks off goes on where it was", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1, MIB);
  let breaks = 0;
  fixture.service.transformOutput = async function* (body) {
    let sent = 0;
    for await (const chunk of body) {
      if (breaks < 2 && sent >= MIB / 4) {
        breaks += 1;
        throw lost();
      }
      sent += chunk.length;
      yield chunk;
    }
  };
  const asked: number[] = [];
  fixture.service.onCall = (operation, [, , range]) => {
    if (operation === "getJobOutput") asked.push((range as ByteRange).start);
  };
  await fixture.manager.recall(archive, standard);
  expect(asked).toEqual([0, MIB / 4, MIB / 2]);
  expect(fixture.hasLanded(archive)).toBe(true);
});

test("an answer that is cut short without an error is noticed", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1, MIB);
  let cuts = 0;
  fixture.service.transformOutput = async function* (body) {
    for await (const chunk of body) {
      yield chunk;
      if (cuts++ === 0) return;
    }
  };
  await fixture.manager.recall(archive, standard);
  expect(fixture.hasLanded(archive)).toBe(true);
});

test("a failed job is an error for all waiters, with the service's message", async () => {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const archive = await fixture.archive(1);
  const waiting = Promise.allSettled([1, 2, 3].map(() => fixture.manager.recall(archive, standard)));
  await settled();
  fixture.service.failJob(vault, fixture.manager.snapshot()[0]!.job!, "The tape is torn");
  await fixture.clock.advance(5000);
  for (const result of await waiting) {
    expect(result).toMatchObject({
      status: "rejected",
      reason: { message: expect.stringContaining("The tape is torn") },
    });
  }
  expect(fixture.journal.failures.get(archive.key)).toContain("The tape is torn");
});

test("expired output costs one new job, then it is an error", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  const error = new ServiceError("missing", "There is no such job");
  fixture.service.fail({ operation: "getJobOutput", error });
  fixture.restart({ downloadConcurrency: 1 });
  await fixture.manager.recall(archive, standard);
  expect(fixture.service.calls.initiateJob).toBe(2);
  expect(fixture.hasLanded(archive)).toBe(true);

  const other = await fixture.archive(2);
  fixture.service.fail({ operation: "getJobOutput", error, times: 2 });
  await expect(fixture.manager.recall(other, standard)).rejects.toMatchObject({ fault: "missing" });
  expect(fixture.service.calls.initiateJob).toBe(4);
});

test("a journaled job that the service has forgotten is replaced by one new job", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  fixture.journal.crash.crashAfter("didRequest");
  await expect(fixture.manager.recall(archive, standard)).rejects.toThrow(SimulatedCrash);
  await fixture.clock.sleep((48 * 3600 * 1000) as never);
  fixture.restart();
  fixture.manager.resume();
  await fixture.manager.recall(archive, standard);
  expect(fixture.hasLanded(archive)).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(2);
});

test("a service that cannot be reached for a while delays a recall and does not fail it", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  const error = new ServiceError("unavailable", "Come back later");
  fixture.service.fail({ operation: "listJobs", error, times: 10, skip: 1 });
  fixture.service.fail({ operation: "getJobOutput", error, times: 12 });
  await fixture.manager.recall(archive, standard);
  fixture.service.expectAllFaultsHit();
  expect(fixture.hasLanded(archive)).toBe(true);
});

test("a service that cannot be reached at all fails the request after some attempts", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  fixture.service.fail({ operation: "listJobs", error: lost(), times: 100 });
  await expect(fixture.manager.recall(archive, standard)).rejects.toMatchObject({ kind: "unavailable" });
  expect(fixture.service.calls.initiateJob).toBe(0);
});

test("no room fails the recall, and asking again later joins the finished job", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  fixture.sink.beginFailure = new FileSystemError("no-space", "The disk is full");
  await expect(fixture.manager.recall(archive, standard)).rejects.toMatchObject({ kind: "no-space" });
  fixture.sink.beginFailure = undefined;
  await fixture.manager.recall(archive, standard);
  expect(fixture.service.calls.initiateJob).toBe(1);
});

test("a recall that fails while nobody waits is no unhandled rejection", async () => {
  const fixture = await RestoreFixture.create();
  const archive = await fixture.archive(1);
  await fixture.service.deleteArchive(vault, archive.id);
  void fixture.manager.recall(archive, standard);
  for (let turn = 0; turn < 50; turn++) await settled();
  expect(fixture.eventsOf("recall-failed")).toHaveLength(1);
  await fixture.manager.close();
  void fixture.manager.recall(archive, standard);
  await settled();
});

test("closing stops everything, fails nothing, and the next process goes on", async () => {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const archive = await fixture.archive(1);
  const waiting = fixture.manager.recall(archive, standard);
  await settled();
  expect(fixture.manager.status(archive.key)).toMatchObject({ state: "retrieving", landedBytes: 0 });
  await fixture.manager.close();
  await expect(waiting).rejects.toMatchObject({ kind: "cancelled" });
  expect(fixture.journal.failures.size).toBe(0);
  expect(fixture.clock.sleepers).toBe(0);

  fixture.restart();
  fixture.manager.resume();
  await fixture.clock.advance(10_000);
  await fixture.clock.advance(10_000);
  expect(fixture.hasLanded(archive)).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(1);
});

test("many recalls that begin together share the listings, and land a few at a time", async () => {
  const fixture = await RestoreFixture.create();
  fixture.restart({ landingConcurrency: 2 });
  const archives = await Promise.all(
    Array.from({ length: 20 }, (_, index) => fixture.archive(index + 1, 1000 + index)),
  );
  await Promise.all(archives.map((archive) => fixture.manager.recall(archive, standard)));
  expect(archives.every((archive) => fixture.hasLanded(archive))).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(20);
  expect(fixture.service.calls.listJobs).toBeLessThan(20);
});

test("a tier that the service refuses for a large archive becomes Standard", async () => {
  const { acceptedTier } = await import("../../src/restore/retrieval-plan.js");
  expect(acceptedTier("expedited", 256 * MIB)).toBe("expedited");
  expect(acceptedTier("expedited", 256 * MIB + 1)).toBe("standard");
  expect(acceptedTier("bulk", 1e12)).toBe("bulk");
});
