import { getEventListeners } from "node:events";
import { createServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import {
  type ClosableCasService,
  type HttpCasServiceOptions,
  httpCasService,
} from "../../src/client/http-cas-service.js";
import { byteCount, byteRange, MIB } from "../../src/domain/bytes.js";
import { ServiceError } from "../../src/domain/errors.js";
import { archiveId, jobId, uploadId, vaultName } from "../../src/domain/ids.js";
import { type Instant, ms } from "../../src/domain/time.js";
import { parseAuthorization, signingKey, verifySignature } from "../../src/protocol/signature.js";
import { FakeClock, settled } from "../support/fake-clock.js";
import {
  answering,
  answeringJson,
  type Script,
  type ScriptedServer,
  scriptedServer,
} from "../support/scripted-server.js";
import { bodyOf, newArchive, readAll, testBytes } from "../support/test-bytes.js";

const vault = vaultName("photos");
const credentials = { secretId: "the-id", secretKey: "the-very-secret-key" };
const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve(...scripts: Script[]): Promise<{ server: ScriptedServer; service: ClosableCasService }> {
  const server = await scriptedServer(...scripts);
  cleanups.push(() => server.close());
  return { server, service: client(server.url) };
}

function client(endpoint: string, more: Partial<HttpCasServiceOptions> = {}): ClosableCasService {
  const service = httpCasService({ endpoint, credentials, clock: new FakeClock(), ...more });
  cleanups.push(() => service.close());
  return service;
}

async function failureOf(call: Promise<unknown>): Promise<ServiceError> {
  const error = await call.then(
    () => new Error("it succeeded"),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ServiceError);
  expect(String((error as Error).stack) + JSON.stringify(error)).not.toContain(credentials.secretKey);
  return error as ServiceError;
}

describe("a request", () => {
  test("is signed so that a strict verifier accepts it, with the port in the signed host", async () => {
    const { server, service } = await serve(answering(201, { "x-cas-archive-id": "A" }));
    await service.uploadArchive(vault, newArchive(testBytes(10), "a b/c"));
    const [request] = server.requests;
    expect(request!.headers["x-cas-archive-description"]).toBe("a b/c");
    expect(request!.headers.host).toBe(new URL(server.url).host);
    const headers = Array.from(
      { length: request!.rawHeaders.length / 2 },
      (_, index) => [request!.rawHeaders[2 * index]!, request!.rawHeaders[2 * index + 1]!] as const,
    );
    const received = { method: request!.method!, path: request!.url!, headers, parameters: [] };
    const now = new FakeClock().now();
    const options = { secretKeyOf: () => credentials.secretKey, now, strict: true, skewSeconds: 0 };
    expect(verifySignature(received, options)).toEqual({ ok: true, secretId: "the-id" });
    expect(parseAuthorization(request!.headers.authorization!)!.headerNames).toEqual([
      "content-length",
      "host",
      "x-cas-archive-description",
      "x-cas-content-sha256",
      "x-cas-sha256-tree-hash",
    ]);
  });

  test("can be signed with a delegated key, within its window", async () => {
    const server = await scriptedServer(answeringJson({ Marker: null, VaultList: [] }));
    cleanups.push(() => server.close());
    const clock = new FakeClock();
    const nowSeconds = clock.now() / 1000;
    const keyTime = { startSeconds: nowSeconds - 10, endSeconds: nowSeconds + 20 };
    const signKey = signingKey(credentials.secretKey, `${keyTime.startSeconds};${keyTime.endSeconds}`);
    const service = client(server.url, {
      clock,
      credentials: { secretId: "the-id", signKey, keyTime },
      appId: "1250000000",
    });
    await service.listVaults({ limit: 3, marker: "qcs::A/B c" });
    const [request] = server.requests;
    expect(request!.url).toBe("/1250000000/vaults?limit=3&marker=qcs%3A%3AA%2FB%20c");
    const parsed = parseAuthorization(request!.headers.authorization!)!;
    expect(parsed.signTime).toEqual(keyTime);
    expect(parsed.parameterNames).toEqual(["limit", "marker"]);
  });

  test("sends a part with its place, unsigned", async () => {
    const { server, service } = await serve(answering(204));
    const { sha256, treeHash } = newArchive(testBytes(5));
    const part = { range: byteRange(MIB, MIB + 5), body: bodyOf(testBytes(5)), sha256, treeHash };
    await service.uploadPart(vault, uploadId("u"), part);
    expect(server.requests[0]!.headers["content-range"]).toBe("bytes 1048576-1048580/*");
    expect(parseAuthorization(server.requests[0]!.headers.authorization!)!.headerNames).not.toContain("content-range");
  });

  test("an endpoint or an app id that cannot be one is refused at once", () => {
    const open = (more: Partial<HttpCasServiceOptions>) => () => client("http://127.0.0.1:1", more);
    for (const endpoint of ["127.0.0.1:80", "ftp://host", "http://host/path", "http://user:secret@host", ""]) {
      expect(open({ endpoint })).toThrow(RangeError);
    }
    expect(open({ appId: "me" })).toThrow(RangeError);
  });
});

describe("failures", () => {
  test("a service that is not there says so in words, and nothing has happened", async () => {
    const vacant = createServer();
    await new Promise<void>((resolve) => vacant.listen(0, "127.0.0.1", resolve));
    const { port } = vacant.address() as { port: number };
    await new Promise<void>((resolve) => vacant.close(() => resolve()));
    const error = await failureOf(client(`http://127.0.0.1:${port}`).createVault(vault));
    expect(error).toMatchObject({ fault: "connection", effect: "none" });
    expect(error.message).toBe(`Cannot reach http://127.0.0.1:${port}: connection refused`);
    expect(error.hint).toMatch(/endpoint/);
  });

  test("an error of the service keeps its code, message and request id", async () => {
    const { service } = await serve(
      answeringJson({ code: "BadRequest", message: "vault is not empty", type: "Client" }, 400),
    );
    const error = await failureOf(service.deleteVault(vault));
    expect(error).toMatchObject({ fault: "refused", code: "BadRequest", requestId: "request-1", effect: "none" });
    expect(error.message).toBe("Cannot delete the vault photos: vault is not empty (BadRequest)");
  });

  test("an error that comes before the body was taken is still read", async () => {
    const { service } = await serve((_, response) => {
      response.writeHead(400, { "content-type": "application/json", connection: "close" });
      response.end('{"code":"LimitExceededException","message":"no","type":"Client"}');
    });
    const error = await failureOf(service.uploadArchive(vault, newArchive(testBytes(200_000))));
    expect(error).toMatchObject({ fault: "refused", code: "LimitExceededException" });
  });

  test("a connection that closes without an answer leaves the effect unknown", async () => {
    const { service } = await serve((request) => void request.socket.destroy());
    expect(await failureOf(service.createVault(vault))).toMatchObject({ fault: "connection", effect: "unknown" });
  });

  test("no answer in time is a timeout with an unknown effect", async () => {
    const server = await scriptedServer(() => undefined);
    cleanups.push(() => server.close());
    const service = client(server.url, { deadlines: { headersMs: ms(300) } });
    expect(await failureOf(service.createVault(vault))).toMatchObject({ fault: "timeout", effect: "unknown" });
  });

  test("a peer that stops taking an upload is a timeout", async () => {
    const server = await scriptedServer((request) => void request.pause());
    cleanups.push(() => server.close());
    const service = client(server.url, { deadlines: { bodyMs: ms(300) } });
    const error = await failureOf(service.uploadArchive(vault, newArchive(testBytes(32 * MIB))));
    expect(error).toMatchObject({ fault: "timeout", effect: "unknown" });
    expect(error.message).toMatch(/no progress/);
  });

  test("a source that fails in the middle of an upload is what the caller gets", async () => {
    const { service } = await serve(answering(201, { "x-cas-archive-id": "A" }));
    const reason = new Error("EIO: the staging disk is broken");
    const body = async function* () {
      yield testBytes(10);
      throw reason;
    };
    await expect(service.uploadArchive(vault, { ...newArchive(testBytes(20)), body })).rejects.toBe(reason);
  });

  test.each([
    ["is no JSON", answering(200, {}, "<html>hello</html>")],
    ["is another message", answeringJson({ VaultList: "none" })],
    [
      "has a hostile name in it",
      answeringJson({ Marker: null, VaultList: [{ VaultName: "../../etc", CreationDate: "2017-01-01T00:00:00Z" }] }),
    ],
    [
      "has no end",
      ((_, response) => {
        response.writeHead(200);
        const piece = Buffer.alloc(MIB, "x");
        const write = () => void (response.destroyed || response.write(piece, write));
        write();
      }) satisfies Script,
    ],
  ] as [string, Script][])("a list that %s is not understood", async (_, script) => {
    const { service } = await serve(script);
    const error = await failureOf(service.listVaults());
    expect(error).toMatchObject({ fault: "unavailable", effect: "unknown" });
    expect(error.message).toBe("Cannot list the vaults: the answer cannot be understood");
  });

  test("an answer without the id it must carry is not understood, and may have had its effect", async () => {
    const { service } = await serve(answering(202));
    const request = { action: "retrieve-archive", archiveId: archiveId("A"), tier: "bulk" } as const;
    expect(await failureOf(service.initiateJob(vault, request))).toMatchObject({
      fault: "unavailable",
      effect: "unknown",
    });
  });

  test("a service that says it stored other bytes is a digest fault", async () => {
    const { service } = await serve(answering(204, { "x-cas-sha256-tree-hash": "0".repeat(64) }));
    const { sha256, treeHash } = newArchive(testBytes(5));
    const part = { range: byteRange(0, 5), body: bodyOf(testBytes(5)), sha256, treeHash };
    expect(await failureOf(service.uploadPart(vault, uploadId("u"), part))).toMatchObject({ fault: "digest" });
  });

  test("an aborted call rejects with the reason of its signal", async () => {
    const { service } = await serve(() => undefined);
    const controller = new AbortController();
    const reason = new Error("enough");
    const call = service.describeVault(vault, { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 50);
    await expect(call).rejects.toBe(reason);
  });

  test("calls leave nothing behind on a signal that lives long", async () => {
    const { signal } = new AbortController();
    const { server, service } = await serve(
      answering(201, { "x-cas-archive-id": "A" }),
      answeringJson({ Marker: null, VaultList: [] }),
      answering(500),
      answering(200, { "content-length": "100" }, "x".repeat(100)),
    );
    await service.uploadArchive(vault, newArchive(testBytes(10)), { signal });
    await service.listVaults(undefined, { signal });
    await failureOf(service.uploadArchive(vault, newArchive(testBytes(10)), { signal }));
    await readAll((await service.getJobOutput(vault, jobId("J"), undefined, { signal })).body);
    for await (const _ of (await service.getJobOutput(vault, jobId("J"), undefined, { signal })).body) break;
    await (await service.getJobOutput(vault, jobId("J"), undefined, { signal })).body[
      Symbol.asyncIterator
    ]().return?.();
    await server.close();
    await failureOf(service.createVault(vault, { signal }));
    await settled();
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  test("calls after close fail in words", async () => {
    const { service } = await serve(answering(201));
    await service.createVault(vault);
    await service.close();
    expect((await failureOf(service.createVault(vault))).message).toMatch(/client has been closed/);
  });
});

describe("job output", () => {
  const bytes = testBytes(100);
  const output =
    (headers: Record<string, string>, body: Buffer | string, status = 206): Script =>
    (_, response) => {
      response.writeHead(status, headers);
      response.end(body);
    };

  test("comes with its length and the hash the service gives it", async () => {
    const treeHash = newArchive(bytes).treeHash;
    const headers = { "content-length": "100", "content-range": "bytes 0-99/500", "x-cas-sha256-tree-hash": treeHash };
    const { server, service } = await serve(output(headers, bytes));
    const answer = await service.getJobOutput(vault, jobId("J"), byteRange(0, 100));
    expect(answer).toMatchObject({ sizeBytes: byteCount(100), treeHash });
    expect((await readAll(answer.body)).equals(bytes)).toBe(true);
    expect(server.requests[0]!.headers.range).toBe("bytes=0-99");
  });

  test("of another range than asked for is not handed out", async () => {
    const headers = { "content-length": "100", "content-range": "bytes 100-199/500" };
    const { service } = await serve(output(headers, bytes));
    const error = await failureOf(service.getJobOutput(vault, jobId("J"), byteRange(0, 100)));
    expect(error.fault).toBe("unavailable");
  });

  test("that breaks off is an error in the body, never a short success", async () => {
    const { service } = await serve((_, response) => {
      response.writeHead(206, { "content-length": "100", "content-range": "bytes 0-99/100" });
      response.write(bytes.subarray(0, 60), () => response.destroy());
    });
    const { body } = await service.getJobOutput(vault, jobId("J"), byteRange(0, 100));
    expect(await failureOf(readAll(body))).toMatchObject({ fault: "connection" });
  });

  test("that stops coming is a timeout in the body", async () => {
    const server = await scriptedServer((_, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write(bytes.subarray(0, 60));
    });
    cleanups.push(() => server.close());
    const service = client(server.url, { deadlines: { bodyMs: ms(300) } });
    const { body } = await service.getJobOutput(vault, jobId("J"), undefined);
    expect(await failureOf(readAll(body))).toMatchObject({ fault: "timeout" });
  });
});

test("many calls share a bounded number of connections, and a signal without a warning", async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => void warnings.push(warning);
  process.on("warning", onWarning);
  cleanups.push(async () => void process.off("warning", onWarning));
  const { signal } = new AbortController();
  const sockets = new Set<unknown>();
  const server = await scriptedServer(async (request, response) => {
    sockets.add(request.socket);
    await answeringJson({ Marker: null, VaultList: [] })(request, response);
  });
  cleanups.push(() => server.close());
  const service = client(server.url, { poolSize: 2, clock: { now: () => 0 as Instant, sleep: async () => undefined } });
  await Promise.all(Array.from({ length: 20 }, () => service.listVaults(undefined, { signal })));
  await settled();
  expect(warnings).toEqual([]);
  expect(sockets.size).toBeLessThanOrEqual(2);
  expect(server.requests).toHaveLength(20);
});
