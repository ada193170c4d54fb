/** `casfs archive put` and `get` that are killed half-way, and bytes that come damaged. */

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import { FaultPlan, faults, on } from "../support/fault-plan.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { eventually } from "../support/fuse-environment.js";
import { testBytes } from "../support/test-bytes.js";
import { ServiceFixture } from "./service-fixture.js";

const sizeBytes = 96 * MIB + 1;
const small = ["--multipart-threshold", "16MiB", "--parallel", "1"];

let service: ServiceFixture;
let file: string;
let archive: string;

beforeAll(async () => {
  service = await ServiceFixture.start();
  file = await service.file("large", sizeBytes);
  expect((await service.casfs(["vault", "create", "backup"])).status).toBe(0);
});
afterAll(() => service[Symbol.asyncDispose]());

interface HeldUpRequest {
  readonly operation: "uploadPart" | "completeMultipartUpload" | "getJobOutput";
  readonly nth: number;
  /** By default it is not passed on either. */
  readonly fault?: ReturnType<typeof faults.silence>;
}

/** Starts a command whose request number `nth` for `operation` is not answered, and waits until that has arrived. */
async function heldUp(
  proxy: FaultProxy,
  commandArguments: readonly string[],
  { operation, nth, fault = faults.silence() }: HeldUpRequest,
) {
  proxy.plan = new FaultPlan([on(operation, { nth }, fault)]);
  const command = service.startCommand(commandArguments, { url: proxy.url });
  await eventually(() => proxy.exchanges.some(({ fault }) => fault !== undefined), "the request arrived");
  proxy.plan = new FaultPlan();
  return command;
}

async function kill(command: ChildProcess): Promise<void> {
  command.kill("SIGKILL");
  await once(command, "exit");
}

test("an upload that was killed goes on: only what is missing is sent, and nothing is left behind", async () => {
  await using proxy = await FaultProxy.start(service.port);
  await kill(await heldUp(proxy, ["archive", "put", "backup", file, ...small], { operation: "uploadPart", nth: 4 }));
  const [record] = await readdir(service.records);
  expect((await stat(join(service.records, record!))).mode & 0o777).toBe(0o600);
  expect(proxy.count("uploadPart", { answered: true })).toBe(3);

  const resumed = await service.casfs(["archive", "put", "backup", file, ...small, "--json"], { url: proxy.url });
  expect(resumed).toMatchObject({ status: 0, stderr: expect.stringContaining("going on with the upload") });
  expect(proxy.count("uploadPart", { answered: true })).toBe(7);
  expect(await readdir(service.records)).toEqual([]);
  const [sent] = JSON.parse(resumed.stdout).archives;
  expect(sent).toMatchObject({ sizeInBytes: sizeBytes, treeHash: digestOf(testBytes(sizeBytes)).treeHash });
  archive = sent.archiveId;
});

test("a download that was killed goes on with the pieces that are missing", async () => {
  await using proxy = await FaultProxy.start(service.port);
  const copy = service.path("copy");
  const command = ["archive", "get", "backup", archive, copy, "--yes", "--parallel", "1"];
  await kill(await heldUp(proxy, command, { operation: "getJobOutput", nth: 3 }));
  expect(await stat(copy).catch(() => "absent")).toBe("absent");
  const resumed = await service.casfs(command, { url: proxy.url });
  expect(resumed).toMatchObject({ status: 0, stderr: expect.stringContaining("joining the job") });
  expect(proxy.count("getJobOutput", { answered: true })).toBe(4);
  expect((await readFile(copy)).equals(testBytes(sizeBytes))).toBe(true);
  expect((await readdir(service.directory)).filter((name) => name.startsWith("copy"))).toEqual(["copy"]);
});

test("a byte that comes damaged is noticed and fetched again", async () => {
  const plan = new FaultPlan([on("getJobOutput", { nth: 1 }, faults.corruptedAnswer(1000))]);
  await using proxy = await FaultProxy.start(service.port, plan);
  const copy = service.path("damaged");
  const got = await service.casfs(["archive", "get", "backup", archive, copy, "--yes"], { url: proxy.url });
  expect(got).toMatchObject({ status: 0, stderr: expect.stringContaining("came damaged") });
  expect((await readFile(copy)).equals(testBytes(sizeBytes))).toBe(true);
});

test("an upload that was killed before the answer to Complete came is found, and not archived twice", async () => {
  await using proxy = await FaultProxy.start(service.port);
  const command = ["archive", "put", "backup", await service.file("completed", 33 * MIB), ...small];
  const fault = faults.silentEffect();
  const running = await heldUp(proxy, command, { operation: "completeMultipartUpload", nth: 1, fault });
  const unfinished = async () =>
    JSON.parse((await service.casfs(["upload", "ls", "backup", "--json"])).stdout).uploads.length;
  while ((await unfinished()) > 0) await sleep(50);
  await kill(running);
  const resumed = await service.casfs(command, { url: proxy.url });
  expect(resumed).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\S{128}\n$/) });
  expect(resumed.stderr).not.toContain("beginning anew");
  expect(proxy.count("initiateMultipartUpload")).toBe(1);
});

test("an upload that the service has forgotten begins anew, and says so", async () => {
  await using proxy = await FaultProxy.start(service.port);
  const other = await service.file("forgotten", 40 * MIB);
  const command = ["archive", "put", "backup", other, ...small];
  await kill(await heldUp(proxy, command, { operation: "uploadPart", nth: 2 }));
  const { uploads } = JSON.parse((await service.casfs(["upload", "ls", "backup", "--json"])).stdout);
  await service.casfs(["upload", "abort", "backup", uploads[0].multipartUploadId]);
  const again = await service.casfs(command, { url: proxy.url });
  expect(again).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\S{128}\n$/) });
  expect(again.stderr).toContain("beginning anew");
});

test("an upload that was completed longer ago than the service knows is looked for before it is sent again", async () => {
  await using proxy = await FaultProxy.start(service.port);
  const command = ["archive", "put", "backup", await service.file("long-ago", 17 * MIB), ...small];
  await kill(await heldUp(proxy, command, { operation: "uploadPart", nth: 2 }));
  const [path] = (await readdir(service.records)).map((name) => join(service.records, name));
  const record = JSON.parse(await readFile(path!, "utf8"));
  const { treeHash } = digestOf(testBytes(17 * MIB));
  await writeFile(path!, JSON.stringify({ ...record, completing: treeHash }));
  await service.casfs(["upload", "abort", "backup", record.uploadId]);
  const first = await service.casfs(command, { url: proxy.url });
  expect(first).toMatchObject({ status: 1, stdout: "" });
  expect(first.stderr).toContain(`see \`casfs archive ls backup --fresh\` for the tree hash ${treeHash}`);
  expect(await service.casfs(command, { url: proxy.url })).toMatchObject({ status: 0 });
});

test("Ctrl-C says what is kept and exits 130", async () => {
  await using proxy = await FaultProxy.start(service.port);
  const other = await service.file("interrupted", 33 * MIB);
  const command = await heldUp(proxy, ["archive", "put", "backup", other, ...small], {
    operation: "uploadPart",
    nth: 1,
  });
  let stderr = "";
  command.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  command.kill("SIGINT");
  const [status] = await once(command, "exit");
  expect(status).toBe(130);
  expect(stderr).toContain(
    "casfs: interrupted\nhint: The upload is kept for 24 hours; the same command goes on with it\n",
  );
});

test("two commands that retrieve an archive at once order one retrieval", async () => {
  const wanted = (await service.casfs(["archive", "put", "backup", await service.file("twice", 1000)])).stdout.trim();
  const commands = ["one", "other"].map((name) =>
    service.startCommand(["archive", "get", "backup", wanted, service.path(name), "--yes"]),
  );
  expect(await Promise.all(commands.map((command) => once(command, "exit")))).toEqual([
    [0, null],
    [0, null],
  ]);
  const { jobs } = JSON.parse((await service.casfs(["job", "ls", "backup", "--json"])).stdout);
  expect(jobs.filter((job: { readonly archiveId: string }) => job.archiveId === wanted)).toHaveLength(1);
});

test("a file that another command is uploading is refused, and not archived twice", async () => {
  await using proxy = await FaultProxy.start(service.port);
  const command = ["archive", "put", "backup", await service.file("contended", 33 * MIB), ...small];
  const running = await heldUp(proxy, command, { operation: "uploadPart", nth: 2 });
  const second = await service.casfs(command, { url: proxy.url });
  expect(second).toMatchObject({ status: 1, stderr: expect.stringContaining("another command is uploading it") });
  await kill(running);
  expect(await service.casfs(command, { url: proxy.url })).toMatchObject({ status: 0 });
});

test("Ctrl-C ends an upload of standard input that gives nothing", async () => {
  const command = service.startCommand(["archive", "put", "backup", "-"], { stdin: "pipe" });
  let stderr = "";
  command.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = once(command, "exit");
  // More than a pipe holds: when all of it is gone, the command has read, and waits for more.
  await new Promise((resolve) => command.stdin!.write(Buffer.alloc(MIB), resolve));
  command.kill("SIGINT");
  expect(await ended).toEqual([130, null]);
  expect(stderr).toContain("Nothing of standard input was archived");
});

test("when the answer to an upload in one request is lost, the command says that it may be there", async () => {
  await using proxy = await FaultProxy.start(service.port);
  proxy.plan = new FaultPlan([on("uploadArchive", { nth: 1 }, faults.lostAnswer())]);
  const put = await service.casfs(["archive", "put", "backup", await service.file("lost", 1000)], { url: proxy.url });
  expect(put).toMatchObject({ status: 1, stderr: expect.stringContaining("It may have been archived all the same") });
});
