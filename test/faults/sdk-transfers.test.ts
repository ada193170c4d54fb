/** Files of the SDK's users meet every fault there is: one archive, the right bytes, or an error that says what to do. */

import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { HashPool } from "../../src/cache/hash-pool.js";
import { MIB } from "../../src/domain/bytes.js";
import { CorruptError } from "../../src/domain/errors.js";
import type { JobId, UploadId } from "../../src/domain/ids.js";
import type { Operation } from "../../src/protocol/routes.js";
import { downloadJobOutput } from "../../src/transfer/file-download.js";
import { type FileUploadOptions, type UploadedArchive, uploadFile } from "../../src/transfer/file-upload.js";
import { FaultPlan, faults, on, type Rule } from "../support/fault-plan.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";
import { FaultFixture, vault } from "./fault-fixture.js";
import {
  brokenAnswers,
  brokenRequests,
  delays,
  lostAnswers,
  neverArrived,
  passingRefusals,
  withoutEffect,
} from "./fault-table.js";

const partBytes = 16 * MIB;
const small = testBytes(100_000, 1);
/** Two parts, the second of them short. */
const large = testBytes(partBytes + MIB + 17, 2);
const pieceBytes = MIB;
/** Four pieces, the last of them short. */
const content = testBytes(3 * pieceBytes + 100, 3);

let directory: string;
let hasher: HashPool;
let place: FaultFixture;
let downloads = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-faults-"));
  hasher = new HashPool({ workers: 1 });
  await writeFile(join(directory, "small"), small);
  await writeFile(join(directory, "large"), large);
});
afterAll(async () => {
  await hasher[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

beforeEach(async () => {
  place = await FaultFixture.create();
});
afterEach(() => place[Symbol.asyncDispose]());

function upload(
  name: "small" | "large",
  options: Partial<FileUploadOptions> = {},
  at: FaultFixture = place,
): Promise<UploadedArchive> {
  const inParts = { vault, multipartThresholdBytes: partBytes, partSizeBytes: partBytes, parallel: 2 };
  return uploadFile({ service: at.patient, hasher }, join(directory, name), { ...inParts, ...options });
}

const targetPath = () => join(directory, `downloaded-${downloads}`);

/** Into a new file unless `again`. @returns its bytes. */
async function download(
  job: JobId,
  { again = false, at = place }: { readonly again?: boolean; readonly at?: FaultFixture } = {},
): Promise<Buffer> {
  if (!again) downloads += 1;
  const path = targetPath();
  const deps = { service: at.patient, hasher, clock: at.clock, random: () => 0.5 };
  await downloadJobOutput(deps, { vault, job, path, pieceBytes, parallel: 2 });
  return readFile(path);
}

describe("a file that goes in one request", () => {
  test.each([faults.throttled(), faults.serviceFailed(), faults.corruptedRequest()])(
    "is sent again after $name",
    async (named) => {
      place.plan(on("uploadArchive", { nth: 1 }, named));
      await upload("small");
      expect(place.proxy.count("uploadArchive")).toBe(2);
      expect(await place.copiesOf(small)).toBe(1);
    },
  );

  // Whoever answers in the place of the service does not say what the service has done.
  const unknown = [...neverArrived, faults.badGateway(), faults.resetInRequestBody(), ...lostAnswers];
  test.each(unknown)("is not sent twice after $name: a second archive would be billed", async (named) => {
    place.plan(on("uploadArchive", { nth: 1 }, named));
    await expect(upload("small")).rejects.toMatchObject({ kind: "unavailable", effect: "unknown" });
    expect(place.proxy.count("uploadArchive")).toBe(1);
    expect(await place.copiesOf(small)).toBe(lostAnswers.includes(named) ? 1 : 0);
  });
});

describe("a file that goes in parts", () => {
  const steps: [Operation, number][] = [
    ["initiateMultipartUpload", 1],
    ["uploadPart", 2],
    ["completeMultipartUpload", 1],
  ];
  const cases = steps.flatMap(([operation, requests]) => {
    const ofBodies = operation === "uploadPart" ? brokenRequests : [];
    const named = [faults.badGateway(), faults.resetBeforeRequest(), ...lostAnswers, ...ofBodies];
    return named.map((one) => ({ operation, requests, name: one.name, named: one }));
  });
  test.each(cases)("is one archive after $name on $operation", async ({ operation, requests, named }) => {
    place.plan(on(operation, { nth: 1 }, named));
    await upload("large");
    expect(place.proxy.count(operation)).toBe(requests + 1);
    expect(await place.copiesOf(large)).toBe(1);
    const strays = operation === "initiateMultipartUpload" && lostAnswers.includes(named) ? 1 : 0;
    expect(await place.openUploads()).toHaveLength(strays);
  });

  test("is the archive that it became, when Complete was done and nobody said so until it was given up", async () => {
    place.plan(
      on("completeMultipartUpload", { nth: 1 }, faults.lostAnswer()),
      on("completeMultipartUpload", { next: 5 }, faults.throttled()),
    );
    let resume: UploadId | undefined;
    const onInitiated = (id: UploadId) => {
      resume = id;
    };
    await expect(upload("large", { onInitiated })).rejects.toMatchObject({ fault: "throttled" });
    place.plan();
    const { archiveId } = await upload("large", { resume });
    expect((await place.archives()).map((archive) => archive.archiveId)).toEqual([archiveId]);
    expect(place.proxy.count("uploadPart")).toBe(2);
    expect((await place.bytesOf(archiveId)).equals(large)).toBe(true);
  });

  test("is given up while the service is down, and resumed with the part that is missing", async () => {
    const second = ({ header }: { header(name: string): string | undefined }) =>
      header("content-range")?.startsWith(`bytes ${partBytes}-`) === true;
    place.plan(on("uploadPart", { from: 1 }, faults.serviceFailed(), second));
    let id: UploadId | undefined;
    const onInitiated = (uploadId: UploadId) => {
      id = uploadId;
    };
    await expect(upload("large", { parallel: 1, onInitiated })).rejects.toMatchObject({ fault: "unavailable" });
    expect((await place.openUploads()).map((open) => open.id)).toEqual([id]);
    const before = place.proxy.count("uploadPart");
    expect(before).toBeLessThanOrEqual(10);
    place.plan();
    await upload("large", { resume: id });
    expect(place.proxy.count("uploadPart")).toBe(before + 1);
    expect(await place.copiesOf(large)).toBe(1);
    expect(await place.openUploads()).toEqual([]);
  });
});

describe("a download", () => {
  const finishedJob = async () => place.retrieval(await place.stored(content));
  const cases = [
    ...[...withoutEffect, ...lostAnswers, ...brokenAnswers],
    ...[faults.corruptedAnswer(), faults.alteredHeader("x-cas-sha256-tree-hash")],
    faults.missingHeader("x-cas-sha256-tree-hash"),
  ];
  test.each(cases)("has the right bytes after $name", async (named) => {
    place.plan(on("getJobOutput", { nth: 2 }, named));
    expect((await download(await finishedJob())).equals(content)).toBe(true);
    expect(place.proxy.count("getJobOutput")).toBeLessThanOrEqual(5);
  });

  test.each([faults.throttled(), faults.lostAnswer(), faults.truncatedAnswer()])(
    "begins after $name on describeJob",
    async (named) => {
      place.plan(on("describeJob", { nth: 1 }, named));
      expect((await download(await finishedJob())).equals(content)).toBe(true);
    },
  );

  test("that is always wrong leaves no file, and is right once the service is", async () => {
    const job = await finishedJob();
    place.plan(on("getJobOutput", { from: 1 }, faults.corruptedAnswer()));
    await expect(download(job)).rejects.toThrow(CorruptError);
    expect(existsSync(targetPath())).toBe(false);
    expect(place.proxy.count("getJobOutput")).toBeLessThanOrEqual(20);
    place.plan();
    expect((await download(job, { again: true })).equals(content)).toBe(true);
  });

  test("that the service broke off for good keeps its pieces for the next time", async () => {
    const job = await finishedJob();
    place.plan(on("getJobOutput", { from: 4 }, faults.accessDenied()));
    await expect(download(job)).rejects.toMatchObject({ fault: "denied" });
    expect(existsSync(targetPath())).toBe(false);
    place.plan();
    const before = place.proxy.count("getJobOutput");
    expect((await download(job, { again: true })).equals(content)).toBe(true);
    expect(place.proxy.count("getJobOutput") - before).toBeLessThan(4);
  });
});

test("whatever mixture of faults there is, transfers end right, or fail and go on right afterwards", async () => {
  const anywhere = fc.constantFrom(
    ...[...passingRefusals, faults.garbage(), faults.resetBeforeRequest(), faults.lostAnswer()],
    ...[...delays, faults.corruptedRequest(), faults.resetInRequestBody()],
  );
  const ofOutput = fc.constantFrom(
    ...[faults.truncatedAnswer(), faults.corruptedAnswer(), faults.alteredHeader("x-cas-sha256-tree-hash")],
  );
  const occurrence = fc.oneof(
    fc.record({ nth: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ next: fc.integer({ min: 1, max: 8 }) }),
    fc.record({ every: fc.integer({ min: 2, max: 4 }) }),
  );
  const operations = ["uploadPart", "completeMultipartUpload", "listParts", "describeJob", "getJobOutput"] as const;
  const rule = fc.oneof(
    fc.tuple(fc.constantFrom(...operations), occurrence, anywhere).map(([where, when, what]) => on(where, when, what)),
    fc.tuple(occurrence, ofOutput).map(([when, what]): Rule => on("getJobOutput", when, what)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(rule, { minLength: 2, maxLength: 5 }), async (rules) => {
      await using mixed = await FaultFixture.create();
      mixed.proxy.plan = new FaultPlan(rules, { mustHit: false });
      let resume: UploadId | undefined;
      const onInitiated = (id: UploadId) => {
        resume = id;
      };
      const { archiveId } = await upload("large", { onInitiated }, mixed).catch(async (error: unknown) => {
        expect(String(error)).toMatch(/Cannot/);
        mixed.proxy.plan = new FaultPlan();
        return upload("large", { resume, onInitiated }, mixed);
      });
      expect(await mixed.copiesOf(large)).toBe(1);
      expect(await mixed.openUploads()).toEqual([]);

      const job = await mixed.retrieval(archiveId);
      const received = await download(job, { at: mixed }).catch((error: unknown) => {
        expect(String(error)).toMatch(/Cannot/);
        expect(existsSync(targetPath())).toBe(false);
        mixed.proxy.plan = new FaultPlan();
        return download(job, { again: true, at: mixed });
      });
      expect(received.equals(large)).toBe(true);
    }),
    { numRuns: 5 },
  );
}, 120_000);
