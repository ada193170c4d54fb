/** What a user reads when something is wrong: one clear sentence, and an exit status that is not 0. */

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { casfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { run, shell, whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();
const nobodyListens = "http://127.0.0.1:9";
const anyKey = ["--secret-id", "someone", "--secret-key", "anything"];

describe.skipIf(reason !== undefined)(`error messages${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let place: TestMount;

  beforeEach(async () => {
    place = await TestMount.make();
  });

  afterEach(async () => {
    await place[Symbol.asyncDispose]();
  });

  /** Mounts, which must fail; returns what it said. */
  async function failedMount(...options: readonly string[]): Promise<string> {
    const ended = await casfs("mount", place.mountpoint, "--state", place.state, ...options);
    expect(ended.status).toBeGreaterThan(0);
    expect(ended.stdout).toBe("");
    expect(ended.stderr).not.toMatch(/^\s+at /m);
    expect(ended.stderr).not.toContain("anything");
    return ended.stderr;
  }

  test("the service does not answer", async () => {
    const said = await failedMount("--endpoint", nobodyListens, ...anyKey);
    expect(said).toMatch(/^casfs: Cannot mount http:\/\/127\.0\.0\.1:9: .*refused/);
    expect(said).toContain("hint: ");
  });

  test("the key is wrong", async () => {
    const env = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "owner", CASFS_SECRET_KEY: "right" };
    const server = await startCasfs(["serve", "--listen", "127.0.0.1:0", "--data", place.data], env);
    try {
      const endpoint = server.line.replace("listening on ", "");
      const unknown = await failedMount("--endpoint", endpoint, ...anyKey);
      expect(unknown).toMatch(/^casfs: Cannot mount .*\n(hint: .*secret.*\n)/i);
      const wrong = await failedMount("--endpoint", endpoint, "--secret-id", "owner", "--secret-key", "anything");
      expect(wrong).toMatch(/^casfs: Cannot mount /);
    } finally {
      await server.stop();
    }
  });

  test("the mountpoint is missing, is a file, or is mounted already", async () => {
    const local = ["--local", place.data, "--state", place.state];
    const missing = await casfs("mount", join(place.directory, "missing"), ...local);
    expect(missing).toMatchObject({ status: 1, stdout: "" });
    expect(missing.stderr).toMatch(/^casfs: Cannot mount on .*missing.*\n/);

    await writeFile(join(place.directory, "file"), "");
    const file = await casfs("mount", join(place.directory, "file"), ...local);
    expect(file).toMatchObject({ status: 1, stdout: "" });
    expect(file.stderr).toMatch(/^casfs: Cannot mount on .*not a directory/);

    await place.mount();
    const other = ["--local", `${place.data}-2`, "--state", `${place.state}-2`];
    const busy = await casfs("mount", place.mountpoint, ...other);
    expect(busy).toMatchObject({ status: 1, stdout: "" });
    expect(busy.stderr).toMatch(/^casfs: Cannot mount on .*already/);
    await place.unmount();
  });

  test("the state directory is in use: the second is told who holds it", async () => {
    await place.mount();
    const second = join(place.directory, "second");
    await mkdir(second);
    const refused = await casfs("mount", second, "--local", place.data, "--state", place.state);
    expect(refused).toMatchObject({ status: 1, stdout: "" });
    expect(refused.stderr).toContain(`process ${place.running.child.pid}`);
    expect(refused.stderr).toContain(place.mountpoint);
    await place.unmount();
  });

  test("the state directory belongs to another archive: both are named", async () => {
    await place.mount();
    await place.unmount();
    const said = await failedMount("--local", `${place.data}-other`);
    expect(said).toContain(`local:${place.data}-other`);
    expect(said).toContain(`belongs to local:${place.data} `);
  });

  test("a stale mountpoint is explained, and `casfs unmount` cleans it up", async () => {
    await place.mount();
    await place.running.stop("SIGKILL");
    const said = await failedMount("--local", place.data);
    expect(said).toMatch(/casfs unmount/);
    expect(await casfs("unmount", place.mountpoint)).toMatchObject({ status: 0 });
    await place.mount();
    await place.unmount();
  });

  test("the disk is full: the writer gets ENOSPC, and what was promised before is still there", async () => {
    const disk = join(place.directory, "small-disk");
    await mkdir(disk);
    expect(await run("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", disk])).toMatchObject({ status: 0 });
    try {
      const child = await startCasfs([
        "mount",
        place.mountpoint,
        "--local",
        place.data,
        "--state",
        join(disk, "state"),
        "--settle",
        "24h",
      ]);
      expect((await shell('mkdir "$1/v" && echo kept > "$1/v/small"', place.mountpoint)).status).toBe(0);
      const full = await shell('head -c 64M /dev/zero > "$1/v/big"', place.mountpoint);
      expect(full.status).not.toBe(0);
      expect(full.stderr).toContain("No space left on device");
      expect((await shell('cat "$1/v/small"', place.mountpoint)).stdout).toBe("kept\n");
      // The kernel tells of the last close() of a file a moment after it returned, and until then `big` keeps its room.
      const again = 'rm "$1/v/big"; for i in {1..100}; do echo again > "$1/v/again" && break; sleep 0.1; done';
      await shell(again, place.mountpoint);
      expect((await shell('cat "$1/v/again"', place.mountpoint)).stdout).toBe("again\n");
      await child.stop();
    } finally {
      await run("umount", ["-l", disk]);
    }
  }, 60_000);

  test("cached copies that fill the disk make room for writers", async () => {
    const disk = join(place.directory, "small-disk");
    await mkdir(disk);
    expect(await run("mount", ["-t", "tmpfs", "-o", "size=24m", "tmpfs", disk])).toMatchObject({ status: 0 });
    try {
      const state = ["--state", join(disk, "state"), "--settle", "0s"];
      const child = await startCasfs(["mount", place.mountpoint, "--local", place.data, ...state]);
      const script = `mkdir "$1/v" && for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
        head -c 3M /dev/urandom > "$1/v/f$i" || exit 1; "$2" "$3" wait "$1/v/f$i" > /dev/null || exit 2; done`;
      const program = new URL("../../dist/cli/main.js", import.meta.url).pathname;
      const filled = await shell(script, place.mountpoint, process.execPath, program);
      expect(filled).toMatchObject({ status: 0, stderr: "" });
      await child.stop();
    } finally {
      await run("umount", ["-l", disk]);
    }
  }, 60_000);

  test("a path that is on no mount of casfs", async () => {
    for (const command of ["wait", "evict", "restore"]) {
      const ended = await casfs(command, "/etc/passwd");
      expect(ended.status).toBe(1);
      expect(ended.stderr).toMatch(/^casfs: .*\/etc\/passwd.*\n/);
    }
  });

  test("a wrong option is a usage error", async () => {
    const ended = await casfs("mount", place.mountpoint, "--on-cold", "sometimes");
    expect(ended.status).toBe(2);
    expect(ended.stderr).toContain("block");
    expect((await casfs("frobnicate")).status).toBe(2);
  });
});
