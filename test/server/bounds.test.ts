/** What grows with what a client sends or keeps, and what does not. Relies on: a build, and /proc. */

import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { byteCount, MIB } from "../../src/domain/bytes.js";
import type { VaultName } from "../../src/domain/ids.js";
import { digestOf, treeHashOfLeaves } from "../../src/protocol/tree-hash.js";
import type { IncomingFile } from "../../src/server/bytes/body-files.js";
import { ArchiveStore } from "../../src/server/store/archive-store.js";
import { MultipartStore } from "../../src/server/store/multipart-store.js";
import { FakeClock } from "../support/fake-clock.js";
import { seedService } from "../support/seeded-service.js";
import { ServerProcess } from "../support/server-process.js";
import { testBytes } from "../support/test-bytes.js";
import { CasClient, credentials } from "./cas-client.js";
import { bodyFiles, hour, LocalServer, startMs } from "./local-server.js";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-bounds-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

function clientOf(server: ServerProcess): CasClient {
  return new CasClient(server.port, () => Math.floor(Date.now() / 1000));
}

/** The most memory that the process has ever had, in MiB. */
function peakMemoryMiB(server: ServerProcess): number {
  const status = readFileSync(`/proc/${server.child.pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)![1]) / 1024;
}

function openFiles(server: ServerProcess): number {
  return readdirSync(`/proc/${server.child.pid}/fd`).length;
}

/** So much CPU time its main thread has had, in milliseconds (ticks of 10); a busy machine takes nothing from it. */
function mainThreadMs({ child }: ServerProcess): number {
  const text = readFileSync(`/proc/${child.pid}/task/${child.pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

/** The most that the server worked between question and answer of the small requests that were made while `work` ran. */
async function slowestPing(server: ServerProcess, client: CasClient, work: Promise<unknown>): Promise<number> {
  let slowestMs = 0;
  let isDone = false;
  const pings = (async () => {
    while (!isDone) {
      const before = mainThreadMs(server);
      await client.call("GET", "/-/vaults?limit=1");
      slowestMs = Math.max(slowestMs, mainThreadMs(server) - before);
    }
  })();
  try {
    await work;
  } finally {
    isDone = true;
    await pings;
  }
  return slowestMs;
}

describe("memory", () => {
  test("does not grow with the size of a body", async () => {
    const mebibytes = 512;
    const block = testBytes(MIB);
    const linear = createHash("sha256");
    for (let index = 0; index < mebibytes; index++) linear.update(block);
    const leaf = createHash("sha256").update(block).digest();
    const headers = {
      host: "cas.test",
      "content-length": String(mebibytes * MIB),
      "x-cas-content-sha256": linear.digest("hex"),
      "x-cas-sha256-tree-hash": treeHashOfLeaves(Array.from({ length: mebibytes }, () => leaf)),
    };
    await using server = await ServerProcess.start(directory);
    const client = clientOf(server);
    await client.createVault("v");
    await client.uploaded("v", testBytes(8 * MIB));
    const before = peakMemoryMiB(server);
    const path = "/-/vaults/v/archives";
    const request = httpRequest({
      port: server.port,
      method: "POST",
      path,
      headers: { ...headers, authorization: client.sign("POST", path, headers) },
    });
    Readable.from(Array.from({ length: mebibytes }, () => block)).pipe(request);
    const [response] = (await once(request, "response")) as [IncomingMessage];
    expect(response.statusCode).toBe(201);
    response.resume();
    expect(peakMemoryMiB(server) - before).toBeLessThan(100);

    const archive = response.headers["x-cas-archive-id"];
    const job = await client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
    expect(await downloadedBytes(server, client, `/-/vaults/v/jobs/${job}/output`)).toBe(mebibytes * MIB);
    expect(peakMemoryMiB(server) - before).toBeLessThan(150);
    client.close();
  });

  test("and answers to others do not depend on the size of an inventory", async () => {
    await seedService(directory, { vault: "v", archives: 100_000 });
    await using server = await ServerProcess.start(directory);
    const client = clientOf(server);
    const first = await inventoryPage(client, null);
    const before = peakMemoryMiB(server);
    const ids = new Set(first.ids);
    const rest = (async () => {
      for (let marker = first.marker; marker !== null; ) {
        const page = await inventoryPage(client, marker);
        for (const id of page.ids) ids.add(id);
        marker = page.marker;
      }
    })();
    const whileListed = await slowestPing(server, client, rest);
    // Nothing is that young: the whole vault is searched for nothing.
    const InventoryRetrievalParameters = { StartDate: "2040-01-01T00:00:00Z" };
    const empty = client.startedJob("v", { Type: "inventory-retrieval", InventoryRetrievalParameters });
    const whileSearched = await slowestPing(server, client, empty);
    expect(ids.size).toBe(100_000);
    expect(peakMemoryMiB(server) - before).toBeLessThan(60);
    expect(Math.max(whileListed, whileSearched)).toBeLessThan(300);
    client.close();
  });
});

async function downloadedBytes(server: ServerProcess, client: CasClient, path: string): Promise<number> {
  const headers = { host: "cas.test" };
  const authorization = client.sign("GET", path, headers);
  const request = httpRequest({ port: server.port, path, headers: { ...headers, authorization } });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  let bytes = 0;
  for await (const chunk of response) bytes += (chunk as Buffer).length;
  return bytes;
}

async function inventoryPage(client: CasClient, marker: string | null) {
  const InventoryRetrievalParameters = marker === null ? {} : { Marker: marker };
  const job = await client.startedJob("v", { Type: "inventory-retrieval", InventoryRetrievalParameters });
  const list = (await client.output("v", job)).json().ArchiveList as { ArchiveId: string }[];
  const described = (await client.call("GET", `/-/vaults/v/jobs/${job}`)).json();
  const next = described.InventoryRetrievalParameters.Marker as string | null;
  return { ids: list.map(({ ArchiveId }) => ArchiveId), marker: next };
}

describe("Complete of 10,000 parts", () => {
  test.each([
    { what: "of 1 MiB", mebibytes: 1, lenientPartSize: false, withinMs: 1000 },
    { what: "of 3 MiB, whose leaves have to be joined", mebibytes: 3, lenientPartSize: true, withinMs: 2000 },
  ])("$what answers in time: it reads no bytes", async ({ mebibytes, lenientPartSize, withinMs }) => {
    const clock = new FakeClock({ startMs });
    const leaf = digestOf(testBytes(MIB)).leaves[0]!;
    const leaves = Array.from({ length: mebibytes }, () => leaf);
    const treeHash = treeHashOfLeaves(leaves);
    const sizeBytes = 10_000 * mebibytes * MIB;
    const digest = { sizeBytes: mebibytes * MIB, sha256: "", treeHash, leaves };
    const upload = await seedUpload(digest as never, { clock, lenientPartSize });
    const claim = { sizeBytes, treeHash: treeHashOfRepeated(leaf, 10_000 * mebibytes) };
    await using server = await LocalServer.start({ dataDirectory: directory, clock, lenientPartSize });
    await server.client.call("GET", "/-/vaults");
    // Of this process, in which the server is: what a busy machine does meanwhile is not in it.
    const before = process.cpuUsage();
    const reply = await server.client.complete("v", upload, claim);
    const { user, system } = process.cpuUsage(before);
    const tookMs = (user + system) / 1000;
    expect([reply.status, reply.headers["x-cas-sha256-tree-hash"]]).toEqual([201, claim.treeHash]);
    expect(tookMs).toBeLessThan(withinMs);
  });
});

/** An upload whose 10,000 parts are rows only: Complete has no reason to open their files. */
async function seedUpload(
  digest: IncomingFile["digest"],
  { clock, lenientPartSize }: { readonly clock: FakeClock; readonly lenientPartSize: boolean },
): Promise<string> {
  const store = await ArchiveStore.open(directory, { clock, randomBytes: (count) => Buffer.alloc(count, 7) });
  try {
    const uploads = new MultipartStore(store, { lifetimeMs: 24 * hour, lenientPartSize });
    store.createVault(credentials.appId, "v" as VaultName);
    const vault = store.vault(credentials.appId, "v" as VaultName);
    const id = uploads.initiate(vault, { partSizeBytes: byteCount(digest.sizeBytes), description: "" });
    const { body_key: body } = uploads.open(vault, id);
    store.transaction(() => {
      for (let number = 0; number < 10_000; number++) {
        store.addFile(body, number * digest.sizeBytes, { fileId: 1 + number, digest } as IncomingFile);
      }
    });
    return id;
  } finally {
    await store.close();
  }
}

/** The tree hash over `count` equal leaves, one hash for each level and each odd end. */
function treeHashOfRepeated(leaf: Uint8Array, count: number): string {
  const join = (left: Uint8Array, right: Uint8Array) => createHash("sha256").update(left).update(right).digest();
  let node: Uint8Array = leaf;
  let end: Uint8Array | undefined;
  for (let left = count; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) end = end === undefined ? node : join(node, end);
    node = join(node, node);
  }
  return Buffer.from(end!).toString("hex");
}

describe("connections", () => {
  const idle: Socket[] = [];
  afterEach(() => {
    for (const socket of idle.splice(0)) socket.destroy();
  });

  function open(port: number, count: number): Promise<Socket>[] {
    return Array.from({ length: count }, async () => {
      const socket = connect({ port, host: "127.0.0.1" });
      socket.on("error", () => undefined);
      idle.push(socket);
      await once(socket, "connect");
      return socket;
    });
  }

  test("above the bound are closed at once; those that say nothing, or too slowly, are closed in time", async () => {
    await using server = await LocalServer.start({ connectionsMax: 20, headersTimeoutMs: 300 });
    const sockets = await Promise.all(open(server.running.port, 40));
    const ended = sockets.map((socket) => once(socket.resume(), "close"));
    const drip = setInterval(() => {
      for (const socket of sockets.slice(0, 10)) if (!socket.destroyed) socket.write("G");
    }, 20);
    try {
      await Promise.all(ended);
    } finally {
      clearInterval(drip);
    }
    expect((await server.client.call("GET", "/-/vaults")).status).toBe(200);
  });

  test("many uploads at once hold two open files each, and none when they have ended or broken off", async () => {
    const connectionsMax = 30;
    await using server = await ServerProcess.start(directory, { connectionsMax });
    const client = clientOf(server);
    await client.createVault("v");
    client.close();
    await expect.poll(() => openFiles(server)).toBeLessThan(40);
    const before = openFiles(server);
    const content = testBytes(1000);
    const path = "/-/vaults/v/archives";
    const headers = { host: "cas.test", "content-length": "1000" };
    const signature = client.sign("POST", path, { ...headers });
    const hashes = digestOf(content);
    const head = [
      `POST ${path} HTTP/1.1`,
      "host: cas.test",
      "content-length: 1000",
      `x-cas-content-sha256: ${hashes.sha256}`,
      `x-cas-sha256-tree-hash: ${hashes.treeHash}`,
      `authorization: ${signature}`,
    ];
    const sockets = await Promise.all(open(server.port, 60));
    for (const socket of sockets) {
      socket.resume();
      socket.write(`${head.join("\r\n")}\r\n\r\n`);
      socket.write(content.subarray(0, 500));
    }
    await expect.poll(() => bodyFiles(directory).then((files) => files.length)).toBe(connectionsMax);
    expect(openFiles(server) - before).toBeLessThanOrEqual(2 * connectionsMax + 2);
    for (const socket of sockets) socket.destroy();
    await expect.poll(() => bodyFiles(directory)).toEqual([]);
    await expect.poll(() => openFiles(server)).toBeLessThanOrEqual(before);
    expect((await clientOf(server).upload("v", content)).status).toBe(201);
  });
});
