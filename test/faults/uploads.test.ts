/** Contents on their way into the vault meet every fault there is: they arrive whole, and as often as promised. */

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { hours, minutes } from "../../src/domain/time.js";
import { deferred } from "../../src/lib/deferred.js";
import type { Operation } from "../../src/protocol/routes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { ArchiveDeleter } from "../../src/upload/archive-deleter.js";
import { UploadQueue } from "../../src/upload/upload-queue.js";
import { Uploader } from "../../src/upload/uploader.js";
import { FaultPlan, faults, on, type Rule } from "../support/fault-plan.js";
import { MemoryUploadJournal } from "../support/memory-journals.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";
import { contentId, MemoryStagedFiles, partBytes } from "../upload/upload-fixture.js";
import { FaultFixture, vault } from "./fault-fixture.js";
import {
  brokenRequests,
  delays,
  letSomeThrough,
  lostAnswers,
  neverArrived,
  passingRefusals,
  withoutEffect,
} from "./fault-table.js";

const small = testBytes(100_000, 1);
const smaller = testBytes(5000, 3);
/** Two parts, the second of them short. */
const large = testBytes(partBytes + MIB + 17, 2);

/** What a mount has between its staging area and the service; the journal and the staged bytes are in memory. */
class UploadPipeline {
  readonly journal = new MemoryUploadJournal();
  readonly #files = new MemoryStagedFiles();
  readonly #queue: UploadQueue;

  constructor(place: FaultFixture) {
    const { journal } = this;
    const base = { service: place.patient, clock: place.clock, observer: () => undefined, journal };
    const uploader = new Uploader(
      { ...base, files: this.#files },
      { multipartThresholdBytes: partBytes, partSizeBytes: partBytes, partConcurrency: 2 },
    );
    this.#queue = new UploadQueue({ ...base, uploader, random: () => 0.5 }, { concurrency: 2 });
  }

  /** Resolves when all are archived. */
  async upload(...contents: readonly Buffer[]): Promise<void> {
    for (const [index, bytes] of contents.entries()) {
      this.#files.contents.set(contentId(index), bytes);
      this.journal.seal(contentId(index), vault, bytes.length);
    }
    this.#queue.start();
    await Promise.all(contents.map((_, index) => this.#queue.whenArchived(contentId(index))));
    await this.#queue.close();
  }
}

let place: FaultFixture;

beforeEach(async () => {
  place = await FaultFixture.create();
});
afterEach(() => place[Symbol.asyncDispose]());

describe("Upload Archive", () => {
  const repeated = [...withoutEffect, ...brokenRequests];
  test.each(repeated)("is sent again after $name; there is one archive", async (named) => {
    place.plan(on("uploadArchive", { nth: 1 }, named));
    await new UploadPipeline(place).upload(small);
    expect(place.proxy.count("uploadArchive")).toBe(2);
    expect(await place.copiesOf(small)).toBe(1);
  });

  const blind = [
    ...lostAnswers,
    faults.alteredHeader("x-cas-sha256-tree-hash"),
    faults.missingHeader("x-cas-archive-id"),
  ];
  test.each(blind)("is sent once more after $name; the twin shows in the inventory", async (named) => {
    place.plan(on("uploadArchive", { nth: 1 }, named));
    await new UploadPipeline(place).upload(small);
    expect(place.proxy.count("uploadArchive")).toBe(2);
    expect(await place.copiesOf(small)).toBe(2);
  });

  test.each(delays)("is sent once when all that happens is $name", async (named) => {
    place.plan(on("uploadArchive", { nth: 1 }, named));
    await new UploadPipeline(place).upload(small);
    expect(place.proxy.count("uploadArchive")).toBe(1);
    expect(await place.copiesOf(small)).toBe(1);
  });
});

describe("a multipart upload", () => {
  const steps: [Operation, number][] = [
    ["initiateMultipartUpload", 1],
    ["uploadPart", 2],
    ["completeMultipartUpload", 1],
  ];
  const cases = steps.flatMap(([operation, requests]) => {
    const ofBodies = operation === "uploadPart" ? brokenRequests : [];
    const named = [faults.throttled(), faults.badGateway(), faults.resetBeforeRequest(), ...lostAnswers, ...ofBodies];
    return named.map((one) => ({ operation, requests, name: one.name, named: one }));
  });
  test.each(cases)("survives $name on $operation; there is one archive", async ({ operation, requests, named }) => {
    place.plan(on(operation, { nth: 1 }, named));
    await new UploadPipeline(place).upload(large);
    expect(place.proxy.count(operation)).toBe(requests + 1);
    expect(await place.copiesOf(large)).toBe(1);
    // An upload whose id got lost on the way has no parts, and the service drops it within a day.
    const strays = operation === "initiateMultipartUpload" && lostAnswers.includes(named) ? 1 : 0;
    expect(await place.openUploads()).toHaveLength(strays);
    await place.server.clock.advance(hours(25));
    expect(await place.openUploads()).toEqual([]);
  });

  test("survives an answer that confirms other bytes; the part is sent again", async () => {
    place.plan(on("uploadPart", { nth: 1 }, faults.alteredHeader("x-cas-sha256-tree-hash")));
    await new UploadPipeline(place).upload(large);
    expect(place.proxy.count("uploadPart")).toBe(3);
    expect(await place.copiesOf(large)).toBe(1);
  });
});

describe("what does not pass at once", () => {
  test("a service that is down for an hour is asked less and less often, and then gets everything", async () => {
    const startedAt = place.clock.now();
    place.plan(on("uploadArchive", { next: 60 }, faults.serviceFailed()));
    await new UploadPipeline(place).upload(small);
    expect(place.proxy.count("uploadArchive")).toBe(61);
    expect(place.clock.now() - startedAt).toBeGreaterThan(minutes(9));
    expect(await place.copiesOf(small)).toBe(1);
  });

  test("a refused key is not tried again at once", async () => {
    const startedAt = place.clock.now();
    place.plan(on("uploadArchive", { next: 3 }, faults.accessDenied()));
    await new UploadPipeline(place).upload(small);
    expect(place.proxy.count("uploadArchive")).toBe(4);
    expect(place.clock.now() - startedAt).toBeGreaterThanOrEqual(minutes(3) / 2);
  });

  test("an expired signature is made anew at once", async () => {
    const startedAt = place.clock.now();
    place.plan(on("uploadArchive", { nth: 1 }, faults.expiredSignature()));
    await new UploadPipeline(place).upload(small);
    expect(place.proxy.count("uploadArchive")).toBe(2);
    expect(place.clock.now()).toBe(startedAt);
  });
});

describe("Delete Archive", () => {
  const cases = [faults.throttled(), faults.badGateway(), faults.resetBeforeRequest(), ...lostAnswers];
  test.each(cases)("is repeated after $name until the archive is gone", async (named) => {
    const archiveId = await place.stored(small);
    place.plan(on("deleteArchive", { nth: 1 }, named));
    const journal = new MemoryUploadJournal();
    journal.requestDelete(vault, archiveId);
    const { patient: service, clock } = place;
    const deleted = deferred<void>();
    const deleter = new ArchiveDeleter({
      ...{ service, journal, clock, random: () => 0.5 },
      observer: (event) => event.type === "archive-deleted" && deleted.resolve(),
    });
    deleter.wake();
    await deleted.promise;
    await deleter.close();
    expect(await place.archives()).toEqual([]);
    expect(journal.pendingDeletes()).toEqual([]);
  });
});

test("whatever mixture of faults there is, every content arrives, and twice only when an answer was lost", async () => {
  const named = fc.constantFrom(...passingRefusals, ...neverArrived, ...brokenRequests, ...lostAnswers, ...delays);
  const operations = ["uploadArchive", "initiateMultipartUpload", "uploadPart", "completeMultipartUpload"] as const;
  const occurrence = fc.oneof(
    fc.record({ nth: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ next: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ every: fc.integer({ min: 2, max: 4 }) }),
  );
  const rule = fc.tuple(fc.constantFrom(...operations, "any" as const), occurrence, named);
  const plan = fc.array(
    rule.map(([where, when, what]): Rule => on(where, when, what)),
    { minLength: 2, maxLength: 5 },
  );
  await fc.assert(
    fc.asyncProperty(plan.filter(letSomeThrough), async (rules) => {
      await using mixed = await FaultFixture.create();
      mixed.proxy.plan = new FaultPlan(rules, { mustHit: false });
      await new UploadPipeline(mixed).upload(small, large, smaller);
      const sent = mixed.carriedOut("uploadArchive").map((one) => one.header("x-cas-sha256-tree-hash"));
      for (const bytes of [small, smaller]) {
        const { treeHash } = digestOf(bytes);
        expect(await mixed.copiesOf(bytes)).toBe(sent.filter((sentHash) => sentHash === treeHash).length);
      }
      expect(await mixed.copiesOf(large)).toBe(1);
      // A stray upload has no parts: its id was lost before the first one could be sent.
      for (const { id } of await mixed.openUploads()) {
        expect((await mixed.direct.listParts(vault, id)).items).toEqual([]);
      }
    }),
    { numRuns: 5 },
  );
}, 180_000);
