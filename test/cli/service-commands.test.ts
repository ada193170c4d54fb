/** `casfs vault|archive|job|upload` against a real service. */

import { readFile, stat, symlink, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { seedService } from "../support/seeded-service.js";
import { testBytes } from "../support/test-bytes.js";
import { ServiceFixture } from "./service-fixture.js";

let service: ServiceFixture;
beforeAll(async () => {
  service = await ServiceFixture.start();
  await done("vault", "create", "photos");
});
afterAll(() => service[Symbol.asyncDispose]());

/** What a command that succeeds prints. */
async function done(...commandArguments: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await service.casfs(commandArguments);
  expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
  return stdout.trim();
}

const json = async (...commandArguments: readonly string[]) => JSON.parse(await done(...commandArguments, "--json"));

describe("vaults", () => {
  test("are created, listed, described and removed", async () => {
    expect(await done("vault", "create", "cas://round-trip")).toBe("created the vault round-trip");
    const { vaults, marker } = await json("vault", "ls");
    expect(marker).toBeNull();
    expect(vaults).toContainEqual({
      vaultName: "round-trip",
      vaultQcs: expect.stringMatching(/^qcs:/),
      creationDate: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      lastInventoryDate: null,
      numberOfArchives: null,
      sizeInBytes: null,
    });
    expect(await done("vault", "ls")).toMatch(/^VAULT +ARCHIVES +SIZE +CREATED +INVENTORY\n/);
    expect(await done("vault", "describe", "round-trip")).toMatch(/^vault: round-trip\n/);
    expect(await done("vault", "rm", "round-trip")).toBe("removed the vault round-trip");
    expect((await json("vault", "ls")).vaults).not.toContainEqual(expect.objectContaining({ vaultName: "round-trip" }));
  });

  test("a list is cut by --limit and goes on from its marker", async () => {
    await done("vault", "create", "a-first");
    const page = await json("vault", "ls", "--limit", "1");
    expect(page).toMatchObject({ vaults: [{ vaultName: "a-first" }], marker: expect.any(String) });
    const rest = await json("vault", "ls", "--marker", page.marker);
    expect(rest).toMatchObject({
      vaults: expect.arrayContaining([expect.objectContaining({ vaultName: "photos" })]),
      marker: null,
    });
  });

  test("an unknown vault is named, with the service's code and request id", async () => {
    const { status, stdout, stderr } = await service.casfs(["vault", "describe", "nowhere"]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(
      /^casfs: Cannot describe the vault nowhere: .*\(ResourceNotFoundException\)\n(.*\n)*request: \S+\n$/,
    );
  });

  test("a policy is set from a file, printed and removed", async () => {
    const principal = { qcs: ["qcs::cam::uin/100:uin/100"] };
    const statement = [{ effect: "allow", principal, action: ["name/cas:DescribeVault"], resource: ["*"] }];
    const document = { version: "2.0", statement };
    await writeFile(service.path("policy.json"), JSON.stringify(document, null, 4));
    await done("vault", "policy", "set", "photos", service.path("policy.json"));
    expect(JSON.parse(await done("vault", "policy", "get", "photos"))).toEqual(document);
    const missing = await service.casfs(["vault", "policy", "set", "photos", service.path("none.json")]);
    expect(missing).toMatchObject({ status: 1, stderr: expect.stringContaining("there is no such file") });
    await done("vault", "policy", "rm", "photos");
    expect((await service.casfs(["vault", "policy", "get", "photos"])).status).toBe(1);
  });

  test("a lock is tried, looked at and given up; for good only with --yes", async () => {
    const condition = { NumericLessThan: { "cas:ArchiveAgeInDays": "365" } };
    const statement = [
      { effect: "deny", principal: "*", action: ["name/cas:DeleteArchive"], resource: ["*"], condition },
    ];
    await writeFile(service.path("lock.json"), JSON.stringify({ version: "2.0", statement }));
    const { lockId } = await json("vault", "lock", "start", "photos", service.path("lock.json"));
    expect(await json("vault", "lock", "get", "photos")).toMatchObject({ state: "InProgress" });
    const refused = await service.casfs(["vault", "lock", "complete", "photos", lockId]);
    expect(refused).toMatchObject({ status: 3, stderr: expect.stringContaining("hint: Add --yes") });
    await done("vault", "lock", "abort", "photos");
    expect((await service.casfs(["vault", "lock", "get", "photos"])).status).toBe(1);
  });

  test("notifications are set, printed and removed", async () => {
    await done("vault", "notify", "set", "photos", "http://127.0.0.1:9/hook", "--event", "ArchiveRetrievalCompleted");
    expect(await json("vault", "notify", "get", "photos")).toEqual({
      callBackUrl: "http://127.0.0.1:9/hook",
      events: ["ArchiveRetrievalCompleted"],
    });
    await done("vault", "notify", "rm", "photos");
    expect((await service.casfs(["vault", "notify", "get", "photos"])).status).toBe(1);
  });
});

describe("archives", () => {
  test("a file goes into a vault, is listed, comes back and is deleted", async () => {
    const file = await service.file("holiday pictures.tar", 3 * MIB + 17);
    const archive = await done("archive", "put", "photos", file);
    expect(archive).toMatch(/^[A-Za-z0-9_-]{128}$/);

    const list = JSON.parse(await done("archive", "ls", "photos", "--fresh", "--json"));
    expect(list).toContainEqual({
      archiveId: archive,
      archiveDescription: "holiday pictures.tar",
      creationDate: expect.stringMatching(/Z$/),
      size: 3 * MIB + 17,
      treeHash: digestOf(testBytes(3 * MIB + 17)).treeHash,
    });
    expect(await done("archive", "ls", "photos")).toMatch(/3MiB +holiday pictures\.tar +\S{128}$/m);

    const copy = service.path("copy.tar");
    const got = await json("archive", "get", "photos", archive, copy, "--yes");
    expect(got).toMatchObject({ archiveId: archive, path: copy, sizeInBytes: 3 * MIB + 17 });
    expect((await readFile(copy)).equals(await readFile(file))).toBe(true);

    expect(await done("archive", "rm", "photos", archive, "--yes")).toBe(`deleted the archive ${archive}`);
    expect(JSON.parse(await done("archive", "ls", "photos", "--fresh", "--json"))).toEqual([]);
  });

  test("several files are one archive each, in their order", async () => {
    const files = [await service.file("one", 1), await service.file("two", 2)];
    const { archives } = await json("archive", "put", "photos", ...files, "--description", "both");
    expect(archives).toMatchObject([
      { path: files[0], sizeInBytes: 1, archiveDescription: "both" },
      { path: files[1], sizeInBytes: 2, archiveDescription: "both" },
    ]);
  });

  test("what cannot be uploaded stops there, and the archives before it are told", async () => {
    const [first, empty] = [await service.file("some", 5), await service.file("empty", 0)];
    const { status, stdout, stderr } = await service.casfs(["archive", "put", "photos", first, empty, first]);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^\S{128}\n$/);
    expect(stderr).toContain(`casfs: 2 files not uploaded, from ${empty} on\n`);
  });

  test("a retrieval into a place that cannot take it is not ordered", async () => {
    const archive = await done("archive", "put", "photos", await service.file("nowhere-to", 100));
    await symlink("nothing", service.path("dangling"));
    for (const target of [service.path("absent/file"), service.path("dangling"), "/dev/null"]) {
      const force = target === "/dev/null" ? ["--force"] : [];
      const { status, stderr } = await service.casfs(["archive", "get", "photos", archive, target, "--yes", ...force]);
      expect({ status, stderr }).toMatchObject({ status: 1, stderr: expect.stringMatching(/^casfs: Cannot /) });
    }
    const { jobs } = await json("job", "ls", "photos");
    expect(jobs.filter((job: { readonly archiveId: string }) => job.archiveId === archive)).toEqual([]);
  });

  test("bytes on standard output are the bytes alone, also with --json", async () => {
    const archive = await done("archive", "put", "photos", await service.file("bare", 300));
    const job = await done("job", "start", "photos", archive, "--yes");
    const fetched = await service.casfs(["job", "fetch", "photos", job, "-", "--wait", "--json"]);
    expect(fetched.stdout).toBe(testBytes(300).toString());
  });

  test("a description that no header can hold is a mistake on the command line", async () => {
    const file = await service.file("described", 10);
    const { status, stderr } = await service.casfs(["archive", "put", "photos", file, "--description", "a\nb"]);
    expect(status).toBe(2);
    expect(stderr).toContain("argument 'a\\x0ab' is invalid. A description has at most 1024 bytes and no control");
  });

  test("a retrieval costs: without --yes nothing is ordered, and the exit code is 3", async () => {
    const archive = await done("archive", "put", "photos", await service.file("dear", 1000));
    await done("archive", "ls", "photos", "--fresh");
    const refused = await service.casfs(["archive", "get", "photos", archive, service.path("dear.out")]);
    expect(refused).toMatchObject({ status: 3, stdout: "" });
    expect(refused.stderr).toMatch(/a retrieval of 1000B at tier standard: less than 0\.01 CNY, ready in 3h to 5h\n/);
    const started = await service.casfs(["job", "start", "photos", archive]);
    expect(started).toMatchObject({ status: 3, stdout: "" });
    const { jobs } = await json("job", "ls", "photos");
    expect(jobs.filter((job: { archiveId: string }) => job.archiveId === archive)).toEqual([]);
    const deleted = await service.casfs(["archive", "rm", "photos", archive]);
    expect(deleted).toMatchObject({ status: 3, stderr: expect.stringContaining("younger than 90 days") });
  });

  test("a second get of the same archive joins the paid job", async () => {
    const archive = await done("archive", "put", "photos", await service.file("joined", 1000));
    const job = await done("archive", "get", "photos", archive, service.path("joined.out"), "--yes", "--no-wait");
    const got = await service.casfs(["archive", "get", "photos", archive, service.path("joined.out")]);
    expect(got).toMatchObject({ status: 0, stderr: expect.stringContaining(`joining the job ${job}`) });
    expect((await stat(service.path("joined.out"))).size).toBe(1000);
  });

  test("a file that is there is not replaced, and nothing is ordered for it", async () => {
    const target = await service.file("precious", 3);
    const refused = await service.casfs(["archive", "get", "photos", "x".repeat(128), target, "--yes"]);
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining("--force") });
  });

  test("an id that begins with a dash is an argument", async () => {
    const id = `-h${"a_-".repeat(42)}`;
    const { status, stderr } = await service.casfs(["archive", "rm", "photos", id, "--yes"]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(`delete the archive ${id}: `) });
    const job = `-${"b".repeat(63)}`;
    expect((await service.casfs(["job", "describe", "photos", job, "--json"])).stderr).toContain(`the job ${job}: `);
    const upload = `--${"c".repeat(62)}`;
    expect((await service.casfs(["upload", "abort", "photos", upload])).stderr).toContain(`the upload ${upload}: `);
  });

  test("both hashes of a file, and of a part of it, are those of the service", async () => {
    const file = await service.file("hashed", 3 * MIB + 5);
    const { sha256, treeHash } = digestOf(testBytes(3 * MIB + 5));
    expect(await json("archive", "hash", file)).toEqual({ sizeInBytes: 3 * MIB + 5, sha256, treeHash });
    const part = digestOf(testBytes(MIB, 2 * MIB));
    const words = await done("archive", "hash", file, "--start", "2MiB", "--end", "3MiB");
    expect(words).toBe(`sha256: ${part.sha256}\ntree hash: ${part.treeHash}`);
  });
});

describe("jobs", () => {
  test("an inventory is started, described and fetched", async () => {
    await done("archive", "put", "photos", await service.file("listed", 10));
    const job = await done("job", "start", "photos", "--limit", "1", "--format", "csv", "--description", "one line");
    await done("job", "fetch", "photos", job, service.path("one.csv"), "--wait");
    expect((await readFile(service.path("one.csv"), "utf8")).split("\r\n")).toHaveLength(3);
    const described = await json("job", "describe", "photos", job);
    expect(described).toMatchObject({
      jobId: job,
      action: "InventoryRetrieval",
      statusCode: "Succeeded",
      jobDescription: "one line",
      inventoryRetrievalParameters: { format: "CSV", limit: 1, marker: expect.any(String) },
    });
    const again = await service.casfs(["job", "fetch", "photos", job, service.path("one.csv"), "--force"]);
    expect(again.stderr).toContain(`--marker ${described.inventoryRetrievalParameters.marker}`);
  });

  test("a range of an archive is retrieved, and a range of its output fetched", async () => {
    const archive = await done("archive", "put", "photos", await service.file("ranged", 3 * MIB));
    const range = ["--start", "1MiB", "--size", "1MiB"];
    const job = await done("job", "start", "photos", archive, ...range, "--yes", "--tier", "bulk");
    expect(await json("job", "describe", "photos", job)).toMatchObject({
      tier: "Bulk",
      retrievalByteRange: { start: MIB, end: 2 * MIB },
    });
    await done("job", "fetch", "photos", job, service.path("bytes"), "--wait", "--range", "10-19");
    expect(await readFile(service.path("bytes"))).toEqual(testBytes(10, MIB + 10));
  });

  test("output goes to standard output as it is", async () => {
    const archive = await done("archive", "put", "photos", await service.file("piped", 100));
    const job = await done("job", "start", "photos", archive, "--start", "0", "--yes");
    const { stdout } = await service.casfs(["job", "fetch", "photos", job, "-", "--wait"]);
    expect(Buffer.from(stdout, "utf8")).toEqual(testBytes(100));
  });

  test("output that is not there yet is told as such", async () => {
    const archive = await done("archive", "put", "photos", await service.file("awaited", 100));
    const job = await done("job", "start", "photos", archive, "--tier", "expedited", "--yes");
    const { status, stderr } = await service.casfs(["job", "fetch", "photos", job, service.path("early")]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/still in progress\nhint: Try again later, or add --wait\n/);
  });
});

describe("uploads, step by step", () => {
  test("init, part, parts, complete make an archive; abort gives one up", async () => {
    const file = await service.file("stepwise", MIB + 9);
    const upload = await done("upload", "init", "photos", "--part-size", "1MiB", "--description", "by hand");
    expect((await json("upload", "ls", "photos")).uploads).toContainEqual(
      expect.objectContaining({ multipartUploadId: upload, archiveDescription: "by hand", partSizeInBytes: MIB }),
    );
    await done("upload", "part", "photos", upload, file, "--end", "1MiB");
    await done("upload", "part", "photos", upload, file, "--start", "1MiB");
    const { parts } = await json("upload", "parts", "photos", upload);
    expect(parts).toMatchObject([
      { start: 0, end: MIB },
      { start: MIB, end: MIB + 9 },
    ]);
    expect(await done("upload", "complete", "photos", upload, "--file", file)).toMatch(/^\S{128}$/);
    const other = await done("upload", "init", "photos", "--part-size", "1MiB");
    await done("upload", "abort", "photos", other);
    expect((await json("upload", "ls", "photos")).uploads).toEqual([]);
  });
});

describe("a command line that cannot be understood exits 2 and calls nobody", () => {
  test.each([
    [["vault"], "Usage: casfs vault"],
    [["vault", "create", "no/slash"], "Vault name is 1-255 characters"],
    [["vault", "lss"], "casfs: Unknown command 'lss'"],
    [["archive", "get", "photos", "no spaces", "f"], "as an archive id"],
    [["archive", "put", "photos", "f", "--part-size", "3MiB"], 'Cannot use "3MiB" for --part-size'],
    [["job", "start", "photos", "--tier", "bulk"], "casfs: Cannot use --tier with an inventory"],
    [["job", "start", "photos", "--object", "x"], "casfs: Cannot start a COS transfer without --bucket"],
    [["job", "ls", "photos", "--limit", "1001"], "It must be a whole number from 1 to 1000"],
    [["job", "start", "photos", "--start-date", "yesterday"], "A date is written like"],
    [["upload", "init", "photos"], "casfs: Required option '--part-size <SIZE>' not specified"],
    [["upload", "complete", "photos", "x"], "without either --file, or --size and --tree-hash"],
  ])("%j", async (commandArguments, words) => {
    const { status, stdout, stderr } = await service.casfs(commandArguments);
    expect(stderr.toLowerCase()).toContain(words.toLowerCase());
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  });
});

test("a service that is not there is told once, with what to check", async () => {
  const { status, stderr } = await service.casfs(["vault", "ls"], { url: "http://127.0.0.1:1" });
  expect(status).toBe(1);
  expect(stderr).toMatch(
    /^casfs: Cannot reach http:\/\/127\.0\.0\.1:1: connection refused.*\nhint: Check that the service is running/,
  );
});

test("a vault of more archives than one job lists is listed whole, as one JSON array", async () => {
  await using large = await ServiceFixture.make();
  await seedService(large.data, { vault: "many", archives: 20_001, account: "-" });
  await large.serve();
  const { status, stdout } = await large.casfs(["archive", "ls", "many", "--json"]);
  expect(status).toBe(0);
  const archives = JSON.parse(stdout);
  expect(new Set(archives.map(({ archiveId }: { archiveId: string }) => archiveId)).size).toBe(20_001);
  const { jobs } = JSON.parse((await large.casfs(["job", "ls", "many", "--json"])).stdout);
  expect(jobs).toHaveLength(3);
  const words = (await large.casfs(["archive", "ls", "many"])).stdout.split("\n");
  expect(words).toHaveLength(20_003);
  expect(words[1]).toMatch(/^\S+Z +4KiB +dir-\d{4}\/file-\d+ +\S+$/);
});
