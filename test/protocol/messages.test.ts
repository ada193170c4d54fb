import { describe, expect, test } from "vitest";
import { byteCount, byteRange, MIB } from "../../src/domain/bytes.js";
import { archiveId, jobId, uploadId, vaultName } from "../../src/domain/ids.js";
import type { Instant } from "../../src/domain/time.js";
import {
  formatArchiveCreated,
  formatArchiveUpload,
  parseArchiveCreated,
  parseArchiveUpload,
} from "../../src/protocol/archive-wire.js";
import { parseJsonBody, WireError } from "../../src/protocol/error-wire.js";
import {
  formatJob,
  formatJobFilter,
  formatJobList,
  type JobFacts,
  parseJob,
  parseJobFilter,
  parseJobList,
} from "../../src/protocol/job-description-wire.js";
import {
  formatJobCreated,
  formatJobOrder,
  formatJobRequest,
  type JobOrder,
  parseJobCreated,
  parseJobRequest,
  resolveOrderedRange,
} from "../../src/protocol/job-order-wire.js";
import {
  formatOutputHeaders,
  formatRange,
  parseOutputHeaders,
  parseRange,
} from "../../src/protocol/job-output-wire.js";
import { WireFormatError } from "../../src/protocol/json-fields.js";
import type { HeaderRecord } from "../../src/protocol/message-headers.js";
import {
  formatCompletion,
  formatContentRange,
  formatInitiateUpload,
  formatPartList,
  formatPartUpload,
  formatUploadCreated,
  formatUploadList,
  parseCompletion,
  parseContentRange,
  parseInitiateUpload,
  parsePartList,
  parsePartsMarker,
  parsePartUpload,
  parseUploadCreated,
  parseUploadList,
} from "../../src/protocol/multipart-wire.js";
import { noCondition } from "../../src/protocol/object-condition.js";
import { formatPageQuery, parsePageQuery } from "../../src/protocol/page-wire.js";
import { formatVaultQcs, parseVaultQcs } from "../../src/protocol/qcs.js";
import { digestOf, treeHashHex } from "../../src/protocol/tree-hash.js";
import {
  formatVault,
  formatVaultList,
  parseAccessPolicy,
  parseNotification,
  parseVault,
  parseVaultList,
} from "../../src/protocol/vault-wire.js";
import { formatTime, formatTimeInSeconds, parseTime } from "../../src/protocol/wire-time.js";
import { fc } from "../support/seeded-fast-check.js";
import { vectors } from "../support/vectors.js";

const owner = { region: "ap-chengdu", appId: "1250000000" };
const vault = vaultName("example");
const createdAt = Date.UTC(2017, 2, 20, 17, 3, 43, 221) as Instant;
const { sha256, treeHash } = digestOf(Buffer.from("hello"));
const lookup = (headers: HeaderRecord) => (name: string) => headers[name];
const overWire = <T>(value: T): unknown => JSON.parse(JSON.stringify(value));
const codeOf = (parse: () => unknown): string => {
  try {
    parse();
  } catch (error) {
    return error instanceof WireError ? error.code : String(error);
  }
  return "ok";
};
const invalid = "InvalidParameterValueException";
const lacking = "MissingParameterValueException";

describe("times and names", () => {
  test("times travel in UTC with milliseconds", () => {
    expect(formatTime(createdAt)).toBe("2017-03-20T17:03:43.221Z");
    expect(parseTime("2017-03-20T17:03:43.221Z")).toBe(createdAt);
    expect(parseTime("2017-03-20T18:03:43.2219+01:00")).toBe(createdAt);
    expect(formatTimeInSeconds(createdAt)).toBe("2017-03-20T17:03:43Z");
  });

  test.each(["", "yesterday", "2017-03-20", "2017-02-30T00:00:00Z", "2017-13-01T00:00:00Z", "2017-03-20T25:00:00Z"])(
    "%j is no time",
    (text) => expect(() => parseTime(text)).toThrow(RangeError),
  );

  test("every form of a resource name leads to its vault", () => {
    expect(formatVaultQcs(owner, vault)).toBe("qcs:id/0:cas:ap-chengdu:uid/1250000000:vaults/example");
    for (const text of [
      formatVaultQcs(owner, vault),
      "qcs::cas:ap-chengdu:uid/1250000000:vaults/example",
      "qcs::cas:ap-chengdu:uid/1250000000:vault/example",
      "example",
    ]) {
      expect(parseVaultQcs(text)).toBe(vault);
    }
    expect(parseVaultQcs("qcs::cas:ap-chengdu:uid/1:vaults/../x")).toBeUndefined();
    expect(parseVaultQcs("")).toBeUndefined();
  });
});

describe("vault messages", () => {
  const description = { name: vault, createdAt, lastInventoryAt: null, archiveCount: null, sizeBytes: null };

  test("a description reads back and has all six keys", () => {
    const wire = formatVault(owner, description);
    expect(Object.keys(wire).sort()).toEqual(
      ["CreationDate", "LastInventoryDate", "NumberOfArchives", "SizeInBytes", "VaultName", "VaultQCS"].sort(),
    );
    expect(parseVault(overWire(wire))).toEqual(description);
    const counted = { ...description, lastInventoryAt: createdAt, archiveCount: 2, sizeBytes: byteCount(5) };
    expect(parseVaultList(overWire(formatVaultList(owner, { items: [counted], marker: "m" })))).toEqual({
      items: [counted],
      marker: "m",
    });
  });

  test.each([
    ["no object", []],
    ["a name that escapes its directory", { ...formatVault(owner, description), VaultName: "../x" }],
    ["a size below zero", { ...formatVault(owner, description), SizeInBytes: -1 }],
    ["a size beyond what is exact", { ...formatVault(owner, description), SizeInBytes: 2 ** 60 }],
    ["no date", { ...formatVault(owner, description), CreationDate: null }],
  ])("a description with %s is not understood", (_, value) => {
    expect(() => parseVault(value)).toThrow(WireFormatError);
  });

  test("an access policy is JSON text under either spelling of its key", () => {
    expect(parseAccessPolicy({ policy: '{"version":"2.0"}' })).toBe('{"version":"2.0"}');
    expect(parseAccessPolicy({ Policy: "{}" })).toBe("{}");
    expect(codeOf(() => parseAccessPolicy({}))).toBe(lacking);
    expect(codeOf(() => parseAccessPolicy({ policy: "no json" }))).toBe(invalid);
    expect(codeOf(() => parseAccessPolicy({ policy: { version: "2.0" } }))).toBe(invalid);
  });

  test("a notification has a web address and known events", () => {
    const sound = { CallBackUrl: "https://example.com/x", Events: ["ArchiveRetrievalCompleted"] };
    expect(parseNotification(sound)).toEqual({ callbackUrl: sound.CallBackUrl, events: sound.Events });
    expect(codeOf(() => parseNotification({ ...sound, CallBackUrl: "file:///etc" }))).toBe(invalid);
    expect(codeOf(() => parseNotification({ ...sound, Events: [] }))).toBe(lacking);
    expect(codeOf(() => parseNotification({ ...sound, Events: ["Everything"] }))).toBe(invalid);
  });

  test("pages are cut by a marker and a limit of 1-1000; empty values are absent", () => {
    expect(parsePageQuery(formatPageQuery({ limit: 5, marker: "m" }))).toEqual({ limit: 5, marker: "m" });
    expect(
      parsePageQuery([
        ["limit", ""],
        ["marker", ""],
      ]),
    ).toEqual({ limit: 1000, marker: undefined });
    for (const limit of ["0", "1001", "-1", "1.5", "x", "1e2"]) {
      expect(codeOf(() => parsePageQuery([["limit", limit]]))).toBe(invalid);
    }
  });
});

describe("archive messages", () => {
  const upload = { sizeBytes: byteCount(5), sha256, treeHash, description: "d é" };

  test("an upload reads back, with a description in UTF-8 bytes", () => {
    expect(parseArchiveUpload(lookup(formatArchiveUpload(upload)))).toEqual(upload);
    expect(formatArchiveUpload({ ...upload, description: "  " })).not.toHaveProperty("x-cas-archive-description");
    expect(formatArchiveUpload({ ...upload, description: " x " })["x-cas-archive-description"]).toBe("x");
  });

  test("what is missing or wrong has the code that the protocol gives it", () => {
    const headers = formatArchiveUpload(upload);
    const code = (more: Record<string, string>) => codeOf(() => parseArchiveUpload(lookup({ ...headers, ...more })));
    expect(code({ "content-length": "" })).toBe(lacking);
    expect(code({ "content-length": "0" })).toBe(invalid);
    expect(code({ "content-length": String(4 * 1024 * MIB + 1) })).toBe(invalid);
    expect(code({ "x-cas-content-sha256": "" })).toBe(lacking);
    expect(code({ "x-cas-sha256-tree-hash": "xyz" })).toBe(invalid);
    expect(code({ "x-cas-sha256-tree-hash": treeHash.toUpperCase() })).toBe("ok");
    expect(code({ "x-cas-archive-description": "x".repeat(1024) })).toBe("ok");
    expect(code({ "x-cas-archive-description": "x".repeat(1025) })).toBe(invalid);
  });

  test("the answer carries the id; one that is no id is not understood", () => {
    const archive = archiveId("-a_B");
    const headers = formatArchiveCreated({ appId: owner.appId, vault, archive, sha256, treeHash });
    expect(headers.location).toBe("/1250000000/vaults/example/archives/-a_B");
    expect(parseArchiveCreated(lookup(headers))).toEqual({ archive, treeHash });
    expect(() => parseArchiveCreated(lookup({ "x-cas-archive-id": "../x" }))).toThrow(WireFormatError);
    expect(() => parseArchiveCreated(lookup({}))).toThrow(WireFormatError);
  });
});

describe("multipart messages", () => {
  const upload = { id: uploadId("-u"), description: "", createdAt, partSizeBytes: byteCount(MIB) };

  test("an initiation reads back; part sizes are powers of two of MiB", () => {
    const initiation = { partSizeBytes: byteCount(16 * MIB), description: "x" };
    expect(parseInitiateUpload(lookup(formatInitiateUpload(initiation)))).toEqual(initiation);
    const code = (size: number, lenient = false) =>
      codeOf(() => parseInitiateUpload(lookup({ "x-cas-part-size": String(size) }), { lenient }));
    expect([code(MIB), code(4096 * MIB), code(48 * MIB, true)]).toEqual(["ok", "ok", "ok"]);
    for (const size of [0, MIB / 2, MIB + 1, 3 * MIB, 48 * MIB, 8192 * MIB]) expect(code(size)).toBe(invalid);
    expect(codeOf(() => parseInitiateUpload(lookup({})))).toBe(lacking);
    expect(parseUploadCreated(lookup(formatUploadCreated(owner.appId, vault, upload.id)))).toBe(upload.id);
  });

  test("Content-Range is taken with an unknown total, a known one, and none", () => {
    const range = byteRange(0, 5);
    expect(formatContentRange(range)).toBe("bytes 0-4/*");
    expect(parseContentRange("bytes 0-4/*")).toEqual({ range, totalBytes: null });
    expect(parseContentRange("bytes 0-4/10")).toEqual({ range, totalBytes: 10 });
    expect(parseContentRange("bytes 0-4")).toEqual({ range, totalBytes: null });
    for (const text of [
      "0-4",
      "bytes 4-0/*",
      "bytes 0-4/4",
      "bytes -4/*",
      "bytes 0-/*",
      "bytes */5",
      "bytes 0-99999999999999999",
    ]) {
      expect(codeOf(() => parseContentRange(text))).toBe(invalid);
    }
  });

  test("a part reads back and must fit its place", () => {
    const part = { range: byteRange(MIB, 2 * MIB), sha256, treeHash };
    const headers = formatPartUpload(part);
    expect(parsePartUpload(lookup(headers), MIB)).toEqual(part);
    const code = (more: Record<string, string>, partSize = MIB) =>
      codeOf(() => parsePartUpload(lookup({ ...headers, ...more }), partSize));
    expect(code({ "content-range": "" })).toBe(lacking);
    expect(code({ "content-length": "5" })).toBe(invalid);
    expect(code({ "content-range": `bytes 1-${MIB}/*` })).toBe(invalid);
    expect(code({}, MIB / 2)).toBe(invalid);
    const beyond = 10_000 * MIB;
    expect(code({ "content-range": `bytes ${beyond}-${beyond + MIB - 1}/*` })).toBe(invalid);
    expect(code({ "content-range": `bytes ${beyond - MIB}-${beyond - 1}/*` })).toBe("ok");
  });

  test("a completion reads back", () => {
    const completion = { sizeBytes: byteCount(5), treeHash };
    expect(parseCompletion(lookup(formatCompletion(completion)))).toEqual(completion);
    expect(codeOf(() => parseCompletion(lookup({ "x-cas-sha256-tree-hash": treeHash })))).toBe(lacking);
    expect(
      codeOf(() => parseCompletion(lookup({ ...formatCompletion(completion), "x-cas-archive-size": "5 MB" }))),
    ).toBe(invalid);
  });

  test("listings read back; no description is the empty text, never null", () => {
    const uploads = { items: [upload], marker: "x" };
    const wire = formatUploadList(owner, vault, uploads);
    expect(wire.UploadsList[0]!.ArchiveDescription).toBe("");
    expect(parseUploadList(overWire(wire))).toEqual(uploads);
    const parts = { items: [{ range: byteRange(0, MIB), treeHash }], marker: "1048576", upload };
    expect(parsePartList(overWire(formatPartList(owner, vault, parts)))).toEqual(parts);
    expect(() => parsePartList({ ...formatPartList(owner, vault, parts), Parts: [{ RangeInBytes: "9-1" }] })).toThrow(
      WireFormatError,
    );
    expect(() => parseUploadList({ Marker: null })).toThrow(WireFormatError);
    expect(parsePartsMarker(undefined)).toBe(0);
    expect(parsePartsMarker("1048576")).toBe(MIB);
    expect(codeOf(() => parsePartsMarker("abc"))).toBe(invalid);
  });
});

describe("job orders", () => {
  const archive = archiveId("A");

  test("our orders read back", () => {
    const range = byteRange(MIB, 3 * MIB);
    expect(
      parseJobRequest(
        formatJobRequest({ action: "retrieve-archive", archiveId: archive, tier: "bulk", range, description: "D" }),
      ),
    ).toEqual({
      action: "retrieve-archive",
      archiveId: archive,
      tier: "bulk",
      range: { first: MIB, last: 3 * MIB - 1 },
      description: "D",
      callbackUrl: null,
    });
    const filter = { createdFrom: createdAt, limit: 10, marker: "m" };
    expect(parseJobRequest(formatJobRequest({ action: "retrieve-inventory", format: "csv", filter }))).toEqual({
      action: "retrieve-inventory",
      format: "csv",
      filter: { createdFrom: createdAt - 221, createdUntil: null, limit: 10, marker: "m" },
      description: "",
      callbackUrl: null,
    });
  });

  test.each<JobOrder>([
    {
      action: "push-to-cos",
      archiveId: archive,
      tier: "expedited",
      range: { first: MIB, last: null },
      bucket: "b-1",
      object: "/a/b",
      description: "D",
      callbackUrl: "https://example.com/x",
    },
    {
      action: "pull-from-cos",
      bucket: "b-1",
      object: "o",
      range: { first: 5, last: 9 },
      condition: { ...noCondition, ifUnmodifiedSince: "2024-01-02T03:04:05Z", ifMatch: '"tag"' },
      archiveDescription: "A",
      description: "",
      callbackUrl: null,
    },
    {
      action: "pull-from-cos",
      bucket: "b",
      object: "o",
      range: null,
      condition: noCondition,
      archiveDescription: "",
      description: "",
      callbackUrl: null,
    },
    {
      action: "retrieve-archive",
      archiveId: archive,
      tier: "standard",
      range: null,
      description: "",
      callbackUrl: "http://example.com",
    },
  ])("the order $action with every field reads back", (order) => {
    expect(parseJobRequest(overWire(formatJobOrder(order)) as object)).toEqual(order);
  });

  test("the condition is sent with the name that the service expects", () => {
    const condition = { ...noCondition, ifUnmodifiedSince: "2024-01-02T03:04:05Z" };
    const order = { action: "pull-from-cos", bucket: "b", object: "o", range: null, archiveDescription: "" } as const;
    const body = formatJobOrder({ ...order, condition, description: "", callbackUrl: null });
    expect(body).toEqual({
      Type: "pull-from-cos",
      Bucket: "b",
      Object: "o",
      Condition: { "If-Umodified-Since": "2024-01-02T03:04:05Z" },
    });
  });

  test("a service without an object store refuses copies before it looks at their fields", () => {
    for (const Type of ["push-to-cos", "pull-from-cos"]) {
      expect(codeOf(() => parseJobRequest({ Type }, { copies: false }))).toBe(invalid);
      expect(codeOf(() => parseJobRequest({ Type }))).toBe(lacking);
    }
  });

  const recorded = Object.values(vectors.client_requests)
    .flatMap(({ cases }) => cases ?? [])
    .filter(({ call }) => /^initiate_?job/i.test(call));

  test.each(recorded.map((request) => [request.call, request.body] as const))(
    "%s of a real client is understood",
    (_, body) => {
      const code = codeOf(() => parseJobRequest(parseJsonBody(Buffer.from(body))));
      expect(code).toBe("ok");
    },
  );

  test("empty texts are absent, a limit may be text, an open range goes to the end", () => {
    const order = parseJobRequest({
      Type: "archive-retrieval",
      ArchiveId: "A",
      Tier: "",
      RetrievalByteRange: "1048576-",
      CallBackUrl: "",
    });
    expect(order).toMatchObject({ tier: "standard", range: { first: MIB, last: null }, callbackUrl: null });
    const inventory = { Type: "inventory-retrieval", Format: "", Tier: "Bulk" };
    const noParameters = { createdFrom: null, createdUntil: null, limit: null, marker: null };
    expect(parseJobRequest(inventory)).toMatchObject({ format: "json", filter: noParameters });
    const blank = { StartDate: "", EndDate: "", Limit: "", Marker: "" };
    expect(parseJobRequest({ ...inventory, InventoryRetrievalParameters: blank })).toMatchObject({
      filter: noParameters,
    });
    for (const Limit of ["10", 10]) {
      expect(parseJobRequest({ ...inventory, InventoryRetrievalParameters: { Limit } })).toMatchObject({
        filter: { limit: 10 },
      });
    }
  });

  const retrieval = { Type: "archive-retrieval", ArchiveId: "A" };
  const inventory = (parameters: unknown) => ({
    Type: "inventory-retrieval",
    InventoryRetrievalParameters: parameters,
  });
  test.each([
    ["no type", {}, lacking],
    ["an unknown type", { Type: "delete-everything" }, invalid],
    ["a type that is no text", { Type: 5 }, invalid],
    ["no archive", { Type: "archive-retrieval" }, lacking],
    ["an archive that cannot be one", { ...retrieval, ArchiveId: "a/b" }, invalid],
    ["an unknown tier", { ...retrieval, Tier: "Fast" }, invalid],
    ["a range that is none", { ...retrieval, RetrievalByteRange: "all" }, invalid],
    ["a suffix range", { ...retrieval, RetrievalByteRange: "-5" }, invalid],
    ["a long description", { ...retrieval, Description: "x".repeat(1025) }, invalid],
    ["a callback to a file", { ...retrieval, CallBackUrl: "file:///x" }, invalid],
    ["a callback of any length", { ...retrieval, CallBackUrl: `http://x/${"x".repeat(2040)}` }, invalid],
    ["a marker of any length", inventory({ Marker: "x".repeat(2049) }), invalid],
    [
      "a condition of any length",
      { Type: "pull-from-cos", Bucket: "b", Object: "o", Condition: { "If-Match": "x".repeat(2049) } },
      invalid,
    ],
    ["an unknown format", { Type: "inventory-retrieval", Format: "XML" }, invalid],
    ["a limit of nothing", inventory({ Limit: "0" }), invalid],
    ["a limit beyond 10000", inventory({ Limit: 10_001 }), invalid],
    ["a date that is none", inventory({ StartDate: "yesterday" }), invalid],
    ["parameters that are a list", inventory([]), invalid],
  ])("an order with %s is refused", (_, body, code) => expect(codeOf(() => parseJobRequest(body))).toBe(code));

  test("a body that is no JSON object is not well-formed", () => {
    for (const body of ["", "{", "[]", "null", "5", Buffer.from([0xff, 0x7b])]) {
      expect(codeOf(() => parseJsonBody(Buffer.from(body as string)))).toBe("SerializationException");
    }
  });

  test("a range within an archive begins and ends at a MiB or at the archive's end", () => {
    const size = 3 * MIB + 5;
    expect(resolveOrderedRange(null, size)).toEqual(byteRange(0, size));
    expect(resolveOrderedRange({ first: MIB, last: null }, size)).toEqual(byteRange(MIB, size));
    expect(resolveOrderedRange({ first: 0, last: MIB - 1 }, size)).toEqual(byteRange(0, MIB));
    for (const range of [
      { first: 1, last: null },
      { first: 0, last: MIB },
      { first: 0, last: size },
      { first: 4 * MIB, last: null },
      { first: 2 * MIB, last: MIB - 1 },
    ]) {
      expect(codeOf(() => resolveOrderedRange(range, size))).toBe(invalid);
    }
  });
});

describe("job descriptions", () => {
  const common = { id: jobId("-J"), vault, statusMessage: "", description: "", callbackUrl: null, createdAt };
  const retrieval = {
    ...common,
    status: "in-progress",
    completedAt: null,
    action: "retrieve-archive",
    archiveId: archiveId("A"),
    archiveSizeBytes: byteCount(3 * MIB),
    archiveTreeHash: treeHash,
    range: byteRange(0, 3 * MIB),
    rangeTreeHash: treeHash,
    tier: "expedited",
  } as const satisfies JobFacts;
  const inventory = {
    ...common,
    status: "succeeded",
    completedAt: createdAt,
    action: "retrieve-inventory",
    format: "json",
    filter: { createdFrom: createdAt, createdUntil: null, limit: null, marker: null },
    inventorySizeBytes: 512,
    nextMarker: "M",
  } as const satisfies JobFacts;

  test("every job has every key, null where it does not apply", () => {
    const keys = Object.keys(formatJob(owner, retrieval)).sort();
    expect(keys).toHaveLength(23);
    expect(Object.keys(formatJob(owner, inventory)).sort()).toEqual(keys);
    expect(formatJob(owner, inventory)).toMatchObject({ ArchiveId: null, Tier: null, RetrievalByteRange: null });
    expect(formatJob(owner, inventory).InventoryRetrievalParameters).toEqual({
      Format: "JSON",
      StartDate: "2017-03-20T17:03:43Z",
      EndDate: null,
      Limit: 0,
      Marker: "M",
    });
    expect(formatJob(owner, retrieval)).toMatchObject({ InventorySizeInBytes: 0, InventoryRetrievalParameters: null });
  });

  test("a job that copies from or to COS has the same keys, with the object and what came of it", () => {
    const keys = Object.keys(formatJob(owner, retrieval)).sort();
    const { rangeTreeHash: _, ...archivePart } = retrieval;
    const place = { bucket: "b", object: "o" };
    const push = formatJob(owner, { ...archivePart, ...place, action: "push-to-cos" });
    expect(Object.keys(push).sort()).toEqual(keys);
    expect(push).toMatchObject({
      Action: "PushToCOS",
      Bucket: "b",
      Object: "o",
      RetrievalByteRange: `0-${3 * MIB - 1}`,
      SHA256TreeHash: null,
      Tier: "Expedited",
    });
    const condition = { ...noCondition, ifMatch: "tag" };
    const pull = { ...common, ...place, action: "pull-from-cos", condition, archiveDescription: "d" } as const;
    const running = formatJob(owner, { ...pull, status: "in-progress", completedAt: null, archive: null });
    expect(Object.keys(running).sort()).toEqual(keys);
    expect(running).toMatchObject({ ArchiveId: null, ArchiveSizeInBytes: null, ArchiveDescription: "d", Tier: null });
    expect(running.Condition).toEqual({
      "If-Modified-Since": null,
      "If-Umodified-Since": null,
      "If-Match": "tag",
      "If-None-Match": null,
    });
    const { archiveId: id, archiveSizeBytes, archiveTreeHash } = retrieval;
    const archive = { archiveId: id, archiveSizeBytes, archiveTreeHash };
    const done = formatJob(owner, { ...pull, status: "succeeded", completedAt: createdAt, archive });
    expect(done).toMatchObject({
      Action: "PullFromCOS",
      ArchiveId: "A",
      ArchiveSizeInBytes: 3 * MIB,
      StatusCode: "Succeeded",
    });
    expect(parseJobList({ JobList: [push, running, done], Marker: null }).items.map((job) => job.action)).toEqual([
      "other",
      "other",
      "other",
    ]);
  });

  test("a failed job is completed, and a marker waits for success", () => {
    expect(formatJob(owner, { ...retrieval, status: "failed", completedAt: createdAt })).toMatchObject({
      Completed: true,
      StatusCode: "Failed",
    });
    const running = formatJob(owner, { ...inventory, status: "in-progress", completedAt: null });
    expect(running).toMatchObject({ Completed: false, InventoryRetrievalParameters: { Marker: null } });
  });

  test("the hash of a part is hidden while it is in progress, that of the whole is not", () => {
    expect(formatJob(owner, retrieval).SHA256TreeHash).toBe(treeHash);
    const part = { ...retrieval, range: byteRange(0, MIB) };
    expect(formatJob(owner, part).SHA256TreeHash).toBeNull();
    expect(formatJob(owner, { ...part, status: "succeeded", completedAt: createdAt }).SHA256TreeHash).toBe(treeHash);
  });

  test("descriptions and listings read back", () => {
    const { vault: _, callbackUrl: __, ...facts } = retrieval;
    expect(parseJob(overWire(formatJob(owner, retrieval)))).toEqual({ ...facts, statusMessage: "InProgress" });
    const page = parseJobList(overWire(formatJobList(owner, { items: [inventory], marker: null })));
    expect(page.marker).toBeNull();
    expect(page.items[0]).toMatchObject({ action: "retrieve-inventory", inventorySizeBytes: 512, nextMarker: "M" });
  });

  test("a job that failed because its archive is gone does not make a listing unreadable", () => {
    const failed = formatJob(owner, { ...retrieval, status: "failed", completedAt: createdAt });
    const lost = { ...failed, ArchiveSizeInBytes: null, ArchiveSHA256TreeHash: null, RetrievalByteRange: null };
    expect(parseJobList({ JobList: [lost], Marker: null }).items).toMatchObject([
      { action: "other", status: "failed" },
    ]);
  });

  test("jobs that copy from or to COS are other jobs, and a mislabelled inventory is an inventory", () => {
    expect(parseJob({ ...formatJob(owner, retrieval), Action: "PushToCOS" }).action).toBe("other");
    expect(parseJob({ ...formatJob(owner, inventory), Action: "ArchiveRetrieval" }).action).toBe("retrieve-inventory");
  });

  test.each([
    ["an unknown status", { StatusCode: "Maybe" }],
    ["a range beyond its archive", { RetrievalByteRange: "0-99999999" }],
    ["a tree hash that is none", { ArchiveSHA256TreeHash: "xyz" }],
    ["an id that is none", { JobId: "../x" }],
    ["a size in words", { ArchiveSizeInBytes: "many" }],
  ])("a description with %s is not understood", (_, change) => {
    expect(() => parseJob({ ...formatJob(owner, retrieval), ...change })).toThrow(WireFormatError);
  });

  test("no JSON makes a reader throw anything but that it does not understand", () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.dictionary(fc.constantFrom(...Object.keys(formatJob(owner, retrieval))), fc.jsonValue()),
        (any, change) => {
          for (const value of [any, { ...formatJob(owner, retrieval), ...change }]) {
            for (const parse of [parseJob, parseJobList, parseVault, parseVaultList, parseUploadList, parsePartList]) {
              try {
                parse(value);
              } catch (error) {
                expect(error).toBeInstanceOf(WireFormatError);
              }
            }
          }
        },
      ),
    );
  });

  test("filters read back; the case of their values does not matter", () => {
    expect(parseJobFilter(formatJobFilter({ completed: false, status: "in-progress", limit: 5 }))).toEqual({
      completed: false,
      status: "in-progress",
      limit: 5,
      marker: undefined,
    });
    expect(
      parseJobFilter([
        ["completed", "True"],
        ["statuscode", "SUCCEEDED"],
      ]),
    ).toMatchObject({ completed: true, status: "succeeded" });
    expect(codeOf(() => parseJobFilter([["completed", "maybe"]]))).toBe(invalid);
    expect(codeOf(() => parseJobFilter([["statuscode", "Done"]]))).toBe(invalid);
  });

  test("the answer to an order carries the id", () => {
    expect(parseJobCreated(lookup(formatJobCreated(owner.appId, vault, jobId("-J"))))).toBe("-J");
  });
});

describe("job output", () => {
  test("a range is cut at the end; one beyond it, several, or nonsense are refused", () => {
    expect(formatRange(byteRange(0, 5))).toBe("bytes=0-4");
    expect(parseRange("bytes=0-4", 10)).toEqual(byteRange(0, 5));
    expect(parseRange("bytes=5-", 10)).toEqual(byteRange(5, 10));
    expect(parseRange("bytes=-3", 10)).toEqual(byteRange(7, 10));
    expect(parseRange("bytes=-30", 10)).toEqual(byteRange(0, 10));
    expect(parseRange("bytes=9-99", 10)).toEqual(byteRange(9, 10));
    for (const text of ["bytes=10-", "bytes=-0", "bytes=4-3", "bytes=0-1,3-4", "bytes=-", "0-4", "bytes=a-b", ""]) {
      expect(codeOf(() => parseRange(text, 10))).toBe(invalid);
    }
  });

  test("an answer has 206 and its place exactly when a range was asked for", () => {
    const contentType = "application/octet-stream";
    const whole = formatOutputHeaders({ contentType, totalBytes: 10, range: undefined, treeHash });
    expect(whole.status).toBe(200);
    expect(whole.headers).not.toHaveProperty("content-range");
    expect(parseOutputHeaders(whole.status, lookup(whole.headers), undefined)).toEqual({ sizeBytes: 10, treeHash });
    const asked = byteRange(0, 10);
    const ranged = formatOutputHeaders({ contentType, totalBytes: 10, range: asked, treeHash: null });
    expect(ranged).toMatchObject({ status: 206, headers: { "content-range": "bytes 0-9/10", "content-length": "10" } });
    expect(parseOutputHeaders(ranged.status, lookup(ranged.headers), asked)).toEqual({ sizeBytes: 10, treeHash: null });
  });

  test.each([
    ["another range", 206, { "content-length": "5", "content-range": "bytes 5-9/10" }],
    ["a part of the range", 206, { "content-length": "3", "content-range": "bytes 0-2/10" }],
    ["another length than its range", 206, { "content-length": "9", "content-range": "bytes 0-4/10" }],
    ["the whole instead", 200, { "content-length": "10" }],
    ["no length", 206, { "content-range": "bytes 0-4/10" }],
    ["nonsense", 206, { "content-length": "5", "content-range": "five bytes" }],
    [
      "a malformed tree hash",
      206,
      { "content-length": "5", "content-range": "bytes 0-4/10", "x-cas-sha256-tree-hash": "x" },
    ],
  ] as [string, number, Record<string, string>][])(
    "an answer with %s is not taken for the bytes that were asked for",
    (_, status, headers) => {
      expect(() => parseOutputHeaders(status, lookup(headers), byteRange(0, 5))).toThrow(WireFormatError);
      if (status !== 200) expect(() => parseOutputHeaders(status, lookup(headers), undefined)).toThrow(WireFormatError);
    },
  );

  test("hex in capitals is the same hash", () => expect(treeHashHex(treeHash.toUpperCase())).toBe(treeHash));
});
