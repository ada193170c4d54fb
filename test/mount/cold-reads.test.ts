/** Opening cold files through a real mount: waiting, giving up, policies, and what does not slow down meanwhile. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { run, shell, whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();
const key = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "cold-reads", CASFS_SECRET_KEY: "cold-reads-key" };

describe.skipIf(reason !== undefined)(`cold reads${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;
  let server: RunningCasfs;
  let endpoint: string;

  beforeAll(async () => {
    mount = await TestMount.make();
    server = await startCasfs(
      ["serve", "--listen", "127.0.0.1:0", "--data", mount.data, "--retrieval", "standard=2500ms"],
      key,
    );
    endpoint = server.line.replace("listening on ", "");
  }, 60_000);

  beforeEach(async () => {
    mount.forgetState();
  });

  afterEach(async () => {
    await mount.unmount();
  });

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]();
    await server?.stop();
  });

  const mountWith = (...options: readonly string[]) =>
    mount.mount(["--endpoint", endpoint, "--settle", "0s", ...options], key);

  const coldFiles = (vault: string, count: number) => mount.makeColdFiles(vault, count);

  test("cat of a cold file waits for the recall and prints the content", async () => {
    await mountWith();
    await coldFiles("waits", 1);
    const startedAt = Date.now();
    const read = await shell('cat "$1" | wc -c', mount.path("waits/cold1"));
    expect(read).toMatchObject({ status: 0, stdout: "5000\n" });
    expect(Date.now() - startedAt).toBeGreaterThan(1000);
  });

  test("Ctrl-C on a waiting cat returns at once, and the job goes on", async () => {
    await mountWith();
    await coldFiles("interrupted", 1);
    const cat = spawn("cat", [mount.path("interrupted/cold1")], { stdio: "ignore" });
    await waitUntil(async () => (await mount.status()).waiting.length === 1);
    const status = await mount.status();
    expect(status.waiting[0]).toMatchObject({ pid: cat.pid, path: "interrupted/cold1" });
    // Who waited until the recall is over would print the file and end by itself.
    cat.kill("SIGINT");
    expect(await once(cat, "exit")).toEqual([null, "SIGINT"]);
    await waitUntil(async () => (await mount.status()).recalls.length === 0);
    expect(
      (await run("getfattr", ["--only-values", "-n", "user.casfs.state", mount.path("interrupted/cold1")])).stdout,
    ).toBe("cached");
  });

  test("opening a cold file with O_NONBLOCK fails with EAGAIN and starts no job", async () => {
    await mountWith();
    await coldFiles("nonblock", 1);
    const read = await shell('dd if="$1" iflag=nonblock of=/dev/null', mount.path("nonblock/cold1"));
    expect(read.status).toBe(1);
    expect(read.stderr).toContain("Resource temporarily unavailable");
    expect((await mount.status()).recalls).toEqual([]);
  });

  test("grep -r over a cold tree recalls nothing", async () => {
    await mountWith();
    await coldFiles("grepped", 3);
    await shell('grep -r nothing "$1"', mount.path("grepped"));
    expect((await mount.status()).recalls).toEqual([]);
  });

  test("with --on-cold eagain an open fails with EAGAIN, and succeeds after the content has landed", async () => {
    await mountWith("--on-cold", "eagain");
    await coldFiles("eagain", 1);
    const file = mount.path("eagain/cold1");
    const first = await run("cat", [file]);
    expect(first.status).toBe(1);
    expect(first.stderr).toContain("Resource temporarily unavailable");
    await waitUntil(async () => (await mount.status()).recalls.length === 0);
    expect((await shell('cat "$1" | wc -c', file)).stdout).toBe("5000\n");
  });

  test("with --on-cold deny an open fails with EAGAIN and starts no job", async () => {
    await mountWith("--on-cold", "deny");
    await coldFiles("deny", 1);
    expect((await run("cat", [mount.path("deny/cold1")])).status).toBe(1);
    expect((await mount.status()).recalls).toEqual([]);
  });

  test("with --max-wait a longer wait becomes EAGAIN", async () => {
    await mountWith("--max-wait", "300ms");
    await coldFiles("maxwait", 1);
    // Who waited for the whole recall would have the bytes.
    const read = await run("cat", [mount.path("maxwait/cold1")]);
    expect(read).toMatchObject({ status: 1, stdout: "" });
    expect(read.stderr).toContain("Resource temporarily unavailable");
  });

  test("20 readers blocked on 20 cold files do not slow ls or reads of cached files", async () => {
    await mountWith();
    await coldFiles("crowd", 20);
    await shell('head -c 1000000 /dev/urandom > "$1"', mount.path("crowd/warm"));
    const look = async () => {
      const startedAt = performance.now();
      const seen = await shell('ls -l "$1" > /dev/null && cat "$1/warm" | wc -c', mount.path("crowd"));
      expect(seen).toMatchObject({ status: 0, stdout: "1000000\n" });
      return performance.now() - startedAt;
    };
    const idle = Math.min(await look(), await look(), await look());
    // By one shell: they come together while the first still waits.
    const readers = shell('for i in $(seq 20); do cat "$1/cold$i" & done | wc -c; wait', mount.path("crowd"));
    await waitUntil(async () => (await mount.status()).waiting.length === 20);
    const crowded = await look();
    expect(await readers).toMatchObject({ status: 0, stdout: "100000\n" });
    // Generous, for a noisy machine; a stalled mount would take the rest of the retrieval, two seconds.
    expect(crowded).toBeLessThan(idle * 3 + 1000);
  });

  test("two readers of one cold file share one job", async () => {
    await mountWith();
    await coldFiles("shared", 1);
    const reads = [1, 2, 3].map(() => shell('cat "$1" | wc -c', mount.path("shared/cold1")));
    await waitUntil(async () => (await mount.status()).waiting.length === 3);
    expect((await mount.status()).recalls).toHaveLength(1);
    for (const read of reads) expect(await read).toMatchObject({ status: 0, stdout: "5000\n" });
  });

  test("a mount that comes back after kill -9 joins the running job", async () => {
    await mountWith();
    await coldFiles("crashed", 1);
    const file = mount.path("crashed/cold1");
    void shell('cat "$1"', file);
    await waitUntil(async () => (await mount.status()).recalls.some((recall) => recall.jobId !== null));
    const job = (await mount.status()).recalls[0]?.jobId;
    await mount.crash();
    await mountWith();
    const again = await mount.status();
    expect(again.recalls.map((recall) => recall.jobId).concat(job!)).toContain(job);
    expect(again.recalls.every((recall) => recall.jobId === job)).toBe(true);
    expect((await shell('cat "$1" | wc -c', file)).stdout).toBe("5000\n");
  });
});

async function waitUntil(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error("Waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
