/** Archives on their way back meet every fault there is: right bytes or a clear error, and one job for each archive. */

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { byteCount, MIB } from "../../src/domain/bytes.js";
import { CorruptError } from "../../src/domain/errors.js";
import type { ArchiveKey } from "../../src/domain/ids.js";
import { hours, type Milliseconds } from "../../src/domain/time.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { InventorySync } from "../../src/restore/inventory-sync.js";
import { JobPoller } from "../../src/restore/job-poller.js";
import type { ColdArchive } from "../../src/restore/ports.js";
import type { RecallWish } from "../../src/restore/recall-wishes.js";
import { RestoreManager } from "../../src/restore/restore-manager.js";
import { MemorySink, pieceBytes } from "../restore/restore-fixture.js";
import { CountedBudget } from "../support/counted-budget.js";
import { FaultPlan, faults, on, type Rule } from "../support/fault-plan.js";
import { MemoryInventoryCatalog, MemoryRestoreJournal } from "../support/memory-journals.js";
import { noWindows } from "../support/no-windows.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";
import { FaultFixture, vault } from "./fault-fixture.js";
import { brokenAnswers, delays, letSomeThrough, lostAnswers, passingRefusals, withoutEffect } from "./fault-table.js";

/** Four pieces, the last of them short. */
const bytes = testBytes(3 * pieceBytes + 100, 1);
const other = testBytes(2 * pieceBytes, 2);

/** What a mount has between the service and its cache; the journal and the landed bytes are in memory. */
class RecallPipeline {
  readonly journal = new MemoryRestoreJournal();
  readonly sink = new MemorySink();
  readonly #place: FaultFixture;
  readonly #manager: RestoreManager;

  constructor(place: FaultFixture) {
    this.#place = place;
    const base = { service: place.patient, clock: place.clock, observer: () => undefined, random: () => 0.5 };
    const poller = new JobPoller(base);
    const { journal, sink } = this;
    this.#manager = new RestoreManager(
      { ...base, journal, sink, windows: noWindows, budget: new CountedBudget(), poller },
      { pieceBytes, downloadConcurrency: 2 },
    );
  }

  /** Stores `content` as an archive that the journal knows. */
  async archive(content: Buffer, key: number): Promise<ColdArchive> {
    const id = await this.#place.stored(content);
    const { treeHash } = digestOf(content);
    const sizeBytes = byteCount(content.length);
    return this.journal.know({ key: key as ArchiveKey, vault, id, sizeBytes, treeHash });
  }

  recall(archive: ColdArchive, wish: Partial<RecallWish> = {}): Promise<void> {
    return this.#manager.recall(archive, { tier: "standard", ...wish });
  }

  landed({ key }: ColdArchive): Buffer | undefined {
    return this.sink.landed.get(key);
  }
}

let place: FaultFixture;
let pipeline: RecallPipeline;

beforeEach(async () => {
  place = await FaultFixture.create();
  pipeline = new RecallPipeline(place);
});
afterEach(() => place[Symbol.asyncDispose]());

async function jobCount(): Promise<number> {
  return (await place.direct.listJobs(vault)).items.length;
}

async function recalledRight(): Promise<void> {
  const archive = await pipeline.archive(bytes, 1);
  await pipeline.recall(archive);
  expect(pipeline.landed(archive)?.equals(bytes)).toBe(true);
}

describe("Initiate Job", () => {
  test.each([...withoutEffect, ...lostAnswers])("pays for one retrieval after $name", async (named) => {
    place.plan(on("initiateJob", { nth: 1 }, named));
    await recalledRight();
    expect(await jobCount()).toBe(1);
    expect(place.proxy.count("initiateJob")).toBe(lostAnswers.includes(named) ? 1 : 2);
  });

  test("that the service refuses is not repeated, and says why", async () => {
    place.plan(on("initiateJob", { from: 1 }, faults.accessDenied()));
    const recalled = pipeline.recall(await pipeline.archive(bytes, 1));
    await expect(recalled).rejects.toMatchObject({ fault: "denied", code: "AccessDeniedException" });
    expect(place.proxy.count("initiateJob")).toBe(1);
  });

  test("that stays throttled is given up after a bounded number of requests", async () => {
    place.plan(on("initiateJob", { from: 1 }, faults.throttled()));
    const recalled = pipeline.recall(await pipeline.archive(bytes, 1));
    await expect(recalled).rejects.toMatchObject({ fault: "throttled" });
    expect(place.proxy.count("initiateJob")).toBeLessThanOrEqual(60);
  });
});

describe("asking for the job", () => {
  const cases = [...withoutEffect, ...lostAnswers, ...brokenAnswers, ...delays];
  test.each(cases)("goes on after $name", async (named) => {
    place.plan(on("listJobs", { nth: 1 }, named));
    await recalledRight();
    expect(await jobCount()).toBe(1);
  });

  test.each(cases)("goes on after $name while the job runs", async (named) => {
    // The first listing looks for a job to join; those that follow ask for the job.
    place.plan(on("listJobs", { nth: 2 }, named));
    await recalledRight();
    expect(await jobCount()).toBe(1);
  });

  test("that has failed tells what the service says of it, and is not ordered again by itself", async () => {
    const archive = await pipeline.archive(bytes, 1);
    await place.direct.deleteArchive(vault, archive.id);
    await expect(pipeline.recall(archive)).rejects.toThrow(/job .* failed: /);
    expect(pipeline.journal.failures.get(archive.key)).toMatch(/failed: /);
    expect(await jobCount()).toBe(1);
  });
});

describe("Get Job Output", () => {
  const cases = [
    ...[...withoutEffect, ...lostAnswers, ...brokenAnswers],
    ...[faults.corruptedAnswer(), faults.corruptedAnswer(0)],
    ...[faults.alteredHeader("x-cas-sha256-tree-hash"), faults.missingHeader("x-cas-sha256-tree-hash")],
    faults.alteredHeader("content-range", (range) => range.replace(/\d+-\d+/, "0-1")),
  ];
  test.each(cases)("brings the right bytes after $name", async (named) => {
    place.plan(on("getJobOutput", { nth: 2 }, named));
    await recalledRight();
    // Four pieces, and what was lost once more.
    expect(place.proxy.count("getJobOutput")).toBeLessThanOrEqual(5);
  });

  test.each(delays)("is asked for once when all that happens is $name", async (named) => {
    place.plan(on("getJobOutput", { nth: 2 }, named));
    await recalledRight();
    expect(place.proxy.count("getJobOutput")).toBe(4);
  });

  test("goes on where the connection breaks, however often that is", async () => {
    place.plan(on("getJobOutput", { next: 12 }, faults.truncatedAnswer()));
    await recalledRight();
    const asked = place.proxy.exchanges.filter(({ operation }) => operation === "getJobOutput");
    expect(new Set(asked.map((one) => one.header("range"))).size).toBe(asked.length);
  });

  test("that is always wrong is never shown, and given up", async () => {
    place.plan(on("getJobOutput", { from: 1 }, faults.corruptedAnswer()));
    const archive = await pipeline.archive(bytes, 1);
    await expect(pipeline.recall(archive)).rejects.toThrow(CorruptError);
    expect(pipeline.landed(archive)).toBeUndefined();
    expect(place.proxy.count("getJobOutput")).toBeLessThanOrEqual(20);
  });

  test("with wrong bytes and no hash of its own is caught by the archive's", async () => {
    place.plan(
      on(
        "getJobOutput",
        { from: 1 },
        {
          ...faults.corruptedAnswer(),
          name: "a corrupted whole",
        },
        (request) => request.header("range")?.startsWith(`bytes=${3 * MIB}`) === true,
      ),
    );
    const archive = await pipeline.archive(bytes, 1);
    await expect(pipeline.recall(archive)).rejects.toThrow(CorruptError);
    expect(pipeline.landed(archive)).toBeUndefined();
  });

  test("of a job whose output is gone is followed by one more job", async () => {
    place.plan(on("getJobOutput", { nth: 1 }, faults.refusal(404, "ResourceNotFoundException")));
    await recalledRight();
    expect(await jobCount()).toBe(2);
  });
});

describe("a service that is down", () => {
  const downFor = (duration: Milliseconds, operations: Parameters<typeof on>[0]) => {
    const until = place.clock.now() + duration;
    place.plan(on(operations, { from: 1 }, faults.badGateway(), () => place.clock.now() < until));
    return until;
  };

  test("for an hour, once the job is ordered, delays the recall and no more", async () => {
    const archive = await pipeline.archive(bytes, 1);
    await place.retrieval(archive.id);
    const until = downFor(hours(1), ["listJobs", "describeJob", "getJobOutput"]);
    await pipeline.recall(archive, { origin: "restore" });
    expect(place.clock.now()).toBeGreaterThan(until);
    expect(pipeline.landed(archive)?.equals(bytes)).toBe(true);
    expect(await jobCount()).toBe(1);
  });
});

describe("an inventory", () => {
  const merged = async () => {
    const catalog = new MemoryInventoryCatalog();
    const base = { service: place.patient, clock: place.clock, observer: () => undefined, random: () => 0.5 };
    const sync = new InventorySync({ ...base, catalog, poller: new JobPoller(base) }, { batchSize: 2 });
    await sync.refresh(vault);
    return catalog.merged.map(({ entries }) => entries.map(({ archiveId }) => archiveId).sort());
  };

  const cases = [faults.throttled(), faults.badGateway(), faults.resetBeforeRequest(), faults.lostAnswer()].flatMap(
    (named) =>
      (["initiateJob", "listJobs", "getJobOutput"] as const).map((operation) => ({
        operation,
        name: named.name,
        named,
      })),
  );
  const ofOutput = brokenAnswers.map((named) => ({ operation: "getJobOutput" as const, name: named.name, named }));
  test.each([...cases, ...ofOutput])("is merged whole after $name on $operation", async ({ operation, named }) => {
    const ids = [];
    for (let size = 1; size <= 5; size++) ids.push(await place.stored(testBytes(size * 10)));
    place.plan(on(operation, { nth: 1 }, named));
    expect(await merged()).toEqual([ids.sort()]);
    expect(await jobCount()).toBe(1);
  });
});

test("whatever mixture of faults there is, what lands is right, and every archive is retrieved once", async () => {
  const named = fc.constantFrom(
    ...[...passingRefusals, faults.garbage(), faults.resetBeforeRequest(), faults.lostAnswer(), ...delays],
    ...[faults.truncatedAnswer(), faults.corruptedAnswer(), faults.alteredHeader("x-cas-sha256-tree-hash")],
  );
  const slow = fc.constantFrom(faults.silence(), faults.silentEffect(), faults.stalledAnswer());
  const occurrence = fc.oneof(
    fc.record({ nth: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ next: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ every: fc.integer({ min: 3, max: 5 }) }),
  );
  const rule = fc.tuple(occurrence, named).map(([when, what]): Rule => on("getJobOutput", when, what));
  const slowRule = slow.map((what): Rule => on("getJobOutput", { nth: 2 }, what));
  const before = fc.constantFrom(...passingRefusals, faults.resetBeforeRequest(), faults.lostAnswer());
  const early = fc
    .tuple(fc.constantFrom("initiateJob" as const, "listJobs" as const), occurrence, before)
    .map(([operation, when, what]): Rule => on(operation, when, what));
  const plans = fc.array(fc.oneof(rule, rule, slowRule, early), { minLength: 2, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(plans.filter(letSomeThrough), async (rules) => {
      await using mixed = await FaultFixture.create();
      const recalls = new RecallPipeline(mixed);
      const archives = [await recalls.archive(bytes, 1), await recalls.archive(other, 2)];
      mixed.proxy.plan = new FaultPlan(rules, { mustHit: false });
      await Promise.allSettled(archives.map((archive) => recalls.recall(archive)));
      for (const [index, archive] of archives.entries()) {
        const content = recalls.landed(archive);
        if (content !== undefined) expect(content.equals([bytes, other][index]!)).toBe(true);
        else expect(recalls.journal.failures.get(archive.key)).toMatch(/^Cannot /);
      }
      expect((await mixed.direct.listJobs(vault)).items.length).toBeLessThanOrEqual(archives.length);
    }),
    { numRuns: 6 },
  );
}, 120_000);
