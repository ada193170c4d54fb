/**
 * Clients of every kind at work while the server is killed at any moment, again and again in the same directory.
 *
 * Relies on: a build. A ledger holds what was acknowledged, and what was asked for without an answer and so may be either.
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import { expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { ServerProcess } from "../support/server-process.js";
import { testBytes } from "../support/test-bytes.js";
import { randomNumbers, testSeed } from "../support/test-seed.js";
import { CasClient } from "./cas-client.js";
import { bodyFiles } from "./local-server.js";

const rounds = 3;
const random = randomNumbers(testSeed);
const vault = "v";

interface LedgerUpload {
  readonly parts: Map<number, Buffer>;
  /** Sent, but the answer did not come. */
  readonly unanswered: Map<number, Buffer>;
  completion: "open" | "asked" | { readonly archive: string };
}

class Ledger {
  readonly archives = new Map<string, Buffer>();
  readonly deletions = new Map<string, "asked" | "done">();
  readonly uploads = new Map<string, LedgerUpload>();
  readonly jobs = new Set<string>();
  /** The policies that may be set: the last acknowledged one and those that were sent after it. */
  policies: (string | null)[] = [null];
}

/** Does what a client does until the server is gone. */
class Load {
  #next = 0;

  constructor(
    readonly client: CasClient,
    readonly ledger: Ledger,
    readonly seed: number,
  ) {}

  /** Resolves when every client has lost the server. @throws when one has met something else. */
  async run(): Promise<void> {
    const clients = [
      () => this.#archive(),
      () => this.#archive(),
      () => this.#deletion(),
      () => this.#parts(),
      () => this.#parts(),
      () => this.#job(),
      () => this.#policy(),
    ];
    await Promise.all(clients.map((act) => untilGone(act)));
  }

  #bytes(sizeBytes: number): Buffer {
    this.#next += 1;
    const bytes = testBytes(sizeBytes, this.#next);
    bytes.writeUInt32LE(this.seed * 1_000_000 + this.#next);
    return bytes;
  }

  async #archive(): Promise<string> {
    const bytes = this.#bytes(4 + ((this.#next * 7919) % 200_000));
    const archive = await this.client.uploaded(vault, bytes);
    this.ledger.archives.set(archive, bytes);
    return archive;
  }

  async #deletion(): Promise<void> {
    const archive = await this.#archive();
    this.ledger.deletions.set(archive, "asked");
    expect((await this.client.call("DELETE", `/-/vaults/${vault}/archives/${archive}`)).status).toBe(204);
    this.ledger.deletions.set(archive, "done");
  }

  async #parts(): Promise<void> {
    const id = await this.client.initiateUpload(vault);
    const upload: LedgerUpload = { parts: new Map(), unanswered: new Map(), completion: "open" };
    this.ledger.uploads.set(id, upload);
    const contents = [this.#bytes(MIB), this.#bytes(MIB), this.#bytes(1000)];
    for (const [number, content] of contents.entries()) {
      upload.unanswered.set(number * MIB, content);
      expect((await this.client.putPart(vault, id, { start: number * MIB, content })).status).toBe(204);
      upload.unanswered.delete(number * MIB);
      upload.parts.set(number * MIB, content);
    }
    upload.completion = "asked";
    const reply = await this.client.complete(vault, id, claimOf(upload));
    const archive = reply.headers["x-cas-archive-id"] as string;
    upload.completion = { archive };
    this.ledger.archives.set(archive, Buffer.concat(contents));
  }

  async #job(): Promise<void> {
    const archive = await this.#archive();
    this.ledger.jobs.add(await this.client.startedJob(vault, { Type: "archive-retrieval", ArchiveId: archive }));
    this.ledger.jobs.add(await this.client.startedJob(vault, { Type: "inventory-retrieval" }));
  }

  async #policy(): Promise<void> {
    this.#next += 1;
    const policy = `${" ".repeat(this.#next)}{"version":"2.0","statement":[]}`;
    this.ledger.policies.push(policy);
    const target = `/-/vaults/${vault}/access-policy`;
    expect((await this.client.call("PUT", target, { body: JSON.stringify({ policy }) })).status).toBe(204);
    this.ledger.policies = [policy];
  }
}

/** Resolves at a moment that has nothing to do with what the server is doing, once so many archives are acknowledged. */
async function moreThan(count: number, ledger: Ledger): Promise<void> {
  while (ledger.archives.size < count) await sleep(1);
  await sleep(random() * 20);
}

async function untilGone(act: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await act();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ECONNRESET" || code === "ECONNREFUSED" || code === "EPIPE") return;
      throw error;
    }
  }
}

function claimOf({ parts }: LedgerUpload): { readonly sizeBytes: number; readonly treeHash: string } {
  const bytes = Buffer.concat([...parts].sort(([a], [b]) => a - b).map(([, content]) => content));
  return { sizeBytes: bytes.length, treeHash: digestOf(bytes).treeHash };
}

async function download(client: CasClient, archive: string): Promise<Buffer> {
  const job = await client.startedJob(vault, { Type: "archive-retrieval", ArchiveId: archive });
  const reply = await client.output(vault, job);
  expect(reply.status).toBe(200);
  return reply.body;
}

async function checkArchives(client: CasClient, ledger: Ledger): Promise<void> {
  const job = await client.startedJob(vault, { Type: "inventory-retrieval" });
  const list = (await client.output(vault, job)).json().ArchiveList as { ArchiveId: string; SHA256TreeHash: string }[];
  const listed = new Map(list.map((each) => [each.ArchiveId, each.SHA256TreeHash]));
  for (const [archive, bytes] of ledger.archives) {
    const deletion = ledger.deletions.get(archive);
    if (deletion === undefined) expect(listed.get(archive)).toBe(digestOf(bytes).treeHash);
    if (deletion === "done") expect(listed.has(archive)).toBe(false);
  }
  // Also those whose answer was lost are whole.
  for (const [archive, treeHash] of listed) {
    const bytes = await download(client, archive);
    expect(digestOf(bytes).treeHash).toBe(treeHash);
    expect(bytes.equals(ledger.archives.get(archive) ?? bytes)).toBe(true);
  }
}

async function checkUploads(client: CasClient, ledger: Ledger): Promise<void> {
  for (const [id, upload] of ledger.uploads) {
    const reply = await client.call("GET", `/-/vaults/${vault}/multipart-uploads/${id}`);
    if (typeof upload.completion === "object") {
      expect(reply.status).toBe(404);
      const again = await client.complete(vault, id, claimOf(upload));
      expect(again.headers["x-cas-archive-id"]).toBe(upload.completion.archive);
      continue;
    }
    if (upload.completion === "asked" && reply.status === 404) continue;
    const listed = new Map<number, string>();
    for (const part of reply.json().Parts) listed.set(Number.parseInt(part.RangeInBytes, 10), part.SHA256TreeHash);
    for (const start of upload.parts.keys()) expect(listed.has(start)).toBe(true);
    for (const [start, treeHash] of listed) {
      const content = upload.parts.get(start) ?? upload.unanswered.get(start);
      expect(treeHash).toBe(digestOf(content!).treeHash);
    }
  }
}

async function checkRest(client: CasClient, ledger: Ledger): Promise<void> {
  for (const job of ledger.jobs) {
    expect((await client.call("GET", `/-/vaults/${vault}/jobs/${job}`)).json().StatusCode).toBe("Succeeded");
  }
  const reply = await client.call("GET", `/-/vaults/${vault}/access-policy`);
  const policy = reply.status === 404 ? null : reply.json().policy;
  expect(ledger.policies).toContainEqual(policy);
  ledger.policies = [policy];
}

/** With the server stopped: every row has its file, every file its row. */
async function expectNoOrphans(directory: string): Promise<void> {
  const database = new Database(join(directory, "metadata.db"), { readonly: true });
  try {
    const known = database.prepare<[], number>("SELECT file_id FROM body_file").pluck().all();
    expect((await bodyFiles(directory)).sort()).toEqual(known.map(String).sort());
  } finally {
    database.close();
  }
}

test("design 4.7: what was acknowledged survives kill -9 at any moment; nothing half done is visible or left over", async () => {
  const directory = await mkdtemp(join(tmpdir(), "casfs-crash-"));
  const ledger = new Ledger();
  try {
    for (let round = 0; ; round++) {
      const server = await ServerProcess.start(directory);
      await using _ = server;
      const client = new CasClient(server.port, () => Math.floor(Date.now() / 1000));
      await client.createVault(vault);
      await checkArchives(client, ledger);
      await checkUploads(client, ledger);
      await checkRest(client, ledger);
      if (round === rounds) {
        await server.kill("SIGTERM");
        break;
      }
      const load = new Load(client, ledger, round).run();
      await Promise.race([load, moreThan(ledger.archives.size + 3 + random() * 25, ledger)]);
      await server.kill();
      await load;
      client.close();
    }
    expect(ledger.archives.size).toBeGreaterThan(3 * rounds);
    await expectNoOrphans(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
