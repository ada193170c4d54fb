/** Ranges of job outputs against slices of what was uploaded; the tree-hash header exactly when 13.3 says so. */

import { afterAll, beforeAll, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { fc } from "../support/seeded-fast-check.js";
import { testBytes } from "../support/test-bytes.js";
import { LocalServer } from "./local-server.js";

let server: LocalServer;

interface Stored {
  readonly archive: string;
  readonly bytes: Buffer;
}

let stored: Stored[];

beforeAll(async () => {
  const retrievalMs = { expedited: 0, standard: 0, bulk: 0, inventory: 0 };
  server = await LocalServer.start({ retrievalMs, lenientPartSize: true });
  await server.client.createVault("v");
  stored = [
    await single(5 * MIB + 77),
    await single(3),
    await inParts(7 * MIB + 1, MIB),
    await inParts(8 * MIB, 2 * MIB),
    await inParts(11 * MIB + 5, 4 * MIB),
    // Parts that are no subtrees (cas-api section 16, row 2).
    await inParts(10 * MIB + 3, 3 * MIB),
    await inParts(13 * MIB, 5 * MIB),
    await inParts(7 * MIB, 7 * MIB),
  ];
});
afterAll(() => server[Symbol.asyncDispose]());

async function single(sizeBytes: number): Promise<Stored> {
  const bytes = testBytes(sizeBytes);
  return { archive: await server.client.uploaded("v", bytes), bytes };
}

async function inParts(sizeBytes: number, partSizeBytes: number): Promise<Stored> {
  const bytes = testBytes(sizeBytes, partSizeBytes);
  const upload = await server.client.initiateUpload("v", partSizeBytes);
  for (let start = 0; start < sizeBytes; start += partSizeBytes) {
    const content = bytes.subarray(start, start + partSizeBytes);
    expect((await server.client.putPart("v", upload, { start, content })).status).toBe(204);
  }
  const reply = await server.client.complete("v", upload, { sizeBytes, treeHash: digestOf(bytes).treeHash });
  return { archive: reply.headers["x-cas-archive-id"] as string, bytes };
}

/** The rule of 13.3 in its first form: the extents of all nodes of the tree over `sizeBytes`. */
function nodeExtents(sizeBytes: number): Set<string> {
  const extents = new Set<string>();
  for (let node = MIB; ; node *= 2) {
    for (let start = 0; start < sizeBytes; start += node) extents.add(`${start}-${Math.min(start + node, sizeBytes)}`);
    if (node >= sizeBytes) return extents;
  }
}

const point = fc.oneof(
  { weight: 3, arbitrary: fc.nat({ max: 13 }).map((mebibytes) => mebibytes * MIB) },
  { weight: 1, arbitrary: fc.nat({ max: 13 * MIB }) },
);

const scenario = fc.record({
  index: fc.nat({ max: 7 }),
  job: fc.option(fc.tuple(fc.nat({ max: 13 }), fc.nat({ max: 13 }))),
  ranges: fc.array(fc.tuple(point, point), { minLength: 1, maxLength: 6 }),
});

test("any range of any job's output is that slice of the archive, with a tree hash exactly when both are subtrees", async () => {
  let withHash = 0;
  await fc.assert(
    fc.asyncProperty(scenario, async ({ index, job, ranges }) => {
      const { archive, bytes } = stored[index]!;
      const nodes = nodeExtents(bytes.length);
      const [from, to] = (job ?? [0, 13])
        .map((mebibytes) => Math.min(mebibytes * MIB, bytes.length))
        .sort((a, b) => a - b);
      if (from === to) return;
      const order = job === null ? {} : { RetrievalByteRange: `${from}-${to! - 1}` };
      const id = await server.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive, ...order });
      const output = bytes.subarray(from, to);
      const isSubtree = nodes.has(`${from}-${to}`);

      const described = (await server.client.call("GET", `/-/vaults/v/jobs/${id}`)).json();
      expect(described.ArchiveSHA256TreeHash).toBe(digestOf(bytes).treeHash);
      expect(described.SHA256TreeHash).toBe(isSubtree ? digestOf(output).treeHash : null);
      const whole = await server.client.output("v", id);
      expect([whole.status, whole.body.equals(output)]).toEqual([200, true]);
      expect(whole.headers["x-cas-sha256-tree-hash"]).toBe(isSubtree ? digestOf(output).treeHash : undefined);

      for (const ends of ranges) {
        const [first, last] = ends.sort((a, b) => a - b) as [number, number];
        const reply = await server.client.output("v", id, `bytes=${first}-${last}`);
        if (first >= output.length) {
          expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
          continue;
        }
        const end = Math.min(last + 1, output.length);
        const slice = output.subarray(first, end);
        expect([reply.status, reply.body.equals(slice)]).toEqual([206, true]);
        expect(reply.headers["content-range"]).toBe(`bytes ${first}-${end - 1}/${output.length}`);
        const hasHash = isSubtree && nodes.has(`${from! + first}-${from! + end}`);
        expect(reply.headers["x-cas-sha256-tree-hash"]).toBe(hasHash ? digestOf(slice).treeHash : undefined);
        withHash += hasHash ? 1 : 0;
      }
    }),
    { numRuns: 25 },
  );
  expect(withHash).toBeGreaterThan(0);
}, 60_000);

test("every subtree of an archive has its true hash, whatever the sizes of its parts", async () => {
  for (const { archive, bytes } of stored) {
    const id = await server.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
    for (const extent of nodeExtents(bytes.length)) {
      const [start, end] = extent.split("-").map(Number) as [number, number];
      const reply = await server.client.output("v", id, `bytes=${start}-${end - 1}`);
      expect(reply.headers["x-cas-sha256-tree-hash"]).toBe(digestOf(bytes.subarray(start, end)).treeHash);
    }
  }
});
