/** No bytes that a client can send make the server fail, hang or forget how to answer the next one. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { sendBytes } from "../support/byte-storm.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";
import { type CasClient, hashHeaders } from "./cas-client.js";
import { LocalServer } from "./local-server.js";

let server: LocalServer;
let client: CasClient;
let ids: { readonly archive: string; readonly upload: string; readonly job: string };

beforeAll(async () => {
  server = await LocalServer.start({ bodyStallMs: 5000, headersTimeoutMs: 5000 });
  client = server.client;
  await client.createVault("v");
  const archive = await client.uploaded("v", testBytes(100));
  const job = await client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
  ids = { archive, job, upload: await client.initiateUpload("v") };
});
afterAll(() => server[Symbol.asyncDispose]());

/** Sends, and checks that the answers, if any, are refusals or successes, and that the next client is served. */
async function expectUnharmed(
  pieces: readonly (string | Uint8Array)[],
  options: { readonly answers?: number } = {},
): Promise<readonly number[]> {
  const { statuses, hung, text } = await sendBytes(server.running.port, pieces, options);
  expect(hung).toBe(false);
  expect(statuses.filter((status) => status >= 500)).toEqual([]);
  for (const [answer] of text.matchAll(/HTTP\/1\.1 (?!100)[\s\S]*?\r\n\r\n/g))
    expect(answer).toMatch(/x-cas-requestid: /i);
  expect(server.warnings).toEqual([]);
  expect((await client.call("GET", "/-/vaults?limit=1")).status).toBe(200);
  return statuses;
}

const hostileTexts = fc.constantFrom(
  "",
  "v",
  "-",
  ".",
  "..",
  "%2e%2e",
  "%00",
  "%",
  "%zz",
  "__proto__",
  "constructor",
  "toString",
  "0",
  "-1",
  "1e999",
  "NaN",
  "9".repeat(15),
  "9".repeat(40),
  "0x10",
  "1048576",
  "true",
  "null",
  "a b",
  "é",
  "\u00ff\u00fe",
  "'; DROP TABLE vault; --",
  "<script>",
  "x".repeat(300),
  "x".repeat(6000),
  "bytes 0-1048575/*",
  "bytes 0-99/*",
  "bytes=0-",
  "bytes=-1",
  "bytes=0-0,1-1",
  "bytes=99999999999999-",
  "f".repeat(64),
);
const anyText = fc.oneof(
  hostileTexts,
  fc.string({ maxLength: 40, unit: "binary-ascii" }),
  fc.string({ maxLength: 20 }),
);
/** Without what would end the word. */
const token = anyText.map((text) => text.replace(/[^\x21-\x7e]/g, "~"));
/** Without what would end the line. */
const line = anyText.map((text) => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, "~"));

const resource = fc.constantFrom(
  () => "/-/vaults",
  () => "/-/vaults/v",
  () => "/-/vaults/v/access-policy",
  () => "/-/vaults/v/notification-configuration",
  () => "/-/vaults/v/lock-policy",
  () => "/-/vaults/v/archives",
  () => `/-/vaults/v/archives/${ids.archive}x`,
  () => "/-/vaults/v/multipart-uploads",
  () => `/-/vaults/v/multipart-uploads/${ids.upload}`,
  () => "/-/vaults/v/jobs",
  () => `/-/vaults/v/jobs/${ids.job}`,
  () => `/-/vaults/v/jobs/${ids.job}/output`,
);
const path = fc.oneof(
  { weight: 3, arbitrary: resource },
  { weight: 1, arbitrary: fc.array(token, { maxLength: 6 }).map((parts) => () => `/${parts.join("/")}`) },
  {
    weight: 1,
    arbitrary: fc.tuple(resource, token).map(
      ([base, more]) =>
        () =>
          `${base()}/${more}`,
    ),
  },
);
const parameter = fc.tuple(
  fc.oneof(fc.constantFrom("limit", "marker", "completed", "statuscode", "__proto__", "lockid"), token),
  token,
);
const header = fc.tuple(
  fc.constantFrom(
    "x-cas-content-sha256",
    "x-cas-sha256-tree-hash",
    "x-cas-archive-description",
    "x-cas-part-size",
    "x-cas-archive-size",
    "content-range",
    "content-type",
    "range",
    "date",
    "marker",
    "limit",
    "accept-encoding",
    "x-forwarded-for",
    "__proto__",
    "expect",
    "if-match",
  ),
  line,
);
const method = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom("GET", "PUT", "POST", "DELETE") },
  {
    weight: 1,
    arbitrary: fc.constantFrom("HEAD", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "CONNECT", "get", "FOO", ""),
  },
);

const deep = (depth: number, open: string, close: string) => open.repeat(depth) + close.repeat(depth);
const hostileJson = fc.oneof(
  fc.json(),
  fc.constantFrom(
    deep(50_000, "[", "]"),
    deep(20_000, '{"a":', "}").replace("}", "1}"),
    '{"__proto__":{"Type":"archive-retrieval"}}',
    '{"constructor":{"prototype":{"x":1}}}',
    '{"Type":"archive-retrieval","Type":"inventory-retrieval"}',
    '{"policy":"{\\"version\\":\\"2.0\\",\\"__proto__\\":{}}"}',
    `{"policy":${JSON.stringify(`{"version":"2.0","statement":${deep(9000, "[", "]")}}`)}}`,
    '{"policy":5}',
    "[]",
    "null",
    "\ufeff{}",
    "{}{}",
    '"\\ud800"',
    '{"Type":"inventory-retrieval","InventoryRetrievalParameters":[]}',
    '{"Type":"inventory-retrieval","InventoryRetrievalParameters":{"Limit":1e308,"Marker":"\\u0000"}}',
    '{"Type":"inventory-retrieval","InventoryRetrievalParameters":{"StartDate":"0000-00-00","EndDate":{}}}',
    `{"a":"${"x".repeat(300_000)}"}`,
  ),
  fc
    .record(
      {
        Type: fc.constantFrom<unknown>(
          "archive-retrieval",
          "inventory-retrieval",
          "push-to-cos",
          "pull-from-cos",
          1,
          null,
        ),
        ArchiveId: fc.anything(),
        Tier: fc.oneof(fc.constantFrom<unknown>("Bulk", "Expedited"), fc.anything()),
        RetrievalByteRange: fc.oneof(token, fc.anything()),
        Description: fc.anything(),
        CallBackUrl: fc.oneof(token, fc.anything()),
        Format: fc.anything(),
        InventoryRetrievalParameters: fc.anything(),
        Bucket: fc.anything(),
        Object: fc.anything(),
        Range: fc.anything(),
        Condition: fc.anything(),
        Events: fc.anything(),
        policy: fc.oneof(fc.json(), fc.anything()),
      },
      { requiredKeys: [] },
    )
    .map((value) => {
      try {
        return JSON.stringify(value);
      } catch {
        return "{";
      }
    }),
);

interface HostileRequest {
  readonly method: string;
  readonly path: () => string;
  readonly parameters: readonly (readonly [string, string])[];
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string | Uint8Array;
}

const anyRequest: fc.Arbitrary<HostileRequest> = fc.record({
  method,
  path,
  parameters: fc.array(parameter, { maxLength: 4 }),
  headers: fc.array(header, { maxLength: 6 }),
  body: fc.oneof(
    fc.constant(""),
    hostileJson,
    fc.uint8Array({ maxLength: 2000 }),
    fc.constantFrom(testBytes(100), testBytes(MIB)),
  ),
});

/** The request with a signature that is right wherever one can be made. */
function signed({ method, path, parameters, headers, body }: HostileRequest): (string | Uint8Array)[] {
  const bytes = Buffer.from(body as Uint8Array);
  const query = parameters.map(([name, value]) => `${name}=${value}`).join("&");
  const target = `${path()}${query === "" ? "" : `?${query}`}`;
  const fields: Record<string, string> = { host: "cas.test", "content-length": String(bytes.length) };
  if (bytes.length === 100 || bytes.length === MIB) Object.assign(fields, hashHeaders(bytes));
  for (const [name, value] of headers)
    Object.defineProperty(fields, name, { value, enumerable: true, configurable: true });
  let authorization = "none";
  try {
    authorization = client.sign(method, target, fields);
  } catch {
    // Not every target is a URL.
  }
  const lines = [...Object.entries(fields), ["authorization", authorization]].map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return [`${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`, bytes];
}

describe("hostile input", () => {
  test("signed requests of any method, path, query, headers and body are answered and harm nothing", async () => {
    let answered = 0;
    await fc.assert(
      fc.asyncProperty(anyRequest, async (request) => {
        answered += (await expectUnharmed(signed(request))).length;
      }),
      { numRuns: 200 },
    );
    expect(answered).toBeGreaterThan(150);
  });

  test("bytes that resemble HTTP more or less harm nothing", async () => {
    const fragment = fc.oneof(
      fc.constantFrom(
        "GET ",
        "POST /-/vaults/v/archives ",
        "HTTP/1.1",
        "HTTP/9.9",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\0",
        ":",
        " ",
      ),
      fc.constantFrom(
        "Host: a",
        "Content-Length: 5",
        "Content-Length: -1",
        "Transfer-Encoding: chunked",
        "5\r\nabcde\r\n",
      ),
      fc.constantFrom(
        "ffffffffffffffff\r\n",
        "0\r\n\r\n",
        "Expect: 100-continue",
        "Upgrade: h2c\r\nConnection: Upgrade",
      ),
      fc.uint8Array({ maxLength: 60 }),
      token,
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fragment, { maxLength: 14 }), async (pieces) => {
        await expectUnharmed(pieces);
      }),
      { numRuns: 200 },
    );
  });

  const auth = "Authorization: q-sign-algorithm=sha1\r\n";
  test.each([
    { what: "a header of 1 MiB", bytes: `GET /-/vaults HTTP/1.1\r\nx: ${"a".repeat(MIB)}\r\n\r\n`, status: 400 },
    { what: "100,000 headers", bytes: `GET /-/vaults HTTP/1.1\r\n${"a: b\r\n".repeat(100_000)}\r\n`, status: 400 },
    { what: "a target of 1 MiB", bytes: `GET /${"a".repeat(MIB)} HTTP/1.1\r\nhost: a\r\n\r\n`, status: 400 },
    { what: "a NUL in a header", bytes: `GET /-/vaults HTTP/1.1\r\nx: a\0b\r\n${auth}\r\n`, status: 400 },
    { what: "a NUL in the target", bytes: `GET /-/vau\0lts HTTP/1.1\r\n${auth}\r\n`, status: 400 },
    {
      what: "Content-Length and Transfer-Encoding",
      bytes: `POST /-/vaults/v/archives HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n${auth}\r\n0\r\n\r\nGET /-/vaults HTTP/1.1\r\n\r\n`,
      status: 400,
    },
    {
      what: "two lengths",
      bytes: `POST /-/vaults/v/archives HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 40\r\n${auth}\r\nabcd`,
      status: 400,
    },
    {
      what: "a coding that hides chunked",
      bytes: `POST /-/vaults/v/archives HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n${auth}\r\n0\r\n\r\n`,
      status: 400,
    },
    {
      what: "a folded header",
      bytes: `POST /-/vaults/v/archives HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n${auth}\r\n0\r\n\r\n`,
      status: 400,
    },
    {
      what: "a chunk of no size",
      bytes: `PUT /-/vaults/v HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
      status: 400,
    },
    {
      what: "a length that is no number",
      bytes: `PUT /-/vaults/v HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n`,
      status: 400,
    },
    { what: "TLS", bytes: Buffer.from("16030100c8010000c40303", "hex"), status: 400 },
  ])("$what is refused once, and what follows it is no second request", async ({ bytes, status }) => {
    const statuses = await expectUnharmed([bytes]);
    expect(statuses.length).toBeLessThanOrEqual(1);
    for (const each of statuses) expect(each).toBeGreaterThanOrEqual(status);
  });

  test("a chunked body without Content-Length is read to its end, refused, and the connection serves the next request", async () => {
    const head = "POST /-/vaults/v/archives HTTP/1.1\r\nHost: cas.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    const next = "GET /nowhere HTTP/1.1\r\nHost: cas.test\r\n\r\n";
    expect(await expectUnharmed([`${head}5\r\nGET /\r\n0\r\n\r\n${next}`], { answers: 2 })).toEqual([400, 404]);
  });

  test("a thousand requests written at once on one connection are answered in order", async () => {
    const one = "GET /nowhere HTTP/1.1\r\nHost: cas.test\r\n\r\n";
    expect(await expectUnharmed([one.repeat(1000)], { answers: 1000 })).toEqual(
      Array.from({ length: 1000 }, () => 404),
    );
  });

  test("parameters that come twice, and names of Object's own, are plain text to the server", async () => {
    for (const query of [
      "limit=1&limit=2",
      "limit=1&LIMIT=5",
      "__proto__=1",
      "marker=a&marker=b",
      "constructor=&limit=3",
    ]) {
      const { status } = await client.call("GET", `/-/vaults?${query}`);
      expect([200, 400]).toContain(status);
    }
    expect(({} as Record<string, unknown>).limit).toBeUndefined();
    expect(server.warnings).toEqual([]);
  });
});
