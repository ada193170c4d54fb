/** A data directory on a disk that is full: errors are answers, and nothing that was acknowledged is lost. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { noSmallDisk, SmallDisk } from "../support/small-disk.js";
import { testBytes } from "../support/test-bytes.js";
import type { Reply } from "./cas-client.js";
import { bodyFiles, LocalServer } from "./local-server.js";

const retrievalMs = { expedited: 0, standard: 0, bulk: 0, inventory: 0 };
const upload = (id: string) => `/-/vaults/v/multipart-uploads/${id}`;
let disk: SmallDisk;
let server: LocalServer;

function expectNoSpace(reply: Reply): void {
  expect([reply.status, reply.json()]).toEqual([
    500,
    { code: "ServiceUnavailableException", message: "The service has no space left", type: "Server" },
  ]);
}

async function expectArchive(archive: string, bytes: Buffer): Promise<void> {
  const job = await server.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
  expect((await server.client.output("v", job)).body.equals(bytes)).toBe(true);
}

/** Lets the database use up what is left: until then its log may have room for another small change. */
async function fillDatabase(): Promise<string[]> {
  const made: string[] = [];
  for (let index = 0; ; index++) {
    disk.fill();
    const reply = await server.client.createVault(`fill${index}`);
    if (reply.status === 201) made.push(`fill${index}`);
    else {
      expectNoSpace(reply);
      return made;
    }
  }
}

describe.skipIf(noSmallDisk !== undefined)(`a full disk${noSmallDisk === undefined ? "" : ` (${noSmallDisk})`}`, () => {
  beforeEach(async () => {
    disk = new SmallDisk(24 * MIB);
    const dataDirectory = join(disk.directory, "data");
    await mkdir(dataDirectory);
    server = await LocalServer.start({ dataDirectory, retrievalMs });
    await server.client.createVault("v");
  });
  afterEach(async () => {
    await server.stop();
    disk[Symbol.dispose]();
  });

  test("uploads fill it up to the reserve: then archives can still be deleted, and their space is used again", async () => {
    const kept = new Map<string, Buffer>();
    for (const sizeBytes of [2 * MIB, 100_000, 1]) {
      for (;;) {
        const bytes = testBytes(sizeBytes, kept.size);
        const reply = await server.client.upload("v", bytes);
        if (reply.status !== 201) {
          expectNoSpace(reply);
          break;
        }
        kept.set(reply.headers["x-cas-archive-id"] as string, bytes);
      }
    }
    expect(kept.size).toBeGreaterThan(8);
    expect((await bodyFiles(server.directory)).length).toBe(kept.size);
    const [first] = kept.keys();
    expect((await server.client.call("DELETE", `/-/vaults/v/archives/${first}`)).status).toBe(204);
    kept.delete(first!);
    const again = testBytes(MIB, 99);
    await expect.poll(async () => (await server.client.upload("v", again)).status).toBe(201);
    for (const [archive, bytes] of kept) await expectArchive(archive, bytes);
  });

  test("every operation that needs space is refused with 500 and changes nothing; what only reads goes on", async () => {
    const { client } = server;
    const bytes = testBytes(MIB + 7);
    const archive = await client.uploaded("v", bytes);
    const id = await client.initiateUpload("v");
    await client.putPart("v", id, { start: 0, content: bytes.subarray(0, MIB) });
    const job = await client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
    const files = await bodyFiles(server.directory);
    const made = await fillDatabase();

    expectNoSpace(await client.upload("v", bytes));
    expectNoSpace(await client.putPart("v", id, { start: MIB, content: bytes.subarray(MIB) }));
    expectNoSpace(
      await client.complete("v", id, { sizeBytes: MIB, treeHash: digestOf(bytes.subarray(0, MIB)).treeHash }),
    );
    expectNoSpace(await client.initiateJob("v", { Type: "inventory-retrieval" }));
    expectNoSpace(await client.initiateJob("v", { Type: "archive-retrieval", ArchiveId: archive }));
    expectNoSpace(await client.createVault("another"));
    expectNoSpace(
      await client.call("POST", "/-/vaults/v/multipart-uploads", { headers: { "x-cas-part-size": "1048576" } }),
    );
    expect((await client.output("v", job)).body.equals(bytes)).toBe(true);
    expect((await client.call("GET", upload(id))).json().Parts.length).toBe(1);
    expect((await bodyFiles(server.directory)).sort()).toEqual(files.sort());

    disk.free();
    await client.putPart("v", id, { start: MIB, content: bytes.subarray(MIB) });
    const whole = { sizeBytes: bytes.length, treeHash: digestOf(bytes).treeHash };
    const completed = (await client.complete("v", id, whole)).headers["x-cas-archive-id"] as string;
    server = await server.restarted({ retrievalMs });
    for (const each of [archive, completed]) await expectArchive(each, bytes);
    const listed = (await server.client.call("GET", "/-/vaults")).json().VaultList as { VaultName: string }[];
    expect(listed.map(({ VaultName }) => VaultName).sort()).toEqual([...made, "v"].sort());
  });

  test("a database that grows until the disk is full loses no acknowledged change, and goes on afterwards", async () => {
    const policy = `${" ".repeat(15_000)}{"version":"2.0","statement":[]}`;
    const set = async (vault: string) => {
      await server.client.createVault(vault);
      return server.client.call("PUT", `/-/vaults/${vault}/access-policy`, { body: JSON.stringify({ policy }) });
    };
    const acknowledged: string[] = [];
    disk.fill(MIB);
    for (let index = 0; ; index++) {
      const reply = await set(`p${index}`);
      if (reply.status === 500) break;
      expect(reply.status).toBe(204);
      acknowledged.push(`p${index}`);
    }
    expect(acknowledged.length).toBeGreaterThan(10);
    disk.free();
    expect((await set("after")).status).toBe(204);
    server = await server.restarted({ retrievalMs });
    for (const vault of [...acknowledged, "after"]) {
      expect((await server.client.call("GET", `/-/vaults/${vault}/access-policy`)).json()).toEqual({ policy });
    }
  });
});
