/** An upload that cannot succeed, as programs and people see it on a real mount with a real service. */

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { casfs, type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { run, whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();
const env = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "owner", CASFS_SECRET_KEY: "secret" };

describe.skipIf(reason !== undefined)(`failing uploads${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let server: RunningCasfs;
  let mount: TestMount;
  let endpoint: string;

  beforeAll(async () => {
    mount = await TestMount.make();
    server = await startCasfs(["serve", "--listen", "127.0.0.1:0", "--data", mount.data], env);
    endpoint = server.line.replace("listening on ", "");
  });
  afterAll(async () => {
    await mount[Symbol.asyncDispose]();
    await server.stop();
  });

  /** `casfs vault` on the service itself, without the mount. */
  const vault = (...words: string[]) =>
    casfs("vault", ...words, "--endpoint", endpoint, "--secret-id", "owner", "--secret-key", "secret");

  test("close() with --commit archived, wait, drain, status and the attribute say why; then it goes on", async () => {
    await mount.mount(["--commit", "archived", "--settle", "0s", `--endpoint=${endpoint}`], env);
    await mkdir(mount.path("photos"));
    expect(await vault("rm", "photos")).toMatchObject({ status: 0, stderr: "" });
    const path = mount.path("photos", "a");
    await writeFile(join(mount.directory, "source"), "text");

    const copied = await run("cp", [join(mount.directory, "source"), path]);
    expect(copied).toMatchObject({ status: 1, stderr: expect.stringMatching(/nput\/output error/) });
    expect(await readFile(path, "utf8")).toBe("text");

    const waited = await casfs("wait", path);
    expect(waited).toMatchObject({ status: 1, stderr: expect.stringContaining("its upload failed") });
    const drained = await casfs("unmount", "--drain", mount.mountpoint);
    expect(drained).toMatchObject({ status: 1, stderr: expect.stringContaining("its upload failed") });
    const attribute = await run("getfattr", ["--only-values", "-n", "user.casfs.error", path]);
    expect(attribute.stdout).toMatch(/^upload attempt \d+ failed: .*photos/);
    expect((await run("getfattr", ["-d", "-m", "-", path])).stdout).toBe("");
    expect((await casfs("status", mount.mountpoint)).stdout).toMatch(/! photos\/a: its upload failed \(\d+ attempts\)/);
    expect(mount.running.stderr()).toContain("upload of content");

    expect((await vault("create", "photos")).status).toBe(0);
    expect(await casfs("wait", path)).toMatchObject({ status: 0, stdout: "1 file archived\n" });
    expect((await run("getfattr", ["-n", "user.casfs.error", path])).status).toBe(1);
  }, 120_000);
});
