import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import type { HttpMethod, Operation } from "../../src/protocol/routes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { actionNames } from "../../src/server/access/access-policy.js";
import { accountDirectory } from "../../src/server/access/accounts.js";
import { testBytes } from "../support/test-bytes.js";
import { type Call, type CasClient, credentials, hashHeaders, type Reply } from "./cas-client.js";
import { LocalServer } from "./local-server.js";

const owner = credentials.appId;
const stranger = { appId: "1250000002", uin: "100000000002", secretId: "AKIDstranger", secretKey: "strangerKey" };
const user = { ...stranger, subUin: "100000000099", secretId: "AKIDuser", secretKey: "userKey" };
const third = { appId: "1250000003", secretId: "AKIDthird", secretKey: "thirdKey" };

let server: LocalServer;
let client: CasClient;

beforeAll(async () => {
  server = await LocalServer.start({
    accounts: [stranger, user, third],
    retrievalMs: { expedited: 0, standard: 0, bulk: 0, inventory: 0 },
  });
  client = server.client;
});
afterAll(() => server[Symbol.asyncDispose]());

const as = ({ secretId, secretKey }: { readonly secretId: string; readonly secretKey: string }, call: Call = {}) => ({
  ...call,
  secretId,
  secretKey,
});

async function setPolicy(vault: string, statements: readonly object[]): Promise<void> {
  const policy = JSON.stringify({ version: "2.0", statement: statements });
  const body = JSON.stringify({ policy });
  expect((await client.call("PUT", `/-/vaults/${vault}/access-policy`, { body })).status).toBe(204);
}

const allowStranger = (action: string) => ({
  effect: "allow",
  principal: { qcs: [`qcs::cam::uin/${stranger.uin}:uin/*`] },
  action: [action],
  resource: ["*"],
});

function codeOf(reply: Reply): [number, string | undefined] {
  return [reply.status, reply.body.length === 0 ? undefined : reply.json().code];
}

const denied = [403, "AccessDeniedException"];

describe("accounts see their own vaults only", () => {
  test("vaults of one name in two accounts are two vaults", async () => {
    await client.createVault("same");
    expect((await client.call("GET", "/-/vaults/same", as(third))).status).toBe(404);
    const made = await client.call("PUT", "/-/vaults/same", as(third));
    expect([made.status, made.headers.location]).toEqual([201, "/1250000003/vaults/same"]);
    const described = await client.call("GET", "/1250000003/vaults/same", as(third));
    expect(described.json().VaultQCS).toBe("qcs:id/0:cas:ap-chengdu:uid/1250000003:vaults/same");
    const { VaultList } = (await client.call("GET", "/-/vaults", as(third))).json();
    expect(VaultList.map((vault: { VaultName: string }) => vault.VaultName)).toEqual(["same"]);
    expect((await client.call("DELETE", "/-/vaults/same", as(third))).status).toBe(204);
    expect((await client.call("GET", "/-/vaults/same")).status).toBe(200);
  });

  test("all keys of an account are the same account", async () => {
    expect((await client.call("PUT", "/-/vaults/shared", as(stranger))).status).toBe(201);
    expect((await client.call("GET", "/-/vaults/shared", as(user))).status).toBe(200);
    expect((await client.call("GET", `/${user.appId}/vaults/shared`, as(user))).status).toBe(200);
  });

  test("a key signs for its own secret id only", async () => {
    const mixed = { secretId: stranger.secretId, secretKey: credentials.secretKey };
    expect(codeOf(await client.call("GET", "/-/vaults", mixed))).toEqual([400, "InvalidSignatureException"]);
  });

  test("the list of another account's vaults is denied, also to those whom a vault's policy allows everything", async () => {
    await client.createVault("listed");
    await setPolicy("listed", [{ ...allowStranger("*"), principal: "*" }]);
    expect(codeOf(await client.call("GET", `/${owner}/vaults`, as(stranger)))).toEqual(denied);
  });

  test("an account that does not exist is refused like one that does", async () => {
    for (const target of ["/1250099999/vaults", "/1250099999/vaults/x", "/007/vaults/x"]) {
      expect(codeOf(await client.call("GET", target, as(stranger)))).toEqual(denied);
    }
  });

  test("two keys cannot have one secret id", () => {
    expect(() => accountDirectory([stranger, { ...third, secretId: stranger.secretId }])).toThrow(RangeError);
    expect(accountDirectory([stranger]).bySecretId("__proto__")).toBeUndefined();
  });
});

/** One call of each operation on a vault that has what it needs. `status` is what the owner gets. */
interface OperationCall {
  readonly method: HttpMethod;
  readonly rest: string;
  readonly call?: Call;
  readonly status: number;
}

interface Furnished {
  readonly archive: string;
  readonly upload: string;
  readonly job: string;
}

const content = testBytes(1000);
const json = (value: object) => ({ body: JSON.stringify(value) });
const settings = { policy: JSON.stringify({ version: "2.0", statement: [] }) };
const lock = { effect: "Deny", principal: "*", action: "name/cas:DeleteArchive", resource: "*" };

const operations: Record<Exclude<Operation, "listVaults">, (furnished: Furnished) => OperationCall> = {
  createVault: () => ({ method: "PUT", rest: "", status: 201 }),
  describeVault: () => ({ method: "GET", rest: "", status: 200 }),
  deleteVault: () => ({ method: "DELETE", rest: "", status: 400 }),
  setAccessPolicy: () => ({ method: "PUT", rest: "/access-policy", call: json(settings), status: 204 }),
  getAccessPolicy: () => ({ method: "GET", rest: "/access-policy", status: 200 }),
  deleteAccessPolicy: () => ({ method: "DELETE", rest: "/access-policy", status: 204 }),
  setNotification: () => ({
    method: "PUT",
    rest: "/notification-configuration",
    call: json({ CallBackUrl: "http://127.0.0.1:9/x", Events: ["ArchiveRetrievalCompleted"] }),
    status: 204,
  }),
  getNotification: () => ({ method: "GET", rest: "/notification-configuration", status: 404 }),
  deleteNotification: () => ({ method: "DELETE", rest: "/notification-configuration", status: 204 }),
  initiateVaultLock: () => ({
    method: "POST",
    rest: "/lock-policy",
    call: json({ Policy: JSON.stringify({ statement: [lock] }) }),
    status: 201,
  }),
  getVaultLock: () => ({ method: "GET", rest: "/lock-policy", status: 404 }),
  abortVaultLock: () => ({ method: "DELETE", rest: "/lock-policy", status: 204 }),
  completeVaultLock: () => ({ method: "POST", rest: "/lock-policy/some-id", status: 404 }),
  uploadArchive: () => ({
    method: "POST",
    rest: "/archives",
    call: { body: content, headers: hashHeaders(content) },
    status: 201,
  }),
  deleteArchive: ({ archive }) => ({ method: "DELETE", rest: `/archives/${archive}`, status: 204 }),
  initiateMultipartUpload: () => ({
    method: "POST",
    rest: "/multipart-uploads",
    call: { headers: { "x-cas-part-size": String(MIB) } },
    status: 201,
  }),
  listMultipartUploads: () => ({ method: "GET", rest: "/multipart-uploads", status: 200 }),
  uploadPart: ({ upload }) => ({
    method: "PUT",
    rest: `/multipart-uploads/${upload}`,
    call: { body: content, headers: { "content-range": "bytes 0-999/*", ...hashHeaders(content) } },
    status: 204,
  }),
  completeMultipartUpload: ({ upload }) => ({
    method: "POST",
    rest: `/multipart-uploads/${upload}`,
    call: { headers: { "x-cas-archive-size": "1000", "x-cas-sha256-tree-hash": digestOf(content).treeHash } },
    status: 201,
  }),
  listParts: ({ upload }) => ({ method: "GET", rest: `/multipart-uploads/${upload}`, status: 200 }),
  abortMultipartUpload: ({ upload }) => ({ method: "DELETE", rest: `/multipart-uploads/${upload}`, status: 204 }),
  initiateJob: () => ({ method: "POST", rest: "/jobs", call: json({ Type: "inventory-retrieval" }), status: 202 }),
  listJobs: () => ({ method: "GET", rest: "/jobs", status: 200 }),
  describeJob: ({ job }) => ({ method: "GET", rest: `/jobs/${job}`, status: 200 }),
  getJobOutput: ({ job }) => ({ method: "GET", rest: `/jobs/${job}/output`, status: 200 }),
};

type VaultOperation = keyof typeof operations;
const names = Object.keys(operations) as VaultOperation[];
const ownersAlone = names.filter((name) => /Policy|Notification|Lock/.test(name));

/** A vault with an archive, an upload of one part and a finished job. */
async function furnish(vault: string): Promise<Furnished> {
  await client.createVault(vault);
  const archive = await client.uploaded(vault, content);
  const upload = await client.initiateUpload(vault);
  expect((await client.putPart(vault, upload, { start: 0, content })).status).toBe(204);
  return { archive, upload, job: await client.startedJob(vault, { Type: "archive-retrieval", ArchiveId: archive }) };
}

function send(vault: string, operation: OperationCall, key: { secretId: string; secretKey: string }): Promise<Reply> {
  const { method, rest, call } = operation;
  return client.call(method, `/${owner}/vaults/${vault}${rest}`, as(key, call));
}

describe("cas-api 1, 7 Calls across accounts", () => {
  test.each(names.filter((name) => !ownersAlone.includes(name)))(
    "%s is denied to strangers until the policy allows it, and then does what it does for the owner",
    async (name) => {
      const vault = `cross-${name}`;
      const operation = operations[name](await furnish(vault));
      const refusal = await send(vault, operation, stranger);
      expect(codeOf(refusal)).toEqual(denied);
      // Nor does the refusal tell whether there is such a vault.
      const nowhere = await send("not-there", operation, stranger);
      expect([nowhere.status, nowhere.json()]).toEqual([403, refusal.json()]);

      const others = names.filter((other) => other !== name).map((other) => `name/cas:${actionNames[other]}`);
      await setPolicy(vault, [{ ...allowStranger("*"), action: others }]);
      expect(codeOf(await send(vault, operation, stranger))).toEqual(denied);

      const allow = allowStranger(`name/cas:${actionNames[name]}`);
      await setPolicy(vault, [allow, { ...allow, effect: "deny" }]);
      expect(codeOf(await send(vault, operation, stranger))).toEqual(denied);
      expect(codeOf(await send(vault, operation, third))).toEqual(denied);

      await setPolicy(vault, [allow]);
      expect(codeOf(await send(vault, operation, third))).toEqual(denied);
      const reply = await send(vault, operation, user);
      expect(reply.status).toBe(operation.status);
      const { location } = reply.headers;
      if (location !== undefined) expect(location).toMatch(new RegExp(`^/${owner}/vaults/${vault}`));
    },
  );

  test.each(ownersAlone)("%s is the owner's alone, whatever the policy allows or denies", async (name) => {
    const vault = `alone-${name}`;
    const operation = operations[name](await furnish(vault));
    await setPolicy(vault, [{ ...allowStranger("*"), principal: "*" }]);
    const refusal = await send(vault, operation, stranger);
    expect(codeOf(refusal)).toEqual(denied);
    expect((await send("not-there", operation, stranger)).json()).toEqual(refusal.json());
    await setPolicy(vault, [{ ...allowStranger("*"), principal: "*", effect: "deny" }]);
    expect((await send(vault, operation, credentials)).status).toBe(operation.status);
  });

  test.each(names)("%s of the owner is denied only by a deny", async (name) => {
    const vault = `own-${name}`;
    const operation = operations[name](await furnish(vault));
    const aboutOwner = { ...allowStranger(`name/cas:${actionNames[name]}`), principal: owner, effect: "deny" };
    await setPolicy(vault, [aboutOwner]);
    const isAlone = ownersAlone.includes(name);
    const first = await send(vault, operation, credentials);
    if (isAlone) expect(first.status).toBe(operation.status);
    else expect(codeOf(first)).toEqual(denied);
    if (isAlone) return;
    await setPolicy(vault, [{ ...aboutOwner, principal: stranger.appId }]);
    expect((await send(vault, operation, credentials)).status).toBe(operation.status);
  });

  test("an upload of a stranger belongs to the vault's owner", async () => {
    await client.createVault("gifts");
    await setPolicy("gifts", [allowStranger("name/cas:UploadArchive")]);
    const call = { body: content, headers: hashHeaders(content) };
    const reply = await client.call("POST", `/${owner}/vaults/gifts/archives`, as(stranger, call));
    const id = reply.headers["x-cas-archive-id"] as string;
    expect(reply.headers.location).toBe(`/${owner}/vaults/gifts/archives/${id}`);
    const remove = `/${owner}/vaults/gifts/archives/${id}`;
    expect(codeOf(await client.call("DELETE", remove, as(stranger)))).toEqual(denied);
    expect((await client.call("DELETE", remove)).status).toBe(204);
  });

  test("a user of an account may have what the account's other keys have not", async () => {
    await client.createVault("for-user");
    const principal = { qcs: `qcs::cam::uin/${user.uin}:uin/${user.subUin}` };
    await setPolicy("for-user", [{ ...allowStranger("name/cas:*"), principal }]);
    const target = `/${owner}/vaults/for-user`;
    expect((await client.call("GET", target, as(user))).status).toBe(200);
    expect(codeOf(await client.call("GET", target, as(stranger)))).toEqual(denied);
  });

  test("the owner may deny things to a user of the own account, and has the policy back from there", async () => {
    await client.call("PUT", "/-/vaults/own-user", as(stranger));
    const principal = { qcs: `qcs::cam::uin/${user.uin}:uin/${user.subUin}` };
    const statement = { effect: "deny", principal, action: "*", resource: "own-user" };
    const body = JSON.stringify({ policy: JSON.stringify({ statement: [statement] }) });
    const set = await client.call("PUT", "/-/vaults/own-user/access-policy", as(stranger, { body }));
    expect(set.status).toBe(204);
    expect(codeOf(await client.call("GET", "/-/vaults/own-user", as(user)))).toEqual(denied);
    expect((await client.call("GET", "/-/vaults/own-user", as(stranger))).status).toBe(200);
    for (const method of ["DELETE", "GET", "PUT"]) {
      const call = method === "PUT" ? as(user, { body }) : as(user);
      expect(codeOf(await client.call(method, "/-/vaults/own-user/access-policy", call))).toEqual(denied);
    }
    expect((await client.call("DELETE", "/-/vaults/own-user/access-policy", as(stranger))).status).toBe(204);
    expect((await client.call("PUT", "/-/vaults/own-user/access-policy", as(user, { body }))).status).toBe(204);
  });

  test("a policy may depend on the address of the connection", async () => {
    await client.createVault("by-address");
    const target = `/${owner}/vaults/by-address`;
    const from = (operator: string, network: string) => [
      { ...allowStranger("*"), condition: { [operator]: { "qcs:ip": [network] } } },
    ];
    await setPolicy("by-address", from("ip_equal", "127.0.0.0/8"));
    expect((await client.call("GET", target, as(stranger))).status).toBe(200);
    await setPolicy("by-address", from("ip_not_equal", "127.0.0.0/8"));
    expect(codeOf(await client.call("GET", target, as(stranger)))).toEqual(denied);
    await setPolicy("by-address", from("ip_equal", "10.121.2.10/24"));
    expect(codeOf(await client.call("GET", target, as(stranger)))).toEqual(denied);
  });

  test("a policy ends at its time by the server's clock", async () => {
    await client.createVault("by-time");
    const until = new Date(server.clock.now() + 60_000).toISOString().replace(/\.\d+Z/, "Z");
    const condition = { date_less_than: { "qcs:current_time": until } };
    await setPolicy("by-time", [{ ...allowStranger("*"), condition }]);
    const target = `/${owner}/vaults/by-time`;
    expect((await client.call("GET", target, as(stranger))).status).toBe(200);
    await server.clock.advance(60_000);
    expect(codeOf(await client.call("GET", target, as(stranger)))).toEqual(denied);
  });

  test("a policy goes with its vault, and deleting it takes back what it allowed", async () => {
    await client.createVault("taken-back");
    await setPolicy("taken-back", [allowStranger("*")]);
    const target = `/${owner}/vaults/taken-back`;
    expect((await client.call("GET", target, as(stranger))).status).toBe(200);
    await client.call("DELETE", "/-/vaults/taken-back/access-policy");
    expect(codeOf(await client.call("GET", target, as(stranger)))).toEqual(denied);
    await setPolicy("taken-back", [allowStranger("*")]);
    expect((await client.call("DELETE", target, as(stranger))).status).toBe(204);
    await client.createVault("taken-back");
    expect(codeOf(await client.call("GET", target, as(stranger)))).toEqual(denied);
  });
});

describe("cas-api 7 Set Access Policy", () => {
  const set = (policy: string) =>
    client.call("PUT", "/-/vaults/policies/access-policy", { body: JSON.stringify({ policy }) });
  beforeAll(() => client.createVault("policies"));

  test.each([
    { policy: '{"version":"2.0"}' },
    { policy: '{"version":"2.0","statement":[]}' },
    {
      policy: JSON.stringify({
        version: "2.0",
        statement: [
          {
            effect: "allow",
            principal: { qcs: ["qcs::cam::uin/<RootAccount>:uin/<SubAccount>"] },
            action: ["name/cas:<ActionName>"],
            resource: ["qcs::cas:<Region>:uid/<Account>:vaults/<VaultName>"],
          },
        ],
      }),
    },
  ])("stores $policy as it is written", async ({ policy }) => {
    expect((await set(policy)).status).toBe(204);
    expect((await client.call("GET", "/-/vaults/policies/access-policy")).json()).toEqual({ policy });
  });

  test.each([
    { policy: '{"statement":[{"effect":"allow"}]}' },
    { policy: '{"statement":[{"effect":"perhaps","action":"*"}]}' },
    { policy: '{"statement":"*"}' },
    { policy: `{"version":"2.0","id":"${"x".repeat(20 * 1024)}"}` },
  ])("refuses a malformed or too long policy and keeps the one before", async ({ policy }) => {
    const good = '{"version":"2.0","statement":[]}';
    await set(good);
    expect(codeOf(await set(policy))).toEqual([400, "InvalidParameterValueException"]);
    expect((await client.call("GET", "/-/vaults/policies/access-policy")).json()).toEqual({ policy: good });
  });
});

test("the account - of a service without numbers keeps its vaults, its names and its pages", async () => {
  await using local = await LocalServer.start({ appId: "-", accounts: [third] });
  for (const name of ["a", "b", "c"]) await local.client.createVault(name);
  const first = (await local.client.call("GET", "/-/vaults?limit=2")).json();
  expect(first.Marker).toBe("qcs:id/0:cas:ap-chengdu:uid/-:vaults/c");
  const target = `/-/vaults?limit=2&marker=${encodeURIComponent(first.Marker)}`;
  const second = (await local.client.call("GET", target)).json();
  expect(second.VaultList.map((vault: { VaultName: string }) => vault.VaultName)).toEqual(["c"]);
  expect(codeOf(await local.client.call("GET", "/-/vaults/a", as(third)))).toEqual([404, "ResourceNotFoundException"]);
});
