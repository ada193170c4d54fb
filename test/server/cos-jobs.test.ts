import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import type { ObjectStoreChoice } from "../../src/server/objects/object-store.js";
import { FakeS3, s3Keys } from "../support/fake-s3.js";
import { NotificationReceiver } from "../support/notification-receiver.js";
import { testBytes } from "../support/test-bytes.js";
import { bodyFiles, hour, LocalServer } from "./local-server.js";

const bytes = testBytes(3 * MIB + 77);
const modifiedAt = new Date("2024-03-01T12:00:00Z");

/** One kind of object store as a test sees it from outside. */
interface Store extends AsyncDisposable {
  readonly choice: ObjectStoreChoice;
  write(bucket: string, object: string, content: Buffer): Promise<void>;
  read(bucket: string, object: string): Promise<Buffer | undefined>;
  /** Everything that could be seen or is left over. */
  leftovers(): Promise<string[]>;
}

async function directoryStore(): Promise<Store & { readonly directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), "casfs-objects-"));
  return {
    directory,
    choice: { kind: "directory", directory },
    async write(bucket, object, content) {
      const path = join(directory, bucket, object);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
      await utimes(path, modifiedAt, modifiedAt);
    },
    read: (bucket, object) => readFile(join(directory, bucket, object)).catch(() => undefined),
    leftovers: () => readdir(join(directory, ".casfs-tmp")).catch(() => []),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}

async function s3Store(): Promise<Store & { readonly s3: FakeS3 }> {
  const s3 = await FakeS3.start();
  return {
    s3,
    choice: { kind: "s3", endpoint: s3.endpoint, ...s3Keys },
    write: async (bucket, object, content) => s3.store(`/${bucket}/${object}`, content, modifiedAt),
    read: async (bucket, object) => s3.objects.get(`/${bucket}/${object}`)?.bytes,
    leftovers: async () => [...s3.uploads.keys()],
    [Symbol.asyncDispose]: () => s3[Symbol.asyncDispose](),
  };
}

let store: Store;
let server: LocalServer;

async function startWith(made: Store): Promise<void> {
  store = made;
  server = await LocalServer.start({ objectStore: made.choice });
  await server.client.createVault("v");
}
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await store[Symbol.asyncDispose]();
});

const push = (archive: string, more: object = {}) => ({
  Type: "push-to-cos",
  ArchiveId: archive,
  Bucket: "bucket-1250000000",
  Object: "dir/object name",
  ...more,
});
const pull = (more: object = {}) => ({
  Type: "pull-from-cos",
  Bucket: "bucket-1250000000",
  Object: "dir/object name",
  ...more,
});
const describeJob = async (job: string) => (await server.client.call("GET", `/-/vaults/v/jobs/${job}`)).json();
const stored = (content = bytes) => store.write("bucket-1250000000", "dir/object name", content);
const found = () => store.read("bucket-1250000000", "dir/object name");

/** The description of a job once it has ended; copies take real time. */
async function ended(job: string) {
  await expect.poll(async () => (await describeJob(job)).Completed).toBe(true);
  return describeJob(job);
}
const run = async (order: object) => ended(await server.client.startedJob("v", order));

/** The bytes of an archive, by way of a retrieval. */
async function content(archive: string): Promise<Buffer> {
  const job = await server.client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
  await server.clock.advance(4 * hour);
  return (await server.client.output("v", job)).body;
}

/** All archives, as an inventory lists them. */
async function archives(): Promise<{ readonly ArchiveId: string; readonly ArchiveDescription: string }[]> {
  const job = await server.client.startedJob("v", { Type: "inventory-retrieval" });
  await server.clock.advance(3 * hour);
  return (await server.client.output("v", job)).json().ArchiveList;
}

describe.each([
  ["a directory", directoryStore as () => Promise<Store>],
  ["an S3 endpoint", s3Store as () => Promise<Store>],
])("jobs that copy from and to COS, with %s", (_, make) => {
  beforeEach(async () => startWith(await make()));

  test("push-to-cos copies the archive when the tier's time has passed, and not before", async () => {
    const archive = await server.client.uploaded("v", bytes);
    const job = await server.client.startedJob("v", push(archive, { Tier: "Bulk", Description: "d" }));
    await server.clock.advance(8 * hour - 1);
    expect(await found()).toBeUndefined();
    const common = {
      Action: "PushToCOS",
      JobId: job,
      JobDescription: "d",
      ArchiveId: archive,
      ArchiveSizeInBytes: bytes.length,
      ArchiveSHA256TreeHash: digestOf(bytes).treeHash,
      RetrievalByteRange: `0-${bytes.length - 1}`,
      SHA256TreeHash: null,
      Tier: "Bulk",
      InventorySizeInBytes: 0,
      InventoryRetrievalParameters: null,
      Bucket: "bucket-1250000000",
      Object: "dir/object name",
      Condition: null,
      ArchiveDescription: null,
    };
    expect(await describeJob(job)).toMatchObject({ ...common, StatusCode: "InProgress", CompletionDate: null });
    await server.clock.advance(1);
    const completionDate = new Date(server.clock.now()).toISOString();
    expect(await ended(job)).toMatchObject({ ...common, StatusCode: "Succeeded", CompletionDate: completionDate });
    expect((await found())?.equals(bytes)).toBe(true);
    expect(await store.leftovers()).toEqual([]);
    const output = await server.client.output("v", job);
    expect([output.status, output.json().code]).toEqual([400, "InvalidParameterValueException"]);
  });

  test("push-to-cos copies a part, and replaces an object of that name", async () => {
    await stored(testBytes(5));
    const archive = await server.client.uploaded("v", bytes);
    const job = await server.client.startedJob("v", push(archive, { RetrievalByteRange: "1048576-3145727" }));
    await server.clock.advance(4 * hour);
    expect(await ended(job)).toMatchObject({ StatusCode: "Succeeded", RetrievalByteRange: "1048576-3145727" });
    expect((await found())?.equals(bytes.subarray(MIB, 3 * MIB))).toBe(true);
  });

  test("an archive that is deleted before the push is ready makes it fail; one deleted later does not", async () => {
    const archive = await server.client.uploaded("v", bytes);
    const job = await server.client.startedJob("v", push(archive));
    await server.client.call("DELETE", `/-/vaults/v/archives/${archive}`);
    await server.clock.advance(4 * hour);
    const failed = await ended(job);
    expect(failed).toMatchObject({ StatusCode: "Failed", Completed: true, StatusMessage: "The archive was deleted" });
    expect(await found()).toBeUndefined();
    await expect.poll(() => bodyFiles(server.directory)).toEqual([]);
  });

  test("pull-from-cos makes an archive of the object at once", async () => {
    await stored();
    const job = await server.client.startedJob("v", pull({ ArchiveDescription: "from cos" }));
    const done = await ended(job);
    expect(done).toMatchObject({
      Action: "PullFromCOS",
      StatusCode: "Succeeded",
      ArchiveId: expect.stringMatching(/^[\w-]{128}$/),
      ArchiveSizeInBytes: bytes.length,
      ArchiveSHA256TreeHash: digestOf(bytes).treeHash,
      RetrievalByteRange: null,
      SHA256TreeHash: null,
      Tier: null,
      Bucket: "bucket-1250000000",
      Object: "dir/object name",
      Condition: null,
      ArchiveDescription: "from cos",
    });
    expect((await content(done.ArchiveId)).equals(bytes)).toBe(true);
    expect(await archives()).toMatchObject([{ ArchiveId: done.ArchiveId, ArchiveDescription: "from cos" }]);
  });

  test.each(["5-1048590", "bytes=5-1048590"])("pull-from-cos takes the range %s, aligned or not", async (Range) => {
    await stored();
    const done = await run(pull({ Range }));
    expect(done).toMatchObject({ StatusCode: "Succeeded", ArchiveSizeInBytes: 1_048_586 });
    expect((await content(done.ArchiveId)).equals(bytes.subarray(5, 1_048_591))).toBe(true);
  });

  const etag = createHash("md5").update(bytes).digest("hex");
  test.each([
    { condition: { "If-Match": `"${etag}"` }, ok: true },
    { condition: { "If-Match": "other" }, ok: false },
    { condition: { "If-None-Match": etag }, ok: false },
    { condition: { "If-None-Match": "other" }, ok: true },
    { condition: { "If-Modified-Since": "2024-03-01T11:59:59Z" }, ok: true },
    { condition: { "If-Modified-Since": "Fri, 01 Mar 2024 12:00:00 GMT" }, ok: false },
    { condition: { "If-Umodified-Since": "2024-03-01T12:00:00Z" }, ok: true },
    { condition: { "If-Umodified-Since": "2024-03-01T11:59:59Z" }, ok: false },
  ])("the condition $condition is met: $ok", async ({ condition, ok }) => {
    await stored();
    const done = await run(pull({ Condition: condition }));
    expect(done.StatusCode).toBe(ok ? "Succeeded" : "Failed");
    expect(done.Condition).toMatchObject(condition);
    expect(done.ArchiveId === null).toBe(!ok);
    if (!ok) expect(done.StatusMessage).toMatch(/condition/);
  });

  test.each([
    { what: "a missing object", content: undefined, more: {}, message: "The object does not exist" },
    { what: "an empty object", content: Buffer.alloc(0), more: {}, message: /empty/ },
    { what: "a range beyond the object", content: bytes, more: { Range: "0-99999999" }, message: /not within/ },
  ])("pulling $what fails and makes no archive", async ({ content: object, more, message }) => {
    if (object !== undefined) await stored(object);
    const done = await run(pull(more));
    expect(done).toMatchObject({ StatusCode: "Failed", Completed: true, ArchiveId: null });
    expect(done.StatusMessage).toMatch(message);
    expect(await archives()).toEqual([]);
    expect((await server.client.call("GET", "/-/vaults/v")).json().NumberOfArchives).toBe(0);
  });

  test.each([
    { order: { Type: "push-to-cos", ArchiveId: "x" }, code: "MissingParameterValueException" },
    { order: { Type: "pull-from-cos", Bucket: "b" }, code: "MissingParameterValueException" },
    { order: { Type: "pull-from-cos", Object: "b" }, code: "MissingParameterValueException" },
    { order: pull({ Bucket: "../b" }), code: "InvalidParameterValueException" },
    { order: pull({ Object: "a/../../b" }), code: "InvalidParameterValueException" },
    { order: pull({ Range: "x" }), code: "InvalidParameterValueException" },
    { order: pull({ Condition: { "If-Modified-Since": "yesterday" } }), code: "InvalidParameterValueException" },
    { order: pull({ Condition: "If-Match" }), code: "InvalidParameterValueException" },
    { order: pull({ ArchiveDescription: "x".repeat(1025) }), code: "InvalidParameterValueException" },
  ])("$order is refused as $code", async ({ order, code }) => {
    const reply = await server.client.initiateJob("v", order);
    expect([reply.status, reply.json().code]).toEqual([400, code]);
  });

  test("an unknown archive, a range that is not aligned and a bad tier are refused as for a retrieval", async () => {
    const archive = await server.client.uploaded("v", bytes);
    expect((await server.client.initiateJob("v", push("x".repeat(128)))).status).toBe(404);
    expect((await server.client.initiateJob("v", push(archive, { RetrievalByteRange: "1-5" }))).status).toBe(400);
    expect((await server.client.initiateJob("v", push(archive, { Tier: "Fast" }))).status).toBe(400);
  });

  test("ended copies are listed for a day by state, then they are gone; the new archive stays", async () => {
    await stored();
    const done = await run(pull());
    const failed = await run(pull({ Object: "missing" }));
    const list = async (query: string) => {
      const { JobList } = (await server.client.call("GET", `/-/vaults/v/jobs?${query}`)).json();
      return JobList.map((job: { JobId: string }) => job.JobId);
    };
    expect(await list("statuscode=Succeeded")).toEqual([done.JobId]);
    expect(await list("statuscode=failed")).toEqual([failed.JobId]);
    expect(await list("completed=False")).toEqual([]);
    await server.clock.advance(24 * hour);
    expect((await server.client.call("GET", `/-/vaults/v/jobs/${done.JobId}`)).status).toBe(404);
    expect(await list("")).toEqual([]);
    expect((await content(done.ArchiveId)).equals(bytes)).toBe(true);
  });

  test("both kinds are announced when they end, whether they succeeded or failed", async () => {
    await using receiver = await NotificationReceiver.start();
    const body = JSON.stringify({
      CallBackUrl: receiver.url(),
      Events: ["PushToCOSCompleted", "PullFromCOSCompleted"],
    });
    await server.client.call("PUT", "/-/vaults/v/notification-configuration", { body });
    const archive = await server.client.uploaded("v", bytes);
    const pushed = await server.client.startedJob("v", push(archive));
    await server.clock.advance(4 * hour);
    await ended(pushed);
    const pulled = await run(pull());
    const failed = await run(pull({ Object: "missing" }));
    await expect.poll(() => receiver.received.length).toBe(3);
    const told = new Map(receiver.received.map(({ job }) => [job.JobId, job]));
    expect(told.get(pushed)).toEqual(await describeJob(pushed));
    expect(told.get(pulled.JobId)).toEqual(pulled);
    expect(told.get(failed.JobId)).toEqual(failed);
  });

  test("a vault that is deleted takes its copies with it", async () => {
    await server.client.createVault("other");
    await server.client.startedJob("other", pull({ Object: "missing" }));
    expect((await server.client.call("DELETE", "/-/vaults/other")).status).toBe(204);
    await server.clock.advance(hour);
    expect((await server.client.call("GET", "/-/vaults/other/jobs")).status).toBe(404);
  });
});

describe("without an object store", () => {
  test.each([push("x"), pull(), { Type: "push-to-cos", ArchiveId: "x" }])("%o is refused", async (order) => {
    await startWith(await directoryStore());
    server = await server.restarted();
    const reply = await server.client.initiateJob("v", order);
    expect([reply.status, reply.json().code]).toEqual([400, "InvalidParameterValueException"]);
  });
});

describe("a directory as object store", () => {
  let directory: string;
  beforeEach(async () => {
    const made = await directoryStore();
    directory = made.directory;
    await startWith(made);
  });

  test("symbolic links, of a bucket, a directory or a file, are not followed, whether they lead out or not", async () => {
    const outside = await mkdtemp(join(tmpdir(), "casfs-outside-"));
    try {
      await writeFile(join(outside, "secret"), "secret");
      await mkdir(join(directory, "bucket"));
      await symlink(outside, join(directory, "linked"));
      await symlink(outside, join(directory, "bucket/linked"));
      await symlink(join(outside, "secret"), join(directory, "bucket/secret"));
      const archive = await server.client.uploaded("v", testBytes(10));
      for (const [bucket, object] of [
        ["linked", "secret"],
        ["bucket", "linked/secret"],
        ["bucket", "secret"],
      ]) {
        const place = { Bucket: bucket, Object: object };
        expect(await run(pull(place))).toMatchObject({ StatusCode: "Failed", ArchiveId: null });
        const job = await server.client.startedJob("v", push(archive, { ...place, Tier: "Expedited" }));
        await server.clock.advance(1000);
        await ended(job);
      }
      expect(await readFile(join(outside, "secret"), "utf8")).toBe("secret");
      expect(await readdir(outside)).toEqual(["secret"]);
      // A link in the place of the object itself is replaced, as any object of that name.
      expect(await readFile(join(directory, "bucket/secret"))).toEqual(testBytes(10));
    } finally {
      await rm(outside, { recursive: true });
    }
  });

  test.each(["a//b", "a/"])("the object %s, which cannot be a file, fails its job", async (object) => {
    expect(await run(pull({ Object: object }))).toMatchObject({ StatusCode: "Failed" });
  });

  test("a directory in the place of an object fails the job and leaves nothing behind", async () => {
    await mkdir(join(directory, "bucket/taken/deep"), { recursive: true });
    const archive = await server.client.uploaded("v", testBytes(10));
    const job = await server.client.startedJob("v", push(archive, { Bucket: "bucket", Object: "taken" }));
    await server.clock.advance(4 * hour);
    expect(await ended(job)).toMatchObject({ StatusCode: "Failed" });
    expect(await store.leftovers()).toEqual([]);
  });

  test("a damaged archive is not copied", async () => {
    const archive = await server.client.uploaded("v", bytes);
    const [file = ""] = await bodyFiles(server.directory);
    const path = join(server.directory, "bodies", "0", file);
    const damaged = Buffer.from(bytes);
    damaged[2_000_000]! ^= 1;
    await writeFile(path, damaged);
    const job = await server.client.startedJob("v", push(archive));
    await server.clock.advance(4 * hour);
    expect(await ended(job)).toMatchObject({ StatusCode: "Failed", StatusMessage: expect.stringMatching(/damaged/) });
    expect(await found()).toBeUndefined();
    expect(await store.leftovers()).toEqual([]);
  });
});

describe("an S3 endpoint as object store", () => {
  let s3: FakeS3;
  beforeEach(async () => {
    const made = await s3Store();
    s3 = made.s3;
    await startWith(made);
  });

  /** Lets the pauses between attempts pass. */
  async function endedInTime(job: string) {
    await expect
      .poll(async () => {
        await server.clock.advance(60_000);
        return (await describeJob(job)).Completed;
      })
      .toBe(true);
    return describeJob(job);
  }

  test("an object above 64 MiB is sent in parts, and is whole", async () => {
    const large = testBytes(70 * MIB + 5);
    const archive = await server.client.uploaded("v", large);
    const job = await server.client.startedJob("v", push(archive, { Object: "/large & (odd) +ü" }));
    await server.clock.advance(4 * hour);
    expect(await ended(job)).toMatchObject({ StatusCode: "Succeeded", Object: "/large & (odd) +ü" });
    expect((await store.read("bucket-1250000000", "large & (odd) +ü"))?.equals(large)).toBe(true);
    expect(s3.log.filter((line) => line.includes("partNumber=")).length).toBe(5);
    expect(s3.uploads.size).toBe(0);
  });

  test("a part that fails is sent again by itself; one that goes on failing aborts the upload", async () => {
    const large = testBytes(65 * MIB);
    const archive = await server.client.uploaded("v", large);
    s3.fail("PUT", { times: 4 });
    const job = await server.client.startedJob("v", push(archive));
    await server.clock.advance(4 * hour);
    expect(await endedInTime(job)).toMatchObject({ StatusCode: "Succeeded" });
    s3.expectAllFaultsHit();
    expect(s3.log.filter((line) => line.includes("?uploads="))).toHaveLength(2);
    expect(s3.uploads.size).toBe(0);
    expect((await found())?.equals(large)).toBe(true);
  });

  test.each([
    { what: "an error of the server", script: (fake: FakeS3) => fake.fail("GET") },
    { what: "a lost connection", script: (fake: FakeS3) => fake.cut("GET", 2) },
  ])("a pull survives $what and makes one archive", async ({ script }) => {
    await stored();
    script(s3);
    const job = await server.client.startedJob("v", pull());
    expect(await endedInTime(job)).toMatchObject({ StatusCode: "Succeeded", ArchiveSizeInBytes: bytes.length });
    s3.expectAllFaultsHit();
    expect(await archives()).toHaveLength(1);
  });

  test("a store that stays down fails the job in the end, without its address in the message", async () => {
    await stored();
    s3.cut("HEAD", 99);
    const job = await server.client.startedJob("v", pull());
    const failed = await endedInTime(job);
    expect(failed).toMatchObject({ StatusCode: "Failed", StatusMessage: "The object store cannot be reached" });
    expect(server.warnings.join()).not.toContain(s3Keys.key);
  });

  test("an object that is replaced while it is read is read anew, and is not mixed", async () => {
    await stored();
    const other = testBytes(2 * MIB, 100);
    s3.onRequest = (method) => {
      if (method === "GET") s3.store("/bucket-1250000000/dir/object name", other);
    };
    const job = await server.client.startedJob("v", pull());
    const done = await endedInTime(job);
    expect(done).toMatchObject({ StatusCode: "Succeeded", ArchiveSizeInBytes: other.length });
    expect((await content(done.ArchiveId)).equals(other)).toBe(true);
  });

  test("a refusal is not repeated", async () => {
    const archive = await server.client.uploaded("v", bytes);
    s3.fail("PUT", { status: 403 });
    const job = await server.client.startedJob("v", push(archive));
    await server.clock.advance(4 * hour);
    const message = "The object store answered 403 (Scripted)";
    expect(await ended(job)).toMatchObject({ StatusCode: "Failed", StatusMessage: message });
    expect(s3.log.filter((line) => line.startsWith("PUT"))).toHaveLength(1);
  });

  test("the domain name of a COS bucket means that bucket", async () => {
    await store.write("examplebucket-1250000000", "k", bytes);
    const Bucket = "examplebucket-1250000000.cos.ap-chengdu.myqcloud.com";
    expect(await run(pull({ Bucket, Object: "/k" }))).toMatchObject({ StatusCode: "Succeeded", Bucket });
  });
});
