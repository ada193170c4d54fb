/** Relies on: a build. The server under test is the compiled one, in a process that is killed. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { testBytes } from "../support/test-bytes.js";
import { CasClient } from "./cas-client.js";
import { bodyFiles } from "./local-server.js";

const script = fileURLToPath(new URL("../support/serve-child.mjs", import.meta.url));
let directory: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-durability-"));
});
afterEach(async () => {
  for (const child of children.splice(0)) await killed(child);
  await rm(directory, { recursive: true, force: true });
});

interface Served {
  readonly child: ChildProcess;
  /** What it printed: its port, or why it did not start. */
  readonly line: string;
  readonly client: CasClient;
}

async function serve(): Promise<Served> {
  const child = spawn(process.execPath, [script, directory], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const [line] = (await once(createInterface({ input: child.stdout! }), "line")) as [string];
  const client = new CasClient(Number(line.split(" ")[1]), () => Math.floor(Date.now() / 1000));
  return { child, line, client };
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

async function download(client: CasClient, archive: string): Promise<Buffer> {
  const job = await client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
  return (await client.output("v", job)).body;
}

describe("design 4.7: what was acknowledged survives kill -9", () => {
  test("an upload goes on after the crash: its parts are listed, the missing one is sent, Complete works", async () => {
    const bytes = testBytes(3 * MIB + 5);
    const partAt = (number: number) => ({
      start: number * MIB,
      content: bytes.subarray(number * MIB, (number + 1) * MIB),
    });
    const first = await serve();
    await first.client.createVault("v");
    const upload = await first.client.initiateUpload("v");
    for (const number of [0, 1, 3]) await first.client.putPart("v", upload, partAt(number));
    const unfinished = first.client.call("PUT", `/-/vaults/v/multipart-uploads/${upload}`, {
      headers: { "content-range": `bytes ${2 * MIB}-${3 * MIB - 1}/*`, "content-length": String(MIB) },
      body: partAt(2).content.subarray(0, 1000),
    });
    unfinished.catch(() => undefined);
    await killed(first.child);

    const second = await serve();
    const parts = (await second.client.call("GET", `/-/vaults/v/multipart-uploads/${upload}`)).json().Parts;
    expect(parts.map((part: { RangeInBytes: string }) => Number(part.RangeInBytes.split("-")[0]))).toEqual([
      0,
      MIB,
      3 * MIB,
    ]);
    expect((await second.client.putPart("v", upload, partAt(2))).status).toBe(204);
    const whole = { sizeBytes: bytes.length, treeHash: digestOf(bytes).treeHash };
    const archive = (await second.client.complete("v", upload, whole)).headers["x-cas-archive-id"] as string;
    await killed(second.child);

    const third = await serve();
    expect((await download(third.client, archive)).equals(bytes)).toBe(true);
    expect((await third.client.complete("v", upload, whole)).headers["x-cas-archive-id"]).toBe(archive);
    expect((await bodyFiles(directory)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  }, 60_000);
});

describe("design 4.7: one server per data directory", () => {
  test("the second is told which process holds it; kill -9 frees it", async () => {
    const first = await serve();
    const second = await serve();
    expect(second.line).toBe(`failed: Cannot use ${directory}: process ${first.child.pid} is serving it`);
    expect((await readFile(join(directory, "server.pid"), "utf8")).trim()).toBe(String(first.child.pid));
    await killed(first.child);
    expect((await serve()).line).toMatch(/^port: \d+$/);
  }, 60_000);

  test("an orderly stop answers what is under way and leaves a directory that opens again", async () => {
    const first = await serve();
    await first.client.createVault("v");
    const exited = once(first.child, "exit");
    first.child.kill("SIGTERM");
    expect(await exited).toEqual([0, null]);
    expect((await (await serve()).client.call("GET", "/-/vaults/v")).status).toBe(200);
  }, 60_000);
});

describe("a body file that the disk has lost", () => {
  test("is answered with 500, and never with other bytes; what is lost in the middle cuts the answer", async () => {
    const server = await serve();
    await server.client.createVault("v");
    const ids = [
      await server.client.uploaded("v", testBytes(5000)),
      await server.client.uploaded("v", testBytes(5 * MIB)),
    ];
    const [gone, cut] = await Promise.all(
      ids.map((id) => server.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: id })),
    );
    await rm(join(directory, "bodies", "0", "1"));
    await truncate(join(directory, "bodies", "0", "2"), 3 * MIB);
    const reply = await server.client.output("v", gone!);
    expect([reply.status, reply.json().code]).toEqual([500, "ServiceUnavailableException"]);
    await expect(server.client.output("v", cut!)).rejects.toThrow("aborted");
    expect((await server.client.call("GET", "/-/vaults/v")).status).toBe(200);
  }, 60_000);
});
