import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { CASClientError, CASServerError } from "../../src/sdk/index.js";
import { credentials } from "../server/cas-client.js";
import { hour, startMs } from "../server/local-server.js";
import { testBytes } from "../support/test-bytes.js";
import { bytesOf, collected, ScriptedServer, SdkServer } from "./sdk-fixture.js";

const { appId } = credentials;

describe("typed answers", () => {
  test("vaults: create, describe, list, delete", async () => {
    await using sdk = await SdkServer.start();
    const created = await sdk.api.createVault("photos");
    expect(created).toMatchObject({ status: 201, data: { location: `/${appId}/vaults/photos` } });
    expect(created.requestId).toBe(created.headers["x-cas-requestid"]);
    const { data } = await sdk.api.describeVault("photos");
    const properties = {
      vaultName: "photos",
      vaultQcs: `qcs:id/0:cas:ap-chengdu:uid/${appId}:vaults/photos`,
      creationDate: new Date(startMs),
      lastInventoryDate: null,
      numberOfArchives: null,
      sizeInBytes: null,
    };
    expect(data).toEqual(properties);
    expect((await sdk.api.listVaults()).data).toEqual({ marker: null, vaultList: [properties] });
    expect((await sdk.api.deleteVault("photos")).data).toBeUndefined();
    expect((await sdk.api.listVaults()).data.vaultList).toEqual([]);
  });

  test("access policy: set as text or document, get, delete", async () => {
    await using sdk = await SdkServer.start();
    await sdk.api.createVault("photos");
    const policy = { version: "2.0", statement: [] };
    await sdk.api.setVaultAccessPolicy("photos", policy);
    expect((await sdk.api.getVaultAccessPolicy("photos")).data).toEqual({ policy: JSON.stringify(policy) });
    await sdk.api.setVaultAccessPolicy("photos", JSON.stringify(policy, null, 1));
    expect(JSON.parse((await sdk.api.getVaultAccessPolicy("photos")).data.policy)).toEqual(policy);
    await sdk.api.deleteVaultAccessPolicy("photos");
    await expect(sdk.api.getVaultAccessPolicy("photos")).rejects.toMatchObject({ status: 404 });
  });

  test("notification configuration: set, get, delete", async () => {
    await using sdk = await SdkServer.start();
    await sdk.api.createVault("photos");
    const configuration = {
      callBackUrl: "http://127.0.0.1:9/done",
      events: ["ArchiveRetrievalCompleted", "PushToCOSCompleted"] as const,
    };
    await sdk.api.setNotificationConfiguration("photos", configuration);
    expect((await sdk.api.getNotificationConfiguration("photos")).data).toEqual(configuration);
    await sdk.api.deleteNotificationConfiguration("photos");
    await expect(sdk.api.getNotificationConfiguration("photos")).rejects.toMatchObject({ status: 404 });
  });

  test("vault lock: initiate, get, abort; initiate, complete", async () => {
    await using sdk = await SdkServer.start();
    await sdk.api.createVault("photos");
    const policy = {
      version: "2.0",
      statement: [
        {
          effect: "Deny",
          action: ["name/cas:DeleteArchive"],
          condition: { NumericLessThan: { "cas:ArchiveAgeInDays": "365" } },
        },
      ],
    };
    const { lockId } = (await sdk.api.initiateVaultLock("photos", policy)).data;
    expect(lockId).not.toBe("");
    const lock = (await sdk.api.getVaultLock("photos")).data;
    expect(lock).toMatchObject({ state: "InProgress", creationDate: new Date(startMs) });
    expect(lock.expirationDate?.getTime()).toBe(startMs + 24 * hour);
    expect(JSON.parse(lock.policy)).toEqual(policy);
    await sdk.api.abortVaultLock("photos");
    await expect(sdk.api.getVaultLock("photos")).rejects.toMatchObject({ status: 404 });
    const second = (await sdk.api.initiateVaultLock("photos", policy)).data;
    await sdk.api.completeVaultLock("photos", second.lockId);
    expect((await sdk.api.getVaultLock("photos")).data).toMatchObject({ state: "Locked", expirationDate: null });
    await expect(sdk.api.abortVaultLock("photos")).rejects.toMatchObject({ status: 403 });
  });

  test("multipart: initiate, parts from bytes and a stream, list, complete", async () => {
    await using sdk = await SdkServer.start();
    await sdk.api.createVault("photos");
    const content = testBytes(2 * MIB + 10);
    const initiated = await sdk.api.initiateMultipartUpload("photos", { partSize: MIB, description: "in parts" });
    const uploadId = initiated.data.multipartUploadId;
    expect(initiated).toMatchObject({ status: 201, data: { location: expect.stringContaining(uploadId) } });
    const first = await sdk.api.postMultipart("photos", uploadId, content.subarray(0, MIB), {
      range: { start: 0, end: MIB },
    });
    expect(first.data.treeHash).toBe(digestOf(content.subarray(0, MIB)).treeHash);
    for (const [start, end] of [
      [MIB, 2 * MIB],
      [2 * MIB, 2 * MIB + 10],
    ] as const) {
      const bytes = content.subarray(start, end);
      const { sha256, treeHash } = digestOf(bytes);
      const stream = (async function* () {
        yield bytes;
      })();
      const place = { range: { start, end }, contentSha256: sha256, treeHash };
      await sdk.api.postMultipartFromReader("photos", uploadId, stream, bytes.length, place);
    }
    const page = (await sdk.api.describeMultipart("photos", uploadId, { limit: 2 })).data;
    expect(page).toMatchObject({
      multipartUploadId: uploadId,
      archiveDescription: "in parts",
      partSizeInBytes: MIB,
      creationDate: new Date(startMs),
      marker: String(2 * MIB),
    });
    expect(page.parts.map(({ start, end }) => [start, end])).toEqual([
      [0, MIB],
      [MIB, 2 * MIB],
    ]);
    expect(await collected(sdk.api.listAllParts("photos", uploadId))).toHaveLength(3);
    expect((await sdk.api.listMultipartUploads("photos")).data.uploadsList).toEqual([
      expect.objectContaining({ multipartUploadId: uploadId }),
    ]);
    const { treeHash } = digestOf(content);
    const completion = { fileSize: content.length, treeHash };
    const done = await sdk.api.completeMultipartUpload("photos", uploadId, completion);
    expect(done.data.archiveId).toHaveLength(128);
    expect(await collected(sdk.api.listAllMultipartUploads("photos"))).toEqual([]);
  });

  test("an aborted upload is forgotten", async () => {
    await using sdk = await SdkServer.start();
    await sdk.api.createVault("photos");
    const { data } = await sdk.api.initiateMultipartUpload("photos", { partSize: MIB });
    await sdk.api.abortMultipartUpload("photos", data.multipartUploadId);
    await expect(sdk.api.listParts("photos", data.multipartUploadId)).rejects.toMatchObject({ status: 404 });
  });

  test("an archive retrieval job: all fields, from the order to the output", async () => {
    await using sdk = await SdkServer.start();
    await sdk.api.createVault("photos");
    const content = testBytes(3 * MIB);
    const { data: archive } = await sdk.api.uploadArchive("photos", content, { description: "three" });
    expect(archive.treeHash).toBe(digestOf(content).treeHash);
    const { data: initiated } = await sdk.api.initiateJob("photos", {
      type: "archive-retrieval",
      archiveId: archive.archiveId,
      tier: "Expedited",
      byteRange: { start: MIB, end: 2 * MIB },
      description: "the middle",
      callBackUrl: "http://127.0.0.1:9/job",
    });
    const before = (await sdk.api.describeJob("photos", initiated.jobId)).data;
    expect(before).toEqual({
      jobId: initiated.jobId,
      action: "ArchiveRetrieval",
      jobDescription: "the middle",
      callBackUrl: "http://127.0.0.1:9/job",
      creationDate: new Date(startMs),
      completionDate: null,
      completed: false,
      statusCode: "InProgress",
      statusMessage: expect.any(String),
      vaultQcs: `qcs:id/0:cas:ap-chengdu:uid/${appId}:vaults/photos`,
      archiveId: archive.archiveId,
      archiveSizeInBytes: content.length,
      archiveSha256TreeHash: archive.treeHash,
      retrievalByteRange: { start: MIB, end: 2 * MIB },
      sha256TreeHash: null,
      tier: "Expedited",
      inventorySizeInBytes: 0,
      inventoryRetrievalParameters: null,
      bucket: null,
      object: null,
      condition: null,
      archiveDescription: null,
    });
    await sdk.pass(2000);
    const after = (await sdk.api.describeJob("photos", initiated.jobId)).data;
    const pieceHash = digestOf(content.subarray(MIB, 2 * MIB)).treeHash;
    expect(after).toMatchObject({ completed: true, statusCode: "Succeeded", sha256TreeHash: pieceHash });
    const whole = (await sdk.api.getJobOutput("photos", initiated.jobId)).data;
    expect(whole).toMatchObject({ size: MIB, treeHash: pieceHash, range: null });
    expect(whole.contentType).toBe("application/octet-stream");
    expect((await bytesOf(whole.body)).equals(content.subarray(MIB, 2 * MIB))).toBe(true);
    const part = (await sdk.api.getJobOutput("photos", initiated.jobId, { range: { start: 5, end: 15 } })).data;
    expect(part).toMatchObject({ size: 10, treeHash: null, range: { start: 5, end: 15 } });
    expect((await bytesOf(part.body)).equals(content.subarray(MIB + 5, MIB + 15))).toBe(true);
  });

  test("an inventory job has its parameters, and jobs are listed by state", async () => {
    await using sdk = await SdkServer.start();
    await sdk.api.createVault("photos");
    const startDate = new Date("2020-01-01T00:00:00Z");
    const { data } = await sdk.api.initiateJob("photos", {
      type: "inventory-retrieval",
      format: "CSV",
      startDate,
      limit: 10,
    });
    const job = (await sdk.api.describeJob("photos", data.jobId)).data;
    expect(job).toMatchObject({
      action: "InventoryRetrieval",
      archiveId: null,
      tier: null,
      inventoryRetrievalParameters: { format: "CSV", startDate, endDate: null, limit: 10, marker: null },
    });
    const running = (await sdk.api.listJobs("photos", { completed: false, statusCode: "InProgress" })).data;
    expect(running.jobList.map(({ jobId }) => jobId)).toEqual([data.jobId]);
    await sdk.pass(4 * hour);
    expect((await sdk.api.listJobs("photos", { completed: false })).data.jobList).toEqual([]);
    expect(await collected(sdk.api.listAllJobs("photos", { statusCode: "Succeeded" }))).toHaveLength(1);
  });

  test("an archive that was deleted can be deleted again", async () => {
    await using sdk = await SdkServer.start();
    await sdk.api.createVault("photos");
    const { archiveId } = (await sdk.api.uploadArchive("photos", testBytes(10))).data;
    await sdk.api.deleteArchive("photos", archiveId);
    expect((await sdk.api.deleteArchive("photos", archiveId)).status).toBe(204);
  });
});

describe("what is sent", () => {
  test("all fields of all kinds of jobs", async () => {
    const bodies: unknown[] = [];
    await using scripted = await ScriptedServer.start((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        bodies.push(JSON.parse(Buffer.concat(chunks).toString()));
        response.writeHead(202, { "x-cas-job-id": "job", location: "/x" }).end();
      });
    });
    const { api } = scripted;
    await api.initiateJob("photos", { type: "archive-retrieval", archiveId: "A" });
    await api.initiateJob("photos", {
      type: "inventory-retrieval",
      endDate: new Date("2024-01-02T03:04:05.678Z"),
      limit: 5,
      marker: "m",
    });
    await api.initiateJob("photos", {
      type: "push-to-cos",
      archiveId: "A",
      bucket: "b.example",
      object: "o/k",
      tier: "Bulk",
      byteRange: "0-1048575",
      description: "push",
    });
    await api.initiateJob("photos", {
      type: "pull-from-cos",
      bucket: "b.example",
      object: "o/k",
      range: { start: 0, end: 10 },
      condition: { ifUnmodifiedSince: "2024-01-01T00:00:00Z", ifMatch: '"tag"' },
      archiveDescription: "pulled",
      callBackUrl: "https://example.test/",
    });
    expect(bodies).toEqual([
      { Type: "archive-retrieval", ArchiveId: "A" },
      {
        Type: "inventory-retrieval",
        InventoryRetrievalParameters: { EndDate: "2024-01-02T03:04:05Z", Limit: "5", Marker: "m" },
      },
      {
        Type: "push-to-cos",
        ArchiveId: "A",
        Tier: "Bulk",
        RetrievalByteRange: "0-1048575",
        Bucket: "b.example",
        Object: "o/k",
        Description: "push",
      },
      {
        Type: "pull-from-cos",
        Bucket: "b.example",
        Object: "o/k",
        Range: "0-9",
        Condition: { "If-Umodified-Since": "2024-01-01T00:00:00Z", "If-Match": '"tag"' },
        ArchiveDescription: "pulled",
        CallBackUrl: "https://example.test/",
      },
    ]);
  });
});

describe("errors", () => {
  test("an answer outside 2xx is a CASServerError with all its fields and the text of the CAS SDK", async () => {
    await using sdk = await SdkServer.start();
    const error = await sdk.api.describeVault("photos").catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CASServerError);
    const { status, code, type, message, requestId, content } = error as CASServerError;
    expect({ status, code, type, content }).toEqual({
      status: 404,
      code: "ResourceNotFoundException",
      type: "Client",
      content: undefined,
    });
    expect(String(error)).toBe(
      `Expected 2xx, got (404, code=ResourceNotFoundException, message=${message}, type=Client, request_id=${requestId})`,
    );
  });

  test("a refused delete of a vault with an archive says why", async () => {
    await using sdk = await SdkServer.start();
    await sdk.api.createVault("photos");
    await sdk.api.uploadArchive("photos", testBytes(1));
    await expect(sdk.api.deleteVault("photos")).rejects.toMatchObject({
      status: 400,
      code: "BadRequest",
      message: "vault is not empty, only empty vault can be delete",
    });
  });

  test("an answer that is not JSON is told by its status and its text", async () => {
    await using scripted = await ScriptedServer.start((_, response) => {
      response
        .writeHead(502, { "content-type": "text/html", "x-cas-requestid": "r1" })
        .end("<h1>Bad\u001b gateway</h1>");
    });
    const error = await scripted.api.listVaults().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ status: 502, code: undefined, type: undefined, requestId: "r1" });
    expect((error as CASServerError).content).toBe("<h1>Bad\u001b gateway</h1>");
    expect(String(error)).toBe("Expected 2xx, got (502, content=<h1>Bad\\x1b gateway</h1>, request_id=r1)");
  });

  test.each([
    ["text", "hello"],
    ["an array", "[]"],
    ["an object without the fields", "{}"],
    ["a list without its list", '{"Marker":null}'],
    ["a date that is none", '{"Marker":null,"VaultList":[{"CreationDate":"yesterday"}]}'],
  ])("a success with %s in it is a CASClientError", async (_, body) => {
    await using scripted = await ScriptedServer.start((_, response) => {
      response.writeHead(200, { "content-type": "application/json" }).end(body);
    });
    await expect(scripted.api.listVaults()).rejects.toBeInstanceOf(CASClientError);
  });

  test("a created archive without an id, and an output with a broken range, are CASClientErrors", async () => {
    await using scripted = await ScriptedServer.start((request, response) => {
      const headers = request.method === "GET" ? { "content-range": "bytes nonsense" } : {};
      response.writeHead(request.method === "GET" ? 206 : 201, headers).end("x");
    });
    await expect(scripted.api.uploadArchive("photos", testBytes(1))).rejects.toBeInstanceOf(CASClientError);
    await expect(scripted.api.getJobOutput("photos", "job")).rejects.toBeInstanceOf(CASClientError);
  });
});

describe("listings of several pages", () => {
  const qcs = (name: string) => `qcs:id/0:cas:ap-chengdu:uid/1:vaults/${name}`;
  const upload = (id: string) => ({
    MultipartUploadId: id,
    ArchiveDescription: "",
    CreationDate: "2024-01-01T00:00:00.000Z",
    PartSizeInBytes: MIB,
    VaultQCS: qcs("photos"),
  });

  /** Two pages of uploads, one item each. */
  function pages(request: IncomingMessage, response: ServerResponse): void {
    const marker = new URL(request.url!, "http://cas.test").searchParams.get("marker");
    const page =
      marker === null ? { Marker: "second", UploadsList: [upload("a")] } : { Marker: null, UploadsList: [upload("b")] };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(page));
  }

  test("are followed to the end, and only as far as they are consumed", async () => {
    await using scripted = await ScriptedServer.start(pages);
    const ids = (await collected(scripted.api.listAllMultipartUploads("photos"))).map((item) => item.multipartUploadId);
    expect(ids).toEqual(["a", "b"]);
    expect(scripted.requests).toHaveLength(2);
    for await (const item of scripted.api.listAllMultipartUploads("photos")) {
      expect(item.multipartUploadId).toBe("a");
      break;
    }
    expect(scripted.requests).toHaveLength(3);
  });

  test("end with an error when the service repeats its marker", async () => {
    await using scripted = await ScriptedServer.start((_, response) => {
      const body = JSON.stringify({ Marker: "again", VaultList: [] });
      response.writeHead(200, { "content-type": "application/json" }).end(body);
    });
    await expect(collected(scripted.api.listAllVaults())).rejects.toThrow(/does not go on/);
  });

  test("the pages of a real listing of vaults join to all vaults", async () => {
    await using sdk = await SdkServer.start();
    for (const name of ["c", "a", "b"]) await sdk.api.createVault(name);
    const first = (await sdk.api.listVaults({ limit: 2 })).data;
    expect(first.vaultList.map(({ vaultName }) => vaultName)).toEqual(["a", "b"]);
    const second = (await sdk.api.listVaults({ marker: first.marker!, limit: 2 })).data;
    expect(second.vaultList.map(({ vaultName }) => vaultName)).toEqual(["c"]);
    expect((await collected(sdk.api.listAllVaults())).map(({ vaultName }) => vaultName)).toEqual(["a", "b", "c"]);
  });

  test("an abort ends a listing", async () => {
    await using scripted = await ScriptedServer.start(pages);
    const signal = AbortSignal.abort("stop");
    await expect(collected(scripted.api.listAllMultipartUploads("photos", { signal }))).rejects.toBe("stop");
  });
});
