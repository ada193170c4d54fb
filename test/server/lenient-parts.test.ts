/** Part sizes that are no powers of two, as `cascmd -p 48M` sends them (cas-api section 16, row 2). */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { combineTreeHashes, digestOf } from "../../src/protocol/tree-hash.js";
import { testBytes } from "../support/test-bytes.js";
import { LocalServer } from "./local-server.js";

const retrievalMs = { expedited: 0, standard: 0, bulk: 0, inventory: 0 };
const partSizeBytes = 3 * MIB;
const bytes = testBytes(10 * MIB + 17);
const parts = [0, 1, 2, 3].map((number) => ({
  start: number * partSizeBytes,
  content: bytes.subarray(number * partSizeBytes, (number + 1) * partSizeBytes),
}));
const trueHash = digestOf(bytes).treeHash;
const combinedHash = combineTreeHashes(parts.map(({ content }) => digestOf(content).treeHash));

let server: LocalServer;
beforeAll(async () => {
  server = await LocalServer.start({ lenientPartSize: true, retrievalMs });
  await server.client.createVault("v");
});
afterAll(() => server[Symbol.asyncDispose]());

async function uploaded(): Promise<string> {
  const upload = await server.client.initiateUpload("v", partSizeBytes);
  await Promise.all(parts.map((part) => server.client.putPart("v", upload, part)));
  return upload;
}

describe("lenientPartSize", () => {
  test.each([
    { claim: "true", treeHash: trueHash },
    { claim: "combined from the parts", treeHash: combinedHash },
  ])(
    "Complete takes the $claim tree hash, stores and answers the true one, and does so again",
    async ({ treeHash }) => {
      expect(combinedHash).not.toBe(trueHash);
      const upload = await uploaded();
      const reply = await server.client.complete("v", upload, { sizeBytes: bytes.length, treeHash });
      expect([reply.status, reply.headers["x-cas-sha256-tree-hash"]]).toEqual([201, trueHash]);
      const archive = reply.headers["x-cas-archive-id"] as string;
      const again = await server.client.complete("v", upload, { sizeBytes: bytes.length, treeHash });
      expect(again.headers).toMatchObject({ "x-cas-archive-id": archive, "x-cas-sha256-tree-hash": trueHash });
      const job = await server.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
      const described = (await server.client.call("GET", `/-/vaults/v/jobs/${job}`)).json();
      expect([described.ArchiveSHA256TreeHash, described.SHA256TreeHash]).toEqual([trueHash, trueHash]);
      expect((await server.client.output("v", job)).body.equals(bytes)).toBe(true);
    },
  );

  test("another hash is refused, at first and when the archive exists", async () => {
    const upload = await uploaded();
    const lie = { sizeBytes: bytes.length, treeHash: "0".repeat(64) };
    expect((await server.client.complete("v", upload, lie)).json().code).toBe("InvalidDigest");
    expect((await server.client.complete("v", upload, { ...lie, treeHash: combinedHash })).status).toBe(201);
    expect((await server.client.complete("v", upload, lie)).json().code).toBe("InvalidDigest");
  });

  test.each(["1048577", "0", String(4097 * MIB)])("a part size of %s bytes is refused all the same", async (size) => {
    const headers = { "x-cas-part-size": size };
    const reply = await server.client.call("POST", "/-/vaults/v/multipart-uploads", { headers });
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
  });

  test("an upload that began leniently is completed by a strict server, with the true hash only", async () => {
    await using lenient = await LocalServer.start({ lenientPartSize: true });
    await lenient.client.createVault("v");
    const upload = await lenient.client.initiateUpload("v", partSizeBytes);
    for (const part of parts) await lenient.client.putPart("v", upload, part);
    await using strict = await lenient.restarted({ lenientPartSize: false });
    const claim = { sizeBytes: bytes.length, treeHash: combinedHash };
    expect((await strict.client.complete("v", upload, claim)).json().code).toBe("InvalidDigest");
    expect((await strict.client.complete("v", upload, { ...claim, treeHash: trueHash })).status).toBe(201);
  });
});

describe("the largest single upload (16, row 4)", () => {
  test("is an option; a longer body is refused by its Content-Length, before it is sent", async () => {
    await using small = await LocalServer.start({ singleUploadBytesMax: MIB });
    await small.client.createVault("v");
    expect((await small.client.upload("v", testBytes(MIB))).status).toBe(201);
    const reply = await small.client.upload("v", testBytes(MIB + 1));
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
  });
});
