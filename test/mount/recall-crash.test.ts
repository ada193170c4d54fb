/** kill -9 at the steps of a recall: the next mount goes on with the same job, and half a content is never shown. */

import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/app/system-clock.js";
import { httpCasService } from "../../src/client/http-cas-service.js";
import { MIB } from "../../src/domain/bytes.js";
import { vaultName } from "../../src/domain/ids.js";
import { listAllJobs } from "../../src/restore/job-list.js";
import { casfs, type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { FaultPlan, faults, on, type Rule } from "../support/fault-plan.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { eventually, run, whyNoMount } from "../support/fuse-environment.js";
import { testBytes } from "../support/test-bytes.js";

const reason = whyNoMount();
const key = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "recall-crash", CASFS_SECRET_KEY: "recall-crash-key" };
/** The large one has three pieces, of 32 MiB, 32 MiB and 2 MiB. */
const contents = { small: testBytes(5000, 2), large: testBytes(66 * MIB, 3) };
type Content = keyof typeof contents;

describe.skipIf(reason !== undefined)(`crashes of recalls${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;
  let server: RunningCasfs;
  let proxy: FaultProxy;
  let vaults = 0;

  beforeAll(async () => {
    mount = await TestMount.make();
    const options = ["--listen", "127.0.0.1:0", "--data", mount.data, "--retrieval", "standard=1500ms"];
    server = await startCasfs(["serve", ...options], key);
    proxy = await FaultProxy.start(Number(new URL(endpoint()).port));
    for (const [name, bytes] of Object.entries(contents)) await writeFile(join(mount.directory, name), bytes);
  }, 60_000);

  afterEach(() => mount.unmount());

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]();
    await server?.stop();
    await proxy?.[Symbol.asyncDispose]();
  });

  const endpoint = () => server.line.replace("listening on ", "");
  const mountIt = () => mount.mount(["--endpoint", proxy.url, "--settle", "0s", "--parallel", "1"], key);

  /** A vault with one cold file. @returns the file. */
  async function coldFile(content: Content): Promise<{ readonly vault: string; readonly path: string }> {
    vaults += 1;
    const vault = `crash-${vaults}`;
    const path = mount.path(vault, "cold");
    await mkdir(mount.path(vault));
    expect(await run("cp", [join(mount.directory, content), path])).toMatchObject({ status: 0 });
    expect(await casfs("wait", path)).toMatchObject({ status: 0 });
    expect(await casfs("evict", path)).toMatchObject({ status: 0 });
    return { vault, path };
  }

  async function jobCount(vault: string): Promise<number> {
    const credentials = { secretId: key.CASFS_SECRET_ID, secretKey: key.CASFS_SECRET_KEY };
    const service = httpCasService({ endpoint: endpoint(), credentials, clock: systemClock });
    try {
      const jobs = await listAllJobs(service, vaultName(vault), new AbortController().signal);
      return jobs.filter(({ action }) => action === "retrieve-archive").length;
    } finally {
      await service.close();
    }
  }

  /** Opens the file, waits until the fault has acted, and kills the mount. */
  async function crashAt(path: string, ...rules: readonly Rule[]): Promise<void> {
    proxy.plan = new FaultPlan(rules);
    const reader = spawn("cat", [path], { stdio: "ignore" });
    await eventually(() => proxy.plan.hits > 0, "the fault has acted");
    await mount.crash();
    reader.kill();
    proxy.plan = new FaultPlan();
  }

  async function readsRight(path: string, content: Content): Promise<void> {
    expect(await run("cmp", [path, join(mount.directory, content)], { timeoutMs: 60_000 })).toMatchObject({
      status: 0,
    });
  }

  test("before the answer to Initiate Job: the job is found, not ordered again", async () => {
    await mountIt();
    const { vault, path } = await coldFile("small");
    await crashAt(path, on("initiateJob", { nth: 1 }, faults.silentEffect()));
    await mountIt();
    await readsRight(path, "small");
    expect(await jobCount(vault)).toBe(1);
  }, 120_000);

  test("while the job is asked for: the same job is waited for", async () => {
    await mountIt();
    const { vault, path } = await coldFile("small");
    // The first listing looks for a job to join; the job runs at the second.
    await crashAt(path, on("listJobs", { nth: 2 }, faults.silence()));
    await mountIt();
    await readsRight(path, "small");
    expect(await jobCount(vault)).toBe(1);
  }, 120_000);

  test("in the middle of the download: the pieces that were verified stay, and nothing is readable before the rest", async () => {
    await mountIt();
    const { vault, path } = await coldFile("large");
    await crashAt(path, on("getJobOutput", { nth: 2 }, faults.silence()));
    const fetched = () => proxy.count("getJobOutput", { answered: true });
    const before = fetched();

    proxy.plan = new FaultPlan([on("getJobOutput", { from: 1 }, faults.badGateway())]);
    await mountIt();
    await eventually(() => proxy.plan.hits > 0, "the download goes on");
    const state = await run("getfattr", ["--only-values", "-n", "user.casfs.state", path]);
    expect(state.stdout).toBe("recalling");
    const refused = await run("dd", [`if=${path}`, "iflag=nonblock", "of=/dev/null"]);
    expect(refused.stderr).toContain("Resource temporarily unavailable");

    const blocked = fetched();
    proxy.plan = new FaultPlan();
    await readsRight(path, "large");
    expect(await jobCount(vault)).toBe(1);
    // One piece was there before the crash; the two others came after it.
    expect(before).toBeGreaterThan(0);
    expect(fetched() - blocked).toBeLessThanOrEqual(2);
  }, 120_000);
});
