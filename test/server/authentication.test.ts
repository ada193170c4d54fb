import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { authorization } from "../../src/protocol/signature.js";
import { type CasClient, credentials } from "./cas-client.js";
import { LocalServer } from "./local-server.js";
import { rawRequest } from "./raw-http.js";

let server: LocalServer;
let client: CasClient;

beforeAll(async () => {
  server = await LocalServer.start();
  client = server.client;
});
afterAll(() => server[Symbol.asyncDispose]());

const nowSeconds = () => Math.floor(server.clock.now() / 1000);

describe("cas-api 3.4, 3.5 Verification", () => {
  test.each([
    {
      what: "no Authorization",
      call: { authorization: null },
      status: 400,
      code: "MissingAuthenticationTokenException",
    },
    { what: "nonsense", call: { authorization: "Bearer x" }, status: 400, code: "InvalidSignatureException" },
    { what: "an unknown key", call: { secretId: "nobody" }, status: 400, code: "UnrecognizedClientException" },
    { what: "a wrong secret", call: { secretKey: "wrong" }, status: 400, code: "InvalidSignatureException" },
  ])("$what is $code", async ({ call, status, code }) => {
    const reply = await client.call("GET", "/-/vaults", call);
    expect(reply.status).toBe(status);
    expect(reply.json()).toEqual({ code, message: expect.any(String), type: "Client" });
    expect(reply.headers["content-type"]).toBe("application/json");
  });

  test.each([
    { window: [-1000, -299], status: 200 },
    { window: [-1000, -302], status: 403 },
    { window: [299, 1000], status: 200 },
    { window: [302, 1000], status: 403 },
  ])("the window $window around now gives $status: five minutes of skew", async ({ window, status }) => {
    const now = nowSeconds();
    const reply = await client.call("GET", "/-/vaults", { window: [now + window[0]!, now + window[1]!] });
    expect(reply.status).toBe(status);
    if (status === 403) expect(reply.json().code).toBe("ExpiredTokenException");
  });

  test("a signature of another path, method or parameter does not fit", async () => {
    const stolen = client.sign("GET", "/-/vaults?limit=1", { host: "cas.test" });
    for (const [method, target] of [
      ["GET", "/-/vaults?limit=2"],
      ["GET", "/-/vaults/x"],
      ["PUT", "/-/vaults/x"],
    ] as const) {
      expect((await client.call(method, target, { authorization: stolen })).json().code).toBe(
        "InvalidSignatureException",
      );
    }
  });

  test("the strict switch takes the canonical form only", async () => {
    await using strict = await LocalServer.start({ strictSignature: true });
    expect((await strict.client.call("GET", "/-/vaults?limit=5")).status).toBe(200);
    const lowercased = strict.client.sign("GET", "/-/vaults/mixedcase", { host: "cas.test" });
    const target = "/-/vaults/MixedCase";
    expect((await strict.client.call("GET", target, { authorization: lowercased })).status).toBe(400);
    // The Go client signs the path in lowercase (3.3); without the switch that reaches the vault lookup.
    const loose = client.sign("GET", "/-/vaults/mixedcase", { host: "cas.test" });
    expect((await client.call("GET", target, { authorization: loose })).status).toBe(404);
  });
});

describe("cas-api 1 Addressing", () => {
  test("the caller's own number is the same as -", async () => {
    expect((await client.call("PUT", "/1250000000/vaults/mine")).status).toBe(201);
    expect((await client.call("GET", "/-/vaults/mine")).status).toBe(200);
  });

  test("another account's number is denied", async () => {
    const reply = await client.call("GET", "/1250000001/vaults");
    expect([reply.status, reply.json().code]).toEqual([403, "AccessDeniedException"]);
  });
});

describe("cas-api 15.1 Two Host headers", () => {
  test.each(["first", "second"])("the %s one may be the signed one", async (which) => {
    const hosts = [`localhost:${server.running.port}`, "localhost"];
    const signed = authorization({
      method: "GET",
      path: "/-/vaults",
      headers: [["host", which === "first" ? hosts[0]! : hosts[1]!]],
      parameters: [],
      secretId: credentials.secretId,
      key: { secretKey: credentials.secretKey },
      signTime: { startSeconds: nowSeconds(), endSeconds: nowSeconds() + 60 },
    });
    const lines = hosts.map((host) => `Host: ${host}`);
    const reply = await rawRequest(server.running.port, [
      "GET /-/vaults HTTP/1.1",
      ...lines,
      `Authorization: ${signed}`,
    ]);
    expect(reply.status).toBe(200);
  });
});

describe("cas-api 15.15 Absolute request targets", () => {
  test("are signed and routed by their path", async () => {
    const signed = client.sign("GET", "/-/vaults", { host: "cas.test" });
    const head = ["GET http://proxy.example/-/vaults HTTP/1.1", "Host: cas.test", `Authorization: ${signed}`];
    expect((await rawRequest(server.running.port, head)).status).toBe(200);
  });
});

test("nothing of the secret is in an answer", async () => {
  const reply = await client.call("GET", "/-/vaults", { secretKey: "wrong" });
  const everything = JSON.stringify(reply.headers) + reply.body.toString();
  expect(everything).not.toContain(credentials.secretKey);
  expect(everything).not.toContain(createHash("sha1").update(credentials.secretKey).digest("hex"));
});
