/** Several accounts on one server: whose number stands where (1, 7, 16 row 34). */

import { afterAll, beforeAll, expect, test } from "vitest";
import { testBytes } from "../support/test-bytes.js";
import { expectEmpty, expectError } from "./support/expectations.js";
import type { WireClient } from "./support/wire-client.js";
import { identity, World } from "./support/world.js";

const guestAccount = { appId: "1250000077", secretId: "guestSecretId", secretKey: "guestSecretKey" };

let world: World;
let guest: WireClient;
beforeAll(async () => {
  world = await World.start({ accounts: [guestAccount] });
  guest = world.client(guestAccount);
});
afterAll(() => world[Symbol.asyncDispose]());

async function openedVault(actions: readonly string[]): Promise<string> {
  const vault = await world.vault();
  const policy = {
    version: "2.0",
    statement: [
      {
        effect: "allow",
        principal: { qcs: [`qcs::cam::uin/${guestAccount.appId}:uin/${guestAccount.appId}`] },
        action: actions.map((action) => `name/cas:${action}`),
        resource: [`qcs::cas:ap-chengdu:uid/${identity.appId}:vaults/${vault}`],
      },
    ],
  };
  const body = JSON.stringify({ policy: JSON.stringify(policy) });
  expectEmpty(await world.wire.send({ method: "PUT", target: `/-/vaults/${vault}/access-policy`, body }), 204);
  return vault;
}

test("1 - is the account of the key: the same name is another vault for another account", async () => {
  const vault = await world.vault();
  expectError(await guest.get(`/-/vaults/${vault}`), 404, "ResourceNotFoundException");
  const created = await guest.createVault(vault);
  expect(created.header("location")).toBe(`/${guestAccount.appId}/vaults/${vault}`);
  const { VaultQCS: own } = (await guest.get(`/${guestAccount.appId}/vaults/${vault}`)).json();
  expect(own).toBe(`qcs:id/0:cas:ap-chengdu:uid/${guestAccount.appId}:vaults/${vault}`);
});

test("16 row 34 a foreign number gives 403, whether the vault exists or not", async () => {
  const vault = await world.vault();
  for (const target of [vault, "nobody", `${vault}/jobs`, `${vault}/access-policy`]) {
    expectError(await guest.get(`/${identity.appId}/vaults/${target}`), 403, "AccessDeniedException");
  }
  expectError(await guest.get("/999/vaults"), 403, "AccessDeniedException");
});

test("7 a policy opens a vault: answers name the owner's account, and only what it allows is allowed", async () => {
  const vault = await openedVault(["DescribeVault", "UploadArchive"]);
  const base = `/${identity.appId}/vaults/${vault}`;
  expect((await guest.get(base)).json().VaultQCS).toContain(`uid/${identity.appId}:`);
  const upload = { ...guest.uploadRequest(vault, testBytes(5)), target: `${base}/archives` };
  const reply = await guest.send(upload);
  expect([reply.status, reply.header("location")]).toEqual([
    201,
    `${base}/archives/${reply.header("x-cas-archive-id")}`,
  ]);
  const deletion = { method: "DELETE", target: reply.header("location") ?? "" };
  expectError(await guest.send(deletion), 403, "AccessDeniedException");
  expect((await world.wire.send(deletion)).status).toBe(204);
});

test("7 the access policy is the owner's alone, whatever it says", async () => {
  const vault = await openedVault(["*"]);
  const target = `/${identity.appId}/vaults/${vault}/access-policy`;
  for (const method of ["GET", "PUT", "DELETE"]) {
    expectError(await guest.send({ method, target, body: '{"policy":"{}"}' }), 403, "AccessDeniedException");
  }
});

test("4.4 a refused cross-account upload can be sent to its end", async () => {
  const content = testBytes(5_000_000);
  const upload = { ...guest.uploadRequest("x", content), target: `/${identity.appId}/vaults/x/archives` };
  expectError(await guest.send(upload), 403, "AccessDeniedException");
});
