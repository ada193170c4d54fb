import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { byteRange, MIB } from "../../src/domain/bytes.js";
import { combineTreeHashes, digestOf, isTreeHashAligned } from "../../src/protocol/tree-hash.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";
import type { CasClient } from "./cas-client.js";
import { bodyFiles, hour, LocalServer } from "./local-server.js";

let server: LocalServer;
let client: CasClient;

const bytes = testBytes(5 * MIB + 77);
const treeHash = digestOf(bytes).treeHash;

beforeAll(async () => {
  server = await LocalServer.start();
  client = server.client;
  await client.createVault("v");
});
afterAll(() => server[Symbol.asyncDispose]());

const describeJob = async (job: string) => client.call("GET", `/-/vaults/v/jobs/${job}`);
const retrieval = (archive: string, more: object = {}) => ({ Type: "archive-retrieval", ArchiveId: archive, ...more });

/** An archive of two-MiB parts, so that subtrees lie within files and across them. */
async function multipartArchive(content: Buffer): Promise<string> {
  const upload = await client.initiateUpload("v", 2 * MIB);
  for (let start = 0; start < content.length; start += 2 * MIB) {
    await client.putPart("v", upload, { start, content: content.subarray(start, start + 2 * MIB) });
  }
  const whole = { sizeBytes: content.length, treeHash: digestOf(content).treeHash };
  return (await client.complete("v", upload, whole)).headers["x-cas-archive-id"] as string;
}

describe("cas-api 11.1 Initiate Job", () => {
  test("answers 202 with an id of 64 characters, describable at once", async () => {
    const reply = await client.initiateJob("v", retrieval(await client.uploaded("v", bytes)));
    expect([reply.status, reply.body.length, reply.headers["content-type"]]).toEqual([202, 0, undefined]);
    const id = reply.headers["x-cas-job-id"] as string;
    expect(id).toMatch(/^[A-Za-z0-9_-]{64}$/);
    expect(reply.headers.location).toBe(`/1250000000/vaults/v/jobs/${id}`);
    expect((await describeJob(id)).status).toBe(200);
  });

  test.each([
    { order: {}, code: "MissingParameterValueException" },
    { order: { Type: "archive-retrieval" }, code: "MissingParameterValueException" },
    { order: { Type: "push-to-cos", ArchiveId: "x" }, code: "InvalidParameterValueException" },
    { order: { Type: "inventory-retrieval", Format: "XML" }, code: "InvalidParameterValueException" },
    {
      order: { Type: "inventory-retrieval", InventoryRetrievalParameters: { Limit: "10001" } },
      code: "InvalidParameterValueException",
    },
    {
      order: { Type: "inventory-retrieval", InventoryRetrievalParameters: { StartDate: "yesterday" } },
      code: "InvalidParameterValueException",
    },
    { order: { Type: "inventory-retrieval", CallBackUrl: "ftp://x" }, code: "InvalidParameterValueException" },
  ])("$order is refused as $code", async ({ order, code }) => {
    const reply = await client.initiateJob("v", order);
    expect([reply.status, reply.json().code]).toEqual([400, code]);
  });

  test("malformed JSON is a SerializationException, whatever the Content-Type", async () => {
    const reply = await client.call("POST", "/-/vaults/v/jobs", { body: "{nonsense" });
    expect([reply.status, reply.json().code]).toEqual([400, "SerializationException"]);
  });

  test.each([
    { range: "0-1048575", ok: true },
    { range: "1048576-", ok: true },
    { range: `1048576-${bytes.length - 1}`, ok: true },
    { range: "1-1048575", ok: false },
    { range: "0-1048574", ok: false },
    { range: `0-${bytes.length}`, ok: false },
    { range: "2097152-1048575", ok: false },
  ])("the range $range is accepted: $ok", async ({ range, ok }) => {
    const order = retrieval(await client.uploaded("v", bytes), { RetrievalByteRange: range });
    expect((await client.initiateJob("v", order)).status).toBe(ok ? 202 : 400);
  });

  test("an unknown archive is 404", async () => {
    expect((await client.initiateJob("v", retrieval("x".repeat(128)))).status).toBe(404);
  });

  test("Expedited is refused for an archive above 256 MiB, even for a part of it", async () => {
    const zeros = Buffer.alloc(64 * MIB);
    const upload = await client.initiateUpload("v", zeros.length);
    const parts = [zeros, zeros, zeros, zeros, Buffer.alloc(MIB)];
    for (const [index, content] of parts.entries()) {
      await client.putPart("v", upload, { start: index * zeros.length, content });
    }
    const whole = {
      sizeBytes: 257 * MIB,
      treeHash: combineTreeHashes(parts.map((content) => digestOf(content).treeHash)),
    };
    const archive = (await client.complete("v", upload, whole)).headers["x-cas-archive-id"] as string;
    const order = { Tier: "Expedited", RetrievalByteRange: "0-1048575" };
    const reply = await client.initiateJob("v", retrieval(archive, order));
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
    expect((await client.initiateJob("v", retrieval(archive, { ...order, Tier: "Standard" }))).status).toBe(202);
  });

  test("a bad tier is refused; empty optional fields count as absent", async () => {
    const archive = await client.uploaded("v", testBytes(10));
    expect((await client.initiateJob("v", retrieval(archive, { Tier: "Fast" }))).status).toBe(400);
    const empty = { Tier: "", Description: "", RetrievalByteRange: "", CallBackUrl: "" };
    expect((await client.initiateJob("v", retrieval(archive, empty))).status).toBe(202);
  });
});

describe("cas-api 11.2 Describe Job", () => {
  test("has every field from the beginning, with the range and the whole archive's hash", async () => {
    const archive = await client.uploaded("v", bytes);
    const order = retrieval(archive, { Tier: "Bulk", Description: "mine", CallBackUrl: "https://example.com/" });
    const job = await client.startedJob("v", order);
    expect((await describeJob(job)).json()).toEqual({
      Action: "ArchiveRetrieval",
      JobId: job,
      JobDescription: "mine",
      CallBackUrl: "https://example.com/",
      JobCallBackUrl: "https://example.com/",
      CreationDate: new Date(server.clock.now()).toISOString(),
      CompletionDate: null,
      Completed: false,
      StatusCode: "InProgress",
      StatusMessage: "InProgress",
      VaultQCS: "qcs:id/0:cas:ap-chengdu:uid/1250000000:vaults/v",
      ArchiveId: archive,
      ArchiveSizeInBytes: bytes.length,
      ArchiveSHA256TreeHash: treeHash,
      RetrievalByteRange: `0-${bytes.length - 1}`,
      SHA256TreeHash: treeHash,
      Tier: "Bulk",
      InventorySizeInBytes: 0,
      InventoryRetrievalParameters: null,
      Bucket: null,
      Object: null,
      Condition: null,
      ArchiveDescription: null,
    });
  });

  test("the hash of a part of an archive appears when the job has succeeded, and only for a subtree", async () => {
    const archive = await client.uploaded("v", bytes);
    const hashOf = async (range: string) => {
      const job = await client.startedJob("v", retrieval(archive, { RetrievalByteRange: range }));
      expect((await describeJob(job)).json().SHA256TreeHash).toBeNull();
      await server.clock.advance(4 * hour);
      return (await describeJob(job)).json().SHA256TreeHash;
    };
    expect(await hashOf("2097152-4194303")).toBe(digestOf(bytes.subarray(2 * MIB, 4 * MIB)).treeHash);
    expect(await hashOf("1048576-3145727")).toBeNull();
  });
});

describe("cas-api 11.3 List Jobs", () => {
  test("filters by state in any case and pages by (creation, id)", async () => {
    await client.createVault("listed");
    const jobs: string[] = [];
    for (let index = 0; index < 3; index++) {
      await server.clock.advance(1 * hour);
      jobs.push(await client.startedJob("listed", { Type: "inventory-retrieval" }));
    }
    await server.clock.advance(1 * hour);
    const list = async (query: string) => (await client.call("GET", `/-/vaults/listed/jobs${query}`)).json();
    const idsOf = (reply: { JobList: { JobId: string }[] }) => reply.JobList.map((job) => job.JobId);
    expect(idsOf(await list(""))).toEqual(jobs);
    expect(idsOf(await list("?completed=True"))).toEqual(jobs.slice(0, 1));
    expect(idsOf(await list("?completed=False&statuscode=inprogress"))).toEqual(jobs.slice(1));
    expect(idsOf(await list("?statuscode=Failed"))).toEqual([]);
    const first = await list("?limit=2");
    expect(idsOf(first)).toEqual(jobs.slice(0, 2));
    const second = await list(`?limit=2&marker=${encodeURIComponent(first.Marker)}`);
    expect([idsOf(second), second.Marker]).toEqual([jobs.slice(2), null]);
    expect(second.JobList[0]).toEqual((await client.call("GET", `/-/vaults/listed/jobs/${jobs[2]}`)).json());
  });
});

describe("cas-api 11.4 Get Job Output", () => {
  test("200 for the whole, 206 with Content-Range for a range, even when that is the whole", async () => {
    const job = await client.startedJob("v", retrieval(await client.uploaded("v", bytes)));
    await server.clock.advance(4 * hour);
    const whole = await client.output("v", job);
    expect([whole.status, whole.headers["content-range"]]).toEqual([200, undefined]);
    expect(whole.headers).toMatchObject({
      "content-type": "application/octet-stream",
      "content-length": String(bytes.length),
      "accept-ranges": "bytes",
      "x-cas-sha256-tree-hash": treeHash,
    });
    expect(whole.body.equals(bytes)).toBe(true);
    const ranged = await client.output("v", job, `bytes=0-${bytes.length - 1}`);
    const contentRange = `bytes 0-${bytes.length - 1}/${bytes.length}`;
    expect([ranged.status, ranged.headers["content-range"]]).toEqual([206, contentRange]);
    expect(ranged.headers["x-cas-sha256-tree-hash"]).toBe(treeHash);
  });

  test.each([
    { range: "bytes=5-", expected: bytes.subarray(5) },
    { range: "bytes=-7", expected: bytes.subarray(-7) },
    { range: `bytes=10-${bytes.length + 5}`, expected: bytes.subarray(10) },
    { range: "bytes=0-100", expected: bytes.subarray(0, 101) },
  ])("takes the range $range", async ({ range, expected }) => {
    const job = await client.startedJob("v", retrieval(await client.uploaded("v", bytes)));
    await server.clock.advance(4 * hour);
    const reply = await client.output("v", job, range);
    expect(reply.status).toBe(206);
    expect(reply.body.equals(expected)).toBe(true);
  });

  test.each([`bytes=${bytes.length}-`, "bytes=0-1,5-6", "bytes=9-3", "items=0-1", "bytes=-"])(
    "refuses the range %s",
    async (range) => {
      const job = await client.startedJob("v", retrieval(await client.uploaded("v", bytes)));
      await server.clock.advance(4 * hour);
      const reply = await client.output("v", job, range);
      expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
    },
  );

  test("any range is a slice of the archive, its hash header there exactly for subtrees (13.3)", async () => {
    const content = testBytes(7 * MIB + 1234);
    const archive = await multipartArchive(content);
    const jobRange = byteRange(2 * MIB, content.length);
    const whole = await client.startedJob("v", retrieval(archive));
    const part = await client.startedJob("v", retrieval(archive, { RetrievalByteRange: `${jobRange.start}-` }));
    const aligned = await client.startedJob("v", retrieval(archive, { RetrievalByteRange: `${4 * MIB}-` }));
    await server.clock.advance(4 * hour);
    const jobs = [
      { job: whole, start: 0, isSubtree: true },
      { job: part, start: 2 * MIB, isSubtree: false },
      { job: aligned, start: 4 * MIB, isSubtree: true },
    ];
    const offset = fc.oneof(
      fc.nat(content.length),
      fc.nat(8).map((mib) => mib * MIB),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...jobs), offset, offset, async ({ job, start, isSubtree }, one, other) => {
        const total = content.length - start;
        const first = Math.min(one, other, total - 1);
        const end = Math.min(Math.max(one, other, first + 1), total);
        const reply = await client.output("v", job, `bytes=${first}-${end - 1}`);
        const expected = content.subarray(start + first, start + end);
        expect(reply.headers["content-range"]).toBe(`bytes ${first}-${end - 1}/${total}`);
        expect(reply.body.equals(expected)).toBe(true);
        const hasHash = isSubtree && isTreeHashAligned(byteRange(start + first, start + end), content.length);
        expect(reply.headers["x-cas-sha256-tree-hash"]).toBe(hasHash ? digestOf(expected).treeHash : undefined);
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  test("before completion 400, of an unknown job 404", async () => {
    const job = await client.startedJob("v", retrieval(await client.uploaded("v", bytes)));
    const early = await client.output("v", job);
    expect([early.status, early.json().code]).toEqual([400, "InvalidParameterValueException"]);
    expect((await client.output("v", "x".repeat(64))).status).toBe(404);
  });
});

describe("cas-api 11.5 Life of a job", () => {
  test.each([
    { tier: "Expedited", ms: 1000 },
    { tier: "Standard", ms: 4 * hour },
    { tier: "Bulk", ms: 8 * hour },
  ])("$tier takes its time; the output lives 24 hours, then the job is gone", async ({ tier, ms }) => {
    const job = await client.startedJob("v", retrieval(await client.uploaded("v", bytes), { Tier: tier }));
    await server.clock.advance(ms - 1);
    expect((await describeJob(job)).json().StatusCode).toBe("InProgress");
    await server.clock.advance(1);
    expect((await describeJob(job)).json()).toMatchObject({
      StatusCode: "Succeeded",
      Completed: true,
      CompletionDate: new Date(server.clock.now()).toISOString(),
    });
    await server.clock.advance(24 * hour - 1);
    expect((await client.output("v", job, "bytes=0-9")).status).toBe(206);
    await server.clock.advance(1);
    expect((await client.output("v", job)).status).toBe(404);
    expect((await describeJob(job)).status).toBe(404);
    expect((await client.call("GET", "/-/vaults/v/jobs")).json().JobList).not.toContainEqual(
      expect.objectContaining({ JobId: job }),
    );
  });
});

describe("cas-api 9.2 jobs of deleted archives", () => {
  const remove = (archive: string) => client.call("DELETE", `/-/vaults/v/archives/${archive}`);

  test("a job for a deleted archive is accepted and fails, with Completed true (15.4)", async () => {
    const archive = await client.uploaded("v", bytes);
    await remove(archive);
    const job = await client.startedJob("v", retrieval(archive));
    expect((await describeJob(job)).json().StatusCode).toBe("InProgress");
    await server.clock.advance(4 * hour);
    expect((await describeJob(job)).json()).toMatchObject({ StatusCode: "Failed", Completed: true });
    const output = await client.output("v", job);
    expect([output.status, output.json().code]).toEqual([400, "InvalidParameterValueException"]);
  });

  test("a running job fails, a finished one keeps its output, and then the file goes", async () => {
    await server.clock.advance(30 * hour);
    const before = (await bodyFiles(server.directory)).length;
    const archive = await client.uploaded("v", bytes);
    const finished = await client.startedJob("v", retrieval(archive));
    await server.clock.advance(4 * hour);
    const running = await client.startedJob("v", retrieval(archive));
    await remove(archive);
    await server.clock.advance(4 * hour);
    expect((await describeJob(running)).json().StatusCode).toBe("Failed");
    expect((await client.output("v", finished)).body.equals(bytes)).toBe(true);
    await server.clock.advance(20 * hour);
    await client.call("GET", "/-/vaults");
    await expect.poll(async () => (await bodyFiles(server.directory)).length).toBe(before);
  });
});
