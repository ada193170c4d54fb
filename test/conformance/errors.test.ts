/** Sections 4.2 and 4.3: every failure has its status, code, type and request id. The rows are in `support/error-rows.ts`. */

import { rename } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testBytes } from "../support/test-bytes.js";
import { errorRows } from "./support/error-rows.js";
import { expectError, ownHeaders } from "./support/expectations.js";
import { WireConnection } from "./support/wire-connection.js";
import { World } from "./support/world.js";

let world: World;
beforeAll(async () => {
  world = await World.start({ bodyStallMs: 1000 });
});
afterAll(() => world[Symbol.asyncDispose]());

describe("4.3 which code for which failure", () => {
  test.each(errorRows)("$when: $status $code", async ({ request, status, code }) => {
    const reply = await world.wire.send(await request(world));
    expectError(reply, status, code);
    expect(ownHeaders(reply)).toEqual(["content-type"]);
    expect(reply.body.toString()).not.toContain("conformance/Secret+Key");
  });

  test("4.2 the one captured error: a vault that is not empty has the service's own words", async () => {
    const vault = await world.vault();
    await world.wire.upload(vault, testBytes(1));
    const reply = await world.wire.send({ method: "DELETE", target: `/-/vaults/${vault}` });
    expect(reply.json()).toEqual({
      code: "BadRequest",
      message: "vault is not empty, only empty vault can be delete",
      type: "Client",
    });
  });

  test("16 row 38 HEAD: 400 with the headers of an error and no body", async () => {
    const reply = await world.wire.send({ method: "HEAD", target: "/-/vaults" });
    expect([reply.status, reply.header("content-type"), reply.body.length]).toEqual([400, "application/json", 0]);
    expect(reply.header("x-cas-requestId")).toBeDefined();
  });

  test("4.3 the 1001st vault: 400 LimitExceededException, and creating one of the thousand is still 201", async () => {
    await using full = await World.start();
    for (let first = 0; first < 1000; first += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, index) => full.wire.createVault(`v${first + index}`)));
    }
    expectError(await full.wire.createVault("one-more"), 400, "LimitExceededException");
    expect((await full.wire.createVault("v999")).status).toBe(201);
    const listed = (await full.wire.get("/-/vaults")).json();
    expect([listed.VaultList.length, listed.Marker]).toEqual([1000, null]);
  });

  test("5, 11.1 Expedited takes an archive of 256 MiB and refuses one byte more", async () => {
    const vault = await world.vault();
    const order = { Type: "archive-retrieval", Tier: "Expedited" };
    const small = await world.wire.upload(vault, testBytes(10));
    expect((await world.wire.send(world.wire.jobRequest(vault, { ...order, ArchiveId: small }))).status).toBe(202);
    const large = await world.wire.upload(vault, Buffer.alloc(256 * 1_048_576 + 1));
    const refused = await world.wire.send(world.wire.jobRequest(vault, { ...order, ArchiveId: large }));
    expectError(refused, 400, "InvalidParameterValueException");
    // Row 27: the archive's size counts, not that of the range.
    const range = { ...order, ArchiveId: large, RetrievalByteRange: "0-1048575" };
    expectError(await world.wire.send(world.wire.jobRequest(vault, range)), 400, "InvalidParameterValueException");
  });

  test("4.3 a body above the single-upload limit: 400 InvalidParameterValueException before it is received", async () => {
    using connection = await WireConnection.open(world.server.running.port);
    const upload = world.wire.uploadRequest(await world.vault(), testBytes(1), { "Content-Length": "4294967297" });
    await connection.send(world.wire.headOf(upload));
    await connection.send(Buffer.alloc(1000));
    expectError(await connection.receive(), 400, "InvalidParameterValueException");
  });

  test("4.3 a failure of the service itself: 500 ServiceUnavailableException of type Server", async () => {
    await using broken = await World.start();
    const vault = await broken.vault();
    await broken.wire.upload(vault, testBytes(10));
    await rename(join(broken.server.directory, "bodies"), join(broken.server.directory, "elsewhere"));
    const reply = await broken.wire.send(broken.wire.uploadRequest(vault, testBytes(10)));
    expectError(reply, 500, "ServiceUnavailableException");
    expect(reply.body.toString()).not.toContain(broken.server.directory);
  });

  test("3.5 the times are checked when the head arrives: a window that ends during a long upload does no harm", async () => {
    await using slow = await World.start();
    const upload = slow.wire.uploadRequest(await slow.vault(), testBytes(1000));
    using connection = await WireConnection.open(slow.server.running.port);
    await connection.send(slow.wire.headOf(upload));
    await connection.send(testBytes(400));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await slow.server.clock.advance(3_600_000);
    await connection.send(testBytes(600, 400));
    expect((await connection.receive()).status).toBe(201);
  });
});
