/** Jobs that copy to and from COS, and notifications, as they look on the wire (8.2, 11.1, 11.2). */

import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testBytes } from "../support/test-bytes.js";
import { expectError } from "./support/expectations.js";
import { treeHash } from "./support/tree-digest.js";
import { completed, eventually, World } from "./support/world.js";

interface Call {
  readonly method: string | undefined;
  readonly type: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into messages of every shape
  readonly json: any;
}

let world: World;
let directory: string;
let listener: Server;
const calls: Call[] = [];
const url = () => `http://127.0.0.1:${(listener.address() as AddressInfo).port}`;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-objects-"));
  listener = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const json = JSON.parse(Buffer.concat(chunks).toString());
    calls.push({ method: request.method, type: request.headers["content-type"], json });
    response.end();
  });
  await new Promise<void>((resolve) => {
    listener.listen(0, "127.0.0.1", resolve);
  });
  const retrievalMs = { expedited: 0, standard: 0, bulk: 0, inventory: 0 };
  world = await World.start({ retrievalMs, objectStore: { kind: "directory", directory } });
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  listener.close();
  await rm(directory, { recursive: true, force: true });
});

test("11.1, 11.2 push-to-cos: 202, described with all its keys, and the object is there", async () => {
  const { wire } = world;
  const vault = await world.vault();
  await mkdir(join(directory, "bucket.example"), { recursive: true });
  const content = testBytes(2 * 1_048_576 + 9);
  const archive = await wire.upload(vault, content);
  const order = { Type: "push-to-cos", ArchiveId: archive, Bucket: "bucket.example", Object: "o/k" };
  const job = await wire.startJob(vault, order);
  const target = `/-/vaults/${vault}/jobs/${job}`;
  expect(await completed(world, target)).toMatchObject({
    Action: "PushToCOS",
    StatusCode: "Succeeded",
    ArchiveId: archive,
    ArchiveSizeInBytes: content.length,
    ArchiveSHA256TreeHash: treeHash(content),
    RetrievalByteRange: `0-${content.length - 1}`,
    SHA256TreeHash: null,
    Tier: "Standard",
    InventorySizeInBytes: 0,
    InventoryRetrievalParameters: null,
    Bucket: "bucket.example",
    Object: "o/k",
    Condition: null,
    ArchiveDescription: null,
  });
  expect((await readFile(join(directory, "bucket.example", "o", "k"))).equals(content)).toBe(true);
  // A job that has no output of its own (11.4).
  expectError(await wire.get(`${target}/output`), 400, "InvalidParameterValueException");
});

test("11.1, 11.2 pull-from-cos: the object becomes an archive, named by the finished job", async () => {
  const { wire } = world;
  const vault = await world.vault();
  await mkdir(join(directory, "source"), { recursive: true });
  const content = testBytes(1_048_576 + 3);
  await writeFile(join(directory, "source", "thing"), content);
  const order = { Type: "pull-from-cos", Bucket: "source", Object: "thing", ArchiveDescription: "pulled" };
  const job = await wire.startJob(vault, { ...order, Condition: { "If-Modified-Since": "2016-01-01T00:00:00Z" } });
  const json = await completed(world, `/-/vaults/${vault}/jobs/${job}`);
  expect(json).toMatchObject({
    Action: "PullFromCOS",
    StatusCode: "Succeeded",
    ArchiveId: expect.stringMatching(/^[A-Za-z0-9_-]{128}$/),
    ArchiveSizeInBytes: content.length,
    ArchiveSHA256TreeHash: treeHash(content),
    RetrievalByteRange: null,
    SHA256TreeHash: null,
    Tier: null,
    Bucket: "source",
    Object: "thing",
    ArchiveDescription: "pulled",
  });
  expect(json.Condition["If-Modified-Since"]).toBe("2016-01-01T00:00:00Z");
  const retrieval = await wire.startJob(vault, { Type: "archive-retrieval", ArchiveId: json.ArchiveId });
  expect((await wire.get(`/-/vaults/${vault}/jobs/${retrieval}/output`)).body.equals(content)).toBe(true);
});

test("11.2, 15.4 pull-from-cos of an object that is not there fails, and has completed then", async () => {
  const vault = await world.vault();
  const job = await world.wire.startJob(vault, { Type: "pull-from-cos", Bucket: "source", Object: "none" });
  const json = await completed(world, `/-/vaults/${vault}/jobs/${job}`);
  expect(json).toMatchObject({ Completed: true, StatusCode: "Failed", ArchiveId: null });
});

test.each([
  { what: "push-to-cos without ArchiveId", order: { Type: "push-to-cos", Bucket: "b", Object: "o" } },
  { what: "push-to-cos without Bucket", order: { Type: "push-to-cos", ArchiveId: "A".repeat(128), Object: "o" } },
  { what: "pull-from-cos without Object", order: { Type: "pull-from-cos", Bucket: "b" } },
  { what: "pull-from-cos without Bucket", order: { Type: "pull-from-cos", Object: "o", Bucket: "" } },
])("4.3 $what: 400 MissingParameterValueException", async ({ order }) => {
  const reply = await world.wire.send(world.wire.jobRequest(await world.vault(), order));
  expectError(reply, 400, "MissingParameterValueException");
});

test("16 row 37 the Range of pull-from-cos is optional, and is of bytes of the object", async () => {
  const { wire } = world;
  const vault = await world.vault();
  await mkdir(join(directory, "ranged"), { recursive: true });
  await writeFile(join(directory, "ranged", "thing"), testBytes(1000));
  const job = await wire.startJob(vault, { Type: "pull-from-cos", Bucket: "ranged", Object: "thing", Range: "10-19" });
  const json = await completed(world, `/-/vaults/${vault}/jobs/${job}`);
  expect(json).toMatchObject({ ArchiveSizeInBytes: 10, ArchiveSHA256TreeHash: treeHash(testBytes(10, 10)) });
});

test("8.2 both addresses get the Describe Job response as POST of application/json", async () => {
  const { wire } = world;
  const vault = await world.vault();
  const configuration = { CallBackUrl: `${url()}/vault`, Events: ["InventoryRetrievalCompleted"] };
  const target = `/-/vaults/${vault}/notification-configuration`;
  await wire.send({ method: "PUT", target, body: JSON.stringify(configuration) });
  const job = await wire.startJob(vault, { Type: "inventory-retrieval", CallBackUrl: `${url()}/job` });
  await world.server.clock.advance(1000);
  const mine = () => calls.filter(({ json }) => json.JobId === job);
  await eventually(async () => (mine().length >= 2 ? true : undefined));
  const described = (await wire.get(`/-/vaults/${vault}/jobs/${job}`)).json();
  for (const call of mine()) expect(call).toEqual({ method: "POST", type: "application/json", json: described });
});
