/** After every answer: what a power loss at that moment would leave is enough to serve everything acknowledged. */

import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import type { DurableDisk } from "../support/power-loss.js";
import { testBytes } from "../support/test-bytes.js";
import { bodyFiles, LocalServer } from "./local-server.js";

const shared = vi.hoisted(() => ({ disk: undefined as DurableDisk | undefined }));
vi.mock("node:fs/promises", async (original) => {
  const { DurableDisk, recordingSyncs } = await import("../support/power-loss.js");
  shared.disk = new DurableDisk();
  return recordingSyncs(await original(), shared.disk);
});
vi.mock("node:fs", async (original) => {
  const { recordingDescriptors } = await import("../support/recorded-descriptors.js");
  return recordingDescriptors(await original(), () => shared.disk);
});

let server: LocalServer;

beforeEach(async () => {
  server = await LocalServer.start({ retrievalMs: { expedited: 0, standard: 0, bulk: 0, inventory: 0 } });
});
afterEach(async () => {
  shared.disk!.failing = undefined;
  await server[Symbol.asyncDispose]();
});

/** Starts a server on what a power loss would leave now, and looks at it. */
async function afterPowerLoss(look: (after: LocalServer) => Promise<void>, of = server): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "casfs-power-loss-"));
  try {
    shared.disk!.restore(of.directory, directory);
    const retrievalMs = { expedited: 0, standard: 0, bulk: 0, inventory: 0 };
    const after = await LocalServer.start({ dataDirectory: directory, clock: server.clock, retrievalMs });
    try {
      await look(after);
    } finally {
      await after.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function expectArchive(at: LocalServer, archive: string, bytes: Buffer): Promise<void> {
  const job = await at.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
  expect((await at.client.output("v", job)).body.equals(bytes)).toBe(true);
}

const upload = (id: string) => `/-/vaults/v/multipart-uploads/${id}`;

describe("design 4.7: what was acknowledged survives a power loss", () => {
  test("vaults, archives, parts, completed uploads, deletions, jobs and settings are there after each answer", async () => {
    const { client } = server;
    await client.createVault("v");
    await afterPowerLoss(async (after) => {
      expect((await after.client.call("GET", "/-/vaults/v")).status).toBe(200);
    });

    const bytes = testBytes(70_000, 3);
    const archive = await client.uploaded("v", bytes);
    await afterPowerLoss((after) => expectArchive(after, archive, bytes));

    const id = await client.initiateUpload("v");
    await afterPowerLoss(async (after) => {
      expect((await after.client.call("GET", upload(id))).json().Parts).toEqual([]);
    });
    const content = testBytes(MIB + 9, 5);
    await client.putPart("v", id, { start: 0, content: testBytes(MIB, 77) });
    await client.putPart("v", id, { start: 0, content: content.subarray(0, MIB) });
    await client.putPart("v", id, { start: MIB, content: content.subarray(MIB) });
    const claim = { sizeBytes: content.length, treeHash: digestOf(content).treeHash };
    await afterPowerLoss(async (after) => {
      const completed = await after.client.complete("v", id, claim);
      await expectArchive(after, completed.headers["x-cas-archive-id"] as string, content);
    });
    const completed = (await client.complete("v", id, claim)).headers["x-cas-archive-id"] as string;
    await afterPowerLoss((after) => expectArchive(after, completed, content));

    const inventory = await client.startedJob("v", { Type: "inventory-retrieval" });
    const listing = (await client.output("v", inventory)).body;
    const policy = JSON.stringify({ version: "2.0", statement: [] });
    await client.call("PUT", "/-/vaults/v/access-policy", { body: JSON.stringify({ policy }) });
    await client.call("DELETE", `/-/vaults/v/archives/${archive}`);
    await afterPowerLoss(async (after) => {
      expect((await after.client.output("v", inventory)).body.equals(listing)).toBe(true);
      expect((await after.client.call("GET", "/-/vaults/v/access-policy")).json()).toEqual({ policy });
      const job = await after.client.startedJob("v", { Type: "inventory-retrieval" });
      const listed = (await after.client.output("v", job)).json().ArchiveList;
      expect(listed.map((each: { ArchiveId: string }) => each.ArchiveId)).toEqual([completed]);
    });
  });

  test("many uploads at once share syncs, and each is safe when its own answer comes", async () => {
    await server.client.createVault("v");
    const checks: Promise<void>[] = [];
    const uploads = Array.from({ length: 12 }, async (_, index) => {
      const bytes = testBytes(1000 + index * 300_000, index);
      const archive = await server.client.uploaded("v", bytes);
      if (index % 3 === 0) checks.push(afterPowerLoss((after) => expectArchive(after, archive, bytes)));
    });
    await Promise.all(uploads);
    await Promise.all(checks);
  });

  test("what a killed server had committed but not synced is synced before the next one shows it", async () => {
    await server.client.createVault("v");
    shared.disk!.failing = /-wal$/;
    expect((await server.client.createVault("unsynced")).status).toBe(500);
    shared.disk!.failing = undefined;
    // What another process finds after a kill: everything that was written, synced or not.
    const copy = await mkdtemp(join(tmpdir(), "casfs-killed-"));
    await cp(server.directory, copy, { recursive: true });
    await using killed = await LocalServer.start({ dataDirectory: copy, clock: server.clock });
    expect((await killed.client.call("GET", "/-/vaults/unsynced")).status).toBe(200);
    await afterPowerLoss(async (after) => {
      expect((await after.client.call("GET", "/-/vaults/unsynced")).status).toBe(200);
    }, killed);
  });
});

describe("a disk that fails to sync", () => {
  test.each([
    { what: "the body", failing: /bodies\/\d+\/\d+$/ },
    { what: "its directory", failing: /bodies\/\d+$/ },
  ])(
    "an upload whose $what cannot be synced is refused with 500 and leaves nothing; the next one works",
    async ({ failing }) => {
      const { client } = server;
      await client.createVault("v");
      const bytes = testBytes(5000);
      const before = await client.uploaded("v", bytes);
      shared.disk!.failing = failing;
      const reply = await client.upload("v", bytes);
      expect([reply.status, reply.json().code]).toEqual([500, "ServiceUnavailableException"]);
      expect((await bodyFiles(server.directory)).length).toBe(1);
      shared.disk!.failing = undefined;
      expect((await client.upload("v", bytes)).status).toBe(201);
      await expectArchive(server, before, bytes);
    },
  );

  test("after a failed sync of the log nothing is acknowledged any more until a restart; then all acknowledged is there", async () => {
    const { client } = server;
    await client.createVault("v");
    const bytes = testBytes(5000);
    const archive = await client.uploaded("v", bytes);
    shared.disk!.failing = /-wal$/;
    expect((await client.upload("v", bytes)).status).toBe(500);
    // The kernel reports a failure once and forgets it: that a later sync works says nothing of what was lost.
    shared.disk!.failing = undefined;
    expect((await client.upload("v", bytes)).status).toBe(500);
    expect((await client.call("GET", "/-/vaults/v")).status).toBe(500);
    server = await server.restarted({ retrievalMs: { expedited: 0, standard: 0, bulk: 0, inventory: 0 } });
    await expectArchive(server, archive, bytes);
  });
});
