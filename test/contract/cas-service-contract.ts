/** What every implementation of `CasService` promises; a fake earns its trust here like the real thing. */

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ByteRange, byteCount, byteRange, MIB } from "../../src/domain/bytes.js";
import { ServiceError } from "../../src/domain/errors.js";
import { archiveId, jobId, type UploadId, uploadId, type VaultName, vaultName } from "../../src/domain/ids.js";
import { hours, type Instant, minutes } from "../../src/domain/time.js";
import { readInventoryCsv } from "../../src/protocol/inventory-csv.js";
import { type InventoryEntry, readInventoryJson } from "../../src/protocol/inventory-wire.js";
import type { CasService, JobRequest, NewPart } from "../../src/protocol/service.js";
import { digestOf, subtreeHash } from "../../src/protocol/tree-hash.js";
import type { FakeClock } from "../support/fake-clock.js";
import { bodyOf, newArchive, readAll, testBytes } from "../support/test-bytes.js";

export interface ServiceUnderTest {
  readonly service: CasService;
  /** The clock of the service; the suite moves it. */
  readonly clock: FakeClock;
  close(): Promise<void>;
}

/** How long the service under test must take, in milliseconds. Every inventory job takes a new inventory. */
export const contractTimes = {
  retrievalMs: { expedited: minutes(5), standard: hours(4), bulk: hours(8), inventory: hours(4) },
  outputLifetimeMs: hours(24),
  uploadLifetimeMs: hours(24),
};

const vault = vaultName("Photos_2019.a-b");
const missing = { name: "ServiceError", fault: "missing" };
const refused = { name: "ServiceError", fault: "refused" };

export function describeCasService(name: string, start: () => Promise<ServiceUnderTest>): void {
  describe(`CasService ${name}`, () => {
    let running: ServiceUnderTest;
    let service: CasService;
    let clock: FakeClock;

    beforeEach(async () => {
      running = await start();
      ({ service, clock } = running);
      await service.createVault(vault);
    });
    afterEach(() => running.close());

    const uploaded = (bytes: Uint8Array, description = "") =>
      service.uploadArchive(vault, newArchive(bytes, description));
    const retrieve = async (request: JobRequest, waitMs = contractTimes.retrievalMs.standard as number) => {
      const job = await service.initiateJob(vault, request);
      await clock.advance(waitMs);
      return job;
    };
    const output = async (job: ReturnType<typeof jobId>, range?: ByteRange) => {
      const { body, sizeBytes, treeHash } = await service.getJobOutput(vault, job, range);
      return { bytes: await readAll(body), sizeBytes, treeHash };
    };

    describe("vaults", () => {
      test("a vault notifies nobody until an address is set, and another address takes its place", async () => {
        expect(await service.vaultCallback(vault)).toBe(null);
        await service.setVaultCallback(vault, "http://127.0.0.1:1/first");
        await service.setVaultCallback(vault, "http://127.0.0.1:1/second");
        expect(await service.vaultCallback(vault)).toBe("http://127.0.0.1:1/second");
      });

      test("a created vault can be described at once, and knows no counts before its first inventory", async () => {
        expect(await service.describeVault(vault)).toEqual({
          name: vault,
          createdAt: clock.now(),
          lastInventoryAt: null,
          archiveCount: null,
          sizeBytes: null,
        });
      });

      test("creating a vault that exists changes nothing", async () => {
        const before = await service.describeVault(vault);
        await clock.advance(5000);
        await service.createVault(vault);
        expect(await service.describeVault(vault)).toEqual(before);
      });

      test("the pages of a listing hold every vault once, in the order of their names", async () => {
        for (const other of ["b", "a", "c"]) await service.createVault(vaultName(other));
        const names: string[] = [];
        let marker: string | null | undefined;
        do {
          const page = await service.listVaults({ limit: 1, ...(marker ? { marker } : {}) });
          expect(page.items).toHaveLength(1);
          names.push(page.items[0]!.name);
          marker = page.marker;
        } while (marker !== null);
        expect(names).toEqual([vault, "a", "b", "c"]);
        expect((await service.listVaults()).items.map((item) => item.name)).toEqual(names);
      });

      test("a vault is deleted when it is empty and refused while it holds an archive or an upload", async () => {
        const archive = await uploaded(testBytes(10));
        await expect(service.deleteVault(vault)).rejects.toMatchObject(refused);
        await service.deleteArchive(vault, archive);
        const upload = await service.initiateMultipartUpload(vault, { partSizeBytes: byteCount(MIB), description: "" });
        await expect(service.deleteVault(vault)).rejects.toMatchObject(refused);
        await service.abortMultipartUpload(vault, upload);
        await service.deleteVault(vault);
        await expect(service.describeVault(vault)).rejects.toMatchObject(missing);
        await expect(service.deleteVault(vault)).rejects.toMatchObject(missing);
      });

      test("a call on a vault that does not exist says that it is missing", async () => {
        const nowhere = vaultName("nowhere");
        const calls = [
          () => service.describeVault(nowhere),
          () => service.uploadArchive(nowhere, newArchive(testBytes(1))),
          () => service.listJobs(nowhere),
          () => service.listMultipartUploads(nowhere),
        ];
        for (const call of calls) await expect(call()).rejects.toMatchObject(missing);
      });
    });

    describe("archives", () => {
      test("what was uploaded comes back, with its description and hashes in the inventory", async () => {
        const bytes = testBytes(2 * MIB + 3);
        const archive = await uploaded(bytes, "casfs/1 a%20b?x=1&y=~!*'()");
        const entries = await inventoryOf(await retrieve({ action: "retrieve-inventory", format: "json" }));
        expect(entries).toEqual([
          {
            archiveId: archive,
            description: "casfs/1 a%20b?x=1&y=~!*'()",
            createdAt: expect.any(Number),
            sizeBytes: bytes.length,
            treeHash: digestOf(bytes).treeHash,
          },
        ]);
        const job = await retrieve({ action: "retrieve-archive", archiveId: archive, tier: "standard" });
        expect((await output(job)).bytes.equals(bytes)).toBe(true);
      });

      test("uploading the same bytes again makes another archive", async () => {
        expect(await uploaded(testBytes(5))).not.toBe(await uploaded(testBytes(5)));
      });

      test("a body that is not what its hashes say is a digest fault and stores nothing", async () => {
        const archive = newArchive(testBytes(100));
        const other = { ...archive, body: bodyOf(testBytes(100, 1)) };
        await expect(service.uploadArchive(vault, other)).rejects.toMatchObject({ fault: "digest" });
        await service.deleteVault(vault);
      });

      test("an empty archive is refused", async () => {
        await expect(uploaded(Buffer.alloc(0))).rejects.toMatchObject(refused);
      });

      test("deleting an archive twice is fine, deleting one that never was is not", async () => {
        const archive = await uploaded(testBytes(5));
        await service.deleteArchive(vault, archive);
        await service.deleteArchive(vault, archive);
        await expect(service.deleteArchive(vault, archiveId("x".repeat(128)))).rejects.toMatchObject(missing);
      });
    });

    describe("multipart uploads", () => {
      const bytes = testBytes(2 * MIB + 100);
      const { treeHash } = digestOf(bytes);
      const completion = { sizeBytes: byteCount(bytes.length), treeHash };
      const begin = (description = "") =>
        service.initiateMultipartUpload(vault, { partSizeBytes: byteCount(MIB), description });
      const part = (index: number, content: Uint8Array = bytes): NewPart => {
        const range = byteRange(index * MIB, Math.min((index + 1) * MIB, content.length));
        const piece = content.subarray(range.start, range.end);
        const digest = digestOf(piece);
        return { body: bodyOf(piece), range, sha256: digest.sha256, treeHash: digest.treeHash };
      };
      const send = (upload: UploadId, ...parts: NewPart[]) =>
        Promise.all(parts.map((each) => service.uploadPart(vault, upload, each)));

      test("parts in any order, some sent twice, become one archive", async () => {
        const upload = await begin("the description");
        await send(upload, part(2), part(0, testBytes(MIB * 3, 7)));
        await send(upload, part(1), part(0));
        const archive = await service.completeMultipartUpload(vault, upload, completion);
        const job = await retrieve({ action: "retrieve-archive", archiveId: archive, tier: "standard" });
        expect((await output(job)).bytes.equals(bytes)).toBe(true);
        const [entry] = await inventoryOf(await retrieve({ action: "retrieve-inventory", format: "json" }));
        expect(entry).toMatchObject({ archiveId: archive, description: "the description", treeHash });
      });

      test("repeating a Complete gives the same archive, and the upload is gone", async () => {
        const upload = await begin();
        await send(upload, part(0), part(1), part(2));
        const archive = await service.completeMultipartUpload(vault, upload, completion);
        await clock.advance(minutes(30));
        expect(await service.completeMultipartUpload(vault, upload, completion)).toBe(archive);
        await expect(service.listParts(vault, upload)).rejects.toMatchObject(missing);
        expect((await service.listMultipartUploads(vault)).items).toEqual([]);
      });

      test("repeating a Complete with other bytes is refused, and the archive is what it was", async () => {
        const upload = await begin();
        await send(upload, part(0), part(1), part(2));
        const archive = await service.completeMultipartUpload(vault, upload, completion);
        const other = { ...completion, treeHash: digestOf(testBytes(10, 3)).treeHash };
        const otherHash = service.completeMultipartUpload(vault, upload, other);
        await expect(otherHash).rejects.toMatchObject({ fault: "digest" });
        const longer = { ...completion, sizeBytes: byteCount(completion.sizeBytes + 1) };
        await expect(service.completeMultipartUpload(vault, upload, longer)).rejects.toMatchObject(refused);
        expect(await service.completeMultipartUpload(vault, upload, completion)).toBe(archive);
      });

      test("a Complete that does not add up leaves the upload to be repaired", async () => {
        const upload = await begin();
        await send(upload, part(0), part(2));
        await expect(service.completeMultipartUpload(vault, upload, completion)).rejects.toMatchObject(refused);
        await send(upload, part(1, testBytes(MIB * 3, 1)));
        await expect(service.completeMultipartUpload(vault, upload, completion)).rejects.toMatchObject({
          fault: "digest",
        });
        await send(upload, part(1));
        await service.completeMultipartUpload(vault, upload, completion);
      });

      test("the pages of the parts hold every part once, by offset", async () => {
        const upload = await begin("d");
        const createdAt = clock.now();
        await send(upload, part(2), part(1), part(0));
        const first = await service.listParts(vault, upload, { limit: 2 });
        expect(first.upload).toEqual({ id: upload, description: "d", createdAt, partSizeBytes: MIB });
        expect(first.items).toEqual(
          [0, 1].map((index) => ({ range: part(index).range, treeHash: part(index).treeHash })),
        );
        const second = await service.listParts(vault, upload, { limit: 2, marker: first.marker! });
        expect(second.items).toEqual([{ range: part(2).range, treeHash: part(2).treeHash }]);
        expect(second.marker).toBeNull();
      });

      test("a part that fits no place, or whose bytes are not what its hash says, is not taken", async () => {
        const upload = await begin();
        const shifted = { ...part(0), range: byteRange(1, MIB + 1) };
        await expect(send(upload, shifted)).rejects.toMatchObject(refused);
        const corrupt = { ...part(0), body: bodyOf(testBytes(MIB, 1)) };
        await expect(send(upload, corrupt)).rejects.toMatchObject({ fault: "digest" });
        expect((await service.listParts(vault, upload)).items).toEqual([]);
      });

      test("a part size that is no power of two of MiB is refused", async () => {
        const upload = service.initiateMultipartUpload(vault, { partSizeBytes: byteCount(3 * MIB), description: "" });
        await expect(upload).rejects.toMatchObject(refused);
      });

      test("the pages of the uploads hold every unfinished upload once", async () => {
        const ids = [await begin(), await begin(), await begin()];
        await service.abortMultipartUpload(vault, ids[1]!);
        const first = await service.listMultipartUploads(vault, { limit: 1 });
        const second = await service.listMultipartUploads(vault, { limit: 1, marker: first.marker! });
        expect(second.marker).toBeNull();
        expect([...first.items, ...second.items].map(({ id }) => id).sort()).toEqual([ids[0], ids[2]].sort());
      });

      test("an aborted, an unknown and an upload without activity for a day are missing", async () => {
        const aborted = await begin();
        await service.abortMultipartUpload(vault, aborted);
        const old = await begin();
        await clock.advance(hours(23));
        await send(old, part(0));
        await clock.advance(hours(23));
        expect((await service.listParts(vault, old)).items).toHaveLength(1);
        await clock.advance(hours(2));
        for (const upload of [aborted, old, uploadId("u".repeat(64))]) {
          await expect(service.listParts(vault, upload)).rejects.toMatchObject(missing);
          await expect(send(upload, part(0))).rejects.toMatchObject(missing);
        }
      });
    });

    describe("retrieval jobs", () => {
      const bytes = testBytes(5 * MIB + 1);
      const { leaves, treeHash } = digestOf(bytes);

      test("a job is in progress until its tier's time has passed; only then there is output", async () => {
        const archive = await uploaded(bytes);
        const startedAt = clock.now();
        const job = await service.initiateJob(vault, {
          action: "retrieve-archive",
          archiveId: archive,
          tier: "bulk",
          description: "for Anna",
        });
        const facts = {
          id: job,
          action: "retrieve-archive",
          archiveId: archive,
          archiveSizeBytes: bytes.length,
          archiveTreeHash: treeHash,
          range: { start: 0, end: bytes.length },
          rangeTreeHash: treeHash,
          tier: "bulk",
          description: "for Anna",
          createdAt: startedAt,
        };
        expect(await service.describeJob(vault, job)).toMatchObject({
          ...facts,
          status: "in-progress",
          completedAt: null,
        });
        await clock.advance(contractTimes.retrievalMs.bulk - 1);
        expect(await service.describeJob(vault, job)).toMatchObject({ status: "in-progress" });
        await expect(service.getJobOutput(vault, job, undefined)).rejects.toMatchObject(refused);
        await clock.advance(1);
        const done = await service.describeJob(vault, job);
        expect(done).toMatchObject({ ...facts, status: "succeeded", completedAt: clock.now() });
        const { bytes: fetched, sizeBytes, treeHash: outputHash } = await output(job);
        expect([fetched.equals(bytes), sizeBytes, outputHash]).toEqual([true, bytes.length, treeHash]);
      });

      test("output is served in any range, with a tree hash where the range is a subtree", async () => {
        const archive = await uploaded(bytes);
        const job = await retrieve({ action: "retrieve-archive", archiveId: archive, tier: "standard" });
        const ranges = [
          byteRange(0, 4 * MIB),
          byteRange(4 * MIB, bytes.length),
          byteRange(MIB, 2 * MIB),
          byteRange(7, 9),
        ];
        for (const range of ranges) {
          const { bytes: fetched, sizeBytes, treeHash: hash } = await output(job, range);
          expect(fetched.equals(bytes.subarray(range.start, range.end))).toBe(true);
          expect(sizeBytes).toBe(range.end - range.start);
          expect(hash).toBe(subtreeHash(leaves, range, bytes.length));
        }
        await expect(output(job, byteRange(bytes.length, bytes.length + 1))).rejects.toMatchObject(refused);
      });

      test("a job for a part of an archive counts its output from the start of that part", async () => {
        const archive = await uploaded(bytes);
        const range = byteRange(4 * MIB, bytes.length);
        const request: JobRequest = { action: "retrieve-archive", archiveId: archive, tier: "standard", range };
        const early = await service.initiateJob(vault, request);
        expect(await service.describeJob(vault, early)).toMatchObject({ range, rangeTreeHash: null });
        const job = await retrieve(request);
        const hash = subtreeHash(leaves, range, bytes.length);
        expect(await service.describeJob(vault, job)).toMatchObject({ range, rangeTreeHash: hash });
        expect((await output(job)).bytes.equals(bytes.subarray(range.start))).toBe(true);
        expect((await output(job, byteRange(MIB, MIB + 1))).bytes).toEqual(bytes.subarray(5 * MIB));
      });

      test("an unaligned range and one beyond the end are refused", async () => {
        const archive = await uploaded(bytes);
        for (const range of [
          byteRange(1, MIB),
          byteRange(0, MIB + 1),
          byteRange(0, 6 * MIB),
          byteRange(6 * MIB, 7 * MIB),
        ]) {
          const job = service.initiateJob(vault, {
            action: "retrieve-archive",
            archiveId: archive,
            tier: "standard",
            range,
          });
          await expect(job).rejects.toMatchObject(refused);
        }
      });

      test("every call starts a job of its own", async () => {
        const archive = await uploaded(bytes);
        const request: JobRequest = { action: "retrieve-archive", archiveId: archive, tier: "standard" };
        expect(await service.initiateJob(vault, request)).not.toBe(await service.initiateJob(vault, request));
      });

      test("an unknown archive is missing; the job for a deleted one is accepted and fails", async () => {
        const unknown: JobRequest = {
          action: "retrieve-archive",
          archiveId: archiveId("x".repeat(128)),
          tier: "standard",
        };
        await expect(service.initiateJob(vault, unknown)).rejects.toMatchObject(missing);
        const archive = await uploaded(bytes);
        await service.deleteArchive(vault, archive);
        const job = await retrieve({ action: "retrieve-archive", archiveId: archive, tier: "standard" });
        expect(await service.describeJob(vault, job)).toMatchObject({
          status: "failed",
          completedAt: expect.any(Number),
        });
        await expect(service.getJobOutput(vault, job, undefined)).rejects.toMatchObject(refused);
      });

      test("a day after its completion a job is forgotten", async () => {
        const archive = await uploaded(bytes);
        const job = await retrieve({ action: "retrieve-archive", archiveId: archive, tier: "standard" });
        await clock.advance(hours(23));
        expect((await output(job, byteRange(0, 1))).bytes).toHaveLength(1);
        await clock.advance(hours(2));
        await expect(service.describeJob(vault, job)).rejects.toMatchObject(missing);
        await expect(service.getJobOutput(vault, job, undefined)).rejects.toMatchObject(missing);
        expect((await service.listJobs(vault)).items).toEqual([]);
        await expect(service.describeJob(vault, jobId("j".repeat(64)))).rejects.toMatchObject(missing);
      });

      test("a listing holds running and finished jobs, all, by completion or by status", async () => {
        const archive = await uploaded(bytes);
        const quick = await service.initiateJob(vault, {
          action: "retrieve-archive",
          archiveId: archive,
          tier: "expedited",
        });
        await clock.advance(contractTimes.retrievalMs.expedited);
        const slow = await service.initiateJob(vault, { action: "retrieve-inventory", format: "json" });
        const ids = async (filter?: Parameters<CasService["listJobs"]>[1]) =>
          (await service.listJobs(vault, filter)).items.map(({ id }) => id);
        expect(await ids()).toEqual([quick, slow]);
        expect(await ids({ completed: true })).toEqual([quick]);
        expect(await ids({ completed: false })).toEqual([slow]);
        expect(await ids({ status: "in-progress" })).toEqual([slow]);
        expect(await ids({ status: "failed" })).toEqual([]);
        const first = await service.listJobs(vault, { limit: 1 });
        const second = await service.listJobs(vault, { limit: 1, marker: first.marker! });
        expect([...first.items, ...second.items]).toEqual((await service.listJobs(vault)).items);
        expect(second.marker).toBeNull();
      });
    });

    describe("inventories", () => {
      test("the JSON and the CSV inventory tell the same, and the vault then knows its counts", async () => {
        for (const index of [1, 2, 3]) await uploaded(testBytes(index), `"quoted", number\u00e9 ${index}`);
        const json = await retrieve({ action: "retrieve-inventory", format: "json" });
        const csv = await retrieve({ action: "retrieve-inventory", format: "csv" });
        const entries = await inventoryOf(json);
        expect(entries.map(({ sizeBytes }) => sizeBytes).sort()).toEqual([1, 2, 3]);
        expect(await inventoryOf(csv)).toEqual(entries);
        const described = await service.describeJob(vault, json);
        const { bytes, treeHash } = await output(json);
        expect(described).toMatchObject({ inventorySizeBytes: bytes.length, nextMarker: null, format: "json" });
        expect(treeHash).toBeNull();
        const range = byteRange(0, bytes.length);
        expect((await output(json, range)).bytes).toEqual(bytes);
        expect(await service.describeVault(vault)).toMatchObject({
          archiveCount: 3,
          sizeBytes: 6,
          lastInventoryAt: expect.any(Number),
        });
      });

      test("the inventory of an empty vault is a whole inventory without archives", async () => {
        for (const format of ["json", "csv"] as const) {
          expect(await inventoryOf(await retrieve({ action: "retrieve-inventory", format }))).toEqual([]);
        }
      });

      test("a limit cuts an inventory, and its marker leads to the rest", async () => {
        const ids = await Promise.all([1, 2, 3, 4, 5].map((length) => uploaded(testBytes(length))));
        const found: string[] = [];
        let marker: string | null | undefined;
        do {
          const filter = { limit: 2, ...(marker ? { marker } : {}) };
          const job = await retrieve({ action: "retrieve-inventory", format: "json", filter });
          found.push(...(await inventoryOf(job)).map((entry) => entry.archiveId));
          const described = await service.describeJob(vault, job);
          marker = described.action === "retrieve-inventory" ? described.nextMarker : null;
        } while (marker !== null);
        expect(found).toEqual([...ids].sort());
      });

      test("dates choose the archives created between them, both seconds included", async () => {
        const times: Instant[] = [];
        for (const length of [1, 2, 3]) {
          await uploaded(testBytes(length));
          times.push(clock.now());
          await clock.advance(1000);
        }
        const filter = { createdFrom: times[1]!, createdUntil: times[1]! };
        const job = await retrieve({ action: "retrieve-inventory", format: "json", filter });
        expect((await inventoryOf(job)).map(({ sizeBytes }) => sizeBytes)).toEqual([2]);
      });
    });

    describe("aborts", () => {
      test("an aborted call rejects with the reason of its signal", async () => {
        const reason = new Error("gone for lunch");
        const signal = AbortSignal.abort(reason);
        await expect(service.describeVault(vault, { signal })).rejects.toBe(reason);
        await expect(service.uploadArchive(vault, newArchive(testBytes(3)), { signal })).rejects.toBe(reason);
      });

      test("an abort in the middle of an upload rejects with its reason and stores nothing", async () => {
        const controller = new AbortController();
        const reason = new Error("enough");
        const archive = newArchive(testBytes(MIB));
        const body = async function* () {
          for await (const piece of archive.body()) {
            yield piece;
            controller.abort(reason);
          }
        };
        const call = service.uploadArchive(vault, { ...archive, body }, { signal: controller.signal });
        await expect(call).rejects.toBe(reason);
        await service.deleteVault(vault);
      });

      test("a reader may stop in the middle of an output", async () => {
        const archive = await uploaded(testBytes(4 * MIB));
        const job = await retrieve({ action: "retrieve-archive", archiveId: archive, tier: "standard" });
        const { body } = await service.getJobOutput(vault, job, undefined);
        for await (const piece of body) {
          expect(piece.length).toBeGreaterThan(0);
          break;
        }
        expect((await output(job, byteRange(0, 10))).bytes).toEqual(testBytes(10));
      });

      test("an abort in the middle of an output rejects with its reason", async () => {
        const archive = await uploaded(testBytes(4 * MIB));
        const job = await retrieve({ action: "retrieve-archive", archiveId: archive, tier: "standard" });
        const controller = new AbortController();
        const reason = new Error("enough");
        const { body } = await service.getJobOutput(vault, job, undefined, { signal: controller.signal });
        const reading = (async () => {
          for await (const _ of body) controller.abort(reason);
        })();
        await expect(reading).rejects.toBe(reason);
      });
    });

    test("every failure is a ServiceError", async () => {
      const failure = await service.describeVault(vaultName("nowhere")).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(ServiceError);
      expect((failure as ServiceError).code).toBe("ResourceNotFoundException");
    });

    async function inventoryOf(job: ReturnType<typeof jobId>): Promise<InventoryEntry[]> {
      const described = await service.describeJob(vault as VaultName, job);
      const { body } = await service.getJobOutput(vault, job, undefined);
      const entries: InventoryEntry[] = [];
      if (described.action === "retrieve-inventory" && described.format === "csv") {
        for await (const entry of readInventoryCsv(body)) entries.push(entry);
      } else {
        for await (const batch of readInventoryJson(body)) entries.push(...batch);
      }
      return entries;
    }
  });
}
