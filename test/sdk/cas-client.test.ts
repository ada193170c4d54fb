import { createServer } from "node:net";
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { CASClient, CASClientError, CasAPI, createSignKey } from "../../src/sdk/index.js";
import { credentials } from "../server/cas-client.js";
import { testBytes } from "../support/test-bytes.js";
import { bytesOf, ScriptedServer, SdkServer } from "./sdk-fixture.js";

const { secretId, secretKey, appId } = credentials;
const key = { secretId, secretKey };

describe("answers", () => {
  test("a refusal is an answer like any other: it does not throw", async () => {
    await using sdk = await SdkServer.start();
    const missing = await sdk.client.describeVault("photos");
    expect(missing.status).toBe(404);
    expect(missing.requestId).toBe(missing.headers["x-cas-requestid"]);
    expect(missing.requestId).not.toBe("");
    expect(await missing.json()).toMatchObject({ code: "ResourceNotFoundException", type: "Client" });
  });

  test("each call of a vault's life gives the status of the protocol", async () => {
    await using sdk = await SdkServer.start();
    const { client } = sdk;
    const statusOf = async (answer: ReturnType<CASClient["createVault"]>) => {
      const raw = await answer;
      await raw.discard();
      return raw.status;
    };
    expect(await statusOf(client.createVault("photos"))).toBe(201);
    expect(await statusOf(client.describeVault("photos"))).toBe(200);
    expect(await statusOf(client.listVaults({ limit: 1 }))).toBe(200);
    expect(await statusOf(client.setVaultAccessPolicy("photos", { version: "2.0", statement: [] }))).toBe(204);
    expect(await statusOf(client.getVaultAccessPolicy("photos"))).toBe(200);
    expect(await statusOf(client.deleteVaultAccessPolicy("photos"))).toBe(204);
    const configuration = { callBackUrl: "http://127.0.0.1:9/", events: ["ArchiveRetrievalCompleted"] as const };
    expect(await statusOf(client.setNotificationConfiguration("photos", configuration))).toBe(204);
    expect(await statusOf(client.getNotificationConfiguration("photos"))).toBe(200);
    expect(await statusOf(client.deleteNotificationConfiguration("photos"))).toBe(204);
    expect(await statusOf(client.deleteVault("photos"))).toBe(204);
  });

  test("an archive goes in, through a job, and out, byte for byte", async () => {
    await using sdk = await SdkServer.start();
    const { client } = sdk;
    const content = testBytes(100_000);
    await client.createVault("photos");
    const uploaded = await client.uploadArchive("photos", content, { description: "Grüße 照片" });
    expect(uploaded.status).toBe(201);
    const archiveId = uploaded.headers["x-cas-archive-id"]!;
    const started = await client.initiateJob("photos", { type: "archive-retrieval", archiveId });
    expect(started.status).toBe(202);
    const jobId = started.headers["x-cas-job-id"]!;
    await sdk.pass(5 * 3_600_000);
    const output = await client.getJobOutput("photos", jobId);
    expect(output.status).toBe(200);
    expect((await bytesOf(output.body)).equals(content)).toBe(true);
    const part = await client.getJobOutput("photos", jobId, { range: "10-19" });
    expect(part.status).toBe(206);
    expect(part.headers["content-range"]).toBe("bytes 10-19/100000");
    expect((await bytesOf(part.body)).equals(content.subarray(10, 20))).toBe(true);
    expect((await client.deleteArchive("photos", archiveId)).status).toBe(204);
  });

  test("the text of an answer can be read, and one that is let go frees its connection", async () => {
    await using sdk = await SdkServer.start();
    await using client = sdk.clientWith({ connections: 1 });
    await sdk.vault();
    for (let turn = 0; turn < 3; turn++) await (await client.describeVault("photos")).discard();
    expect(await (await client.describeVault("photos")).text()).toContain('"VaultName"');
  });
});

describe("bodies", () => {
  test("bytes and streams, with and without given hashes, all store the same archive", async () => {
    await using sdk = await SdkServer.start();
    await sdk.vault();
    const content = testBytes(70_000);
    const first = await sdk.api.postArchive("photos", content);
    const contentSha256 = first.headers["x-cas-content-sha256"]!;
    const treeHash = first.data.treeHash!;
    const hashes = { contentSha256: contentSha256.toUpperCase(), treeHash };
    const stream = async function* () {
      yield content.subarray(0, 1000);
      yield content.subarray(1000);
    };
    const answers = [
      await sdk.client.postArchive("photos", content, hashes),
      await sdk.client.postArchiveFromReader("photos", stream(), content.length, hashes),
      await sdk.client.uploadArchive("photos", stream(), { ...hashes, size: content.length, description: "d" }),
    ];
    expect(answers.map(({ status, headers }) => [status, headers["x-cas-sha256-tree-hash"]])).toEqual(
      answers.map(() => [201, treeHash]),
    );
  });

  test("of a stream only the announced size is sent, and one that ends early fails", async () => {
    await using sdk = await SdkServer.start();
    await sdk.vault();
    const content = testBytes(1000);
    const { headers, data } = await sdk.api.postArchive("photos", content);
    const hashes = { contentSha256: headers["x-cas-content-sha256"]!, treeHash: data.treeHash! };
    const longer = async function* () {
      yield testBytes(1500);
    };
    const shorter = async function* () {
      yield testBytes(999);
    };
    expect((await sdk.client.postArchiveFromReader("photos", longer(), 1000, hashes)).status).toBe(201);
    const early = sdk.client.postArchiveFromReader("photos", shorter(), 1000, hashes);
    await expect(early).rejects.toThrow("the stream ended 1 bytes early");
  });

  test("a stream without hashes is refused with a hint at what takes it, and so is empty content", async () => {
    await using client = new CASClient({ endpoint: "cas.test", ...key });
    const stream = (async function* () {})();
    await expect(client.uploadArchive("photos", stream)).rejects.toThrow(/Vault\.uploadArchive/);
    await expect(client.uploadArchive("photos", Buffer.alloc(0))).rejects.toThrow("zero byte archive");
  });

  test("a part must be as long as its range", async () => {
    await using client = new CASClient({ endpoint: "cas.test", ...key });
    const misplaced = client.postMultipart("photos", "upload", testBytes(10), { range: "0-10" });
    await expect(misplaced).rejects.toThrow(RangeError);
  });
});

describe("where the service is", () => {
  const endpointOf = (options: { endpoint: string; port?: number; isSecure?: boolean }) =>
    new CASClient({ ...key, ...options }).endpoint;

  test.each([
    [{ endpoint: "cas.ap-chengdu.myqcloud.com" }, "http://cas.ap-chengdu.myqcloud.com"],
    [{ endpoint: "cas.test", isSecure: true }, "https://cas.test"],
    [{ endpoint: "cas.test", isSecure: true, port: 8443 }, "https://cas.test:8443"],
    [{ endpoint: "cas.test", port: 443 }, "https://cas.test"],
    [{ endpoint: "cas.test", port: 443, isSecure: false }, "http://cas.test:443"],
    [{ endpoint: "cas.test", port: 8080 }, "http://cas.test:8080"],
    [{ endpoint: "cas.test:8080" }, "http://cas.test:8080"],
    [{ endpoint: "cas.test:443" }, "https://cas.test"],
    [{ endpoint: "cas.test:8080", port: 8080 }, "http://cas.test:8080"],
    [{ endpoint: "http://127.0.0.1:9000" }, "http://127.0.0.1:9000"],
    [{ endpoint: "https://cas.test/" }, "https://cas.test"],
    [{ endpoint: "[::1]", port: 9000 }, "http://[::1]:9000"],
  ])("%j is %s", (options, expected) => {
    expect(endpointOf(options)).toBe(expected);
  });

  test.each([
    [{ endpoint: "https://cas.test", isSecure: false }],
    [{ endpoint: "http://cas.test", isSecure: true }],
    [{ endpoint: "cas.test:80", port: 81 }],
    [{ endpoint: "http://cas.test:8080", port: 81 }],
    [{ endpoint: "http://cas.test/path" }],
    [{ endpoint: "ftp://cas.test" }],
    [{ endpoint: "cas.test", port: 0 }],
    [{ endpoint: "a b" }],
    [{ endpoint: "" }],
  ])("%j contradicts itself or is no endpoint", (options) => {
    expect(() => endpointOf(options)).toThrow(RangeError);
  });
});

describe("keys", () => {
  test("a client with a delegated key acts within its window, and not after it", async () => {
    await using sdk = await SdkServer.start({ clockSkewMs: 0 });
    const nowSeconds = Math.floor(sdk.server.clock.now() / 1000);
    const keyTime = { startSeconds: nowSeconds - 10, endSeconds: nowSeconds + 600 };
    const signKey = createSignKey(secretKey, keyTime);
    expect(signKey).toMatch(/^[0-9a-f]{40}$/);
    await using client = new CASClient({
      endpoint: sdk.endpoint,
      secretId,
      signKey,
      keyTime,
      now: () => new Date(sdk.server.clock.now()),
    });
    expect((await client.createVault("photos")).status).toBe(201);
    await sdk.pass(601_000);
    const late = await client.describeVault("photos");
    expect(late.status).toBe(403);
    expect(await late.json()).toMatchObject({ code: "ExpiredTokenException" });
  });

  test("the account number addresses the own account too", async () => {
    await using sdk = await SdkServer.start();
    await using client = sdk.clientWith({ appId });
    expect((await client.createVault("photos")).headers.location).toBe(`/${appId}/vaults/photos`);
  });

  test.each([[{}], [{ signKey: "a" }], [{ keyTime: { startSeconds: 0, endSeconds: 1 } }], [{ secretKey: "" }]])(
    "%j is not enough to sign with",
    (options) => {
      expect(() => new CASClient({ endpoint: "cas.test", secretId, ...options })).toThrow(TypeError);
    },
  );

  test("both kinds of key at once are refused, and so is an app id that is none", () => {
    const both = { secretKey: "s", signKey: "a", keyTime: { startSeconds: 0, endSeconds: 1 } };
    expect(() => new CASClient({ endpoint: "cas.test", secretId, ...both })).toThrow(TypeError);
    expect(() => new CASClient({ endpoint: "cas.test", ...key, appId: "me" })).toThrow(RangeError);
  });

  test("no key is shown when a client, an API or their errors are printed", async () => {
    const client = new CASClient({ endpoint: "127.0.0.1:9", secretId, secretKey: "topSecret" });
    const error = await client.listVaults().catch((reason: unknown) => reason);
    const shown = [client, new CasAPI(client), error].flatMap((value) => [
      inspect(value, { depth: 20, showHidden: true }),
      JSON.stringify(value),
      String(value),
    ]);
    for (const text of shown) {
      expect(text).not.toContain("topSecret");
      expect(text).not.toContain("q-signature");
    }
    await client.close();
  });
});

describe("connections", () => {
  test("a refused connection is a CASClientError with its cause", async () => {
    await using client = new CASClient({ endpoint: "127.0.0.1:9", ...key });
    const error = await client.listVaults().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CASClientError);
    expect((error as Error).message).toBe("Cannot reach http://127.0.0.1:9: connection refused");
    expect((error as Error).cause).toMatchObject({ code: "ECONNREFUSED" });
  });

  test("a service that is silent for timeoutMs is a CASClientError", async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as { port: number };
    await using client = new CASClient({ endpoint: "127.0.0.1", port, ...key, timeoutMs: 100 });
    await expect(client.listVaults()).rejects.toThrow(/no answer in time/);
    silent.close();
  });

  test("an abort rejects with the signal's own reason, before, while waiting and while reading", async () => {
    await using scripted = await ScriptedServer.start((request, response) => {
      if (request.url?.includes("output")) response.writeHead(200, { "content-length": "10" }).write("12345");
    });
    const before = AbortSignal.abort("enough");
    await expect(scripted.client.listVaults({}, { signal: before })).rejects.toBe("enough");
    const waiting = new AbortController();
    const listing = scripted.client.listVaults({}, { signal: waiting.signal });
    setTimeout(() => waiting.abort("too long"), 20);
    await expect(listing).rejects.toBe("too long");
    const reading = new AbortController();
    const output = await scripted.client.getJobOutput("photos", "job", {}, { signal: reading.signal });
    setTimeout(() => reading.abort("not needed"), 20);
    await expect(output.text()).rejects.toBe("not needed");
  });

  test("a body that breaks off rejects with a CASClientError while it is read", async () => {
    await using scripted = await ScriptedServer.start((_, response) => {
      response.writeHead(200, { "content-length": "10" }).write("12345", () => response.destroy());
    });
    const output = await scripted.client.getJobOutput("photos", "job");
    await expect(output.text()).rejects.toBeInstanceOf(CASClientError);
  });

  test("names, ids and ranges that cannot be sent reject before anything is sent", async () => {
    await using client = new CASClient({ endpoint: "127.0.0.1:9", ...key });
    await expect(client.createVault("a/b")).rejects.toThrow(RangeError);
    await expect(client.describeVault("..")).rejects.toThrow(RangeError);
    await expect(client.deleteArchive("photos", "a?b")).rejects.toThrow(RangeError);
    await expect(client.describeJob("photos", "")).rejects.toThrow(RangeError);
    await expect(client.getJobOutput("photos", "job", { range: "5-4" })).rejects.toThrow(RangeError);
    await expect(client.getJobOutput("photos", "job", { range: { start: 4, end: 4 } })).rejects.toThrow(RangeError);
  });
});
