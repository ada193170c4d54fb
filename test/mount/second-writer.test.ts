/** Two mounts with state directories of their own on one service, as two machines would have it. */

import { readdir, readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { casfs, type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { run, whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();
const env = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "owner", CASFS_SECRET_KEY: "secret" };

describe.skipIf(reason !== undefined)(`two writers${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let server: RunningCasfs;
  let first: TestMount;
  let second: TestMount;
  const options: string[] = ["--settle", "0s"];

  beforeAll(async () => {
    [first, second] = [await TestMount.make(), await TestMount.make()];
    server = await startCasfs(
      ["serve", "--listen", "127.0.0.1:0", "--data", first.data, "--retrieval", "inventory=0s"],
      env,
    );
    options.push(`--endpoint=${server.line.replace("listening on ", "")}`);
  });
  afterAll(async () => {
    await first[Symbol.asyncDispose]();
    await second[Symbol.asyncDispose]();
    await server.stop();
  });

  const refresh = async (mount: TestMount) => {
    const args = ["inventory", "refresh", "photos", "--mount", mount.mountpoint, "--wait"];
    expect(await casfs(...args)).toMatchObject({ status: 0 });
  };
  const state = async (mount: TestMount) =>
    (await run("getfattr", ["--only-values", "-n", "user.casfs.state", mount.path("photos")])).stdout;

  test("find out about each other, and go on by take-over, with a mount and without", async () => {
    await first.mount(options, env);
    expect((await run("mkdir", [first.path("photos")])).status).toBe(0);
    await writeFile(first.path("photos", "a"), "of the first");
    expect((await casfs("wait", first.path("photos"))).status).toBe(0);
    await second.mount(options, env);
    await refresh(second);
    await writeFile(second.path("photos", "b"), "of the second");
    expect((await casfs("wait", second.path("photos"))).status).toBe(0);

    await refresh(first);
    await expect(writeFile(first.path("photos", "c"), "")).rejects.toMatchObject({ code: "EROFS" });
    expect((await readdir(first.path("photos"))).sort()).toEqual(["a", "b"]);
    expect(await readFile(first.path("photos", "b"), "utf8")).toBe("of the second");
    expect(await state(first)).toMatch(/^read-only: .*take-over photos/);
    expect((await casfs("status", first.mountpoint)).stdout).toContain("! Vault photos is read-only");
    expect(first.running.stderr()).toContain("casfs vault take-over photos");

    const taken = await casfs("vault", "take-over", first.path("photos"));
    expect(taken).toMatchObject({ status: 0, stdout: expect.stringContaining("is written to from here again") });
    await writeFile(first.path("photos", "c"), "of the first again");
    expect((await casfs("wait", first.path("photos"))).status).toBe(0);

    await refresh(second);
    await expect(writeFile(second.path("photos", "d"), "")).rejects.toMatchObject({ code: "EROFS" });
    await second.unmount();
    const offline = ["vault", "take-over", "photos", "--state", second.state];
    expect(await casfs(...offline)).toMatchObject({ status: 0, stdout: expect.stringContaining("again") });
    expect(await casfs(...offline)).toMatchObject({ status: 0, stdout: expect.stringContaining("is not read-only") });
    await second.mount(options, env);
    await writeFile(second.path("photos", "d"), "of the second again");
    expect((await casfs("wait", second.path("photos"))).status).toBe(0);
  }, 120_000);

  test("take-over of what is not there says so", async () => {
    expect(await casfs("vault", "take-over", "no", "--mount", second.mountpoint)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("There is no vault no"),
    });
    expect(await casfs("vault", "take-over", "no", "--state", first.data)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("no state directory"),
    });
  });
});
