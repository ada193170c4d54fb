/** Requests that meet in the middle of each other: bodies under way while what they are for ends. */

import { once } from "node:events";
import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { testBytes } from "../support/test-bytes.js";
import { hashHeaders } from "./cas-client.js";
import { bodyFiles, hour, LocalServer } from "./local-server.js";

const retrievalMs = { expedited: 0, standard: 0, bulk: 0, inventory: 0 };
let server: LocalServer;
beforeEach(async () => {
  server = await LocalServer.start({ retrievalMs });
  await server.client.createVault("v");
});
afterEach(() => server[Symbol.asyncDispose]());

const uploadPath = (id: string) => `/-/vaults/v/multipart-uploads/${id}`;
const files = async () => (await bodyFiles(server.directory)).length;

/** A request whose body is half sent. */
class HeldUpload {
  readonly #request: ClientRequest;
  readonly #rest: Buffer;
  readonly response: Promise<IncomingMessage>;

  constructor(method: string, path: string, content: Buffer, more: Readonly<Record<string, string>> = {}) {
    const length = { host: "cas.test", "content-length": String(content.length) };
    const headers = { ...length, ...hashHeaders(content), ...more };
    const authorization = server.client.sign(method, path, headers);
    const port = server.running.port;
    this.#request = httpRequest({ port, method, path, headers: { ...headers, authorization } });
    this.#request.write(content.subarray(0, content.length / 2));
    this.#rest = content.subarray(content.length / 2);
    this.response = once(this.#request, "response").then(([response]) => response as IncomingMessage);
    this.response.catch(() => undefined);
  }

  static part(id: string, start: number, content: Buffer): HeldUpload {
    const range = { "content-range": `bytes ${start}-${start + content.length - 1}/*` };
    return new HeldUpload("PUT", uploadPath(id), content, range);
  }

  static archive(content: Buffer): HeldUpload {
    return new HeldUpload("POST", "/-/vaults/v/archives", content);
  }

  /** Sends the other half. @returns the status of the answer. */
  async finish(): Promise<number> {
    this.#request.end(this.#rest);
    const response = await this.response;
    response.resume();
    return response.statusCode ?? 0;
  }

  breakOff(): void {
    this.#request.on("error", () => undefined).destroy();
  }
}

const underWay = (count: number) => expect.poll(files).toBe(count);
const content = testBytes(MIB);
const claimOf = (bytes: Buffer) => ({ sizeBytes: bytes.length, treeHash: digestOf(bytes).treeHash });

describe("a part that is under way", () => {
  test("is refused when its upload has been aborted meanwhile, and leaves nothing", async () => {
    const id = await server.client.initiateUpload("v");
    const held = [0, 1, 2].map((number) => HeldUpload.part(id, number * MIB, content));
    await underWay(3);
    expect((await server.client.call("DELETE", uploadPath(id))).status).toBe(204);
    expect(await Promise.all(held.map((each) => each.finish()))).toEqual([404, 404, 404]);
    await underWay(0);
  });

  test("is refused when its upload has been completed meanwhile; the archive keeps what it was completed with", async () => {
    const id = await server.client.initiateUpload("v");
    await server.client.putPart("v", id, { start: 0, content });
    const held = HeldUpload.part(id, 0, testBytes(MIB, 99));
    const beyond = HeldUpload.part(id, MIB, content);
    await underWay(3);
    const archive = (await server.client.complete("v", id, claimOf(content))).headers["x-cas-archive-id"];
    expect([await held.finish(), await beyond.finish()]).toEqual([404, 404]);
    await underWay(1);
    const job = await server.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
    expect((await server.client.output("v", job)).body.equals(content)).toBe(true);
  });

  test("keeps its upload alive beyond the lifetime, and the lifetime counts from its end", async () => {
    const id = await server.client.initiateUpload("v");
    const held = HeldUpload.part(id, 0, content);
    await underWay(1);
    await server.clock.advance(30 * hour);
    expect((await server.client.call("GET", uploadPath(id))).status).toBe(200);
    expect(await held.finish()).toBe(204);
    await server.clock.advance(23 * hour);
    expect((await server.client.call("GET", uploadPath(id))).json().Parts.length).toBe(1);
    await server.clock.advance(2 * hour);
    expect((await server.client.call("GET", uploadPath(id))).status).toBe(404);
    await underWay(0);
  });

  test("that the client breaks off leaves nothing, and lets its upload expire", async () => {
    const id = await server.client.initiateUpload("v");
    const held = HeldUpload.part(id, 0, content);
    await underWay(1);
    held.breakOff();
    await underWay(0);
    await server.clock.advance(24 * hour);
    expect((await server.client.call("GET", uploadPath(id))).status).toBe(404);
  });

  test("for the same place as another is the one that counts when it ends last; one file stays", async () => {
    const id = await server.client.initiateUpload("v");
    const first = HeldUpload.part(id, 0, testBytes(MIB, 5));
    const second = HeldUpload.part(id, 0, testBytes(MIB, 6));
    await underWay(2);
    expect(await second.finish()).toBe(204);
    expect(await first.finish()).toBe(204);
    await underWay(1);
    const listed = (await server.client.call("GET", uploadPath(id))).json().Parts;
    expect(listed.map((part: { SHA256TreeHash: string }) => part.SHA256TreeHash)).toEqual([
      digestOf(testBytes(MIB, 5)).treeHash,
    ]);
  });
});

describe("Complete", () => {
  test("sent many times at once makes one archive, whose id every answer has", async () => {
    const id = await server.client.initiateUpload("v");
    await server.client.putPart("v", id, { start: 0, content });
    const replies = await Promise.all(
      Array.from({ length: 8 }, () => server.client.complete("v", id, claimOf(content))),
    );
    expect(new Set(replies.map((reply) => reply.headers["x-cas-archive-id"])).size).toBe(1);
    const job = await server.client.startedJob("v", { Type: "inventory-retrieval" });
    expect((await server.client.output("v", job)).json().ArchiveList.length).toBe(1);
  });

  test("and Abort at once: one of them wins, and the other says so", async () => {
    const id = await server.client.initiateUpload("v");
    await server.client.putPart("v", id, { start: 0, content });
    const [completed, aborted] = await Promise.all([
      server.client.complete("v", id, claimOf(content)),
      server.client.call("DELETE", uploadPath(id)),
    ]);
    expect([
      [201, 404],
      [404, 204],
    ]).toContainEqual([completed.status, aborted.status]);
    await underWay(completed.status === 201 ? 1 : 0);
  });
});

describe("a vault that is deleted", () => {
  test("is refused while an archive is on its way to it, and succeeds once none is", async () => {
    const [kept, brokenOff] = [HeldUpload.archive(content), HeldUpload.archive(content)];
    await underWay(2);
    const refused = await server.client.call("DELETE", "/-/vaults/v");
    expect([refused.status, refused.json().code]).toEqual([400, "BadRequest"]);
    brokenOff.breakOff();
    await underWay(1);
    expect((await server.client.call("DELETE", "/-/vaults/v")).status).toBe(400);
    expect(await kept.finish()).toBe(201);
    const archive = (await kept.response).headers["x-cas-archive-id"];
    expect((await server.client.call("DELETE", `/-/vaults/v/archives/${archive}`)).status).toBe(204);
    expect((await server.client.call("DELETE", "/-/vaults/v")).status).toBe(204);
    await underWay(0);
  });

  test("and made again while a job is being ordered: the job is not the new vault's", async () => {
    const body = Buffer.from('{"Type":"inventory-retrieval"}');
    const held = new HeldUpload("POST", "/-/vaults/v/jobs", body);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await server.client.call("DELETE", "/-/vaults/v")).status).toBe(204);
    await server.client.createVault("v");
    expect(await held.finish()).toBe(404);
    expect((await server.client.call("GET", "/-/vaults/v/jobs")).json().JobList).toEqual([]);
  });

  test("is refused while it has an upload, aborted or expired ones do not count", async () => {
    const id = await server.client.initiateUpload("v");
    await server.client.putPart("v", id, { start: 0, content });
    const refused = await server.client.call("DELETE", "/-/vaults/v");
    expect([refused.status, refused.json().code]).toEqual([400, "BadRequest"]);
    await server.clock.advance(24 * hour);
    expect((await server.client.call("DELETE", "/-/vaults/v")).status).toBe(204);
    await underWay(0);
  });

  test("while an inventory job begins: either the job is there and then gone with it, or refused; no file stays", async () => {
    const [job, deleted] = await Promise.all([
      server.client.initiateJob("v", { Type: "inventory-retrieval" }),
      server.client.call("DELETE", "/-/vaults/v"),
    ]);
    expect(deleted.status).toBe(204);
    expect([202, 404]).toContain(job.status);
    await underWay(0);
  });
});

describe("space", () => {
  test("of a deleted archive is free at once, or when its last reader has all of it", async () => {
    const bytes = testBytes(24 * MIB);
    const archive = await server.client.uploaded("v", bytes);
    const job = await server.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
    const path = `/-/vaults/v/jobs/${job}/output`;
    const headers = { host: "cas.test" };
    const authorization = server.client.sign("GET", path, headers);
    const request = httpRequest({ port: server.running.port, path, headers: { ...headers, authorization } }).end();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    expect((await server.client.call("DELETE", `/-/vaults/v/archives/${archive}`)).status).toBe(204);
    expect(await files()).toBe(1);
    await server.clock.advance(24 * hour);
    expect((await server.client.output("v", job)).status).toBe(404);
    expect(await files()).toBe(1);
    const received: Buffer[] = [];
    for await (const chunk of response) received.push(chunk as Buffer);
    expect(Buffer.concat(received).equals(bytes)).toBe(true);
    await underWay(0);
  });

  test("of a reader that goes away in the middle is free, too", async () => {
    const archive = await server.client.uploaded("v", testBytes(24 * MIB));
    const job = await server.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
    const path = `/-/vaults/v/jobs/${job}/output`;
    const headers = { host: "cas.test" };
    const authorization = server.client.sign("GET", path, headers);
    const request = httpRequest({ port: server.running.port, path, headers: { ...headers, authorization } }).end();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    await server.client.call("DELETE", `/-/vaults/v/archives/${archive}`);
    await server.clock.advance(24 * hour);
    await server.client.call("GET", "/-/vaults");
    response.on("error", () => undefined).destroy();
    await underWay(0);
  });

  test("of an inventory is free when its job has expired", async () => {
    await server.client.startedJob("v", { Type: "inventory-retrieval" });
    expect(await files()).toBe(1);
    await server.clock.advance(24 * hour);
    await server.client.call("GET", "/-/vaults");
    await underWay(0);
  });
});

describe("a server that stops", () => {
  test("cuts bodies under way after a moment, acknowledges none of them and leaves no file of them", async () => {
    const id = await server.client.initiateUpload("v");
    const held = [HeldUpload.archive(content), HeldUpload.part(id, 0, content)];
    await underWay(2);
    // Nobody ends these bodies: who waited for them would wait longer than this test does.
    server = await server.restarted({ retrievalMs });
    for (const each of held) {
      const status = await each.response.then((response) => response.statusCode).catch(() => "cut");
      expect([500, 408, "cut"]).toContain(status);
    }
    expect(await files()).toBe(0);
    expect((await server.client.call("GET", uploadPath(id))).json().Parts).toEqual([]);
  });

  test("while clients go on sending: what it has acknowledged is there, what it has not is refused or cut", async () => {
    const acknowledged: string[] = [];
    const clients = Array.from({ length: 6 }, async (_, index) => {
      for (;;) {
        const reply = await server.client.upload("v", testBytes(1000, index)).catch(() => undefined);
        if (reply?.status !== 201) return reply?.status;
        acknowledged.push(reply.headers["x-cas-archive-id"] as string);
      }
    });
    await expect.poll(() => acknowledged.length).toBeGreaterThan(20);
    await server.running.close();
    for (const status of await Promise.all(clients)) expect([undefined, 500]).toContain(status);
    server = await server.restarted({ retrievalMs });
    const job = await server.client.startedJob("v", { Type: "inventory-retrieval" });
    const list = (await server.client.output("v", job)).json().ArchiveList as { ArchiveId: string }[];
    const listed = new Set(list.map(({ ArchiveId }) => ArchiveId));
    for (const archive of acknowledged) expect(listed.has(archive)).toBe(true);
    expect(await files()).toBe(listed.size + 1);
  });

  test("lets a body end that does so in time, and its answer counts", async () => {
    const held = HeldUpload.archive(content);
    await underWay(1);
    const stopped = server.restarted({ retrievalMs });
    expect(await held.finish()).toBe(201);
    server = await stopped;
    const job = await server.client.startedJob("v", { Type: "inventory-retrieval" });
    expect((await server.client.output("v", job)).json().ArchiveList.length).toBe(1);
  });
});
