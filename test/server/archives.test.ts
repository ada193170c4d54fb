import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { testBytes } from "../support/test-bytes.js";
import { type CasClient, hashHeaders } from "./cas-client.js";
import { bodyFiles, LocalServer } from "./local-server.js";

let server: LocalServer;
let client: CasClient;

beforeAll(async () => {
  server = await LocalServer.start();
  client = server.client;
  await client.createVault("v");
});
afterAll(() => server[Symbol.asyncDispose]());

describe("cas-api 9.1 Upload Archive", () => {
  test("answers 201 with location, id of 128 characters and the hashes in lowercase", async () => {
    const bytes = testBytes(2 * MIB + 5);
    const hashes = hashHeaders(bytes);
    const upper = Object.fromEntries(Object.entries(hashes).map(([name, hash]) => [name, hash.toUpperCase()]));
    const reply = await client.upload("v", bytes, upper);
    expect([reply.status, reply.body.length, reply.headers["content-type"]]).toEqual([201, 0, undefined]);
    const id = reply.headers["x-cas-archive-id"] as string;
    expect(id).toMatch(/^[A-Za-z0-9_-]{128}$/);
    expect(reply.headers.location).toBe(`/1250000000/vaults/v/archives/${id}`);
    expect(reply.headers).toMatchObject(hashes);
  });

  test("the same content again is another archive", async () => {
    expect(await client.uploaded("v", testBytes(5))).not.toBe(await client.uploaded("v", testBytes(5)));
  });

  test.each(["x-cas-content-sha256", "x-cas-sha256-tree-hash"])("%s is required, hex and true", async (name) => {
    const bytes = testBytes(2 * MIB);
    const codeWith = async (value: string | undefined) => {
      const { [name]: _, ...others } = hashHeaders(bytes);
      const headers = value === undefined ? others : { ...others, [name]: value };
      const reply = await client.call("POST", "/-/vaults/v/archives", { body: bytes, headers: headers as never });
      return [reply.status, reply.json().code];
    };
    expect(await codeWith(undefined)).toEqual([400, "MissingParameterValueException"]);
    expect(await codeWith("123")).toEqual([400, "InvalidParameterValueException"]);
    expect(await codeWith("0".repeat(64))).toEqual([400, "InvalidDigest"]);
  });

  test("a refused upload leaves no file behind", async () => {
    const before = await bodyFiles(server.directory);
    await client.upload("v", testBytes(MIB), { "x-cas-content-sha256": "0".repeat(64) });
    expect(await bodyFiles(server.directory)).toEqual(before);
  });

  test("an empty archive is refused", async () => {
    const reply = await client.upload("v", new Uint8Array());
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
  });

  test("a body without Content-Length is refused", async () => {
    const headers = { ...hashHeaders(testBytes(5)), "transfer-encoding": "chunked" };
    const reply = await client.call("POST", "/-/vaults/v/archives", { headers });
    expect([reply.status, reply.json().code]).toEqual([400, "MissingParameterValueException"]);
  });

  test("a description of 1024 bytes is kept, one of 1025 is refused", async () => {
    const long = { "x-cas-archive-description": "d".repeat(1025) };
    expect((await client.upload("v", testBytes(5), long)).json().code).toBe("InvalidParameterValueException");
    const fits = { "x-cas-archive-description": "d".repeat(1024) };
    expect((await client.upload("v", testBytes(5), fits)).status).toBe(201);
  });

  test("a vault that is not there is 404", async () => {
    expect((await client.upload("nobody", testBytes(5))).status).toBe(404);
  });
});

describe("cas-api 9.2 Delete Archive", () => {
  test("deletes the archive and its file; again is fine, an id that never was is 404", async () => {
    const before = await bodyFiles(server.directory);
    const archive = await client.uploaded("v", testBytes(100));
    const reply = await client.call("DELETE", `/-/vaults/v/archives/${archive}`);
    expect([reply.status, reply.body.length]).toEqual([204, 0]);
    await expect.poll(() => bodyFiles(server.directory)).toEqual(before);
    expect((await client.call("DELETE", `/-/vaults/v/archives/${archive}`)).status).toBe(204);
    expect((await client.call("DELETE", `/-/vaults/v/archives/${"x".repeat(128)}`)).status).toBe(404);
  });

  test("an archive belongs to its vault only", async () => {
    await client.createVault("w");
    const archive = await client.uploaded("v", testBytes(100));
    expect((await client.call("DELETE", `/-/vaults/w/archives/${archive}`)).status).toBe(404);
  });
});
