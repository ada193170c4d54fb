/** kill -9 of a real mount: what close() promised is there, and an upload goes on where it was. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { casfs, type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { FaultPlan, faults, on } from "../support/fault-plan.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { eventually, shell, whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();
const key = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "crash", CASFS_SECRET_KEY: "crash-key" };
const mebibytes = 200;
const partCount = Math.ceil(mebibytes / 16);

describe.skipIf(reason !== undefined)(`crashes${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;
  let server: RunningCasfs;
  let proxy: FaultProxy;

  beforeEach(async () => {
    mount = await TestMount.make();
    server = await startCasfs(["serve", "--listen", "127.0.0.1:0", "--data", mount.data], key);
    proxy = await FaultProxy.start(Number(new URL(server.line.replace("listening on ", "")).port));
  }, 60_000);

  afterEach(async () => {
    await mount[Symbol.asyncDispose]();
    await server.stop();
    // Fails the test when a fault was not hit.
    await proxy[Symbol.asyncDispose]();
  });

  const mountIt = (...options: readonly string[]) =>
    mount.mount(["--endpoint", proxy.url, "--settle", "0s", ...options], key);

  test("an upload that kill -9 interrupted goes on with the parts that the service lacks", async () => {
    await mountIt("--parallel", "2");
    await shell('mkdir "$1"', mount.path("v"));
    const parts = () => proxy.count("uploadPart", { answered: true });
    // Parts after the sixth are held up, so that the crash comes in the middle.
    proxy.plan = new FaultPlan([on("uploadPart", { from: 7 }, faults.silence())]);
    const source = join(mount.directory, "source");
    await shell(`head -c ${mebibytes}M /dev/urandom > "$1"`, source);
    expect(await shell('cp "$1" "$2"', source, mount.path("v/big"))).toMatchObject({ status: 0 });
    await eventually(() => parts() >= 6 && proxy.plan.hits > 0, "six parts were sent, and another held up");
    await mount.crash();
    const before = parts();

    proxy.plan.expectAllHit();
    proxy.plan = new FaultPlan();
    await mountIt("--parallel", "2");
    expect(await casfs("wait", mount.path("v/big"))).toMatchObject({ status: 0 });
    // What was on its way at the crash may have arrived or not; everything else is sent once.
    expect(parts() - before).toBeGreaterThanOrEqual(partCount - before - 2);
    expect(parts() - before).toBeLessThanOrEqual(partCount - before);
    expect(proxy.count("initiateMultipartUpload"), "one upload").toBe(1);

    expect(await casfs("evict", mount.path("v/big"))).toMatchObject({ status: 0 });
    const recalled = await shell('sha256sum < "$1"', mount.path("v/big"));
    expect(recalled.stdout.split(" ")[0]).toBe(await sha256(source));
  }, 120_000);

  test("a file that was being written is kept, marked and not uploaded", async () => {
    await mountIt();
    await shell('mkdir "$1"', mount.path("v"));
    // Not a shell: its redirections close copies of the descriptor, and a close() is a promise.
    const script =
      "import os, sys, time; os.write(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), b'partial'); time.sleep(6)";
    const writer = shell('python3 -c "$1" "$2"', script, mount.path("v/unfinished"));
    await shell('until [ "$(stat -c %s "$1")" = 7 ]; do sleep 0.05; done', mount.path("v/unfinished"));
    await mount.crash();
    await writer;
    await mountIt();
    expect((await shell('cat "$1"', mount.path("v/unfinished"))).stdout).toBe("partial");
    const { suspects, uploads } = await mount.status();
    expect(suspects.map((one) => one.path)).toEqual(["v/unfinished"]);
    expect(uploads).toEqual([]);
    const wait = await casfs("wait", mount.path("v/unfinished"));
    expect(wait.status).toBe(1);
    expect(wait.stdout + wait.stderr).toContain("interrupted");
  }, 60_000);
});

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
