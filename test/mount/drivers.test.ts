/**
 * What tools rely on, and what is hard to keep without the kernel's interrupts and notifications. `npm test` runs this
 * file and `posix.test.ts` on both drivers; what differs is in `test/support/driver-limits.ts`.
 */

import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { casfs, TestMount } from "../support/casfs-process.js";
import { type Driver, driver, whyNoDriver } from "../support/driver.js";
import { unexpectedProblem } from "../support/driver-limits.js";
import { shell } from "../support/fuse-environment.js";

const checks = fileURLToPath(new URL("../support/driver_checks.py", import.meta.url));

/** Whether Ctrl-C ends a `cat` that waits for a recall, or the `cat` is served all the same. */
const interrupted: Record<Driver, boolean> = { kernel: true, "fuse-native": false };
/** A bulk recall of the embedded service takes 5 s, and is looked for every now and then. */
const recallMs = 4_000;

const reason = whyNoDriver();

describe.skipIf(reason !== undefined)(`driver ${driver}${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;

  beforeAll(async () => {
    mount = await TestMount.make();
    await mount.mount(["--settle", "1h", "--keep-free", "0", "--tier", "bulk"]);
    expect((await shell('mkdir "$1" "$1/checks"', mount.path("vault"))).stderr).toBe("");
  });

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]();
  });

  test("keeps what tools rely on", async () => {
    const { stdout, stderr } = await shell('python3 "$1" "$2"', checks, mount.path("vault/checks"));
    expect(stderr).toBe("");
    const results: Record<string, string> = JSON.parse(stdout);
    expect(Object.keys(results).length).toBeGreaterThan(20);
    const problems = Object.entries(results).map(([name, said]) =>
      unexpectedProblem(name, said === "ok" ? null : said),
    );
    expect(problems.filter((problem) => problem !== null)).toEqual([]);
  }, 120_000);

  test("cp -a, wait, evict, and every byte and name comes back", async () => {
    const copied = await shell(
      'mkdir "$1/source" && for i in 1 2 3; do head -c $((i * 100000)) /dev/urandom >"$1/source/$i"; done && cp -a "$1/source" "$2/copy"',
      mount.directory,
      mount.path("vault"),
    );
    expect(copied.stderr).toBe("");
    expect((await casfs("wait", mount.path("vault/copy"))).status).toBe(0);
    expect((await casfs("evict", mount.path("vault/copy"))).status).toBe(0);
    const refused = await shell(
      'python3 -c "import os,sys; os.open(sys.argv[1], os.O_NONBLOCK)" "$1"',
      mount.path("vault/copy/1"),
    );
    expect(refused.stderr).toContain("BlockingIOError");
    expect((await casfs("restore", "-r", "--wait", mount.path("vault/copy"))).status).toBe(0);
    const compared = await shell('diff -r "$1" "$2"', `${mount.directory}/source`, mount.path("vault/copy"));
    expect(compared).toMatchObject({ status: 0, stdout: "" });
    const rsync = await shell(
      'rsync -a --itemize-changes --modify-window=1 "$1/" "$2"',
      `${mount.directory}/source`,
      mount.path("vault/copy"),
    );
    expect(rsync.stdout).toBe("");
  }, 120_000);

  test(`Ctrl-C ${interrupted[driver] ? "ends" : "does not end"} an open that waits for a recall; the recall goes on`, async () => {
    const file = mount.path("vault/slow");
    await shell('head -c 100000 /dev/urandom >"$1/slow" && cp "$1/slow" "$2"', mount.directory, file);
    expect((await casfs("wait", file)).status).toBe(0);
    expect((await casfs("evict", file)).status).toBe(0);
    const startedAt = Date.now();
    expect((await shell('timeout -s INT 0.3 cat "$1" >/dev/null', file)).status).toBe(124);
    const waitedMs = Date.now() - startedAt;
    if (interrupted[driver]) expect(waitedMs).toBeLessThan(recallMs);
    else expect(waitedMs).toBeGreaterThanOrEqual(recallMs);
    const after = await shell('cmp "$1" "$2/slow"', file, mount.directory);
    expect(after).toMatchObject({ status: 0, stdout: "" });
  });

  test("kill -9 leaves a stale mount that is named, cleaned up, and mounted again with everything in it", async () => {
    await shell('echo kept >"$1"', mount.path("vault/kept"));
    await mount.running.stop("SIGKILL");
    const stale = await casfs("mount", mount.mountpoint, "--local", mount.data, "--state", mount.state);
    expect(stale.stderr).toContain(`casfs unmount ${mount.mountpoint}`);
    expect((await casfs("unmount", mount.mountpoint)).status).toBe(0);
    await mount.mount();
    expect((await shell('cat "$1"', mount.path("vault/kept"))).stdout).toBe("kept\n");
    expect(await casfs("unmount", mount.mountpoint)).toMatchObject({ status: 0 });
  });
});
