/** Relies on: a build. The server under test is the compiled one, killed while it copies or notifies. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { FakeS3, s3Keys } from "../support/fake-s3.js";
import { NotificationReceiver } from "../support/notification-receiver.js";
import { ServerProcess } from "../support/server-process.js";
import { testBytes } from "../support/test-bytes.js";
import { CasClient } from "./cas-client.js";
import { bodyFiles } from "./local-server.js";

let directory: string;
let s3: FakeS3;
let server: ServerProcess;
let client: CasClient;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-job-crash-"));
  s3 = await FakeS3.start();
  await start();
  await client.createVault("v");
});
afterEach(async () => {
  client.close();
  await server.kill();
  await s3[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function start(): Promise<void> {
  const objectStore = { kind: "s3", endpoint: s3.endpoint, ...s3Keys };
  server = await ServerProcess.start(directory, { objectStore });
  client = new CasClient(server.port, () => Math.floor((Date.now() + server.aheadMs) / 1000));
}

async function killAndRestart(): Promise<void> {
  client.close();
  await server.kill();
  await start();
}

const describeJob = async (job: string) => (await client.call("GET", `/-/vaults/v/jobs/${job}`)).json();
const statusOf = (job: string) => expect.poll(async () => (await describeJob(job)).StatusCode);
const requested = (method: string, count: number) =>
  expect.poll(() => s3.log.filter((line) => line.startsWith(method)).length).toBe(count);

async function archiveIds(): Promise<string[]> {
  const job = await client.startedJob("v", { Type: "inventory-retrieval" });
  const { ArchiveList } = (await client.output("v", job)).json();
  return ArchiveList.map((archive: { ArchiveId: string }) => archive.ArchiveId);
}

describe("kill -9", () => {
  const object = { Bucket: "bucket", Object: "object" };

  test("in the middle of a pull: the next start repeats it, and there is one archive", async () => {
    const bytes = testBytes(2 * MIB);
    s3.store("/bucket/object", bytes);
    s3.hang("GET");
    const job = await client.startedJob("v", { Type: "pull-from-cos", ...object });
    await requested("GET", 1);
    await killAndRestart();
    await statusOf(job).toBe("Succeeded");
    const { ArchiveId: archive } = await describeJob(job);
    expect(await archiveIds()).toEqual([archive]);
    const retrieval = await client.startedJob("v", { Type: "archive-retrieval", ArchiveId: archive });
    expect((await client.output("v", retrieval)).body.equals(bytes)).toBe(true);
  });

  test("after a pull: nothing is repeated, and the files of the archive are all there is", async () => {
    s3.store("/bucket/object", testBytes(10));
    const job = await client.startedJob("v", { Type: "pull-from-cos", ...object });
    await statusOf(job).toBe("Succeeded");
    await killAndRestart();
    const pushed = await client.startedJob("v", {
      Type: "push-to-cos",
      ArchiveId: (await describeJob(job)).ArchiveId,
      ...object,
    });
    await statusOf(pushed).toBe("Succeeded");
    await requested("GET", 1);
    expect(await bodyFiles(directory)).toHaveLength(1);
  });

  test("in the middle of a push: no part of it is visible, and the next start makes it whole", async () => {
    const bytes = testBytes(65 * MIB);
    const archive = await client.uploaded("v", bytes);
    s3.hang("PUT");
    const job = await client.startedJob("v", { Type: "push-to-cos", ArchiveId: archive, ...object });
    await requested("PUT", 1);
    await killAndRestart();
    await statusOf(job).toBe("Succeeded");
    expect(s3.objects.get("/bucket/object")?.bytes.equals(bytes)).toBe(true);
  });

  test("in the middle of a notification: it is sent again", async () => {
    await using receiver = await NotificationReceiver.start();
    receiver.answer = () => undefined;
    const job = await client.startedJob("v", { Type: "inventory-retrieval", CallBackUrl: receiver.url() });
    await expect.poll(() => receiver.received.length).toBe(1);
    await killAndRestart();
    receiver.answer = (response) => void response.end();
    await server.advance(120_000);
    await expect.poll(() => receiver.received.length).toBe(2);
    expect(receiver.received[1]?.job.JobId).toBe(job);
  });
});
