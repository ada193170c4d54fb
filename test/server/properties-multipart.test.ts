/** Multipart uploads over HTTP against a model that is too simple to be wrong: a map of parts for each upload. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";
import { hashHeaders, type Reply } from "./cas-client.js";
import { bodyFiles, hour, LocalServer } from "./local-server.js";

const lifetimeMs = 24 * hour;
const memoryMs = hour;

type Step =
  | { readonly step: "initiate"; readonly mebibytes: 1 | 2; readonly description: string }
  | {
      readonly step: "part";
      readonly upload: number;
      readonly number: number;
      readonly seed: number;
      readonly cut: number;
    }
  | { readonly step: "bad part"; readonly upload: number; readonly fault: PartFault }
  | { readonly step: "list parts"; readonly upload: number; readonly limit: number }
  | { readonly step: "list uploads"; readonly limit: number }
  | { readonly step: "complete"; readonly upload: number; readonly claim: "right" | "wrong size" | "wrong hash" }
  | { readonly step: "abort"; readonly upload: number }
  | { readonly step: "wait"; readonly hours: number }
  | { readonly step: "restart" };

type PartFault = "wrong sha" | "wrong tree" | "unaligned" | "too long" | "empty" | "another range";

interface ModelUpload {
  readonly id: string;
  readonly partSizeBytes: number;
  readonly description: string;
  readonly createdAt: number;
  readonly parts: Map<number, Buffer>;
  activeAt: number;
  ended: { readonly at: number; readonly archive: string | null } | undefined;
}

const upload = fc.nat({ max: 2 });
const steps: fc.Arbitrary<Step>[] = [
  fc.record({
    step: fc.constant("initiate" as const),
    mebibytes: fc.constantFrom(1 as const, 2 as const),
    description: fc.string({ maxLength: 10, unit: fc.constantFrom("a", "b", "/", "~") }),
  }),
  fc.record({
    step: fc.constant("part" as const),
    upload,
    number: fc.nat({ max: 3 }),
    seed: fc.nat({ max: 250 }),
    cut: fc.constantFrom(0, 0, 0, 1, 12345, MIB - 1),
  }),
  fc.record({
    step: fc.constant("bad part" as const),
    upload,
    fault: fc.constantFrom<PartFault>("wrong sha", "wrong tree", "unaligned", "too long", "empty", "another range"),
  }),
  fc.record({ step: fc.constant("list parts" as const), upload, limit: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ step: fc.constant("list uploads" as const), limit: fc.integer({ min: 1, max: 3 }) }),
  fc.record({
    step: fc.constant("complete" as const),
    upload,
    claim: fc.constantFrom("right" as const, "right" as const, "wrong size" as const, "wrong hash" as const),
  }),
  fc.record({ step: fc.constant("abort" as const), upload }),
  fc.record({ step: fc.constant("wait" as const), hours: fc.constantFrom(0.5, 1, 13, 13, 23, 24) }),
  fc.constant({ step: "restart" as const }),
];
const weights = [2, 7, 2, 2, 1, 4, 1, 4, 1];
const anyStep = fc.oneof(...steps.map((arbitrary, index) => ({ arbitrary, weight: weights[index]! })));

/** The service as it should be, beside the service as it is. */
class Pair {
  readonly #uploads: ModelUpload[] = [];
  readonly #archives = new Map<string, Buffer>();

  constructor(
    private server: LocalServer,
    readonly vault: string,
  ) {}

  get currentServer(): LocalServer {
    return this.server;
  }

  async run(step: Step): Promise<void> {
    if (step.step === "initiate") return this.#initiate(step);
    if (step.step === "wait") return this.server.clock.advance(step.hours * hour);
    if (step.step === "restart") {
      this.server = await this.server.restarted();
      return;
    }
    if (step.step === "list uploads") return this.#listUploads(step.limit);
    const target = this.#uploads[step.upload % this.#uploads.length]!;
    if (step.step === "part") return this.#part(target, step);
    if (step.step === "bad part") return this.#badPart(target, step.fault);
    if (step.step === "list parts") return this.#listParts(target, step.limit);
    if (step.step === "complete") return this.#complete(target, step.claim);
    return this.#abort(target);
  }

  /** Every archive reads back whole, and the disk holds nothing else than archives and open uploads. */
  async check(): Promise<void> {
    const { client, clock } = this.server;
    const jobs = new Map<string, string>();
    for (const archive of this.#archives.keys()) {
      jobs.set(
        archive,
        await client.startedJob(this.vault, { Type: "archive-retrieval", ArchiveId: archive, Tier: "Expedited" }),
      );
    }
    await clock.advance(1001);
    for (const [archive, bytes] of this.#archives) {
      const reply = await client.output(this.vault, jobs.get(archive)!);
      expect([reply.status, reply.body.equals(bytes)]).toEqual([200, true]);
      expect(reply.headers["x-cas-sha256-tree-hash"]).toBe(digestOf(bytes).treeHash);
    }
  }

  /** The files that the model says there are: one for each part that an open upload or an archive consists of. */
  get files(): number {
    const kept = this.#uploads.filter((each) => this.#isOpen(each) || each.ended?.archive != null);
    return kept.reduce((sum, { parts }) => sum + parts.size, 0);
  }

  #now(): number {
    return this.server.clock.now();
  }

  #isOpen(of: ModelUpload): boolean {
    return of.ended === undefined && of.activeAt + lifetimeMs > this.#now();
  }

  #isRemembered(of: ModelUpload): boolean {
    return of.ended !== undefined && of.ended.at + memoryMs > this.#now();
  }

  #target(of: ModelUpload): string {
    return `/-/vaults/${this.vault}/multipart-uploads/${of.id}`;
  }

  async #initiate({ mebibytes, description }: Extract<Step, { step: "initiate" }>): Promise<void> {
    if (this.#uploads.length === 3) return;
    const headers = { "x-cas-archive-description": description };
    const id = await this.server.client.initiateUpload(this.vault, mebibytes * MIB, headers);
    const now = this.#now();
    this.#uploads.push({
      id,
      partSizeBytes: mebibytes * MIB,
      description,
      createdAt: now,
      parts: new Map(),
      activeAt: now,
      ended: undefined,
    });
  }

  async #part(of: ModelUpload, { number, seed, cut }: Extract<Step, { step: "part" }>): Promise<void> {
    const content = testBytes(of.partSizeBytes - cut, seed);
    const start = number * of.partSizeBytes;
    const reply = await this.server.client.putPart(this.vault, of.id, { start, content });
    if (!this.#isOpen(of)) return expectError(reply, 404, "ResourceNotFoundException");
    expect(reply.status).toBe(204);
    expect(reply.headers["x-cas-sha256-tree-hash"]).toBe(digestOf(content).treeHash);
    of.parts.set(start, content);
    of.activeAt = this.#now();
  }

  async #badPart(of: ModelUpload, fault: PartFault): Promise<void> {
    const lie = "0".repeat(64);
    const content = testBytes(fault === "too long" ? of.partSizeBytes + 1 : fault === "empty" ? 0 : 1000);
    const headers: Record<string, string> = hashHeaders(content);
    if (fault === "wrong sha") headers["x-cas-content-sha256"] = lie;
    if (fault === "wrong tree") headers["x-cas-sha256-tree-hash"] = lie;
    if (fault === "another range" || fault === "empty") headers["content-range"] = "bytes 0-1000/*";
    const start = fault === "unaligned" ? 1 : 0;
    const reply = await this.server.client.putPart(this.vault, of.id, { start, content, headers });
    if (!this.#isOpen(of)) return expectError(reply, 404, "ResourceNotFoundException");
    expectError(reply, 400, fault.startsWith("wrong") ? "InvalidDigest" : "InvalidParameterValueException");
  }

  async #listParts(of: ModelUpload, limit: number): Promise<void> {
    const listed: { RangeInBytes: string; SHA256TreeHash: string }[] = [];
    for (let marker = ""; ; ) {
      const query = `?limit=${limit}${marker === "" ? "" : `&marker=${marker}`}`;
      const reply = await this.server.client.call("GET", `${this.#target(of)}${query}`);
      if (!this.#isOpen(of)) return expectError(reply, 404, "ResourceNotFoundException");
      const page = reply.json();
      expect(page).toMatchObject({ ArchiveDescription: of.description, PartSizeInBytes: of.partSizeBytes });
      listed.push(...page.Parts);
      if (page.Marker === null) break;
      expect(page.Parts.length).toBe(limit);
      marker = page.Marker;
    }
    expect(listed).toEqual(
      sortedParts(of).map(([start, content]) => ({
        RangeInBytes: `${start}-${start + content.length - 1}`,
        SHA256TreeHash: digestOf(content).treeHash,
      })),
    );
  }

  async #listUploads(limit: number): Promise<void> {
    const listed: string[] = [];
    for (let marker = ""; ; ) {
      const query = `?limit=${limit}${marker === "" ? "" : `&marker=${encodeURIComponent(marker)}`}`;
      const page = (await this.server.client.call("GET", `/-/vaults/${this.vault}/multipart-uploads${query}`)).json();
      listed.push(...page.UploadsList.map((each: { MultipartUploadId: string }) => each.MultipartUploadId));
      if (page.Marker === null) break;
      marker = page.Marker;
    }
    const open = this.#uploads.filter((each) => this.#isOpen(each));
    open.sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
    expect(listed).toEqual(open.map((each) => each.id));
  }

  async #complete(of: ModelUpload, claim: "right" | "wrong size" | "wrong hash"): Promise<void> {
    const bytes = Buffer.concat(sortedParts(of).map(([, content]) => content));
    const reply = await this.server.client.complete(this.vault, of.id, {
      sizeBytes: bytes.length + (claim === "wrong size" ? 1 : 0),
      treeHash: claim === "wrong hash" || bytes.length === 0 ? "0".repeat(64) : digestOf(bytes).treeHash,
    });
    const isRepetition = of.ended?.archive != null && this.#isRemembered(of);
    if (!isRepetition && !this.#isOpen(of)) return expectError(reply, 404, "ResourceNotFoundException");
    if (!isContiguous(of) || claim === "wrong size") return expectError(reply, 400, "InvalidParameterValueException");
    if (claim === "wrong hash") return expectError(reply, 400, "InvalidDigest");
    const archive = reply.headers["x-cas-archive-id"] as string;
    expect([reply.status, archive]).toEqual([201, of.ended?.archive ?? expect.any(String)]);
    of.ended ??= { at: this.#now(), archive };
    this.#archives.set(archive, bytes);
  }

  async #abort(of: ModelUpload): Promise<void> {
    const reply = await this.server.client.call("DELETE", this.#target(of));
    const again = of.ended?.archive === null && this.#isRemembered(of);
    if (!again && !this.#isOpen(of)) return expectError(reply, 404, "ResourceNotFoundException");
    expect(reply.status).toBe(204);
    of.ended ??= { at: this.#now(), archive: null };
  }
}

function sortedParts(of: ModelUpload): [number, Buffer][] {
  return [...of.parts].sort(([a], [b]) => a - b);
}

function isContiguous(of: ModelUpload): boolean {
  const parts = sortedParts(of);
  return (
    parts.length > 0 &&
    parts.every(([start, content], index) => {
      const isLast = index === parts.length - 1;
      return start === index * of.partSizeBytes && (isLast || content.length === of.partSizeBytes);
    })
  );
}

function expectError(reply: Reply, status: number, code: string): void {
  expect([reply.status, reply.json().code, reply.json().type]).toEqual([status, code, "Client"]);
}

let server: LocalServer;
let vaults = 0;
beforeAll(async () => {
  server = await LocalServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

test("whatever a client does to its uploads, statuses, listings and archives are those of the model", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { minLength: 8, maxLength: 30 }), async (sequence) => {
      const filesBefore = (await bodyFiles(server.directory)).length;
      vaults += 1;
      await server.client.createVault(`v${vaults}`);
      const pair = new Pair(server, `v${vaults}`);
      try {
        for (const step of [{ step: "initiate", mebibytes: 1, description: "" } as const, ...sequence])
          await pair.run(step);
      } finally {
        server = pair.currentServer;
      }
      await pair.check();
      // Uploads of earlier sequences expire, also while a later one waits: they are let go before they are counted.
      await server.clock.advance(25 * hour);
      await server.client.call("GET", `/-/vaults/v${vaults}/multipart-uploads`);
      const expected = filesBefore + pair.files;
      await expect.poll(async () => (await bodyFiles(server.directory)).length).toBe(expected);
    }),
    { numRuns: 25 },
  );
}, 60_000);
