import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { testBytes } from "../support/test-bytes.js";
import { type CasClient, hashHeaders } from "./cas-client.js";
import { bodyFiles, LocalServer } from "./local-server.js";
import { rawRequest } from "./raw-http.js";

let server: LocalServer;
let client: CasClient;

beforeAll(async () => {
  server = await LocalServer.start({ bodyStallMs: 1000 });
  client = server.client;
  await client.createVault("v");
});
afterAll(() => server[Symbol.asyncDispose]());

/** The head of a signed upload that announces `sizeBytes`. */
function uploadHead(sizeBytes: number, more: Readonly<Record<string, string>> = {}): string[] {
  const headers = { host: "cas.test", "content-length": String(sizeBytes), ...hashHeaders(testBytes(10)), ...more };
  const signed = client.sign("POST", "/-/vaults/v/archives", headers);
  const lines = Object.entries({ ...headers, authorization: signed }).map(([name, value]) => `${name}: ${value}`);
  return ["POST /-/vaults/v/archives HTTP/1.1", ...lines];
}

describe("cas-api 2 Headers and bodies", () => {
  test("every answer has an x-cas-requestId of its own, errors included", async () => {
    const replies = await Promise.all([
      client.call("GET", "/-/vaults"),
      client.call("GET", "/-/vaults", { authorization: null }),
      client.call("GET", "/nowhere"),
      client.call("DELETE", "/-/vaults/nobody"),
    ]);
    const ids = replies.map((reply) => reply.headers["x-cas-requestid"] as string);
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9+/]{40}$/);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("a trailing slash is optional", async () => {
    expect((await client.call("GET", "/-/vaults/v/multipart-uploads/")).status).toBe(200);
    expect((await client.call("GET", "/-/vaults/?limit=3")).status).toBe(200);
  });

  test("bodies are never compressed, and their type is exact", async () => {
    const reply = await client.call("GET", "/-/vaults", { headers: { "accept-encoding": "gzip, br" } });
    expect(reply.headers["content-encoding"]).toBeUndefined();
    expect(reply.headers["content-type"]).toBe("application/json");
  });

  test("an upload body is raw bytes whatever its Content-Type", async () => {
    const reply = await client.upload("v", Buffer.from("{"), { "content-type": "application/json" });
    expect(reply.status).toBe(201);
  });

  test("Content-Length: 0 on a GET and a Date of any form are fine", async () => {
    const headers = { "content-length": "0", date: "2024-01-01T00:00:00Z" };
    expect((await client.call("GET", "/-/vaults", { headers })).status).toBe(200);
  });
});

describe("cas-api 4.3 Errors", () => {
  test.each([
    { method: "GET", target: "/", status: 404, code: "ResourceNotFoundException" },
    { method: "GET", target: "/-/vault", status: 404, code: "ResourceNotFoundException" },
    { method: "GET", target: "/-/vaults/v/archives/a/b", status: 404, code: "ResourceNotFoundException" },
    { method: "POST", target: "/-/vaults/v", status: 400, code: "BadRequest" },
    { method: "PATCH", target: "/-/vaults", status: 400, code: "BadRequest" },
  ])("$method $target is $status $code", async ({ method, target, status, code }) => {
    const reply = await client.call(method, target);
    expect([reply.status, reply.json().code]).toEqual([status, code]);
  });

  test("HEAD is 400 without a body (16, row 38)", async () => {
    const reply = await client.call("HEAD", "/-/vaults");
    expect([reply.status, reply.body.length]).toEqual([400, 0]);
  });

  test("a body that ends before its Content-Length is 408, and its file is removed", async () => {
    const before = await bodyFiles(server.directory);
    const reply = await rawRequest(server.running.port, uploadHead(1000), { body: testBytes(10), endAfter: true });
    expect([reply.status, JSON.parse(reply.body).code]).toEqual([408, "RequestTimeoutException"]);
    expect(reply.head).toMatch(/x-cas-requestId: \S+/);
    await expect.poll(() => bodyFiles(server.directory)).toEqual(before);
  });

  test("a body that stalls is 408, and its file is removed", async () => {
    const before = await bodyFiles(server.directory);
    const reply = await rawRequest(server.running.port, uploadHead(1000), { body: testBytes(10) });
    expect([reply.status, JSON.parse(reply.body).code]).toEqual([408, "RequestTimeoutException"]);
    await expect.poll(() => bodyFiles(server.directory)).toEqual(before);
  });

  test("bytes that are no HTTP get an error in the service's form", async () => {
    const reply = await rawRequest(server.running.port, ["NONSENSE"]);
    expect([reply.status, JSON.parse(reply.body).code]).toEqual([400, "BadRequest"]);
  });
});

describe("cas-api 4.4 Errors and unread bodies", () => {
  test("a client that sends everything first still reads the answer, on a connection it can use again", async () => {
    const body = Buffer.alloc(20 * MIB);
    for (let index = 0; index < 3; index++) {
      const reply = await client.call("POST", "/-/vaults/nobody/archives", {
        body,
        headers: hashHeaders(testBytes(1)),
      });
      expect([reply.status, reply.json().code]).toEqual([404, "ResourceNotFoundException"]);
    }
  });

  test("beyond the bound the answer comes while the body still does", async () => {
    const body = Buffer.alloc(80 * MIB);
    const reply = await client.call("POST", "/-/vaults/v/archives", { body, authorization: null });
    expect(reply.json().code).toBe("MissingAuthenticationTokenException");
  });
});
