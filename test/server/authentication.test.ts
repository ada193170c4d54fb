import { createHash, createHmac } from "node:crypto";
import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { authorization, signingKey } from "../../src/protocol/signature.js";
import { testBytes } from "../support/test-bytes.js";
import { type CasClient, credentials, hashHeaders } from "./cas-client.js";
import { hour, LocalServer } from "./local-server.js";
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

  test.each([
    { what: "another value of a parameter", method: "GET", target: "/-/vaults?limit=2" },
    { what: "without its parameter", method: "GET", target: "/-/vaults" },
    { what: "with its parameter twice", method: "GET", target: "/-/vaults?limit=1&limit=1" },
    { what: "with its parameter in another case too", method: "GET", target: "/-/vaults?limit=1&LIMIT=2" },
    { what: "another path", method: "GET", target: "/-/vaults/x?limit=1" },
    { what: "another account", method: "GET", target: "/1250000000/vaults?limit=1" },
    { what: "another path and method", method: "PUT", target: "/-/vaults/x?limit=1" },
    { what: "another host", method: "GET", target: "/-/vaults?limit=1", headers: { host: "cas.other" } },
  ])("a stolen signature does not fit $what", async ({ method, target, headers = {} }) => {
    const stolen = client.sign("GET", "/-/vaults?limit=1", { host: "cas.test" });
    const reply = await client.call(method, target, { authorization: stolen, headers });
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidSignatureException"]);
    expect((await client.call("GET", "/-/vaults?limit=1", { authorization: stolen })).status).toBe(200);
  });

  test("a stolen signature does not fit another method on the same path", async () => {
    await client.createVault("methods");
    const stolen = client.sign("GET", "/-/vaults/methods", { host: "cas.test" });
    const reply = await client.call("DELETE", "/-/vaults/methods", { authorization: stolen });
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidSignatureException"]);
    expect((await client.call("GET", "/-/vaults/methods")).status).toBe(200);
  });

  test.each([
    { what: "a signed header that is missing", list: "host;x-cas-part-size" },
    { what: "a signed header that is there twice", list: "host;x-twice" },
  ])("$what is refused", async ({ list }) => {
    const good = client.sign("GET", "/-/vaults", { host: "cas.test" });
    const signed = good.replace("q-header-list=host", `q-header-list=${list}`);
    const lines = ["GET /-/vaults HTTP/1.1", "Host: cas.test", "x-twice: a", "x-twice: a", `Authorization: ${signed}`];
    const reply = await rawRequest(server.running.port, lines);
    expect([reply.status, JSON.parse(reply.body).code]).toEqual([400, "InvalidSignatureException"]);
    expect(JSON.parse(reply.body).message).toContain(list.split(";")[1]);
  });

  const now = Math.floor(Date.parse("2024-05-06T07:08:09Z") / 1000);
  test.each([
    { what: "the algorithm sha256", change: ["q-sign-algorithm=sha1", "q-sign-algorithm=sha256"] },
    { what: "no algorithm", change: ["q-sign-algorithm=sha1&", ""] },
    { what: "no secret id", change: [`q-ak=${credentials.secretId}`, "q-ak="] },
    { what: "no list of headers", change: ["&q-header-list=host", ""] },
    { what: "no list of parameters", change: ["&q-url-param-list=", ""] },
    { what: "a field twice", change: ["q-header-list=host", "q-header-list=host&q-header-list=host"] },
    { what: "a signature that is too short", change: [/(q-signature=\w{39})\w/, "$1"] },
    { what: "a signature that is no hex", change: [/(q-signature=)\w/, "$1x"] },
    { what: "a window that ends before it begins", change: [/q-sign-time=[\d;]+/, `q-sign-time=${now};${now - 1}`] },
    { what: "a window without an end", change: [/q-sign-time=[\d;]+/, `q-sign-time=${now}`] },
    { what: "a window that is no numbers", change: [/q-key-time=[\d;]+/, "q-key-time=now;later"] },
    { what: "a window of negative numbers", change: [/q-key-time=[\d;]+/, `q-key-time=-5;${now}`] },
  ])("$what is refused as an invalid signature", async ({ change: [from, to] }) => {
    const good = client.sign("GET", "/-/vaults", { host: "cas.test" });
    const changed = good.replace(from!, to as string);
    expect(changed).not.toBe(good);
    const reply = await client.call("GET", "/-/vaults", { authorization: changed });
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidSignatureException"]);
  });

  test("an unknown key is told before an expired signature, that before a wrong one", async () => {
    const window = [nowSeconds() - 2000, nowSeconds() - 1000] as const;
    const codes = [];
    for (const key of [{ secretId: "nobody" }, { secretKey: "wrong" }]) {
      codes.push((await client.call("GET", "/-/vaults", { ...key, window })).json().code);
    }
    expect(codes).toEqual(["UnrecognizedClientException", "ExpiredTokenException"]);
  });

  test("says whether a signature has expired or is not yet valid", async () => {
    const at = async (start: number) => {
      const reply = await client.call("GET", "/-/vaults", {
        window: [nowSeconds() + start, nowSeconds() + start + 10],
      });
      return [reply.status, reply.json().code, reply.json().message];
    };
    expect(await at(-1000)).toEqual([403, "ExpiredTokenException", "The signature has expired"]);
    expect(await at(1000)).toEqual([403, "ExpiredTokenException", "The signature is not yet valid"]);
  });

  test("without skew a window ends and begins on the second", async () => {
    await using exact = await LocalServer.start({ clockSkewMs: 0 });
    const at = async (start: number, end: number) => {
      const window = [nowSeconds() + start, nowSeconds() + end] as const;
      return (await exact.client.call("GET", "/-/vaults", { window })).status;
    };
    // The Node helper's "single use" is (now-1;now-1), which is over when it is sent.
    expect([await at(0, 0), await at(-10, -1), await at(1, 10), await at(-1, -1)]).toEqual([200, 403, 403, 403]);
    const tolerant = await client.call("GET", "/-/vaults", { window: [nowSeconds() - 1, nowSeconds() - 1] });
    expect(tolerant.status).toBe(200);
  });

  test("the time is checked when the head arrives: an upload may outlive its signature", async () => {
    await using slow = await LocalServer.start();
    await slow.client.createVault("slow");
    const content = testBytes(100_000);
    const target = "/-/vaults/slow/archives";
    const headers = { host: "cas.test", "content-length": String(content.length), ...hashHeaders(content) };
    const signed = slow.client.sign("POST", target, headers);
    const status = await new Promise((resolve, reject) => {
      const request = httpRequest({
        host: "127.0.0.1",
        port: slow.running.port,
        method: "POST",
        path: target,
        headers: { ...headers, expect: "100-continue", authorization: signed },
      });
      request.on("error", reject);
      request.on("response", (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode));
      });
      // Node asks for the body in the turn in which it hands out the head.
      request.on("continue", () => {
        request.write(content.subarray(0, 50_000));
        slow.clock.advance(3 * hour).then(() => request.end(content.subarray(50_000)), reject);
      });
      request.flushHeaders();
    });
    expect(status).toBe(201);
    expect((await slow.client.call("POST", target, { authorization: signed, headers, body: content })).status).toBe(
      403,
    );
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

type Pairs = readonly (readonly [string, string])[];

/** Made here from the words of section 3.2 and 3.3, not by the code under test. Lines are given as they are signed. */
function handSigned(lines: {
  readonly method: string;
  readonly path: string;
  readonly parameterLine: string;
  readonly headerLine: string;
  readonly parameterNames: readonly string[];
  readonly headerNames: readonly string[];
}): string {
  const time = `${nowSeconds() - 1};${nowSeconds() + 3599}`;
  const text = `${lines.method.toLowerCase()}\n${lines.path}\n${lines.parameterLine}\n${lines.headerLine}\n`;
  const digest = createHash("sha1").update(text, "utf8").digest("hex");
  const signKey = createHmac("sha1", credentials.secretKey).update(time).digest("hex");
  const signature = createHmac("sha1", signKey).update(`sha1\n${time}\n${digest}\n`).digest("hex");
  return [
    "q-sign-algorithm=sha1",
    `q-ak=${credentials.secretId}`,
    `q-sign-time=${time}`,
    `q-key-time=${time}`,
    `q-header-list=${[...lines.headerNames].sort().join(";")}`,
    `q-url-param-list=${[...lines.parameterNames].sort().join(";")}`,
    `q-signature=${signature}`,
  ].join("&");
}

/** Percent-encoding of RFC 3986; `encodeURIComponent` leaves five more characters as they are. */
const rfc3986 = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
const bare = (name: string, value: string) => (value === "" ? name : `${name}=${value}`);

describe("cas-api 3.3, 3.4 What the clients sign", () => {
  const method = "GET";
  const path = "/-/vaults/Mixed%43ase%2DVault/jobs";
  const query: Pairs = [
    ["statuscode", "Succeeded"],
    ["marker", "a/B (c)*"],
    ["limit", ""],
    ["extra", "É+ü"],
  ];
  const headers: Pairs = [
    ["Host", "cas.Test"],
    ["x-cas-second", "It's (a) Test*"],
    ["x-cas-empty", ""],
  ];
  const sorted = (pairs: Pairs) =>
    [...pairs].sort(([one], [other]) => (one.toLowerCase() < other.toLowerCase() ? -1 : 1));
  // Only ASCII letters are lowercased.
  const lower = (text: string) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  const parameters = (form: (name: string, value: string) => string, pairs: Pairs = sorted(query)) =>
    pairs.map(([name, value]) => form(name, value)).join("&");
  const headerText = (form: (name: string, value: string) => string, pairs: Pairs = sorted(headers)) =>
    pairs.map(([name, value]) => form(name.toLowerCase(), value)).join("&");

  const canonical = {
    method,
    path,
    parameterLine: parameters((name, value) => bare(name, rfc3986(lower(value)))),
    headerLine: headerText((name, value) => bare(name, rfc3986(value))),
    parameterNames: query.map(([name]) => name),
    headerNames: headers.map(([name]) => name.toLowerCase()),
  };
  const nothing = { parameterLine: "", headerLine: "", parameterNames: [], headerNames: [] };

  const variants: { what: string; strict: boolean; changes: Partial<typeof canonical> }[] = [
    { what: "the canonical form", strict: true, changes: {} },
    { what: "nothing but method and path, as the Node client", strict: true, changes: nothing },
    { what: "the path in lowercase", strict: false, changes: { path: path.toLowerCase() } },
    {
      what: "the decoded path in lowercase, as the Go client",
      strict: false,
      changes: { path: "/-/vaults/mixedcase-vault/jobs" },
    },
    {
      what: "an = after an empty parameter",
      strict: false,
      changes: { parameterLine: parameters((name, value) => `${name}=${rfc3986(lower(value))}`) },
    },
    {
      what: "parameter values in their own case, as the Go client",
      strict: false,
      changes: { parameterLine: parameters((name, value) => `${name}=${rfc3986(value)}`) },
    },
    {
      what: "parameters by encodeURIComponent, as the Node helper",
      strict: false,
      changes: { parameterLine: parameters((name, value) => `${name}=${encodeURIComponent(value)}`) },
    },
    {
      what: "parameters in the order sent, as the Node helper",
      strict: false,
      changes: { parameterLine: parameters((name, value) => `${name}=${encodeURIComponent(value)}`, query) },
    },
    {
      what: "an = after an empty header",
      strict: false,
      changes: { headerLine: headerText((name, value) => `${name}=${rfc3986(value)}`) },
    },
    {
      what: "headers by encodeURIComponent in the order sent, as the Node helper",
      strict: false,
      changes: { headerLine: headerText((name, value) => `${name}=${encodeURIComponent(value)}`, headers) },
    },
    {
      what: "all of the Go client's differences at once",
      strict: false,
      changes: {
        path: "/-/vaults/mixedcase-vault/jobs",
        parameterLine: parameters((name, value) => `${name}=${rfc3986(value)}`),
        headerLine: headerText((name, value) => `${name}=${rfc3986(value)}`),
      },
    },
  ];

  const send = (port: number, signed: string) =>
    rawRequest(port, [
      `GET ${path}?${query.map(([name, value]) => `${name}=${rfc3986(value)}`).join("&")} HTTP/1.1`,
      ...headers.map(([name, value]) => `${name}: ${value}`),
      `Authorization: ${signed}`,
    ]);

  // There is no such vault, which shows once the signature has been verified.
  const codeOf = async (port: number, signed: string) => JSON.parse((await send(port, signed)).body).code;

  test.each(variants)("$what", async ({ strict, changes }) => {
    const signed = handSigned({ ...canonical, ...changes });
    expect(await codeOf(server.running.port, signed)).toBe("ResourceNotFoundException");
    await using exact = await LocalServer.start({ strictSignature: true });
    const code = await codeOf(exact.running.port, signed);
    if (strict) expect(code).toBe("ResourceNotFoundException");
    else expect(code).toBe("InvalidSignatureException");
  });

  test.each([
    { what: "everything in lowercase", changes: { headerLine: canonical.headerLine.toLowerCase() } },
    {
      what: "É in lowercase",
      changes: { parameterLine: parameters((name, value) => bare(name, rfc3986(value.toLowerCase()))) },
    },
    { what: "another value", changes: { parameterLine: canonical.parameterLine.replace("succeeded", "failed") } },
    { what: "a line end too many", changes: { headerLine: `${canonical.headerLine}\n` } },
  ])("but not $what", async ({ changes }) => {
    expect(await codeOf(server.running.port, handSigned({ ...canonical, ...changes }))).toBe(
      "InvalidSignatureException",
    );
  });
});

describe("cas-api 3.6 Delegated keys", () => {
  const delegated = (key: { start: number; end: number }, sign: { start: number; end: number }, given = key) => {
    const at = (window: { start: number; end: number }) => ({
      startSeconds: nowSeconds() + window.start,
      endSeconds: nowSeconds() + window.end,
    });
    const { startSeconds, endSeconds } = at(given);
    return authorization({
      method: "GET",
      path: "/-/vaults",
      headers: [["host", "cas.test"]],
      parameters: [],
      secretId: credentials.secretId,
      key: { signKey: signingKey(credentials.secretKey, `${startSeconds};${endSeconds}`), keyTime: at(key) },
      signTime: at(sign),
    });
  };
  const send = async (signed: string) => {
    const reply = await client.call("GET", "/-/vaults", { authorization: signed });
    return [reply.status, reply.json().code];
  };

  test("a SignKey signs within its window without the secret", async () => {
    expect(await send(delegated({ start: -3600, end: 3600 }, { start: -10, end: 10 }))).toEqual([200, undefined]);
  });

  test("a SignKey is worth nothing after its window", async () => {
    expect(await send(delegated({ start: -3600, end: -400 }, { start: -420, end: 10 }))).toEqual([
      403,
      "ExpiredTokenException",
    ]);
    const late = delegated({ start: -3600, end: -400 }, { start: -420, end: 10 });
    // The sign time is inside by clipping; one that was written by hand changes the signature.
    const window = `q-sign-time=${nowSeconds() - 10};${nowSeconds() + 10}`;
    expect(await send(late.replace(/q-sign-time=[\d;]+/, window))).toEqual([403, "ExpiredTokenException"]);
  });

  test("a SignKey does not fit a window it was not made for", async () => {
    const key = { start: -3600, end: 3600 };
    const longer = delegated(key, { start: -10, end: 10 }, { start: -3600, end: 100 });
    expect(await send(longer)).toEqual([400, "InvalidSignatureException"]);
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

describe("cas-api 15.1, 15.2 Two Host headers", () => {
  const send = async (port: number, hosts: readonly string[], signedHost: string) => {
    const signed = authorization({
      method: "GET",
      path: "/-/vaults",
      headers: [["host", signedHost]],
      parameters: [],
      secretId: credentials.secretId,
      key: { secretKey: credentials.secretKey },
      signTime: { startSeconds: nowSeconds(), endSeconds: nowSeconds() + 60 },
    });
    const lines = hosts.map((host) => `Host: ${host}`);
    const reply = await rawRequest(port, ["GET /-/vaults HTTP/1.1", ...lines, `Authorization: ${signed}`]);
    return reply.status;
  };

  test.each([false, true])("either one may be the signed one, in any order (strict: %s)", async (strictSignature) => {
    await using local = await LocalServer.start({ strictSignature });
    const { port } = local.running;
    const hosts = [`localhost:${port}`, "localhost"];
    for (const order of [hosts, hosts.toReversed()]) {
      for (const host of hosts) expect(await send(port, order, host)).toBe(200);
      expect(await send(port, order, "other")).toBe(400);
    }
    expect(await send(port, [], "localhost")).toBe(400);
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
