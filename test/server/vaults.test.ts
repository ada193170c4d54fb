import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testBytes } from "../support/test-bytes.js";
import type { CasClient } from "./cas-client.js";
import { hour, LocalServer } from "./local-server.js";

let server: LocalServer;
let client: CasClient;

beforeAll(async () => {
  server = await LocalServer.start();
  client = server.client;
});
afterAll(() => server[Symbol.asyncDispose]());

const notFound = { code: "ResourceNotFoundException", type: "Client" };

describe("cas-api 6.1 Create Vault", () => {
  test("answers 201 with the real account in Location, no body and no Content-Type", async () => {
    const reply = await client.createVault("created");
    expect(reply.status).toBe(201);
    expect(reply.headers).toMatchObject({ location: "/1250000000/vaults/created", "content-length": "0" });
    expect(reply.headers["content-type"]).toBeUndefined();
    expect(reply.body.length).toBe(0);
  });

  test("creating a vault again changes nothing and answers 201", async () => {
    await client.createVault("again");
    const before = (await client.call("GET", "/-/vaults/again")).json();
    await server.clock.advance(1000);
    expect((await client.createVault("again")).status).toBe(201);
    expect((await client.call("GET", "/-/vaults/again")).json()).toEqual(before);
  });

  test.each(["a".repeat(256), "a%20b", "..", "%2e"])("refuses the name %s", async (name) => {
    const reply = await client.call("PUT", `/-/vaults/${name}`, {});
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
  });

  test("refuses the 1001st vault of an account", async () => {
    await using fresh = await LocalServer.start();
    await Promise.all(Array.from({ length: 1000 }, (_, index) => fresh.client.createVault(`v${index}`)));
    const reply = await fresh.client.createVault("one-more");
    expect([reply.status, reply.json().code]).toEqual([400, "LimitExceededException"]);
    expect((await fresh.client.createVault("v7")).status).toBe(201);
  });
});

describe("cas-api 6.2 Describe Vault", () => {
  test("has all six keys, the counts null before the first inventory", async () => {
    await client.createVault("described");
    const reply = await client.call("GET", "/-/vaults/described");
    expect(reply.headers["content-type"]).toBe("application/json");
    expect(reply.json()).toEqual({
      CreationDate: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      LastInventoryDate: null,
      NumberOfArchives: null,
      SizeInBytes: null,
      VaultQCS: "qcs:id/0:cas:ap-chengdu:uid/1250000000:vaults/described",
      VaultName: "described",
    });
  });

  test("shows the counts of the last inventory, not of now", async () => {
    await using daily = await LocalServer.start({ inventoryIntervalMs: 24 * hour });
    await daily.client.createVault("v");
    await daily.client.uploaded("v", testBytes(1000));
    await daily.clock.advance(23 * hour);
    expect((await daily.client.call("GET", "/-/vaults/v")).json().NumberOfArchives).toBeNull();
    await daily.clock.advance(1 * hour);
    const first = (await daily.client.call("GET", "/-/vaults/v")).json();
    expect(first).toMatchObject({ NumberOfArchives: 1, SizeInBytes: 1000 });
    await daily.client.uploaded("v", testBytes(500));
    expect((await daily.client.call("GET", "/-/vaults/v")).json()).toEqual(first);
    await daily.clock.advance(24 * hour);
    expect((await daily.client.call("GET", "/-/vaults")).json().VaultList[0]).toMatchObject({
      NumberOfArchives: 2,
      SizeInBytes: 1500,
    });
  });

  test("an unknown vault is 404", async () => {
    const reply = await client.call("GET", "/-/vaults/nobody");
    expect(reply.status).toBe(404);
    expect(reply.json()).toMatchObject(notFound);
  });
});

describe("cas-api 6.3 Delete Vault", () => {
  test("deletes an empty vault, and an archive's deletion counts at once", async () => {
    await client.createVault("deleted");
    const archive = await client.uploaded("deleted", testBytes(10));
    await client.call("DELETE", `/-/vaults/deleted/archives/${archive}`);
    const reply = await client.call("DELETE", "/-/vaults/deleted");
    expect([reply.status, reply.body.length, reply.headers["content-type"]]).toEqual([204, 0, undefined]);
    expect((await client.call("GET", "/-/vaults/deleted")).status).toBe(404);
    expect((await client.call("DELETE", "/-/vaults/deleted")).status).toBe(404);
  });

  test("refuses a vault with an archive or an unfinished upload, with the service's own words", async () => {
    await client.createVault("full");
    const archive = await client.uploaded("full", testBytes(10));
    const words = {
      code: "BadRequest",
      message: "vault is not empty, only empty vault can be delete",
      type: "Client",
    };
    const withArchive = await client.call("DELETE", "/-/vaults/full");
    expect([withArchive.status, withArchive.json()]).toEqual([400, words]);
    await client.call("DELETE", `/-/vaults/full/archives/${archive}`);
    const upload = await client.initiateUpload("full");
    expect((await client.call("DELETE", "/-/vaults/full")).json()).toEqual(words);
    await client.call("DELETE", `/-/vaults/full/multipart-uploads/${upload}`);
    expect((await client.call("DELETE", "/-/vaults/full")).status).toBe(204);
  });

  test("takes jobs, policy and notifications along, so that a new vault of that name has none", async () => {
    await client.createVault("reborn");
    const job = await client.startedJob("reborn", { Type: "inventory-retrieval" });
    await client.call("PUT", "/-/vaults/reborn/access-policy", { body: '{"policy":"{}"}' });
    await client.call("DELETE", "/-/vaults/reborn");
    await client.createVault("reborn");
    expect((await client.call("GET", `/-/vaults/reborn/jobs/${job}`)).status).toBe(404);
    expect((await client.call("GET", "/-/vaults/reborn/access-policy")).status).toBe(404);
  });
});

describe("cas-api 6.4, 6.5 List Vaults", () => {
  test("pages in the order of names with inclusive markers that survive a deletion", async () => {
    await using fresh = await LocalServer.start();
    for (const name of ["b", "a", "B", "d", "c"]) await fresh.client.createVault(name);
    const names = (reply: { VaultList: { VaultName: string }[] }) => reply.VaultList.map((vault) => vault.VaultName);
    const first = (await fresh.client.call("GET", "/-/vaults?limit=2")).json();
    expect(names(first)).toEqual(["B", "a"]);
    expect(first.Marker).toBe("qcs:id/0:cas:ap-chengdu:uid/1250000000:vaults/b");
    await fresh.client.call("DELETE", "/-/vaults/b");
    const target = `/-/vaults?limit=2&marker=${encodeURIComponent(first.Marker)}`;
    const second = (await fresh.client.call("GET", target)).json();
    expect([names(second), second.Marker]).toEqual([["c", "d"], null]);
    expect(names((await fresh.client.call("GET", "/-/vaults?marker=c&limit=")).json())).toEqual(["c", "d"]);
  });

  test("an empty list has the list and a null marker", async () => {
    await using fresh = await LocalServer.start();
    expect((await fresh.client.call("GET", "/-/vaults")).json()).toEqual({ Marker: null, VaultList: [] });
  });

  test.each(["0", "1001", "-1", "x", "1.5"])("refuses limit=%s", async (limit) => {
    const reply = await client.call("GET", `/-/vaults?limit=${limit}`);
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
  });
});

describe("cas-api 7 Access policy, 8.1 Notification configuration", () => {
  const settings = [
    { path: "access-policy", value: { policy: '{"version":"2.0","statement":[]}' } },
    {
      path: "notification-configuration",
      value: { CallBackUrl: "https://example.com/x", Events: ["ArchiveRetrievalCompleted"] },
    },
  ];

  test.each(settings)("$path is set, read, overwritten and deleted", async ({ path, value }) => {
    await client.createVault("settings");
    const target = `/-/vaults/settings/${path}`;
    expect((await client.call("GET", target)).status).toBe(404);
    const set = await client.call("PUT", target, { body: JSON.stringify(value) });
    expect([set.status, set.body.length]).toEqual([204, 0]);
    expect((await client.call("GET", target)).json()).toEqual(value);
    expect((await client.call("DELETE", target)).status).toBe(204);
    expect((await client.call("DELETE", target)).status).toBe(204);
    expect((await client.call("GET", target)).json()).toMatchObject(notFound);
  });

  test.each([
    { body: "{", code: "SerializationException" },
    { body: "[]", code: "SerializationException" },
    { body: "{}", code: "MissingParameterValueException" },
    { body: '{"policy":"no json"}', code: "InvalidParameterValueException" },
    { body: JSON.stringify({ policy: `{"a":"${"x".repeat(20 * 1024)}"}` }), code: "InvalidParameterValueException" },
  ])("a policy of $body is refused as $code", async ({ body, code }) => {
    await client.createVault("policy");
    const reply = await client.call("PUT", "/-/vaults/policy/access-policy", { body });
    expect([reply.status, reply.json().code]).toEqual([400, code]);
  });
});
