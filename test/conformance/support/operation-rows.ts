/**
 * Every operation of the service with what its success looks like on the wire (cas-api sections 6-12).
 *
 * A row prepares what it needs, makes the request and checks status, headers, keys and types of the answer to the letter.
 */

import { expect } from "vitest";
import type { Operation } from "../../../src/protocol/routes.js";
import { testBytes } from "../../support/test-bytes.js";
import { expectEmpty, expectJson, ownHeaders, timePattern } from "./expectations.js";
import { hashesOf, treeHash } from "./tree-digest.js";
import { identity, type World } from "./world.js";

export interface OperationRow {
  /** Begins with the section that it proves. */
  readonly promise: string;
  run(world: World): Promise<void>;
}

const mib = 1_048_576;
const account = `/${identity.appId}/vaults`;
const qcsOf = (vault: string) => `qcs:id/0:cas:ap-chengdu:uid/${identity.appId}:vaults/${vault}`;

const vaultKeys = ["CreationDate", "LastInventoryDate", "NumberOfArchives", "SizeInBytes", "VaultQCS", "VaultName"];
const uploadKeys = ["ArchiveDescription", "CreationDate", "MultipartUploadId", "PartSizeInBytes", "VaultQCS"];
const jobKeys = [
  ..."Action JobId JobDescription CallBackUrl JobCallBackUrl CreationDate CompletionDate Completed StatusCode".split(
    " ",
  ),
  ..."StatusMessage VaultQCS ArchiveId ArchiveSizeInBytes ArchiveSHA256TreeHash RetrievalByteRange".split(" "),
  ..."SHA256TreeHash Tier InventorySizeInBytes InventoryRetrievalParameters Bucket Object Condition".split(" "),
  "ArchiveDescription",
];
const created = ["location", "x-cas-archive-id", "x-cas-sha256-tree-hash"];

async function multipart(world: World, sizes: readonly number[], description?: string) {
  const { wire } = world;
  const vault = await world.vault();
  const upload = await wire.initiateUpload(vault, mib, description);
  let first = 0;
  for (const size of sizes) {
    await wire.putPart(vault, upload, testBytes(size, first), first);
    first += mib;
  }
  return { wire, vault, upload, target: `/-/vaults/${vault}/multipart-uploads/${upload}` };
}

/** A vault with one archive of `size` bytes and a job for it. */
async function retrieval(world: World, size: number, order: object = {}) {
  const { wire } = world;
  const vault = await world.vault();
  const content = testBytes(size);
  const archive = await wire.upload(vault, content, { "x-cas-archive-description": "d" });
  const job = await wire.startJob(vault, { Type: "archive-retrieval", ArchiveId: archive, ...order });
  return { wire, vault, content, archive, job, target: `/-/vaults/${vault}/jobs/${job}` };
}

async function inventory(world: World, order: object = {}) {
  const { wire } = world;
  const vault = await world.vault();
  const archive = await wire.upload(vault, testBytes(5), { "x-cas-archive-description": 'a "b", c' });
  const job = await wire.startJob(vault, { Type: "inventory-retrieval", ...order });
  return { wire, vault, archive, job, target: `/-/vaults/${vault}/jobs/${job}` };
}

export const operationRows: Readonly<Record<Operation, readonly OperationRow[]>> = {
  createVault: [
    {
      promise: "6.1 creating a vault: 201, empty, Location with the account's number though the request said -",
      async run({ wire }) {
        const reply = await wire.createVault("Create_1.x-");
        expectEmpty(reply, 201, ["location"]);
        expect(reply.header("location")).toBe(`${account}/Create_1.x-`);
      },
    },
    {
      promise: "6.1 creating a vault that exists answers 201 again and changes nothing",
      async run(world) {
        const vault = await world.vault();
        const before = (await world.wire.get(`/-/vaults/${vault}`)).json();
        await world.server.clock.advance(5000);
        expectEmpty(await world.wire.createVault(vault), 201, ["location"]);
        expect((await world.wire.get(`/-/vaults/${vault}`)).json()).toEqual(before);
      },
    },
    ...[".x", "...", "-", "0", "_", "a".repeat(255)].map((name) => ({
      promise: `5 the name ${name.length > 20 ? "of 255 characters" : name} is a vault's, and visible at once`,
      async run({ wire }: World) {
        expectEmpty(await wire.createVault(name), 201, ["location"]);
        expect((await wire.get(`/-/vaults/${name}`)).json().VaultName).toBe(name);
      },
    })),
    {
      promise: "1 a vault's name may be percent-encoded in the path, the signature is over the path as sent",
      async run({ wire }) {
        const reply = await wire.send({ method: "PUT", target: "/-/vaults/%61b%2Dc" });
        expectEmpty(reply, 201, ["location"]);
        expect(reply.header("location")).toBe(`${account}/ab-c`);
      },
    },
  ],
  describeVault: [
    {
      promise: "6.2 a vault without inventory: all six keys, null where there is nothing yet",
      async run(world) {
        const vault = await world.vault();
        const json = expectJson(await world.wire.get(`/-/vaults/${vault}`), vaultKeys);
        expect(json).toEqual({
          CreationDate: expect.stringMatching(timePattern),
          LastInventoryDate: null,
          NumberOfArchives: null,
          SizeInBytes: null,
          VaultQCS: qcsOf(vault),
          VaultName: vault,
        });
      },
    },
    {
      promise: "6.2 after an inventory: counts of archives and of their bytes as of then, not live",
      async run(world) {
        const { wire, vault } = await inventory(world);
        await wire.upload(vault, testBytes(7));
        const json = expectJson(await wire.get(`/-/vaults/${vault}`), vaultKeys);
        expect(json).toMatchObject({ NumberOfArchives: 1, SizeInBytes: 5 });
        expect(json.LastInventoryDate).toMatch(timePattern);
      },
    },
    {
      promise: "1 the owner's own number is the same as -, and one trailing slash is fine",
      async run(world) {
        const vault = await world.vault();
        expectJson(await world.wire.get(`${account}/${vault}/`), vaultKeys);
      },
    },
  ],
  deleteVault: [
    {
      promise: "6.3 an empty vault: 204, and it is gone with policy, notification and jobs",
      async run(world) {
        const { wire, vault, archive } = await inventory(world);
        await wire.send({ method: "PUT", target: `/-/vaults/${vault}/access-policy`, body: '{"policy":"{}"}' });
        await wire.send({ method: "DELETE", target: `/-/vaults/${vault}/archives/${archive}` });
        expectEmpty(await wire.send({ method: "DELETE", target: `/-/vaults/${vault}` }), 204);
        expect((await wire.get(`/-/vaults/${vault}`)).status).toBe(404);
        await wire.createVault(vault);
        expect((await wire.get(`/-/vaults/${vault}/access-policy`)).status).toBe(404);
        expect((await wire.get(`/-/vaults/${vault}/jobs`)).json().JobList).toEqual([]);
      },
    },
  ],
  listVaults: [
    {
      promise: "6.4 vaults in the order of their QCS bytes, each as described, Marker null at the end",
      async run(world) {
        const names = ["list-b", "list-B", "list-a_", "list-a"];
        for (const name of names) await world.wire.createVault(name);
        const json = expectJson(await world.wire.get("/-/vaults"), ["Marker", "VaultList"]);
        expect(json.Marker).toBeNull();
        const listed: string[] = json.VaultList.map((vault: { VaultName: string }) => vault.VaultName);
        expect(listed).toEqual([...listed].sort());
        expect(listed.filter((name) => name.startsWith("list-"))).toEqual(["list-B", "list-a", "list-a_", "list-b"]);
        for (const vault of json.VaultList) expect(Object.keys(vault).sort()).toEqual([...vaultKeys].sort());
      },
    },
    {
      promise: "6.5 pages: the marker is the QCS of the next page's first vault, inclusive, and outlives that vault",
      async run({ wire }) {
        for (const name of ["page-1", "page-2", "page-3", "page-4"]) await wire.createVault(name);
        const from = (marker: string) => wire.get(`/-/vaults?marker=${encodeURIComponent(marker)}&limit=2`);
        const first = (await from(qcsOf("page-1"))).json();
        expect(first.VaultList.map((vault: { VaultName: string }) => vault.VaultName)).toEqual(["page-1", "page-2"]);
        expect(first.Marker).toBe(qcsOf("page-3"));
        await wire.send({ method: "DELETE", target: "/-/vaults/page-3" });
        const second = (await from(first.Marker)).json();
        expect(second.VaultList[0].VaultName).toBe("page-4");
      },
    },
    ...["", "?limit=&marker=", "?limit=1000", "?limit=1", "?Limit=3", "?marker=%00", "?unknown=%zz&x"].map((query) => ({
      promise: `6.5 the listing takes the query ${JSON.stringify(query)}`,
      async run({ wire }: World) {
        expectJson(await wire.get(`/-/vaults${query}`), ["Marker", "VaultList"]);
      },
    })),
    ...[
      { form: "qcs::cas:ap-chengdu:uid/1250000000:vaults/mark-b" },
      { form: "qcs::cas:ap-chengdu:uid/1250000000:vault/mark-b" },
      { form: "qcs:id/0:cas:ap-chengdu:uid/1250000000:vaults/mark-b" },
      { form: "mark-b" },
    ].map(({ form }) => ({
      promise: `1 a marker is taken in the form ${form}`,
      async run({ wire }: World) {
        await wire.createVault("mark-a");
        await wire.createVault("mark-b");
        const { VaultList: list } = (await wire.get(`/-/vaults?limit=1&marker=${encodeURIComponent(form)}`)).json();
        expect(list[0].VaultName).toBe("mark-b");
      },
    })),
  ],
  setAccessPolicy: [
    ...["policy", "Policy"].map((key) => ({
      promise: `7 setting a policy under the key ${key}: 204, and it overwrites`,
      async run(world: World) {
        const vault = await world.vault();
        const target = `/-/vaults/${vault}/access-policy`;
        for (const text of ['{"version":"2.0"}', '{ "version": "2.0", "statement": [] }']) {
          expectEmpty(await world.wire.send({ method: "PUT", target, body: JSON.stringify({ [key]: text }) }), 204);
          expect((await world.wire.get(target)).json()).toEqual({ policy: text });
        }
      },
    })),
    {
      promise: "2.1 the body is JSON whatever its Content-Type says",
      async run(world) {
        const target = `/-/vaults/${await world.vault()}/access-policy`;
        for (const type of ["text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded"]) {
          const body = '{"policy":"{\\"version\\":\\"2.0\\"}"}';
          const reply = await world.wire.send({ method: "PUT", target, body, headers: { "Content-Type": type } });
          expectEmpty(reply, 204);
        }
      },
    },
  ],
  getAccessPolicy: [
    {
      promise: "7 the policy comes back as the text it was, under lowercase policy",
      async run(world) {
        const target = `/-/vaults/${await world.vault()}/access-policy`;
        const policy = '{"version":"2.0",  "statement":[{"effect":"deny","action":["name/cas:DeleteArchive"]}]}';
        await world.wire.send({ method: "PUT", target, body: JSON.stringify({ policy }) });
        expect(expectJson(await world.wire.get(target), ["policy"]).policy).toBe(policy);
      },
    },
  ],
  deleteAccessPolicy: [
    {
      promise: "7 deleting a policy: 204, and 204 again without one",
      async run(world) {
        const target = `/-/vaults/${await world.vault()}/access-policy`;
        await world.wire.send({ method: "PUT", target, body: '{"policy":"{}"}' });
        for (const status of [204, 204]) expectEmpty(await world.wire.send({ method: "DELETE", target }), status);
        expect((await world.wire.get(target)).status).toBe(404);
      },
    },
  ],
  setNotification: [
    {
      promise: "8.1 setting a notification configuration: 204, empty",
      async run(world) {
        const target = `/-/vaults/${await world.vault()}/notification-configuration`;
        const body = '{"CallBackUrl":"https://127.0.0.1/x","Events":["PushToCOSCompleted","PullFromCOSCompleted"]}';
        expectEmpty(await world.wire.send({ method: "PUT", target, body }), 204);
      },
    },
  ],
  getNotification: [
    {
      promise: "8.1 the configuration comes back as the same object",
      async run(world) {
        const target = `/-/vaults/${await world.vault()}/notification-configuration`;
        const configuration = {
          CallBackUrl: "http://127.0.0.1:1/call",
          Events: ["ArchiveRetrievalCompleted", "InventoryRetrievalCompleted"],
        };
        await world.wire.send({ method: "PUT", target, body: JSON.stringify(configuration) });
        expect(expectJson(await world.wire.get(target), ["CallBackUrl", "Events"])).toEqual(configuration);
      },
    },
  ],
  deleteNotification: [
    {
      promise: "8.1 deleting the configuration: 204",
      async run(world) {
        const target = `/-/vaults/${await world.vault()}/notification-configuration`;
        const body = '{"CallBackUrl":"http://127.0.0.1/","Events":["ArchiveRetrievalCompleted"]}';
        await world.wire.send({ method: "PUT", target, body });
        expectEmpty(await world.wire.send({ method: "DELETE", target }), 204);
        expect((await world.wire.get(target)).status).toBe(404);
      },
    },
  ],
  initiateVaultLock: [
    {
      promise: "8.3 initiating a lock answers with x-cas-lock-id",
      async run(world) {
        const reply = await initiateLock(world, await world.vault());
        expect(reply.header("x-cas-lock-id")).toMatch(/^[A-Za-z0-9_-]+$/);
        expectEmpty(reply, 201, ["location", "x-cas-lock-id"]);
      },
    },
  ],
  getVaultLock: [
    {
      promise: "8.3 the lock in progress is described",
      async run(world) {
        const vault = await world.vault();
        await initiateLock(world, vault);
        const reply = await world.wire.get(`/-/vaults/${vault}/lock-policy`);
        const json = expectJson(reply, ["Policy", "State", "CreationDate", "ExpirationDate"]);
        expect(json).toMatchObject({ Policy: lockPolicy, State: "InProgress" });
      },
    },
  ],
  abortVaultLock: [
    {
      promise: "8.3 a lock in progress can be aborted: 204",
      async run(world) {
        const vault = await world.vault();
        await initiateLock(world, vault);
        const target = `/-/vaults/${vault}/lock-policy`;
        expectEmpty(await world.wire.send({ method: "DELETE", target }), 204);
        expect((await world.wire.get(target)).status).toBe(404);
      },
    },
  ],
  completeVaultLock: [
    {
      promise: "8.3 completing a lock with its id: 204, and it is Locked",
      async run(world) {
        const vault = await world.vault();
        const id = (await initiateLock(world, vault)).header("x-cas-lock-id");
        const target = `/-/vaults/${vault}/lock-policy`;
        expectEmpty(await world.wire.send({ method: "POST", target: `${target}/${id}` }), 204);
        expect((await world.wire.get(target)).json()).toMatchObject({ State: "Locked", ExpirationDate: null });
      },
    },
  ],
  uploadArchive: [
    {
      promise: "9.1 uploading: 201, empty, Location, a 128-character id and both hashes in lowercase",
      async run(world) {
        const vault = await world.vault();
        const content = testBytes(3 * mib + 17);
        const reply = await world.wire.send(world.wire.uploadRequest(vault, content));
        expectEmpty(reply, 201, [...created, "x-cas-content-sha256"]);
        const id = reply.header("x-cas-archive-id");
        expect(id).toMatch(/^[A-Za-z0-9_-]{128}$/);
        expect(reply.header("location")).toBe(`${account}/${vault}/archives/${id}`);
        const hashes = hashesOf(content);
        expect(reply.header("x-cas-content-sha256")).toBe(hashes["x-cas-content-sha256"]);
        expect(reply.header("x-cas-sha256-tree-hash")).toBe(hashes["x-cas-sha256-tree-hash"]);
      },
    },
    {
      promise: "9.1 the same content again is a new archive with a new id",
      async run(world) {
        const vault = await world.vault();
        const ids = [await world.wire.upload(vault, testBytes(9)), await world.wire.upload(vault, testBytes(9))];
        expect(new Set(ids).size).toBe(2);
      },
    },
    {
      promise: "15.5 uppercase hashes are taken, and returned in lowercase",
      async run(world) {
        const content = testBytes(99);
        const upper = Object.fromEntries(
          Object.entries(hashesOf(content)).map(([name, hash]) => [name, hash.toUpperCase()]),
        );
        const reply = await world.wire.send(world.wire.uploadRequest(await world.vault(), content, upper));
        expect([reply.status, reply.header("x-cas-sha256-tree-hash")]).toEqual([201, treeHash(content)]);
      },
    },
    ...["application/json", "application/zip", "application/octet-stream", "text/html; charset=utf-8"].map((type) => ({
      promise: `2.1 an upload is raw bytes though its Content-Type is ${type}`,
      async run(world: World) {
        const upload = world.wire.uploadRequest(await world.vault(), Buffer.from('{"a":'), { "Content-Type": type });
        expectEmpty(await world.wire.send(upload), 201, [...created, "x-cas-content-sha256"]);
      },
    })),
    {
      promise: "15.9 ids that begin with a hyphen are issued and work",
      async run(world) {
        const vault = await world.vault();
        // One in 64 begins so; 300 without any are a chance of one percent, and then there is nothing to check.
        for (let index = 0; index < 300; index++) {
          const id = await world.wire.upload(vault, testBytes(1));
          if (!id.startsWith("-")) continue;
          const reply = await world.wire.send({ method: "DELETE", target: `/-/vaults/${vault}/archives/${id}` });
          return expectEmpty(reply, 204);
        }
      },
    },
  ],
  deleteArchive: [
    {
      promise: "9.2 deleting: 204, and 204 again for an id that was deleted before",
      async run(world) {
        const vault = await world.vault();
        const target = `/-/vaults/${vault}/archives/${await world.wire.upload(vault, testBytes(3))}`;
        for (const status of [204, 204]) expectEmpty(await world.wire.send({ method: "DELETE", target }), status);
      },
    },
  ],
  initiateMultipartUpload: [
    ...[1, 2, 4, 16, 4096].map((mebibytes) => ({
      promise: `10.1 a part size of ${mebibytes} MiB: 201, empty, Location and a 64-character id`,
      async run(world: World) {
        const vault = await world.vault();
        const headers = { "x-cas-part-size": String(mebibytes * mib), "x-cas-archive-description": "" };
        const target = `/-/vaults/${vault}/multipart-uploads`;
        const reply = await world.wire.send({ method: "POST", target, headers });
        expectEmpty(reply, 201, ["location", "x-cas-multipart-upload-id"]);
        const id = reply.header("x-cas-multipart-upload-id");
        expect(id).toMatch(/^[A-Za-z0-9_-]{64}$/);
        expect(reply.header("location")).toBe(`${account}/${vault}/multipart-uploads/${id}`);
      },
    })),
  ],
  uploadPart: [
    ...[
      { form: "bytes 0-1048575/*" },
      { form: "bytes 0-1048575/5000000" },
      { form: "bytes 0-1048575" },
      { form: "bytes 0-1048575/1048576" },
    ].map(({ form }) => ({
      promise: `10.2 a part with Content-Range ${form}: 204 and its tree hash`,
      async run(world: World) {
        const { wire, vault, upload } = await multipart(world, []);
        const part = wire.partRequest(vault, upload, testBytes(mib), 0);
        const reply = await wire.send({ ...part, headers: { ...part.headers, "Content-Range": form } });
        expectEmpty(reply, 204, ["x-cas-sha256-tree-hash"]);
        expect(reply.header("x-cas-sha256-tree-hash")).toBe(treeHash(testBytes(mib)));
      },
    })),
    {
      promise: "15.5 a part with uppercase hashes is listed with lowercase ones",
      async run(world) {
        const { wire, vault, upload, target } = await multipart(world, []);
        const part = wire.partRequest(vault, upload, testBytes(5), 0);
        const upper = Object.fromEntries(
          Object.entries(part.headers ?? {}).map(([name, text]) => [
            name,
            name === "Content-Range" ? text : text.toUpperCase(),
          ]),
        );
        expect((await wire.send({ ...part, headers: upper })).status).toBe(204);
        expect((await wire.get(target)).json().Parts[0].SHA256TreeHash).toBe(treeHash(testBytes(5)));
      },
    },
    {
      promise: "10.2 parts in any order; one sent again replaces the former, also a longer one by a shorter",
      async run(world) {
        const { wire, vault, upload, target } = await multipart(world, []);
        await wire.putPart(vault, upload, testBytes(mib, 1), mib);
        await wire.putPart(vault, upload, testBytes(mib), 0);
        await wire.putPart(vault, upload, testBytes(10, mib), mib);
        expect((await wire.get(target)).json().Parts).toEqual([
          { RangeInBytes: "0-1048575", SHA256TreeHash: treeHash(testBytes(mib)) },
          { RangeInBytes: "1048576-1048585", SHA256TreeHash: treeHash(testBytes(10, mib)) },
        ]);
      },
    },
  ],
  completeMultipartUpload: [
    {
      promise: "10.3 completing: 201, empty, Location and id of the archive; repeating it gives the same id",
      async run(world) {
        const { wire, vault, upload, target } = await multipart(world, [mib, mib, 77], "of parts");
        const whole = testBytes(2 * mib + 77);
        const replies = [
          await wire.complete(vault, upload, whole.length, treeHash(whole)),
          await wire.complete(vault, upload, whole.length, treeHash(whole).toUpperCase()),
        ];
        for (const reply of replies) expectEmpty(reply, 201, created);
        const id = replies[0]?.header("x-cas-archive-id");
        expect(replies[1]?.header("x-cas-archive-id")).toBe(id);
        expect(replies[0]?.header("location")).toBe(`${account}/${vault}/archives/${id}`);
        expect((await wire.get(target)).status).toBe(404);
        expect((await wire.get(`/-/vaults/${vault}/multipart-uploads`)).json().UploadsList).toEqual([]);
      },
    },
    {
      promise: "10.3 a Complete that fails leaves the upload as it was: the client repairs it and tries again",
      async run(world) {
        const { wire, vault, upload, target } = await multipart(world, [mib, 8]);
        const whole = testBytes(mib + 9);
        expect((await wire.complete(vault, upload, whole.length, treeHash(whole))).status).toBe(400);
        expect((await wire.get(target)).json().Parts).toHaveLength(2);
        await wire.putPart(vault, upload, testBytes(9, mib), mib);
        expectEmpty(await wire.complete(vault, upload, whole.length, treeHash(whole)), 201, created);
      },
    },
    {
      promise: "10.7, 16 row 26 the 24 hours of an upload count from its last part",
      async run(world) {
        const { wire, vault, upload } = await multipart(world, []);
        const whole = testBytes(3 * mib);
        for (let index = 0; index < 3; index++) {
          await world.server.clock.advance(23 * 3_600_000);
          const part = whole.subarray(index * mib, (index + 1) * mib);
          expect((await wire.putPart(vault, upload, part, index * mib)).status).toBe(204);
        }
        await world.server.clock.advance(23 * 3_600_000);
        expectEmpty(await wire.complete(vault, upload, whole.length, treeHash(whole)), 201, created);
      },
    },
  ],
  listParts: [
    {
      promise: "10.4 the seven keys, parts by offset with inclusive ranges; no description is an empty text",
      async run(world) {
        const { vault, upload, target } = await multipart(world, [mib, 5]);
        const json = expectJson(await world.wire.get(target), [...uploadKeys, "Marker", "Parts"]);
        expect(json).toEqual({
          ArchiveDescription: "",
          CreationDate: expect.stringMatching(timePattern),
          Marker: null,
          MultipartUploadId: upload,
          PartSizeInBytes: mib,
          Parts: [
            { RangeInBytes: "0-1048575", SHA256TreeHash: treeHash(testBytes(mib)) },
            { RangeInBytes: "1048576-1048580", SHA256TreeHash: treeHash(testBytes(5, mib)) },
          ],
          VaultQCS: qcsOf(vault),
        });
      },
    },
    {
      promise: "10.4, 15.14 the marker is the byte offset of the next page's first part",
      async run(world) {
        const { wire, target } = await multipart(world, [mib, mib, mib, 9]);
        const first = (await wire.get(`${target}?limit=2`)).json();
        expect([first.Marker, first.Parts.length]).toEqual(["2097152", 2]);
        const rest = (await wire.get(`${target}?marker=${first.Marker}&limit=2`)).json();
        expect([rest.Marker, rest.Parts.map((part: { RangeInBytes: string }) => part.RangeInBytes)]).toEqual([
          null,
          ["2097152-3145727", "3145728-3145736"],
        ]);
        expect((await wire.get(`${target}?marker=5`)).json().Parts).toHaveLength(3);
        expect((await wire.get(`${target}?marker=99999999`)).json()).toMatchObject({ Marker: null, Parts: [] });
      },
    },
    {
      promise: "6.5 limit and marker are taken from headers when the query lacks them",
      async run(world) {
        const { wire, target } = await multipart(world, [mib, mib, 9]);
        const page = (await wire.get(target, { limit: "1", marker: "1048576" })).json();
        expect([page.Marker, page.Parts[0].RangeInBytes]).toEqual(["2097152", "1048576-2097151"]);
        expect((await wire.get(`${target}?limit=2`, { limit: "1" })).json().Parts).toHaveLength(2);
      },
    },
  ],
  listMultipartUploads: [
    {
      promise: "10.5 the keys Marker and UploadsList; each upload with five keys, a text for no description",
      async run(world) {
        const { wire, vault, upload } = await multipart(world, [mib]);
        const json = expectJson(await wire.get(`/-/vaults/${vault}/multipart-uploads/`), ["Marker", "UploadsList"]);
        expect(json).toEqual({
          Marker: null,
          UploadsList: [
            {
              ArchiveDescription: "",
              CreationDate: expect.stringMatching(timePattern),
              MultipartUploadId: upload,
              PartSizeInBytes: mib,
              VaultQCS: qcsOf(vault),
            },
          ],
        });
      },
    },
    {
      promise:
        "6.5 uploads in the order of their creation; a page goes on after the upload that its marker names has gone",
      async run(world) {
        const { wire } = world;
        const vault = await world.vault();
        const ids: string[] = [];
        for (let index = 0; index < 5; index++) {
          ids.push(await wire.initiateUpload(vault, mib));
          await world.server.clock.advance(3);
        }
        const target = `/-/vaults/${vault}/multipart-uploads`;
        const idsOf = (page: { UploadsList: { MultipartUploadId: string }[] }) =>
          page.UploadsList.map((upload) => upload.MultipartUploadId);
        const first = (await wire.get(target, { limit: "2" })).json();
        expect(idsOf(first)).toEqual(ids.slice(0, 2));
        await wire.send({ method: "DELETE", target: `${target}/${ids[2]}` });
        const rest = (await wire.get(`${target}?marker=${encodeURIComponent(first.Marker)}`)).json();
        expect([idsOf(rest), rest.Marker]).toEqual([ids.slice(3), null]);
      },
    },
    {
      promise: "15.13 a page has a thousand uploads unless it is asked for less; no Marker without anything behind it",
      async run(world) {
        const { wire } = world;
        const vault = await world.vault();
        for (let count = 0; count < 1000; count += 50) {
          await Promise.all(Array.from({ length: 50 }, () => wire.initiateUpload(vault, mib)));
        }
        const target = `/-/vaults/${vault}/multipart-uploads`;
        const full = (await wire.get(target)).json();
        expect([full.UploadsList.length, full.Marker]).toEqual([1000, null]);
        await world.server.clock.advance(1);
        const last = await wire.initiateUpload(vault, mib);
        const first = (await wire.get(target)).json();
        expect(first.UploadsList).toEqual(full.UploadsList);
        const second = (await wire.get(`${target}?marker=${encodeURIComponent(first.Marker)}`)).json();
        expect(second.UploadsList.map((one: { MultipartUploadId: string }) => one.MultipartUploadId)).toEqual([last]);
      },
    },
  ],
  abortMultipartUpload: [
    {
      promise: "10.6 aborting: 204, its calls give 404 from then on, and aborting again is 204",
      async run(world) {
        const { wire, vault, upload, target } = await multipart(world, [5]);
        for (const status of [204, 204]) expectEmpty(await wire.send({ method: "DELETE", target }), status);
        expect((await wire.get(target)).status).toBe(404);
        expect((await wire.putPart(vault, upload, testBytes(5), 0)).status).toBe(404);
      },
    },
  ],
  initiateJob: [
    {
      promise: "11.1 an archive retrieval: 202, empty, Location and a 64-character id",
      async run(world) {
        const { wire, vault, archive } = await retrieval(world, 10);
        const reply = await wire.send(wire.jobRequest(vault, { Type: "archive-retrieval", ArchiveId: archive }));
        expectEmpty(reply, 202, ["location", "x-cas-job-id"]);
        const id = reply.header("x-cas-job-id");
        expect(id).toMatch(/^[A-Za-z0-9_-]{64}$/);
        expect(reply.header("location")).toBe(`${account}/${vault}/jobs/${id}`);
      },
    },
    ...[
      {},
      { InventoryRetrievalParameters: {} },
      { InventoryRetrievalParameters: null, Format: "", Description: "", Tier: "Whatever", CallBackUrl: "" },
      { Format: "JSON", Tier: "Bulk", InventoryRetrievalParameters: { Limit: "10" } },
      { InventoryRetrievalParameters: { Limit: 10000, Marker: "m" } },
      { InventoryRetrievalParameters: { Limit: "", Marker: "", StartDate: "", EndDate: "" } },
      { InventoryRetrievalParameters: { StartDate: "2017-02-28T17:03:43Z", EndDate: "2017-03-28T17:03:43.221Z" } },
    ].map((order) => ({
      promise: `11.1 an inventory retrieval takes ${JSON.stringify(order)}`,
      async run(world: World) {
        const request = world.wire.jobRequest(await world.vault(), { Type: "inventory-retrieval", ...order });
        expectEmpty(await world.wire.send(request), 202, ["location", "x-cas-job-id"]);
      },
    })),
    {
      promise: "9.2 a job for a deleted archive is accepted, fails, and has completed when it has failed (15.4)",
      async run(world) {
        const { wire, vault, archive, content } = await retrieval(world, 10);
        await wire.send({ method: "DELETE", target: `/-/vaults/${vault}/archives/${archive}` });
        const job = await wire.startJob(vault, { Type: "archive-retrieval", ArchiveId: archive });
        await world.finishJobs();
        const json = (await wire.get(`/-/vaults/${vault}/jobs/${job}`)).json();
        expect(json).toMatchObject({ Completed: true, StatusCode: "Failed", ArchiveSizeInBytes: content.length });
        expect(json.CompletionDate).toMatch(timePattern);
      },
    },
  ],
  describeJob: [
    {
      promise: "11.2 a whole-archive retrieval in progress: every key, and both tree hashes from the start",
      async run(world) {
        const { wire, vault, archive, content, job, target } = await retrieval(world, 2 * mib, { Description: "why" });
        const json = expectJson(await wire.get(target), jobKeys);
        expect(json).toEqual({
          Action: "ArchiveRetrieval",
          JobId: job,
          JobDescription: "why",
          CallBackUrl: null,
          JobCallBackUrl: null,
          CreationDate: expect.stringMatching(timePattern),
          CompletionDate: null,
          Completed: false,
          StatusCode: "InProgress",
          StatusMessage: "InProgress",
          VaultQCS: qcsOf(vault),
          ArchiveId: archive,
          ArchiveSizeInBytes: content.length,
          ArchiveSHA256TreeHash: treeHash(content),
          RetrievalByteRange: `0-${content.length - 1}`,
          SHA256TreeHash: treeHash(content),
          Tier: "Standard",
          InventorySizeInBytes: 0,
          InventoryRetrievalParameters: null,
          Bucket: null,
          Object: null,
          Condition: null,
          ArchiveDescription: null,
        });
      },
    },
    ...[
      { range: "1048576-2097151", aligned: true },
      { range: "0-2097151", aligned: true },
      { range: "2097152-3145732", aligned: true },
      { range: "1048576-3145732", aligned: false },
    ].map(({ range, aligned }) => ({
      promise: `11.2, 13.3 the range ${range}: no tree hash in progress, then ${aligned ? "that of the range" : "none"}`,
      async run(world: World) {
        const order = { RetrievalByteRange: range, Tier: "Bulk" };
        const { wire, content, target } = await retrieval(world, 3 * mib + 5, order);
        expect((await wire.get(target)).json()).toMatchObject({ RetrievalByteRange: range, SHA256TreeHash: null });
        await world.finishJobs();
        const [first, last] = range.split("-").map(Number) as [number, number];
        expect((await wire.get(target)).json()).toMatchObject({
          Completed: true,
          StatusCode: "Succeeded",
          Tier: "Bulk",
          RetrievalByteRange: range,
          SHA256TreeHash: aligned ? treeHash(content.subarray(first, last + 1)) : null,
          CompletionDate: expect.stringMatching(timePattern),
        });
      },
    })),
    {
      promise: "11.1 an open range goes to the end of the archive and is described with its ends",
      async run(world) {
        const { wire, target } = await retrieval(world, mib + 5, { RetrievalByteRange: "1048576-" });
        expect((await wire.get(target)).json().RetrievalByteRange).toBe("1048576-1048580");
      },
    },
    {
      promise: "11.2, 15.3 an inventory job: every key, Limit a number, nothing but null where nothing was asked",
      async run(world) {
        const { wire, job, vault, target } = await inventory(world);
        const parameters = { Format: "JSON", StartDate: null, EndDate: null, Limit: 0, Marker: null };
        const progress = expectJson(await wire.get(target), jobKeys);
        expect(progress).toMatchObject({ InventorySizeInBytes: 0, InventoryRetrievalParameters: parameters });
        await world.finishJobs();
        const json = expectJson(await wire.get(target), jobKeys);
        expect(json).toEqual({
          ...Object.fromEntries(jobKeys.map((key) => [key, null])),
          Action: "InventoryRetrieval",
          JobId: job,
          JobDescription: "",
          CreationDate: progress.CreationDate,
          CompletionDate: expect.stringMatching(timePattern),
          Completed: true,
          StatusCode: "Succeeded",
          StatusMessage: "Succeeded",
          VaultQCS: qcsOf(vault),
          InventorySizeInBytes: expect.any(Number),
          InventoryRetrievalParameters: parameters,
        });
        expect(json.InventorySizeInBytes).toBe((await wire.get(`${target}/output`)).body.length);
      },
    },
    {
      promise: "11.2 what an inventory job was asked for is shown; a Limit sent as text comes back as a number",
      async run(world) {
        const asked = { StartDate: "2017-02-28T17:03:43Z", EndDate: "2027-03-28T17:03:43Z", Limit: "1" };
        const { wire, target } = await inventory(world, { Format: "CSV", InventoryRetrievalParameters: asked });
        const { InventoryRetrievalParameters: shown } = (await wire.get(target)).json();
        expect(shown).toEqual({ Format: "CSV", ...asked, Limit: 1, Marker: null });
      },
    },
    {
      promise: "16 row 14 a job's CallBackUrl is shown under both of its names",
      async run(world) {
        const { wire, target } = await retrieval(world, 5, { CallBackUrl: "http://127.0.0.1:9/x" });
        const { CallBackUrl: one, JobCallBackUrl: other } = (await wire.get(target)).json();
        expect([one, other]).toEqual(["http://127.0.0.1:9/x", "http://127.0.0.1:9/x"]);
      },
    },
  ],
  listJobs: [
    {
      promise: "11.3 jobs exactly as they are described, Marker null; filters in any case (15.10)",
      async run(world) {
        const { wire, vault, job, archive } = await retrieval(world, 5);
        await world.finishJobs();
        const running = await wire.startJob(vault, { Type: "archive-retrieval", ArchiveId: archive });
        const target = `/-/vaults/${vault}/jobs`;
        const json = expectJson(await wire.get(target), ["JobList", "Marker"]);
        expect(json.Marker).toBeNull();
        const described = [
          (await wire.get(`${target}/${job}`)).json(),
          (await wire.get(`${target}/${running}`)).json(),
        ];
        expect(json.JobList).toEqual(described);
        const idsOf = async (query: string) =>
          (await wire.get(`${target}?${query}`)).json().JobList.map((one: { JobId: string }) => one.JobId);
        for (const query of ["completed=True", "completed=true", "statuscode=Succeeded", "statuscode=SUCCEEDED"]) {
          expect(await idsOf(query)).toEqual([job]);
        }
        for (const query of ["completed=False", "completed=false", "statuscode=inprogress"]) {
          expect(await idsOf(query)).toEqual([running]);
        }
        expect(await idsOf("completed=true&statuscode=InProgress")).toEqual([]);
        expect(await idsOf("completed=&statuscode=&limit=&marker=")).toEqual([job, running]);
      },
    },
    {
      promise: "11.3, 6.5 pages of jobs: opaque markers, inclusive; 11.5 expired jobs are not listed",
      async run(world) {
        const { wire, vault, job, archive } = await retrieval(world, 5);
        const jobs = [job];
        for (let index = 0; index < 4; index++) {
          await world.server.clock.advance(1);
          jobs.push(await wire.startJob(vault, { Type: "archive-retrieval", ArchiveId: archive }));
        }
        const seen: string[] = [];
        let marker: string | null = "";
        do {
          const page = (
            await wire.get(`/-/vaults/${vault}/jobs?limit=2&marker=${encodeURIComponent(marker ?? "")}`)
          ).json();
          seen.push(...page.JobList.map((one: { JobId: string }) => one.JobId));
          marker = page.Marker;
        } while (marker !== null && seen.length < 20);
        expect(seen).toEqual(jobs);
        await world.server.clock.advance(60 * 3_600_000);
        expect((await wire.get(`/-/vaults/${vault}/jobs`)).json()).toEqual({ JobList: [], Marker: null });
        expect((await wire.get(`/-/vaults/${vault}/jobs/${job}`)).status).toBe(404);
      },
    },
  ],
  getJobOutput: [
    {
      promise: "11.4 without Range: 200, the whole output as application/octet-stream, its tree hash, no Content-Range",
      async run(world) {
        const { wire, content, target } = await retrieval(world, 2 * mib + 3);
        await world.finishJobs();
        const reply = await wire.get(`${target}/output`);
        expect([reply.status, reply.header("content-type")]).toEqual([200, "application/octet-stream"]);
        expect(ownHeaders(reply)).toEqual(["accept-ranges", "content-type", "x-cas-sha256-tree-hash"]);
        expect([reply.header("accept-ranges"), reply.header("content-length")]).toEqual([
          "bytes",
          String(content.length),
        ]);
        expect(reply.header("x-cas-sha256-tree-hash")).toBe(treeHash(content));
        expect(reply.body.equals(content)).toBe(true);
      },
    },
    ...[
      { range: "bytes=0-2097154", first: 0, last: 2_097_154, hashed: true },
      { range: "bytes=0-1048575", first: 0, last: 1_048_575, hashed: true },
      { range: "bytes=1048576-2097151", first: mib, last: 2 * mib - 1, hashed: true },
      { range: "bytes=2097152-", first: 2 * mib, last: 2_097_154, hashed: true },
      { range: "bytes=1048576-", first: mib, last: 2_097_154, hashed: false },
      { range: "bytes=0-100", first: 0, last: 100, hashed: false },
      { range: "bytes=5-5", first: 5, last: 5, hashed: false },
      { range: "bytes=-3", first: 2 * mib, last: 2_097_154, hashed: true },
      { range: "bytes=-99999999", first: 0, last: 2_097_154, hashed: true },
      { range: "bytes=2097154-99999999999", first: 2_097_154, last: 2_097_154, hashed: false },
    ].map(({ range, first, last, hashed }) => ({
      promise: `11.4, 16 row 22 ${range} of 2097155 bytes: 206, Content-Range, ${hashed ? "tree hash" : "no tree hash"}`,
      async run(world: World) {
        const { wire, content, target } = await retrieval(world, 2 * mib + 3);
        await world.finishJobs();
        const reply = await wire.get(`${target}/output`, { Range: range });
        expect([reply.status, reply.header("content-range")]).toEqual([
          206,
          `bytes ${first}-${last}/${content.length}`,
        ]);
        const piece = content.subarray(first, last + 1);
        expect(reply.body.equals(piece)).toBe(true);
        expect(reply.header("x-cas-sha256-tree-hash")).toBe(hashed ? treeHash(piece) : undefined);
      },
    })),
    {
      promise: "11.4 offsets of a job for a range are those of its output, hashes are judged in archive coordinates",
      async run(world) {
        const { wire, content, target } = await retrieval(world, 6 * mib, { RetrievalByteRange: "2097152-4194303" });
        await world.finishJobs();
        const reply = await wire.get(`${target}/output`, { Range: "bytes=1048576-2097151" });
        expect(reply.header("content-range")).toBe("bytes 1048576-2097151/2097152");
        const piece = content.subarray(3 * mib, 4 * mib);
        expect([reply.body.equals(piece), reply.header("x-cas-sha256-tree-hash")]).toEqual([true, treeHash(piece)]);
      },
    },
    {
      promise: "16 row 21 a job whose range is no subtree sends no tree hash for any piece",
      async run(world) {
        const { wire, target } = await retrieval(world, 6 * mib, { RetrievalByteRange: "1048576-3145727" });
        await world.finishJobs();
        for (const range of ["bytes=0-1048575", "bytes=0-2097151"]) {
          expect(
            (await wire.get(`${target}/output`, { Range: range })).header("x-cas-sha256-tree-hash"),
          ).toBeUndefined();
        }
      },
    },
    {
      promise: "9.2 output that is ready stays downloadable when the archive is deleted",
      async run(world) {
        const { wire, vault, archive, content, target } = await retrieval(world, 5000);
        await world.finishJobs();
        await wire.send({ method: "DELETE", target: `/-/vaults/${vault}/archives/${archive}` });
        expect((await wire.get(`${target}/output`)).body.equals(content)).toBe(true);
      },
    },
    {
      promise: "12.2, 15.8 a JSON inventory: application/json; ranged, the whole of it, with Content-Range",
      async run(world) {
        const { wire, vault, archive, target } = await inventory(world);
        await world.finishJobs();
        const whole = await wire.get(`${target}/output`);
        expect(ownHeaders(whole)).toEqual(["accept-ranges", "content-type"]);
        expect([whole.status, whole.header("content-type")]).toEqual([200, "application/json"]);
        expect(whole.json()).toEqual({
          VaultQCS: qcsOf(vault),
          InventoryDate: expect.stringMatching(timePattern),
          ArchiveList: [
            {
              ArchiveId: archive,
              ArchiveDescription: 'a "b", c',
              CreationDate: expect.stringMatching(timePattern),
              Size: 5,
              SHA256TreeHash: treeHash(testBytes(5)),
            },
          ],
        });
        const last = whole.body.length - 1;
        const ranged = await wire.get(`${target}/output`, { Range: `bytes=0-${last}` });
        expect([ranged.status, ranged.header("content-range")]).toEqual([206, `bytes 0-${last}/${last + 1}`]);
        expect([ranged.header("content-type"), ranged.body.equals(whole.body)]).toEqual(["application/json", true]);
      },
    },
    {
      promise: "12.2 a CSV inventory: text/csv, header row, RFC 4180 quoting, CRLF",
      async run(world) {
        const { wire, vault, archive, target } = await inventory(world, { Format: "CSV" });
        await world.finishJobs();
        const reply = await wire.get(`${target}/output`);
        expect([reply.status, reply.header("content-type")]).toEqual([200, "text/csv"]);
        const [head, row, ...rest] = reply.body.toString().split("\r\n");
        expect([head, rest]).toEqual(["ArchiveId,ArchiveDescription,CreationDate,Size,SHA256TreeHash", [""]]);
        const json = await wire.startJob(vault, { Type: "inventory-retrieval" });
        await world.finishJobs();
        const entry = (await wire.get(`/-/vaults/${vault}/jobs/${json}/output`)).json().ArchiveList[0];
        expect(row).toBe(`${archive},"a ""b"", c",${entry.CreationDate},5,${treeHash(testBytes(5))}`);
      },
    },
    ...["JSON", "CSV"].map((Format) => ({
      promise: `12.2 the ${Format} inventory of an empty vault is never zero bytes`,
      async run(world: World) {
        const vault = await world.vault();
        const job = await world.wire.startJob(vault, { Type: "inventory-retrieval", Format });
        await world.finishJobs();
        const reply = await world.wire.get(`/-/vaults/${vault}/jobs/${job}/output`);
        if (Format === "JSON") expect(reply.json().ArchiveList).toEqual([]);
        else expect(reply.body.toString()).toBe("ArchiveId,ArchiveDescription,CreationDate,Size,SHA256TreeHash\r\n");
      },
    })),
    {
      promise: "12.3 Limit cuts the inventory; the finished job's Marker begins the next one, of the same snapshot",
      async run(world) {
        const { wire } = world;
        const vault = await world.vault();
        const archives: string[] = [];
        for (let index = 0; index < 5; index++) archives.push(await wire.upload(vault, testBytes(index + 1)));
        const seen: string[] = [];
        let marker: string | null = null;
        do {
          const parameters = { Limit: "2", ...(marker === null ? {} : { Marker: marker }) };
          const job = await wire.startJob(vault, {
            Type: "inventory-retrieval",
            InventoryRetrievalParameters: parameters,
          });
          const target = `/-/vaults/${vault}/jobs/${job}`;
          expect((await wire.get(target)).json().InventoryRetrievalParameters.Marker).toBeNull();
          await world.finishJobs();
          const { ArchiveList: list } = (await wire.get(`${target}/output`)).json();
          seen.push(...list.map((entry: { ArchiveId: string }) => entry.ArchiveId));
          marker = (await wire.get(target)).json().InventoryRetrievalParameters.Marker;
          await wire.upload(vault, testBytes(1));
        } while (marker !== null && seen.length < 20);
        expect(seen).toEqual([...archives].sort());
      },
    },
    {
      promise: "12.3, 16 row 17 StartDate and EndDate are inclusive and compared in whole seconds",
      async run(world) {
        const { wire, server } = world;
        const vault = await world.vault();
        await server.clock.advance(1000 - (server.clock.now() % 1000) + 221);
        const second = `${new Date(server.clock.now()).toISOString().slice(0, 19)}Z`;
        const archive = await wire.upload(vault, testBytes(4));
        await server.clock.advance(1000);
        await wire.upload(vault, testBytes(5));
        const InventoryRetrievalParameters = { StartDate: second, EndDate: second };
        const job = await wire.startJob(vault, { Type: "inventory-retrieval", InventoryRetrievalParameters });
        await world.finishJobs();
        const { ArchiveList: list } = (await wire.get(`/-/vaults/${vault}/jobs/${job}/output`)).json();
        expect(list.map((entry: { ArchiveId: string }) => entry.ArchiveId)).toEqual([archive]);
      },
    },
  ],
};

const lockPolicy = '{"version":"2.0","statement":[{"effect":"Deny","action":["name/cas:DeleteArchive"]}]}';

function initiateLock(world: World, vault: string) {
  const target = `/-/vaults/${vault}/lock-policy`;
  return world.wire.send({ method: "POST", target, body: JSON.stringify({ Policy: lockPolicy }) });
}
