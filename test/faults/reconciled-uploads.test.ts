/**
 * Files of a mount (its catalog, staging area, upload pipeline and inventory; no kernel) on their way into a vault behind
 * a network that breaks: all of them are archived, and when an inventory has been merged each is there exactly once.
 */

import { expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { hours } from "../../src/domain/time.js";
import type { Operation } from "../../src/protocol/routes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { FaultPlan, faults, type NamedFault, on, type Rule } from "../support/fault-plan.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";
import { TestVault } from "../support/test-file-system.js";
import { FaultFixture, vault } from "./fault-fixture.js";
import { brokenRequests, delays, letSomeThrough, lostAnswers, neverArrived, passingRefusals } from "./fault-table.js";

/** Two in one request, one in two parts. */
const files = new Map<string, Buffer>([
  ["small", testBytes(100_000, 1)],
  ["smaller", testBytes(5_000, 3)],
  ["large", testBytes(17 * MIB + 17, 2)],
]);
const treeHashes = new Map([...files].map(([name, bytes]) => [name, digestOf(bytes).treeHash]));
const uploadOperations = [
  "uploadArchive",
  "initiateMultipartUpload",
  "uploadPart",
  "completeMultipartUpload",
] as const satisfies readonly Operation[];
const ofBodies: readonly Operation[] = ["uploadArchive", "uploadPart"];
/** Real time: waiting between attempts takes none of it. */
const patienceMs = 60_000;

class MountBehindFaults implements AsyncDisposable {
  private constructor(
    readonly place: FaultFixture,
    readonly files: TestVault,
  ) {}

  static async create(): Promise<MountBehindFaults> {
    const place = await FaultFixture.create();
    const outside = { service: place.patient, clock: place.clock };
    const it = await TestVault.createEmpty({ outside, multipartThresholdBytes: 16 * MIB });
    await it.refreshInventory();
    return new MountBehindFaults(place, it);
  }

  /**
   * Writes all files; returns when they are archived, and what is to be deleted is deleted.
   *
   * @param crashAfter After so many requests the mount is killed and starts again.
   */
  async archive(crashAfter = Number.POSITIVE_INFINITY): Promise<void> {
    for (const [name, bytes] of files) await this.files.write(name, bytes);
    const { exchanges } = this.place.proxy;
    const before = exchanges.length;
    const isTime = () => exchanges.length - before >= crashAfter;
    await this.files.until(() => isTime() || this.#isDone(), { limitMs: patienceMs });
    if (isTime()) await this.files.reopen();
    await this.done();
  }

  async done(): Promise<void> {
    await this.files.until(() => this.#isDone(), { limitMs: patienceMs });
  }

  /** An inventory without faults, and the deletions that follow from it. */
  async reconcile(): Promise<void> {
    this.place.proxy.plan = new FaultPlan();
    await this.files.refreshInventory();
    await this.done();
  }

  /** Each file is one archive, with its bytes; no part of an upload is left, and after a day no upload. */
  async expectOneArchiveEach(): Promise<void> {
    const { place } = this;
    const archives = await place.archives();
    expect(archives).toHaveLength(files.size);
    for (const [name, bytes] of files) {
      const copies = archives.filter((archive) => archive.treeHash === treeHashes.get(name));
      expect(
        copies.map((archive) => archive.archiveId),
        name,
      ).toEqual([this.files.xattr(name, "user.casfs.archive-id")]);
      expect((await place.bytesOf(copies[0]!.archiveId)).equals(bytes), name).toBe(true);
    }
    // The id of a stray upload was lost with the answer to Initiate, before a part could be sent.
    for (const { id } of await place.openUploads()) expect((await place.direct.listParts(vault, id)).items).toEqual([]);
    await place.server.clock.advance(hours(25));
    expect(await place.openUploads()).toEqual([]);
  }

  #isDone(): boolean {
    const { uploads, catalog } = this.files;
    return uploads.size === 0 && catalog.deletes.pending().length === 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.files[Symbol.asyncDispose]();
    await this.place[Symbol.asyncDispose]();
  }
}

const alterations = [
  faults.alteredHeader("x-cas-sha256-tree-hash"),
  faults.missingHeader("x-cas-archive-id"),
  faults.missingHeader("x-cas-multipart-upload-id"),
];
const everyFault: readonly NamedFault[] = [
  ...passingRefusals,
  faults.expiredSignature(),
  faults.accessDenied(),
  ...neverArrived,
  ...brokenRequests,
  ...lostAnswers,
  ...alterations,
  ...delays,
];

test.each(everyFault)(
  "$name, met by every step of an upload: all files are archived, and once each after an inventory",
  async (named) => {
    const operations = brokenRequests.includes(named) ? ofBodies : uploadOperations;
    const isSilence = named.fault.kind === "stall";
    await using mount = await MountBehindFaults.create();
    // Not every answer has the header that is to be changed; and who gives up early may be too early for the fault.
    const mustHit = !alterations.includes(named) && !isSilence;
    const plan = new FaultPlan(
      operations.map((operation) => on(operation, { nth: 1 }, named)),
      { mustHit },
    );
    mount.place.proxy.plan = plan;
    await mount.archive();
    plan.expectAllHit();
    expect(plan.hits).toBeGreaterThan(0);
    await mount.reconcile();
    await mount.expectOneArchiveEach();
  },
  90_000,
);

test("the twins of lost answers are there until an inventory shows them, and then one archive of each file", async () => {
  await using mount = await MountBehindFaults.create();
  mount.place.plan(on("uploadArchive", { next: 3 }, faults.lostAnswer()));
  await mount.archive();
  expect(await mount.place.archives()).toHaveLength(files.size + 3);
  await mount.reconcile();
  await mount.expectOneArchiveEach();
  expect(mount.place.carriedOut("deleteArchive")).toHaveLength(3);
});

test("an answer to Complete that is lost before an outage longer than the service remembers leaves one archive", async () => {
  await using mount = await MountBehindFaults.create();
  const { place } = mount;
  const startedAt = place.clock.now();
  place.plan(
    on("completeMultipartUpload", { nth: 1 }, faults.lostAnswer()),
    on("completeMultipartUpload", { next: 260 }, faults.serviceFailed()),
  );
  await mount.archive();
  expect(place.clock.now() - startedAt).toBeGreaterThan(hours(1));
  expect(place.carriedOut("initiateMultipartUpload")).toHaveLength(2);
  expect(await place.copiesOf(files.get("large")!)).toBe(2);
  await mount.reconcile();
  await mount.expectOneArchiveEach();
}, 90_000);

test("after any mixture of faults, and a kill -9 at any request, each file is one archive when an inventory has been merged", async () => {
  const named = fc.constantFrom(...passingRefusals, ...neverArrived, ...brokenRequests, ...lostAnswers, ...delays);
  const occurrence = fc.oneof(
    fc.record({ nth: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ next: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ every: fc.integer({ min: 2, max: 4 }) }),
  );
  const rule = fc
    .tuple(fc.constantFrom(...uploadOperations, "any" as const), occurrence, named)
    .map(([where, when, what]): Rule => on(where, when, what));
  const plans = fc.array(rule, { minLength: 2, maxLength: 5 }).filter(letSomeThrough);
  await fc.assert(
    fc.asyncProperty(plans, fc.integer({ min: 1, max: 16 }), async (rules, crashAfter) => {
      await using mount = await MountBehindFaults.create();
      mount.place.proxy.plan = new FaultPlan(rules, { mustHit: false });
      await mount.archive(crashAfter);
      await mount.reconcile();
      await mount.expectOneArchiveEach();
    }),
    { numRuns: 5 },
  );
}, 180_000);
