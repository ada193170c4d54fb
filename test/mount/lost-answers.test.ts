/** Answers of a real service that are lost between it and a real mount: in the end every file is in the vault once. */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/app/system-clock.js";
import { httpCasService } from "../../src/client/http-cas-service.js";
import { vaultName } from "../../src/domain/ids.js";
import { ms } from "../../src/domain/time.js";
import { readInventoryJson } from "../../src/protocol/inventory-wire.js";
import { casfs, type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { FaultPlan, faults, on } from "../support/fault-plan.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { whyNoMount } from "../support/fuse-environment.js";
import { testBytes } from "../support/test-bytes.js";

const reason = whyNoMount();
const env = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "owner", CASFS_SECRET_KEY: "secret" };
const vault = vaultName("photos");

describe.skipIf(reason !== undefined)(`lost answers${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let server: RunningCasfs;
  let mount: TestMount;
  let endpoint: string;

  beforeAll(async () => {
    mount = await TestMount.make();
    const listen = ["--listen", "127.0.0.1:0", "--retrieval", "inventory=0s"];
    server = await startCasfs(["serve", ...listen, "--data", mount.data], env);
    endpoint = server.line.replace("listening on ", "");
  });
  afterAll(async () => {
    await mount[Symbol.asyncDispose]();
    await server.stop();
  });

  /** Names of what the vault holds at this moment, as the service itself says. */
  async function inVault(): Promise<string[]> {
    const credentials = { secretId: "owner", secretKey: "secret" };
    const client = httpCasService({ endpoint, credentials, clock: systemClock });
    try {
      const job = await client.initiateJob(vault, { action: "retrieve-inventory", format: "json" });
      while ((await client.describeJob(vault, job)).status === "in-progress") await systemClock.sleep(ms(100));
      const names: string[] = [];
      for await (const batch of readInventoryJson((await client.getJobOutput(vault, job, undefined)).body)) {
        for (const { description } of batch) names.push(/^casfs\/1 (\w+)\?/.exec(description)![1]!);
      }
      return names.sort();
    } finally {
      await client.close();
    }
  }

  test("to Upload Archive and to Complete: no file is missing, and no twin stays", async () => {
    const plan = new FaultPlan([
      on("uploadArchive", { nth: 1 }, faults.lostAnswer()),
      on("completeMultipartUpload", { nth: 1 }, faults.lostAnswer()),
    ]);
    await using proxy = await FaultProxy.start(Number(new URL(endpoint).port), plan);
    const threshold = ["--multipart-threshold", "16MiB", "--part-size", "16MiB"];
    await mount.mount(["--settle", "0s", ...threshold, `--endpoint=${proxy.url}`], env);
    await mkdir(mount.path("photos"));
    const large = testBytes(17 * 2 ** 20, 5);
    await writeFile(mount.path("photos", "small"), "small");
    await writeFile(mount.path("photos", "large"), large);
    expect(await casfs("wait", mount.path("photos"))).toMatchObject({ status: 0 });
    const refresh = ["inventory", "refresh", "photos", "--mount", mount.mountpoint, "--wait"];
    expect((await casfs(...refresh)).status).toBe(0);

    const deadline = performance.now() + 60_000;
    let present = await inVault();
    while (present.length !== 2 && performance.now() < deadline) present = await inVault();
    expect(present).toEqual(["large", "small"]);
    for (const name of ["small", "large"]) expect((await casfs("evict", mount.path("photos", name))).status).toBe(0);
    expect(await readFile(mount.path("photos", "small"), "utf8")).toBe("small");
    expect((await readFile(mount.path("photos", "large"))).equals(large)).toBe(true);
    plan.expectAllHit();
    await mount.unmount();
  }, 150_000);
});
