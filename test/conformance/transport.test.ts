/** What happens below the operations: bodies that nobody reads, connections that go on, requests that are not whole (2, 4.4). */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testBytes } from "../support/test-bytes.js";
import { expectError } from "./support/expectations.js";
import type { WireRequest } from "./support/wire-client.js";
import { WireConnection } from "./support/wire-connection.js";
import { eventually, World } from "./support/world.js";

const mib = 1_048_576;
/** So long the server waits for a body; on a busy machine it must not be met by a client that is only slow. */
const bodyStallMs = 400;

let world: World;
/** Waits only briefly; otherwise the same, its vault too. */
let hasty: World;
let vault: string;
beforeAll(async () => {
  world = await World.start();
  vault = await world.vault();
  hasty = await World.start({ bodyStallMs });
  expect(await hasty.vault()).toBe(vault);
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await hasty[Symbol.asyncDispose]();
});

const open = () => WireConnection.open(world.server.running.port);
const openHasty = () => WireConnection.open(hasty.server.running.port);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** An upload that announces `sizeBytes` and is refused for the reason that its name says. */
const refusals: Readonly<Record<string, { status: number; code: string; request(sizeBytes: number): WireRequest }>> = {
  "an unknown vault": {
    status: 404,
    code: "ResourceNotFoundException",
    request: (size) => world.wire.uploadRequest("nobody", testBytes(1), { "Content-Length": String(size) }),
  },
  "a bad signature": {
    status: 400,
    code: "InvalidSignatureException",
    request: (size) => ({
      ...world.wire.uploadRequest(vault, testBytes(1), { "Content-Length": String(size) }),
      key: { secretKey: "another" },
    }),
  },
  "a missing hash": {
    status: 400,
    code: "MissingParameterValueException",
    request: (size) => ({
      method: "POST",
      target: `/-/vaults/${vault}/archives`,
      headers: { "Content-Length": String(size) },
    }),
  },
  "an unknown path": {
    status: 404,
    code: "ResourceNotFoundException",
    request: (size) => ({ method: "POST", target: "/nowhere", headers: { "Content-Length": String(size) } }),
  },
  "a wrong hash": {
    status: 400,
    code: "InvalidDigest",
    request: (size) => world.wire.uploadRequest(vault, testBytes(1), { "Content-Length": String(size) }),
  },
  "a wrong hash of a part": {
    status: 404,
    code: "ResourceNotFoundException",
    request: (size) => ({
      ...world.wire.partRequest(vault, "A".repeat(64), testBytes(1), 0),
      headers: {
        ...world.wire.partRequest(vault, "A".repeat(64), testBytes(1), 0).headers,
        "Content-Length": String(size),
      },
    }),
  },
};

describe("4.4 errors and unread bodies: who sends everything first can read the error", () => {
  const piece = Buffer.alloc(mib);

  describe.each(Object.entries(refusals))("%s", (_, { status, code, request }) => {
    test.each([1, 64])(
      "%i MiB sent in pieces of 1 MiB before anything is read, then the connection goes on",
      async (pieces) => {
        using connection = await open();
        await connection.send(world.wire.headOf(request(pieces * mib)));
        for (let index = 0; index < pieces; index++) await connection.send(piece);
        expectError(await connection.receive(), status, code);
        await connection.send(world.wire.bytesOf({ method: "GET", target: "/-/vaults" }));
        expect((await connection.receive()).status).toBe(200);
      },
    );

    test("a slow sender: the connection stays open until it has sent everything", async () => {
      using connection = await open();
      await connection.send(world.wire.headOf(request(5000)));
      for (let index = 0; index < 5; index++) {
        await pause(50);
        await connection.send(Buffer.alloc(1000));
      }
      expectError(await connection.receive(), status, code);
    });
  });

  test("a body far above the bound is taken as long as it comes, and the answer waits in the socket", async () => {
    using connection = await open();
    await connection.send(world.wire.headOf(refusals["a bad signature"]!.request(1100 * mib)));
    for (let index = 0; index < 1100; index++) await connection.send(piece);
    expectError(await connection.receive(), 400, "InvalidSignatureException");
  });

  test("a sender that stops after the answer was given early is let go", async () => {
    using connection = await openHasty();
    await connection.send(world.wire.headOf(refusals["a bad signature"]!.request(100 * mib)));
    for (let index = 0; index < 70; index++) await connection.send(piece);
    expectError(await connection.receive(), 400, "InvalidSignatureException");
    await connection.closed();
  });

  test("a body that an operation does not need is skipped", async () => {
    using connection = await open();
    const target = `/-/vaults/${vault}`;
    await connection.send(world.wire.bytesOf({ method: "PUT", target, body: Buffer.alloc(300_000) }));
    await connection.send(world.wire.bytesOf({ method: "GET", target, body: "ignored" }));
    expect([(await connection.receive()).status, (await connection.receive()).status]).toEqual([201, 200]);
  });

  test("a sender that never sends the body that an operation does not need is let go", async () => {
    using connection = await openHasty();
    const target = `/-/vaults/${vault}`;
    await connection.send(world.wire.headOf({ method: "PUT", target, headers: { "Content-Length": "1000" } }));
    expect((await connection.receive()).status).toBe(201);
    await connection.closed();
  });
});

describe("4.3 bodies that are not whole", () => {
  const upload = (sizeBytes: number) =>
    world.wire.headOf(world.wire.uploadRequest(vault, testBytes(1000), { "Content-Length": String(sizeBytes) }));

  test("a body shorter than its Content-Length: 408", async () => {
    using connection = await open();
    await connection.send(upload(1000));
    await connection.send(testBytes(999));
    connection.finishSending();
    expectError(await connection.receive(), 408, "RequestTimeoutException");
    await connection.closed();
  });

  test("a body that stalls: 408, and the connection is closed", async () => {
    using connection = await openHasty();
    await connection.send(upload(1000));
    await connection.send(testBytes(999));
    expectError(await connection.receive(), 408, "RequestTimeoutException");
    await connection.closed();
  });

  test("a JSON body that stalls: 408", async () => {
    using connection = await openHasty();
    await connection.send(
      world.wire.headOf({ ...world.wire.jobRequest(vault, ""), headers: { "Content-Length": "9" } }),
    );
    expectError(await connection.receive(), 408, "RequestTimeoutException");
  });

  test("a refused upload that stalls: the refusal, and the connection is closed", async () => {
    using connection = await openHasty();
    await connection.send(world.wire.headOf(refusals["an unknown vault"]!.request(1000)));
    expectError(await connection.receive(), 404, "ResourceNotFoundException");
    await connection.closed();
  });

  test("a body that comes slowly but comes is taken", async () => {
    const patienceMs = 1500;
    await using slow = await World.start({ bodyStallMs: patienceMs });
    expect(await slow.vault()).toBe(vault);
    using connection = await WireConnection.open(slow.server.running.port);
    await connection.send(upload(1000));
    for (let index = 0; index < 10; index++) {
      await pause(patienceMs / 8);
      await connection.send(testBytes(100, index * 100));
    }
    expect((await connection.receive()).status).toBe(201);
  });

  test("garbage after a body: the upload is answered first, the garbage after it with 400, then it ends", async () => {
    using connection = await open();
    await connection.send(
      Buffer.concat([Buffer.from(upload(1000), "latin1"), testBytes(1000), Buffer.from("garbage\r\n\r\n")]),
    );
    expect((await connection.receive()).status).toBe(201);
    expectError(await connection.receive(), 400, "BadRequest");
    await connection.closed();
  });

  test("a half-sent second request does not harm the first: answered in order", async () => {
    using connection = await open();
    await connection.send(
      Buffer.concat([Buffer.from(upload(1000), "latin1"), testBytes(1000), Buffer.from(upload(1000), "latin1")]),
    );
    await connection.send(testBytes(10));
    connection.finishSending();
    expect((await connection.receive()).status).toBe(201);
    expectError(await connection.receive(), 408, "RequestTimeoutException");
  });

  test("an empty line after a body, as old clients send it, is no request", async () => {
    using connection = await open();
    await connection.send(Buffer.concat([Buffer.from(upload(1000), "latin1"), testBytes(1000), Buffer.from("\r\n")]));
    await connection.send(world.wire.bytesOf({ method: "GET", target: "/-/vaults" }));
    expect([(await connection.receive()).status, (await connection.receive()).status]).toEqual([201, 200]);
  });

  test.each(["NONSENSE\r\n\r\n", "GET /-/vaults HTTP/3.7\r\n\r\n", "GET /-/vaults HTTP/1.1\r\nNo colon here\r\n\r\n"])(
    "bytes that are no HTTP, %j: 400 in the service's form, and the connection is closed",
    async (bytes) => {
      using connection = await open();
      await connection.send(bytes);
      expectError(await connection.receive(), 400, "BadRequest");
      await connection.closed();
    },
  );

  test("a head above every bound: 400 in the service's form", async () => {
    using connection = await open();
    await connection.send(`GET /-/vaults HTTP/1.1\r\nx-long: ${"x".repeat(40_000)}\r\n\r\n`);
    expectError(await connection.receive(), 400, "BadRequest");
  });

  test("4.4 a client that sends a whole upload after a malformed head can read the error", async () => {
    using connection = await open();
    await connection.send("POST /-/vaults/v/archives HTTP/1.1\r\nNo colon here\r\n\r\n");
    for (let index = 0; index < 20; index++) await connection.send(Buffer.alloc(mib));
    expectError(await connection.receive(), 400, "BadRequest");
  });

  test("a method that HTTP does not have: 400 in the service's form", async () => {
    using connection = await open();
    await connection.send("FETCH /-/vaults HTTP/1.1\r\nHost: x\r\n\r\n");
    expectError(await connection.receive(), 400, "BadRequest");
  });

  test.each(["CONNECT 127.0.0.1:80", "CONNECT /-/vaults"])(
    "%s, which no path has: 400 in the service's form",
    async (line) => {
      using connection = await open();
      await connection.send(`${line} HTTP/1.1\r\nHost: x\r\n\r\n`);
      expectError(await connection.receive(), 400, "BadRequest");
      await connection.closed();
    },
  );

  test("two Content-Lengths that differ: 400, and nothing is stored", async () => {
    using connection = await open();
    await connection.send(upload(1000).replace("\r\n\r\n", "\r\nContent-Length: 999\r\n\r\n"));
    await connection.send(testBytes(1000));
    expectError(await connection.receive(), 400, "BadRequest");
  });
});

describe("2 chunked bodies", () => {
  const chunked = (request: WireRequest, text: string) =>
    Buffer.concat([
      Buffer.from(
        world.wire.headOf({
          ...request,
          withoutLength: true,
          headers: { ...request.headers, "Transfer-Encoding": "chunked" },
        }),
        "latin1",
      ),
      Buffer.from(`${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`),
    ]);

  test("a chunked upload: 400 MissingParameterValueException, no hang, and the connection goes on", async () => {
    using connection = await open();
    await connection.send(chunked(world.wire.uploadRequest(vault, Buffer.from("hello")), "hello"));
    expectError(await connection.receive(), 400, "MissingParameterValueException");
    await connection.send(world.wire.bytesOf({ method: "GET", target: "/-/vaults" }));
    expect((await connection.receive()).status).toBe(200);
  });

  test("a chunked JSON body is read", async () => {
    using connection = await open();
    await connection.send(chunked(world.wire.jobRequest(vault, ""), '{"Type":"inventory-retrieval"}'));
    expect((await connection.receive()).status).toBe(202);
  });
});

describe("2.1 Expect: 100-continue", () => {
  const expecting = (request: WireRequest) =>
    world.wire.headOf({ ...request, headers: { ...request.headers, Expect: "100-continue" } });

  test("a good upload is asked for its body and stored", async () => {
    using connection = await open();
    const upload = world.wire.uploadRequest(vault, testBytes(1000));
    await connection.send(expecting(upload));
    expect((await connection.receive()).status).toBe(100);
    await connection.send(testBytes(1000));
    expect((await connection.receive()).status).toBe(201);
  });

  test("a job is asked for its body", async () => {
    using connection = await open();
    const job = world.wire.jobRequest(vault, { Type: "inventory-retrieval" });
    await connection.send(expecting(job));
    expect((await connection.receive()).status).toBe(100);
    await connection.send(job.body as string);
    expect((await connection.receive()).status).toBe(202);
  });

  test("a refused upload is refused at once, without its body", async () => {
    for (const name of ["an unknown vault", "a bad signature", "a missing hash"]) {
      using connection = await open();
      const { request, status, code } = refusals[name]!;
      // Who waited for the body would wait longer than this test does.
      await connection.send(expecting(request(mib)));
      expectError(await connection.receive(), status, code);
      await connection.closed();
    }
  });

  test("a client that does not wait for the 100 is served all the same", async () => {
    using connection = await open();
    const upload = world.wire.uploadRequest(vault, testBytes(1000));
    await connection.send(Buffer.concat([Buffer.from(expecting(upload), "latin1"), testBytes(1000)]));
    expect((await connection.receive()).status).toBe(100);
    expect((await connection.receive()).status).toBe(201);
  });

  test("an expectation that nobody knows is ignored", async () => {
    const reply = await world.wire.send({ method: "GET", target: "/-/vaults", headers: { Expect: "the unexpected" } });
    expect(reply.status).toBe(200);
  });
});

describe("2.2, 15.12 connections", () => {
  test("pipelined requests are answered in order, errors among them", async () => {
    using connection = await open();
    const requests: WireRequest[] = [
      { method: "PUT", target: "/-/vaults/pipelined" },
      world.wire.uploadRequest("nobody", testBytes(5000)),
      { method: "GET", target: "/-/vaults", authorization: null },
      world.wire.uploadRequest(vault, testBytes(3000)),
      { method: "HEAD", target: "/-/vaults" },
      { method: "GET", target: "/-/vaults" },
    ];
    await connection.send(Buffer.concat(requests.map((request) => world.wire.bytesOf(request))));
    const statuses: number[] = [];
    for (const { method } of requests)
      statuses.push((await connection.receive({ bodyless: method === "HEAD" })).status);
    expect(statuses).toEqual([201, 404, 400, 201, 400, 200]);
    expect(connection.unread.length).toBe(0);
  });

  test("every answer has a request id of its own", async () => {
    using connection = await open();
    const ids = new Set<string | undefined>();
    for (let index = 0; index < 20; index++) {
      await connection.send(world.wire.bytesOf({ method: "GET", target: index % 2 === 0 ? "/-/vaults" : "/none" }));
      ids.add((await connection.receive()).header("x-cas-requestId"));
    }
    expect([ids.size, ids.has(undefined)]).toEqual([20, false]);
  });

  test("a client that asks to close gets its answer, then the end", async () => {
    using connection = await open();
    await connection.send(world.wire.bytesOf({ method: "GET", target: "/-/vaults", headers: { Connection: "close" } }));
    expect((await connection.receive()).status).toBe(200);
    expect(await connection.closed()).toEqual(Buffer.alloc(0));
  });

  test("a client that says it will send no more after a whole request gets its answer, then the end", async () => {
    const requests: readonly (readonly [WireRequest, number])[] = [
      [{ method: "GET", target: "/-/vaults" }, 200],
      [world.wire.uploadRequest(vault, testBytes(2 * mib)), 201],
      [world.wire.uploadRequest("nobody", testBytes(2 * mib)), 404],
      [world.wire.jobRequest(vault, { Type: "inventory-retrieval" }), 202],
    ];
    for (const [request, status] of requests) {
      using connection = await open();
      const sent = connection.send(world.wire.bytesOf(request));
      connection.finishSending();
      await sent;
      expect((await connection.receive()).status).toBe(status);
      await connection.closed();
    }
  });

  test("answers are never compressed", async () => {
    const reply = await world.wire.get("/-/vaults", { "Accept-Encoding": "gzip, deflate, br" });
    expect([reply.status, reply.header("content-encoding")]).toEqual([200, undefined]);
  });

  test("15.12 connections that clients have left open do not keep new ones out", async () => {
    await using small = await World.start({ connectionsMax: 8 });
    const left: WireConnection[] = [];
    try {
      for (let index = 0; index < 40; index++) {
        const connection = await WireConnection.open(small.server.running.port);
        left.push(connection);
        await connection.send(small.wire.bytesOf({ method: "GET", target: "/-/vaults" }));
        expect((await connection.receive()).status).toBe(200);
      }
    } finally {
      for (const connection of left) connection[Symbol.dispose]();
    }
  });

  test("an Upgrade is ignored", async () => {
    const headers = { Connection: "Upgrade", Upgrade: "h2c" };
    expect((await world.wire.send({ method: "GET", target: "/-/vaults", headers })).status).toBe(200);
  });
});

describe("15.15 absolute request targets", () => {
  test.each(["http://cas.ap-chengdu.myqcloud.com", "http://127.0.0.1:3128", "http://somewhere.else"])(
    "%s/path is signed and routed by its path",
    async (origin) => {
      const request = { method: "GET", target: "/-/vaults?limit=2" };
      const authorization = world.wire.sign(request);
      const reply = await world.wire.send({ ...request, target: `${origin}${request.target}`, authorization });
      expect(reply.status).toBe(200);
    },
  );
});

test("no upload of this file has left anything behind but its archives", async () => {
  const { UploadsList: uploads } = (await world.wire.get(`/-/vaults/${vault}/multipart-uploads`)).json();
  expect(uploads).toEqual([]);
  await eventually(async () => (world.server.warnings.length === 0 ? true : undefined));
});
