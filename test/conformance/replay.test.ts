/** Recorded requests of the official clients, byte for byte, against a server that stands in their time (3.3, 3.4). */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FakeClock } from "../support/fake-clock.js";
import { codeOf, expectRequestId } from "./support/expectations.js";
import {
  bytesOfRecording,
  bytesOfSignedCase,
  type SignedCase,
  sharedSecretKey,
  vectors,
} from "./support/recorded-clients.js";
import { authorizationOf, type Dialect, formatString, go, nodeHelper, type Pair, python } from "./support/signer.js";
import { sha256, treeHash } from "./support/tree-digest.js";
import { WireConnection } from "./support/wire-connection.js";
import { World } from "./support/world.js";

const { python_sdk: pythonCases, node_sdk: nodeCases, go_sdk: goCases } = vectors.signatures;
const allCases = [...pythonCases.cases, ...nodeCases.cases, ...goCases.cases];
const nowSeconds = 1_480_932_292;

describe("the signer and the tree hash of these tests, judged by the vectors", () => {
  const dialectOf = ({ id }: SignedCase): Dialect =>
    id.startsWith("py") ? python : id.startsWith("go") ? go : nodeHelper;
  /** Headers that the client sends without signing them are in the Go cases too. */
  const signedHeaders = ({ headers, authorization }: SignedCase) => {
    const names = /q-header-list=([^&]*)/.exec(authorization)?.[1]?.split(";") ?? [];
    return Object.entries(headers)
      .map(([name, value]): Pair => [name, Buffer.from(String(value)).toString("latin1")])
      .filter(([name]) => names.includes(name.trim().toLowerCase()));
  };

  test.each(allCases)("$id", (one) => {
    const parameters = Object.entries(one.params).map(([name, value]): Pair => [name, String(value)]);
    const request = { method: one.method, path: one.path, headers: signedHeaders(one), parameters };
    expect(formatString(request, dialectOf(one))).toBe(one.format_string);
    const key = { secretId: one.secret_id, secretKey: one.secret_key ?? "", signTime: one.sign_time };
    const delegated = one.sign_key_given === undefined ? {} : { signKey: one.sign_key_given };
    expect(authorizationOf(request, { ...key, ...delegated, keyTime: one.key_time }, dialectOf(one))).toBe(
      one.authorization,
    );
  });

  test.each(vectors.tree_hash.cases.filter(({ size }) => size > 0 && size < 64 * 1_048_576))("$size bytes", (one) => {
    const content = Buffer.alloc(one.size);
    for (let index = 0; index < one.size; index++) content[index] = index % 251;
    expect([sha256(content), treeHash(content)]).toEqual([one.sha256, one.tree_hash]);
  });
});

/** What each signature case must be answered: who gets so far has been authenticated. */
const answers: Readonly<Record<string, readonly [status: number, code?: string]>> = {
  py01: [201],
  py02: [200],
  py03: [200],
  py04: [200],
  py05: [200],
  // The hashes are those of "hello", the bodies are not.
  py06: [400, "InvalidDigest"],
  py07: [201],
  py08: [201],
  py09: [404, "ResourceNotFoundException"],
  py10: [404, "ResourceNotFoundException"],
  py11: [404, "ResourceNotFoundException"],
  py12: [400, "InvalidParameterValueException"],
  py13: [404, "ResourceNotFoundException"],
  py14: [202],
  py15: [204],
  py16: [200],
  py17: [201],
  py18: [200],
  py19: [200],
  py20: [400, "InvalidParameterValueException"],
  py21: [200],
  node01: [200],
  node02: [201],
  node03: [200],
  node04: [404, "ResourceNotFoundException"],
  node05: [200],
  node06: [200],
  node07: [200],
  go01: [200],
  go02: [200],
  go03: [404, "ResourceNotFoundException"],
  go04: [201],
  go05: [201],
  go06: [404, "ResourceNotFoundException"],
  go07: [404, "ResourceNotFoundException"],
  go08: [200],
  go09: [200],
  go10: [200],
};

const bodies: Readonly<Record<string, Uint8Array>> = {
  py06: Buffer.alloc(1_048_577),
  py07: Buffer.from("hello"),
  py09: Buffer.alloc(16_777_216),
  py14: Buffer.from('{"Type": "inventory-retrieval"}'),
  py15: Buffer.from('{"policy": "{\\"version\\":\\"2.0\\"}"}'),
  go04: Buffer.from("hello"),
};

describe("3.3 the signatures of every client, as they were recorded", () => {
  const worlds = new Map<string, World>();
  afterAll(async () => {
    for (const world of worlds.values()) await world[Symbol.asyncDispose]();
  });

  async function worldOf({ secret_id: secretId, secret_key: secretKey = sharedSecretKey }: SignedCase): Promise<World> {
    const name = `${secretId} ${secretKey}`;
    const known = worlds.get(name);
    if (known !== undefined) return known;
    const world = await World.start({
      secretId,
      secretKey,
      clock: new FakeClock({ startMs: nowSeconds * 1000 + 500 }),
    });
    worlds.set(name, world);
    const client = world.client({ secretId, secretKey });
    for (const vault of ["example", "Example", "my.vault_1-x"]) await client.createVault(vault);
    return world;
  }

  test.each(allCases)("$id $method $path", async (one) => {
    const world = await worldOf(one);
    const short = one.id.split("-")[0]!;
    using connection = await WireConnection.open(world.server.running.port);
    await connection.send(bytesOfSignedCase(one, bodies[short] ?? Buffer.alloc(0)));
    const reply = await connection.receive();
    const [status, code] = answers[short]!;
    expect([reply.status, codeOf(reply)], reply.body.toString()).toEqual([status, code]);
    expectRequestId(reply);
  });

  test("node05 a single-use signature is over at once where no skew is tolerated", async () => {
    const one = nodeCases.cases.find(({ id }) => id.startsWith("node05"))!;
    await using world = await World.start({
      secretId: one.secret_id,
      secretKey: one.secret_key!,
      clockSkewMs: 0,
      clock: new FakeClock({ startMs: nowSeconds * 1000 }),
    });
    using connection = await WireConnection.open(world.server.running.port);
    await connection.send(bytesOfSignedCase(one, Buffer.alloc(0)));
    expect(codeOf(await connection.receive())).toBe("ExpiredTokenException");
  });

  test("the strict switch takes the canonical form of the Python client and refuses the others'", async () => {
    const [startMs, secretId] = [nowSeconds * 1000, "exampleSecretIdTwo"];
    const options = { secretId, secretKey: sharedSecretKey, strictSignature: true, clock: new FakeClock({ startMs }) };
    await using world = await World.start(options);
    const refusals: string[] = [];
    for (const one of allCases) {
      if (one.secret_id !== secretId || (one.secret_key ?? sharedSecretKey) !== sharedSecretKey) continue;
      using connection = await WireConnection.open(world.server.running.port);
      await connection.send(bytesOfSignedCase(one, bodies[one.id.split("-")[0]!] ?? Buffer.alloc(0)));
      if (codeOf(await connection.receive()) === "InvalidSignatureException") refusals.push(one.id.split("-")[0]!);
    }
    expect(refusals).toEqual(["node06", "node07", "go02", "go03", "go06", "go07", "go08"]);
  });
});

describe("2.1 the requests of the official clients, as they were recorded", () => {
  const key = { secretId: "exampleSecretIdTwo", secretKey: sharedSecretKey };
  let world: World;
  beforeAll(async () => {
    const clock = new FakeClock({ startMs: nowSeconds * 1000 });
    const retrievalMs = { expedited: 0, standard: 0, bulk: 0, inventory: 0 };
    world = await World.start({ ...key, clock, retrievalMs });
  });
  afterAll(() => world[Symbol.asyncDispose]());

  const missing = [404, "ResourceNotFoundException"] as const;
  /** By method and the path after the vault; what is not here is a success. */
  const refused: readonly (readonly [RegExp, readonly [number, string]])[] = [
    [/^DELETE archives\//, missing],
    [/multipart-uploads\/UID/, missing],
    [/^GET jobs\/J/, missing],
    [/^GET jobs\?marker=M/, [400, "InvalidParameterValueException"]],
    [/^POST jobs "ArchiveId": "A", "Tier"/, missing],
    // Without an object store behind it.
    [/^POST jobs "ArchiveId": "A", "Bucket"/, [400, "InvalidParameterValueException"]],
  ];
  const successes: Readonly<Record<string, number>> = {
    "PUT ": 201,
    "GET ": 200,
    "DELETE ": 204,
    "POST archives": 201,
    "POST multipart-uploads": 201,
    "POST jobs": 202,
    "PUT access-policy": 204,
    "DELETE access-policy": 204,
  };

  const recordings = Object.entries(vectors.client_requests).flatMap(([client, { cases }]) =>
    cases.map((recorded) => ({ name: `${client}: ${recorded.call}`, recorded })),
  );

  test.each(recordings)("$name", async ({ recorded }) => {
    const window = { ...key, signTime: `${nowSeconds};${nowSeconds + 1200}` };
    const vault = /vaults\/(\w+)/.exec(recorded.target)?.[1];
    const resource = /vaults\/\w+\/(.*)$/.exec(recorded.target)?.[1] ?? "";
    const client = world.client(key);
    if (vault !== undefined && !(recorded.method === "PUT" && resource === "")) await client.createVault(vault);
    const policy = `/-/vaults/${vault}/access-policy`;
    if (resource === "access-policy") await client.send({ method: "PUT", target: policy, body: '{"policy":"{}"}' });
    if (recorded.method === "DELETE" && resource === "") await emptied(vault!);

    using connection = await WireConnection.open(world.server.running.port);
    await connection.send(bytesOfRecording(recorded, window));
    const reply = await connection.receive();
    const line = `${recorded.method} ${resource} ${recorded.body.slice(1)}`;
    const refusal = refused.find(([pattern]) => pattern.test(line))?.[1];
    const base = resource === "" || resource.startsWith("?") ? "" : resource.split(/[/?]/)[0];
    const expected = refusal ?? [successes[`${recorded.method} ${base}`] ?? 200, undefined];
    expect([reply.status, codeOf(reply)], reply.body.toString()).toEqual(expected);
    expectRequestId(reply);
  });

  /** Makes the vault a new one: what earlier recordings have left in it would keep it from being deleted. */
  async function emptied(vault: string): Promise<void> {
    const client = world.client(key);
    const { UploadsList: uploads } = (await client.get(`/-/vaults/${vault}/multipart-uploads`)).json();
    for (const { MultipartUploadId: id } of uploads) {
      await client.send({ method: "DELETE", target: `/-/vaults/${vault}/multipart-uploads/${id}` });
    }
    const job = await client.startJob(vault, { Type: "inventory-retrieval" });
    const { ArchiveList: archives } = (await client.get(`/-/vaults/${vault}/jobs/${job}/output`)).json();
    for (const { ArchiveId: id } of archives) {
      await client.send({ method: "DELETE", target: `/-/vaults/${vault}/archives/${id}` });
    }
  }
});

describe("3.4 every form that a client may sign", () => {
  let world: World;
  beforeAll(async () => {
    world = await World.start();
    await world.wire.createVault("Forms");
  });
  afterAll(() => world[Symbol.asyncDispose]());

  const paths = ["verbatim", "lowercase", "decoded-lowercase"] as const;
  const lines = [
    { parameterValues: "lowercase", emptyValue: "bare", escaping: "rfc3986" },
    { parameterValues: "lowercase", emptyValue: "equals", escaping: "rfc3986" },
    { parameterValues: "kept", emptyValue: "equals", escaping: "rfc3986" },
    { parameterValues: "kept", emptyValue: "equals", escaping: "encodeURIComponent" },
  ] as const;
  const dialects = paths.flatMap((path) =>
    lines.flatMap((line) => (["sorted", "given"] as const).map((order): Dialect => ({ path, ...line, order }))),
  );

  test.each(dialects)("$path path, $parameterValues values, $emptyValue empty, $escaping, $order", async (dialect) => {
    const reply = await world.wire.send({
      method: "GET",
      target: "/-/vaults/%46orms/multipart-uploads?z=It's+(a)*%20B!&marker=&A=%E5%BD%92%C3%89",
      headers: { "X-Zeta": "it's (a) b*c!", "x-empty": "", "x-Alpha": "B\u00e9" },
      dialect,
    });
    expect([reply.status, codeOf(reply)]).toEqual([200, undefined]);
  });

  test("15.1 of two Host lines either may be the signed one; a third that is not sent is none", async () => {
    for (const [signedHost, status] of [
      ["localhost", 200],
      ["localhost:8080", 200],
      ["elsewhere", 400],
    ] as const) {
      const request = { method: "GET", target: "/-/vaults", headers: { Host: signedHost } };
      const authorization = world.wire.sign(request);
      using connection = await WireConnection.open(world.server.running.port);
      const head = ["GET /-/vaults HTTP/1.1", "Host: localhost:8080", "Accept-Encoding: identity", "Content-Length: 0"];
      await connection.send([...head, "Host: localhost", `Authorization: ${authorization}`, "", ""].join("\r\n"));
      expect((await connection.receive()).status).toBe(status);
    }
  });

  test("3.6 a delegated key signs within its window, and not outside of it", async () => {
    const now = world.wire.nowSeconds();
    const { createHmac } = await import("node:crypto");
    const { secretKey } = world.wire.identity;
    for (const [keyTime, code] of [
      [`${now - 10_000};${now + 10_000}`, undefined],
      [`${now - 10_000};${now - 5000}`, "ExpiredTokenException"],
    ] as const) {
      const signKey = createHmac("sha1", secretKey).update(keyTime).digest("hex");
      const request = { method: "GET", target: "/-/vaults", key: { secretKey: "unknown", signKey, keyTime } };
      expect(codeOf(await world.wire.send(request))).toBe(code);
    }
  });
});
