import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { testBytes } from "../support/test-bytes.js";
import { type CasClient, hashHeaders } from "./cas-client.js";
import { bodyFiles, hour, LocalServer } from "./local-server.js";

let server: LocalServer;
let client: CasClient;

beforeAll(async () => {
  server = await LocalServer.start();
  client = server.client;
  await client.createVault("v");
});
afterAll(() => server[Symbol.asyncDispose]());

const bytes = testBytes(3 * MIB + 99);
const whole = { sizeBytes: bytes.length, treeHash: digestOf(bytes).treeHash };
const part = (number: number, sizeBytes = MIB) => ({
  start: number * MIB,
  content: bytes.subarray(number * MIB, Math.min(number * MIB + sizeBytes, bytes.length)),
});

async function uploadWithParts(...numbers: number[]): Promise<string> {
  const upload = await client.initiateUpload("v");
  for (const number of numbers) expect((await client.putPart("v", upload, part(number))).status).toBe(204);
  return upload;
}

describe("cas-api 10.1 Initiate", () => {
  test("answers 201 with an id of 64 characters", async () => {
    const reply = await client.call("POST", "/-/vaults/v/multipart-uploads", {
      headers: { "x-cas-part-size": "1048576" },
    });
    expect([reply.status, reply.body.length, reply.headers["content-type"]]).toEqual([201, 0, undefined]);
    const id = reply.headers["x-cas-multipart-upload-id"] as string;
    expect(id).toMatch(/^[A-Za-z0-9_-]{64}$/);
    expect(reply.headers.location).toBe(`/1250000000/vaults/v/multipart-uploads/${id}`);
  });

  test.each([MIB, 2 * MIB, 4096 * MIB])("takes the part size %i", async (size) => {
    expect(await client.initiateUpload("v", size)).toHaveLength(64);
  });

  test.each(["0", "1", "3145728", "50331648", String(8192 * MIB), "1e6", "x"])(
    "refuses the part size %s",
    async (size) => {
      const reply = await client.call("POST", "/-/vaults/v/multipart-uploads", {
        headers: { "x-cas-part-size": size },
      });
      expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
    },
  );

  test("a missing part size is a missing parameter", async () => {
    const reply = await client.call("POST", "/-/vaults/v/multipart-uploads");
    expect([reply.status, reply.json().code]).toEqual([400, "MissingParameterValueException"]);
  });
});

describe("cas-api 10.2 Upload Part", () => {
  test("answers 204 with the part's tree hash; uppercase hashes are taken (15.5)", async () => {
    const upload = await client.initiateUpload("v");
    const hashes = hashHeaders(part(1).content);
    const headers = Object.fromEntries(Object.entries(hashes).map(([name, hash]) => [name, hash.toUpperCase()]));
    const reply = await client.putPart("v", upload, { ...part(1), headers });
    expect([reply.status, reply.headers["x-cas-sha256-tree-hash"]]).toEqual([204, hashes["x-cas-sha256-tree-hash"]]);
  });

  test.each(["bytes 0-1048575/*", "bytes 0-1048575/3145827", "bytes 0-1048575"])("takes %s", async (range) => {
    const upload = await client.initiateUpload("v");
    const reply = await client.putPart("v", upload, { ...part(0), headers: { "content-range": range } });
    expect(reply.status).toBe(204);
  });

  test.each([
    { range: "bytes 1-1048576/*", why: "unaligned" },
    { range: "bytes 0-1048574/*", why: "another length than the body" },
    { range: "bytes 10485760000-10486808575/*", why: "part number 10000" },
    { range: "items 0-1/*", why: "nonsense" },
  ])("refuses $range: $why", async ({ range }) => {
    const upload = await client.initiateUpload("v");
    const reply = await client.putPart("v", upload, { ...part(0), headers: { "content-range": range } });
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
  });

  test("refuses a part larger than the part size, an empty one and one with false hashes", async () => {
    const upload = await client.initiateUpload("v");
    expect((await client.putPart("v", upload, part(0, 2 * MIB))).json().code).toBe("InvalidParameterValueException");
    const lie = { "x-cas-sha256-tree-hash": "0".repeat(64) };
    expect((await client.putPart("v", upload, { ...part(0), headers: lie })).json().code).toBe("InvalidDigest");
    expect((await client.call("GET", `/-/vaults/v/multipart-uploads/${upload}`)).json().Parts).toEqual([]);
  });

  test("a part sent again replaces the former and its file", async () => {
    const upload = await client.initiateUpload("v");
    const before = (await bodyFiles(server.directory)).length;
    await client.putPart("v", upload, { start: 0, content: testBytes(MIB, 7) });
    await client.putPart("v", upload, part(0));
    await expect.poll(async () => (await bodyFiles(server.directory)).length).toBe(before + 1);
    for (const number of [1, 2, 3]) await client.putPart("v", upload, part(number));
    expect((await client.complete("v", upload, whole)).status).toBe(201);
  });

  test("an unknown upload is 404", async () => {
    expect((await client.putPart("v", "x".repeat(64), part(0))).status).toBe(404);
  });
});

describe("cas-api 10.3 Complete", () => {
  test("makes the archive of parts that came in any order; repeating it gives the same id for an hour", async () => {
    const upload = await client.initiateUpload("v", MIB, { "x-cas-archive-description": "from initiate" });
    await Promise.all([3, 1, 0, 2].map((number) => client.putPart("v", upload, part(number))));
    const reply = await client.complete("v", upload, whole);
    const id = reply.headers["x-cas-archive-id"] as string;
    expect([reply.status, reply.body.length]).toEqual([201, 0]);
    expect(id).toMatch(/^[A-Za-z0-9_-]{128}$/);
    expect(reply.headers.location).toBe(`/1250000000/vaults/v/archives/${id}`);
    await server.clock.advance(0.99 * hour);
    expect((await client.complete("v", upload, whole)).headers["x-cas-archive-id"]).toBe(id);
    expect((await client.call("GET", `/-/vaults/v/multipart-uploads/${upload}`)).status).toBe(404);
    expect((await client.putPart("v", upload, part(0))).status).toBe(404);
    await server.clock.advance(0.02 * hour);
    expect((await client.complete("v", upload, whole)).status).toBe(404);
  });

  test("a gap, a wrong size, a wrong tree hash or no parts fail and leave the upload as it was", async () => {
    const upload = await uploadWithParts(0, 1, 3);
    const codeOf = async (claim = whole) => (await client.complete("v", upload, claim)).json().code;
    expect(await codeOf()).toBe("InvalidParameterValueException");
    await client.putPart("v", upload, part(2));
    expect(await codeOf({ ...whole, sizeBytes: whole.sizeBytes + 1 })).toBe("InvalidParameterValueException");
    expect(await codeOf({ ...whole, treeHash: "0".repeat(64) as never })).toBe("InvalidDigest");
    expect((await client.complete("v", upload, whole)).status).toBe(201);
    const empty = await client.initiateUpload("v");
    expect((await client.complete("v", empty, whole)).json().code).toBe("InvalidParameterValueException");
  });

  test("a short part that is not the last is accepted by Upload Part and fails here", async () => {
    const upload = await client.initiateUpload("v");
    expect((await client.putPart("v", upload, part(0, 1000))).status).toBe(204);
    await client.putPart("v", upload, part(1));
    const reply = await client.complete("v", upload, { ...whole, sizeBytes: MIB + 1000 });
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
  });

  test("both headers are required", async () => {
    const upload = await uploadWithParts(0);
    const reply = await client.call("POST", `/-/vaults/v/multipart-uploads/${upload}`);
    expect([reply.status, reply.json().code]).toEqual([400, "MissingParameterValueException"]);
  });
});

describe("cas-api 10.4 List Parts", () => {
  test("lists ranges and lowercase hashes by offset, with the upload's own fields", async () => {
    const upload = await uploadWithParts(2, 0, 3);
    const reply = await client.call("GET", `/-/vaults/v/multipart-uploads/${upload}`);
    expect(reply.json()).toEqual({
      ArchiveDescription: "",
      CreationDate: expect.any(String),
      Marker: null,
      MultipartUploadId: upload,
      PartSizeInBytes: MIB,
      VaultQCS: "qcs:id/0:cas:ap-chengdu:uid/1250000000:vaults/v",
      Parts: [0, 2, 3].map((number) => ({
        RangeInBytes: `${number * MIB}-${number * MIB + part(number).content.length - 1}`,
        SHA256TreeHash: digestOf(part(number).content).treeHash,
      })),
    });
  });

  test("pages by byte offset; marker and limit may be headers (6.5)", async () => {
    const upload = await uploadWithParts(0, 1, 2);
    const target = `/-/vaults/v/multipart-uploads/${upload}`;
    const first = (await client.call("GET", `${target}?limit=2`)).json();
    expect([first.Parts.length, first.Marker]).toEqual([2, String(2 * MIB)]);
    const second = (await client.call("GET", `${target}?limit=2&marker=${first.Marker}`)).json();
    expect([second.Parts[0].RangeInBytes, second.Marker]).toEqual([`${2 * MIB}-${3 * MIB - 1}`, null]);
    const byHeaders = (await client.call("GET", target, { headers: { marker: String(MIB), limit: "1" } })).json();
    expect([byHeaders.Parts.length, byHeaders.Marker]).toEqual([1, String(2 * MIB)]);
  });
});

describe("cas-api 10.5 List Multipart Uploads", () => {
  test("lists unfinished uploads by creation; a marker works after its upload has gone", async () => {
    await client.createVault("listed");
    const uploads: string[] = [];
    for (let index = 0; index < 4; index++) {
      await server.clock.advance(1000);
      uploads.push(await client.initiateUpload("listed", MIB, { "x-cas-archive-description": `d${index}` }));
    }
    const target = "/-/vaults/listed/multipart-uploads";
    const first = (await client.call("GET", `${target}?limit=2`)).json();
    const idsOf = (reply: { UploadsList: { MultipartUploadId: string }[] }) =>
      reply.UploadsList.map((upload) => upload.MultipartUploadId);
    expect(idsOf(first)).toEqual(uploads.slice(0, 2));
    expect(first.UploadsList[1]).toEqual({
      ArchiveDescription: "d1",
      CreationDate: expect.any(String),
      MultipartUploadId: uploads[1],
      PartSizeInBytes: MIB,
      VaultQCS: "qcs:id/0:cas:ap-chengdu:uid/1250000000:vaults/listed",
    });
    await client.call("DELETE", `${target}/${uploads[2]}`);
    const second = (await client.call("GET", `${target}?limit=2&marker=${encodeURIComponent(first.Marker)}`)).json();
    expect([idsOf(second), second.Marker]).toEqual([[uploads[3]], null]);
  });
});

describe("cas-api 10.6 Abort, 10.7 Lifetime", () => {
  test("drops the parts; again is fine for an hour; a completed or unknown upload is 404", async () => {
    const before = (await bodyFiles(server.directory)).length;
    const upload = await uploadWithParts(0, 1);
    const target = `/-/vaults/v/multipart-uploads/${upload}`;
    expect((await client.call("DELETE", target)).status).toBe(204);
    await expect.poll(async () => (await bodyFiles(server.directory)).length).toBe(before);
    expect((await client.call("GET", target)).status).toBe(404);
    expect((await client.call("DELETE", target)).status).toBe(204);
    await server.clock.advance(1.01 * hour);
    expect((await client.call("DELETE", target)).status).toBe(404);
    const completed = await uploadWithParts(0, 1, 2, 3);
    await client.complete("v", completed, whole);
    expect((await client.call("DELETE", `/-/vaults/v/multipart-uploads/${completed}`)).status).toBe(404);
  });

  test("an upload lives 24 hours from its last part, then it and its files are gone", async () => {
    await client.createVault("aging");
    const before = (await bodyFiles(server.directory)).length;
    const upload = await client.initiateUpload("aging");
    await server.clock.advance(23 * hour);
    await client.putPart("aging", upload, part(0));
    await server.clock.advance(23 * hour);
    const target = `/-/vaults/aging/multipart-uploads/${upload}`;
    expect((await client.call("GET", target)).status).toBe(200);
    await server.clock.advance(1 * hour);
    expect((await client.call("GET", target)).status).toBe(404);
    expect((await client.call("GET", "/-/vaults/aging/multipart-uploads")).json().UploadsList).toEqual([]);
    await expect.poll(async () => (await bodyFiles(server.directory)).length).toBeLessThanOrEqual(before);
    expect((await client.call("DELETE", "/-/vaults/aging")).status).toBe(204);
  });
});
