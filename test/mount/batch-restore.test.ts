/** `casfs restore -r` on a real mount: orders once, can be left and joined again, and what follows recalls nothing. */

import { link, mkdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/app/system-clock.js";
import { httpCasService } from "../../src/client/http-cas-service.js";
import { MIB } from "../../src/domain/bytes.js";
import { vaultName } from "../../src/domain/ids.js";
import { listAllJobs } from "../../src/restore/job-list.js";
import { casfs, type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { run, shell, whyNoMount } from "../support/fuse-environment.js";
import { seedService } from "../support/seeded-service.js";

const reason = whyNoMount();
const key = { CASFS_APP_ID: "1250000000", CASFS_SECRET_ID: "batch", CASFS_SECRET_KEY: "batch-key" };
const fileCount = 20;

describe.skipIf(reason !== undefined)(`restoring many files${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;
  let server: RunningCasfs;
  const endpoint = () => server.line.replace("listening on ", "");

  beforeAll(async () => {
    mount = await TestMount.make();
    await seedService(mount.data, { vault: "huge", archives: 2, sizeBytes: 300 * MIB });
    const retrieval = ["--retrieval", "expedited=500ms,standard=3s,bulk=1h,inventory=100ms"];
    server = await startCasfs(["serve", "--listen", "127.0.0.1:0", "--data", mount.data, ...retrieval], key);
    await mount.mount(["--endpoint", endpoint(), "--settle", "0s"], key);
    await mkdir(mount.path("tree"));
    const make =
      'mkdir "$1/sub" && for i in $(seq $2); do head -c 3000 /dev/urandom > "$1/sub/f$i"; done; cp -r "$1" "$3"';
    await shell(make, mount.path("tree"), String(fileCount), join(mount.directory, "source"));
    expect(await casfs("wait", mount.path("tree"))).toMatchObject({ status: 0 });
    expect(await casfs("evict", mount.path("tree"))).toMatchObject({ status: 0 });
  }, 60_000);

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]();
    await server?.stop();
  });

  async function jobs(): Promise<string[]> {
    const credentials = { secretId: key.CASFS_SECRET_ID, secretKey: key.CASFS_SECRET_KEY };
    const service = httpCasService({ endpoint: endpoint(), credentials, clock: systemClock });
    try {
      const all = await listAllJobs(service, vaultName("tree"), new AbortController().signal);
      return all.flatMap((job) => (job.action === "retrieve-archive" ? job.archiveId : []));
    } finally {
      await service.close();
    }
  }

  test("the price at every tier is shown, the wait can be left and joined again, and each file is ordered once", async () => {
    const command = ["restore", "-r", "--wait", "--yes", mount.path("tree")];
    const left = await startCasfs(command);
    await until(async () => (await mount.status()).recalls.length === fileCount);
    expect(await left.stop("SIGINT")).toBe(130);
    expect(left.line).toMatch(/^20 files, 58\.5KiB to restore at tier standard: /);
    expect(left.stdout()).toMatch(/\n {2}or --tier expedited: .*\n {2}or --tier bulk: /);
    expect(left.stderr()).toContain("the recalls go on");

    const joined = await casfs(...command);
    expect(joined).toMatchObject({ status: 0, stderr: "" });
    expect(await jobs()).toHaveLength(fileCount);
    expect(new Set(await jobs()).size).toBe(fileCount);
  }, 60_000);

  test("a file with two names is counted once; a job that exists is joined, free of charge and without asking", async () => {
    const file = mount.path("tree", "sub", "f1");
    await link(file, mount.path("tree", "another"));
    expect(await casfs("evict", file)).toMatchObject({ status: 0 });
    const ordered = (await jobs()).length;
    const both = [mount.path("tree"), file, mount.path("tree", "another")];
    const { status, stdout } = await casfs("restore", "-r", "--wait", ...both);
    expect({ status, stdout }).toEqual({
      status: 0,
      stdout: "1 file, 2.9KiB: already under way, free of charge\n19 files here already\n1 file restored\n",
    });
    expect(await jobs()).toHaveLength(ordered);
    await unlink(mount.path("tree", "another"));
  });

  test("cp -r after that recalls nothing, and has the bytes", async () => {
    const copy = join(mount.directory, "copy");
    expect(await run("cp", ["-r", mount.path("tree"), copy])).toMatchObject({ status: 0, stderr: "" });
    expect(await run("diff", ["-r", join(mount.directory, "source"), copy])).toMatchObject({ status: 0, stdout: "" });
    expect(await jobs()).toHaveLength(fileCount);
  });

  test("a faster tier orders a second job for what is on its way, and says so first", async () => {
    const file = mount.path("tree/sub/f1");
    await casfs("evict", file);
    // The first retrieval of it is still there, and would be joined.
    await shell('head -c 3000 /dev/urandom > "$1"', file);
    expect(await casfs("wait", file)).toMatchObject({ status: 0 });
    expect(await casfs("evict", file)).toMatchObject({ status: 0 });
    const before = (await jobs()).length;
    expect(await casfs("restore", "--tier", "bulk", "--yes", file)).toMatchObject({ status: 0 });
    const asked = await casfs("restore", "--tier", "expedited", file);
    expect(asked.status).toBe(3);
    expect(asked.stdout).toContain("1 under way at a slower tier: for those a second job is ordered");
    expect(await casfs("restore", "--tier", "expedited", "--yes", "--wait", file)).toMatchObject({ status: 0 });
    expect((await jobs()).length).toBe(before + 2);
  }, 60_000);

  test("tier expedited is refused for files that it does not take", async () => {
    await until(async () => (await mount.status()).vaults.some(({ name, visible }) => name === "huge" && visible));
    const refused = await casfs("restore", "-r", "--tier", "expedited", "--yes", mount.path("huge"));
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain("2 files of them are larger than 256MiB");
    expect((await mount.status()).recalls).toEqual([]);
  });
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await condition()); ) {
    if (Date.now() > deadline) throw new Error("It did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
