/** No bill for what nobody waits for: a recall is taken back as long as no job is ordered. */

import { expect, test } from "vitest";
import { ServiceError } from "../../src/domain/errors.js";
import { hours } from "../../src/domain/time.js";
import { settled } from "../support/fake-clock.js";
import { RestoreFixture, vault } from "./restore-fixture.js";

const standard = { tier: "standard" } as const;

/** A reader that waits, until it is killed. */
class Reader {
  readonly #controller = new AbortController();
  readonly landed: Promise<string>;

  constructor(fixture: RestoreFixture, archive: Parameters<RestoreFixture["manager"]["recall"]>[0]) {
    const { signal } = this.#controller;
    this.landed = fixture.manager.recall(archive, { ...standard, signal }).then(
      () => "landed",
      (error: { kind?: string }) => error.kind ?? "failed",
    );
  }

  kill(): void {
    this.#controller.abort(new Error("killed"));
  }
}

async function queuedFixture() {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const archive = await fixture.archive(1);
  fixture.sink.noRoom = () => "the cache is full";
  return { fixture, archive };
}

test("a queued recall whose last reader is killed is not ordered, and gives its charge back", async () => {
  const { fixture, archive } = await queuedFixture();
  const readers = [new Reader(fixture, archive), new Reader(fixture, archive)];
  await settled();
  readers[0]!.kill();
  await settled();
  expect(fixture.manager.snapshot()).toMatchObject([{ state: "queued" }]);
  readers[1]!.kill();
  await settled();
  expect(await Promise.all(readers.map(({ landed }) => landed))).toEqual(["cancelled", "cancelled"]);
  expect(fixture.manager.snapshot()).toEqual([]);
  expect(fixture.journal.unfinished()).toEqual([]);
  expect(fixture.budget.refunded).toHaveLength(1);
  expect(fixture.eventsOf("recall-failed")).toEqual([]);
  fixture.sink.noRoom = () => null;
  await fixture.clock.advance(hours(1));
  expect(fixture.service.calls.initiateJob).toBe(0);
  await fixture.manager.close();
});

test("who asks again at that moment begins anew, and gets the bytes by one job", async () => {
  const { fixture, archive } = await queuedFixture();
  const killed = new Reader(fixture, archive);
  await settled();
  killed.kill();
  const next = new Reader(fixture, archive);
  fixture.sink.noRoom = () => null;
  await fixture.clock.advance(hours(1));
  expect(await killed.landed).toBe("cancelled");
  expect(await next.landed).toBe("landed");
  expect(fixture.hasLanded(archive)).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(1);
  expect(fixture.journal.unfinished()).toEqual([]);
  await fixture.manager.close();
});

test.each([
  ["that somebody has restored", { tier: "standard", origin: "restore" }],
  ["that an open was told to come again for", { tier: "standard" }],
] as const)("a queued recall %s is ordered, whoever is killed", async (_, wish) => {
  const { fixture, archive } = await queuedFixture();
  const reader = new Reader(fixture, archive);
  await settled();
  void fixture.manager.recall(archive, wish);
  reader.kill();
  await settled();
  // Also by the next process.
  await fixture.manager.close();
  fixture.restart();
  fixture.manager.resume();
  fixture.sink.noRoom = () => null;
  await fixture.clock.advance(hours(1));
  expect(fixture.hasLanded(archive)).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(1);
});

test("a recall that is ordered lands, whoever is killed", async () => {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const archive = await fixture.archive(1);
  const reader = new Reader(fixture, archive);
  await settled();
  expect(fixture.service.calls.initiateJob).toBe(1);
  reader.kill();
  await fixture.clock.advance(hours(1));
  expect(fixture.hasLanded(archive)).toBe(true);
});

test("an order whose answer was lost is no order that can be taken back", async () => {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const archive = await fixture.archive(1);
  fixture.service.fail({ operation: "initiateJob", error: new ServiceError("connection", "lost"), when: "after" });
  const reader = new Reader(fixture, archive);
  await settled();
  reader.kill();
  await fixture.clock.advance(hours(1));
  expect(fixture.hasLanded(archive)).toBe(true);
  expect(fixture.service.calls.initiateJob).toBe(1);
  expect(fixture.budget.refunded).toEqual([]);
});

test("what only a reader of an earlier process waited for is joined where a job is there, and dropped where none is", async () => {
  const { fixture, archive: unordered } = await queuedFixture();
  const ordered = await fixture.archive(2);
  const readers = [new Reader(fixture, unordered), new Reader(fixture, ordered)];
  await settled();
  await fixture.manager.close();
  expect(await Promise.all(readers.map(({ landed }) => landed))).toEqual(["cancelled", "cancelled"]);
  expect(fixture.journal.unfinished()).toHaveLength(2);
  // The answer that the earlier process did not live to see.
  await fixture.service.initiateJob(vault, { action: "retrieve-archive", archiveId: ordered.id, tier: "standard" });
  fixture.sink.noRoom = () => null;
  fixture.restart();
  fixture.manager.resume();
  await fixture.clock.advance(hours(1));
  expect(fixture.hasLanded(ordered)).toBe(true);
  expect(fixture.hasLanded(unordered)).toBe(false);
  expect(fixture.service.calls.initiateJob).toBe(1);
  expect(fixture.journal.unfinished()).toEqual([]);
});

test("an output that expired is not paid for again when nobody waits any more", async () => {
  const fixture = await RestoreFixture.create({ autoAdvance: false });
  const archive = await fixture.archive(1);
  fixture.service.fail({ operation: "getJobOutput", error: new ServiceError("missing", "No such job") });
  const reader = new Reader(fixture, archive);
  await settled();
  reader.kill();
  await fixture.clock.advance(hours(1));
  expect(fixture.service.calls.initiateJob).toBe(1);
  expect(fixture.journal.failures.get(archive.key)).toContain("No such job");
});
