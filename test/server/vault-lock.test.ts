import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testBytes } from "../support/test-bytes.js";
import type { CasClient, Reply } from "./cas-client.js";
import { hour, LocalServer } from "./local-server.js";

const day = 24 * hour;
const stranger = { appId: "1250000002", secretId: "AKIDstranger", secretKey: "strangerKey" };

let server: LocalServer;
let client: CasClient;

beforeAll(async () => {
  server = await LocalServer.start({ accounts: [stranger] });
  client = server.client;
});
afterAll(() => server[Symbol.asyncDispose]());

const youngerThan = (days: number, changes: object = {}) => ({
  Effect: "Deny",
  Principal: "*",
  Action: ["name/cas:DeleteArchive"],
  Resource: ["*"],
  Condition: { NumericLessThan: { "cas:ArchiveAgeInDays": String(days) } },
  ...changes,
});

const policyOf = (...statements: object[]) => JSON.stringify({ version: "2.0", Statement: statements });

function initiate(vault: string, policy: string, by: CasClient = client): Promise<Reply> {
  return by.call("POST", `/-/vaults/${vault}/lock-policy`, { body: JSON.stringify({ Policy: policy }) });
}

async function started(vault: string, policy: string): Promise<string> {
  const reply = await initiate(vault, policy);
  expect(reply.status).toBe(201);
  return reply.headers["x-cas-lock-id"] as string;
}

const get = (vault: string) => client.call("GET", `/-/vaults/${vault}/lock-policy`);
const abort = (vault: string) => client.call("DELETE", `/-/vaults/${vault}/lock-policy`);
const complete = (vault: string, id: string) => client.call("POST", `/-/vaults/${vault}/lock-policy/${id}`);
const remove = (vault: string, archive: string) => client.call("DELETE", `/-/vaults/${vault}/archives/${archive}`);

function codeOf(reply: Reply): [number, string | undefined] {
  return [reply.status, reply.body.length === 0 ? undefined : reply.json().code];
}

const denied = [403, "AccessDeniedException"];
const missing = [404, "ResourceNotFoundException"];
const iso = (instant: number) => new Date(instant).toISOString();

describe("cas-api 8.3 The two steps", () => {
  test("a lock begins in progress, shows its policy and times, and is completed by its id", async () => {
    await client.createVault("steps");
    const policy = policyOf(youngerThan(365));
    const begun = server.clock.now();
    const reply = await initiate("steps", policy);
    const id = reply.headers["x-cas-lock-id"] as string;
    expect([reply.status, reply.body.length, reply.headers["content-type"]]).toEqual([201, 0, undefined]);
    expect(id).toMatch(/^[A-Za-z0-9_-]{64}$/);
    const shown = await get("steps");
    expect([shown.status, shown.json()]).toEqual([
      200,
      { Policy: policy, State: "InProgress", CreationDate: iso(begun), ExpirationDate: iso(begun + day) },
    ]);
    await server.clock.advance(1000);
    const completed = await complete("steps", id);
    expect([completed.status, completed.body.length]).toEqual([204, 0]);
    expect((await get("steps")).json()).toEqual({
      Policy: policy,
      State: "Locked",
      CreationDate: iso(begun),
      ExpirationDate: null,
    });
    expect((await complete("steps", id)).status).toBe(204);
  });

  test("a vault without a lock shows none, has none to complete, and aborting none succeeds", async () => {
    await client.createVault("none");
    expect(codeOf(await get("none"))).toEqual(missing);
    expect(codeOf(await complete("none", "x"))).toEqual(missing);
    expect((await abort("none")).status).toBe(204);
    expect(codeOf(await get("nowhere"))).toEqual(missing);
    expect(codeOf(await initiate("nowhere", policyOf(youngerThan(1))))).toEqual(missing);
  });

  test("a second lock is denied while there is one, in progress or permanent", async () => {
    await client.createVault("second");
    const id = await started("second", policyOf(youngerThan(10)));
    expect(codeOf(await initiate("second", policyOf(youngerThan(1))))).toEqual(denied);
    await complete("second", id);
    expect(codeOf(await initiate("second", policyOf(youngerThan(1))))).toEqual(denied);
  });

  test("a wrong id is a bad parameter while in progress, and denied once locked", async () => {
    await client.createVault("wrong");
    const id = await started("wrong", policyOf(youngerThan(10)));
    for (const other of ["x", `${id}x`, id.toLowerCase() === id ? id.toUpperCase() : id.toLowerCase()]) {
      expect(codeOf(await complete("wrong", other))).toEqual([400, "InvalidParameterValueException"]);
    }
    expect((await get("wrong")).json().State).toBe("InProgress");
    await complete("wrong", id);
    expect(codeOf(await complete("wrong", "x"))).toEqual(denied);
  });

  test("a lock in progress is aborted, a permanent one is not", async () => {
    await client.createVault("abort");
    await started("abort", policyOf(youngerThan(10)));
    expect((await abort("abort")).status).toBe(204);
    expect(codeOf(await get("abort"))).toEqual(missing);
    const id = await started("abort", policyOf(youngerThan(10)));
    await complete("abort", id);
    expect(codeOf(await abort("abort"))).toEqual(denied);
    expect((await get("abort")).json().State).toBe("Locked");
  });

  test("after 24 hours in progress the lock is gone, and its id with it", async () => {
    await client.createVault("late");
    const archive = await client.uploaded("late", testBytes(10));
    const id = await started("late", policyOf(youngerThan(365)));
    await server.clock.advance(day - 1);
    expect((await get("late")).json().State).toBe("InProgress");
    expect(codeOf(await remove("late", archive))).toEqual(denied);
    await server.clock.advance(1);
    expect(codeOf(await get("late"))).toEqual(missing);
    expect(codeOf(await complete("late", id))).toEqual(missing);
    expect((await remove("late", archive)).status).toBe(204);
    const next = await started("late", policyOf(youngerThan(365)));
    expect(codeOf(await complete("late", id))).toEqual([400, "InvalidParameterValueException"]);
    expect((await complete("late", next)).status).toBe(204);
    await server.clock.advance(2 * day);
    expect((await get("late")).json().State).toBe("Locked");
  });

  test.each([
    { what: "no policy", body: "{}", code: "MissingParameterValueException" },
    { what: "no JSON", body: "{", code: "SerializationException" },
    { what: "no document", body: '{"Policy":"x"}', code: "InvalidParameterValueException" },
    { what: "no statement", policy: { version: "2.0" }, code: "InvalidParameterValueException" },
    {
      what: "an allow",
      policy: { Statement: [youngerThan(1), youngerThan(1, { Effect: "Allow" })] },
      code: "InvalidParameterValueException",
    },
    {
      what: "a condition that is not known",
      policy: { Statement: [youngerThan(1, { Condition: { NumericLessThan: { "cas:ArchiveAge": "3" } } })] },
      code: "InvalidParameterValueException",
    },
    {
      what: "a resource that is none",
      policy: { Statement: [youngerThan(1, { Resource: ["vaults/refused"] })] },
      code: "InvalidParameterValueException",
    },
    {
      what: "more than 20 KiB",
      policy: { id: "x".repeat(20 * 1024), Statement: [youngerThan(1)] },
      code: "InvalidParameterValueException",
    },
  ])("refuses $what, because it may become permanent", async ({ body, policy, code }) => {
    await client.createVault("refused");
    const sent = body ?? JSON.stringify({ Policy: JSON.stringify(policy) });
    const reply = await client.call("POST", "/-/vaults/refused/lock-policy", { body: sent });
    expect(codeOf(reply)).toEqual([400, code]);
    expect(codeOf(await get("refused"))).toEqual(missing);
  });
});

describe("cas-api 8.3 What a lock denies", () => {
  test.each(["InProgress", "Locked"])("%s: archives younger than the age stay, for the owner too", async (state) => {
    const vault = `age-${state}`;
    await client.createVault(vault);
    const first = await client.uploaded(vault, testBytes(10));
    await server.clock.advance(6 * day);
    const second = await client.uploaded(vault, testBytes(10));
    const id = await started(vault, policyOf(youngerThan(7)));
    if (state === "Locked") await complete(vault, id);
    await server.clock.advance(day - 1);
    expect(codeOf(await remove(vault, first))).toEqual(denied);
    await server.clock.advance(1);
    // The lock in progress has just expired; that of the other run has not.
    expect((await remove(vault, first)).status).toBe(204);
    if (state === "Locked") expect(codeOf(await remove(vault, second))).toEqual(denied);
    await server.clock.advance(6 * day);
    expect((await remove(vault, second)).status).toBe(204);
    expect((await remove(vault, second)).status).toBe(204);
    expect(codeOf(await remove(vault, "unknown"))).toEqual(missing);
  });

  test("a stranger whom the access policy allows to delete is denied by the lock", async () => {
    await client.createVault("both");
    const archive = await client.uploaded("both", testBytes(10));
    const allow = { effect: "allow", principal: stranger.appId, action: "name/cas:*", resource: "*" };
    const policy = JSON.stringify({ version: "2.0", statement: [allow] });
    await client.call("PUT", "/-/vaults/both/access-policy", { body: JSON.stringify({ policy }) });
    await started("both", policyOf(youngerThan(7)));
    const target = `/1250000000/vaults/both/archives/${archive}`;
    expect(codeOf(await client.call("DELETE", target, stranger))).toEqual(denied);
    await abort("both");
    expect((await client.call("DELETE", target, stranger)).status).toBe(204);
  });

  test("everything that the policy does not name goes on", async () => {
    await client.createVault("goes-on");
    await complete("goes-on", await started("goes-on", policyOf(youngerThan(7))));
    const archive = await client.uploaded("goes-on", testBytes(10));
    expect((await client.call("GET", "/-/vaults/goes-on")).status).toBe(200);
    const order = { Type: "archive-retrieval", ArchiveId: archive };
    expect((await client.initiateJob("goes-on", order)).status).toBe(202);
  });

  test("a condition on a tag never holds: vaults have no tags", async () => {
    await client.createVault("tags");
    const condition = { StringLike: { "cas:ResourceTag/LegalHold": ["true", ""] } };
    await started("tags", policyOf(youngerThan(7, { Condition: condition })));
    expect((await remove("tags", await client.uploaded("tags", testBytes(10)))).status).toBe(204);
  });

  test("an empty vault with a lock can be deleted, unless the lock denies that, and a new one has no lock", async () => {
    await client.createVault("empty");
    await complete("empty", await started("empty", policyOf(youngerThan(7))));
    expect((await client.call("DELETE", "/-/vaults/empty")).status).toBe(204);
    await client.createVault("empty");
    expect(codeOf(await get("empty"))).toEqual(missing);
    await started("empty", policyOf({ effect: "deny", action: "name/cas:DeleteVault" }));
    expect(codeOf(await client.call("DELETE", "/-/vaults/empty"))).toEqual(denied);
  });
});

test("a lock survives a restart of the server", async () => {
  await using first = await LocalServer.start();
  await first.client.createVault("kept");
  const archive = await first.client.uploaded("kept", testBytes(10));
  const reply = await initiate("kept", policyOf(youngerThan(365)), first.client);
  await using second = await first.restarted();
  const id = reply.headers["x-cas-lock-id"] as string;
  expect((await second.client.call("POST", `/-/vaults/kept/lock-policy/${id}`)).status).toBe(204);
  const third = await second.restarted();
  try {
    expect((await third.client.call("GET", "/-/vaults/kept/lock-policy")).json().State).toBe("Locked");
    const target = `/-/vaults/kept/archives/${archive}`;
    expect(codeOf(await third.client.call("DELETE", target))).toEqual(denied);
  } finally {
    await third.stop();
  }
});
