/** The commands on real mounts, each in its own process as a user runs them. */

import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { casfsHere } from "../support/casfs-here.js";
import { casfs, casfsProgram, type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { eventually, run, whyNoMount } from "../support/fuse-environment.js";

const noMount = whyNoMount();
const skipped = noMount === undefined ? "" : ` (skipped: ${noMount})`;

describe.skipIf(noMount !== undefined)(`on a mount of the embedded service${skipped}`, () => {
  let mount: TestMount;

  beforeAll(async () => {
    mount = await TestMount.make();
    await mount.mount(["--settle", "1h"]);
    await mkdir(mount.path("photos"));
  });
  afterAll(() => mount[Symbol.asyncDispose]());

  /** A file that is archived and here. */
  async function archived(name: string): Promise<string> {
    const path = mount.path("photos", name);
    await writeFile(path, `content of ${name}`);
    expect(await casfsHere(["wait", path])).toMatchObject({ status: 0, stdout: "1 file archived\n", stderr: "" });
    return path;
  }

  test("wait, evict, restore: a file goes away and comes back", async () => {
    const path = await archived("round trip.jpg");
    expect(await casfs("evict", path)).toMatchObject({ status: 0, stdout: "1 file evicted, 25B\n" });
    const restored = await casfs("restore", "--wait", path);
    expect(restored).toMatchObject({ status: 0, stderr: "" });
    expect(restored.stdout).toMatch(/^1 file, 25B to restore at tier standard: free of charge.*\n1 file restored\n$/);
    expect((await casfs("restore", path)).stdout).toBe("nothing to restore: 1 file here already\n");
    expect(await readFile(path, "utf8")).toBe("content of round trip.jpg");
  });

  test("what evict keeps is listed and exits 1", async () => {
    const pinned = await archived("pinned");
    const staged = mount.path("photos", "staged");
    await writeFile(staged, "not archived yet");
    expect(await casfsHere(["pin", pinned])).toMatchObject({ status: 0, stdout: "1 file pinned\n" });
    const { status, stdout, stderr } = await casfsHere(["evict", pinned, staged]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "0 files evicted, 0B\n" });
    expect(stderr).toContain("casfs: 2 files kept\n");
    expect(stderr).toContain(`  ${pinned}: `);
    expect(stderr).toContain(`  ${staged}: `);
    expect(await casfsHere(["unpin", pinned])).toMatchObject({ status: 0, stdout: "1 file unpinned\n" });
    expect((await casfsHere(["evict", pinned])).status).toBe(0);
  });

  test("what wait cannot wait for is listed and exits 1", async () => {
    const path = mount.path("photos", "open");
    const holder = startHolding(path);
    try {
      await holder.opened;
      const { status, stderr } = await casfs("wait", path);
      expect(status).toBe(1);
      expect(stderr).toBe(`casfs: 1 file not archived\n  ${path}: it is open for writing\n`);
      const drained = await casfs("unmount", "--drain", mount.mountpoint);
      expect(drained.status).toBe(1);
      expect(drained.stderr).toContain("so it stays mounted");
      const busy = await casfs("unmount", mount.mountpoint);
      expect(busy).toMatchObject({ status: 1, stderr: expect.stringMatching(/busy.*\nhint: /) });
    } finally {
      await holder.end();
    }
  });

  test("a directory needs -r to be restored", async () => {
    const path = mount.path("photos");
    expect(await casfs("restore", path)).toMatchObject({ status: 1, stderr: expect.stringContaining("hint: Give -r") });
    expect((await casfs("restore", "-r", path)).status).toBe(0);
  });

  test("a link leads to what it names, from outside and inside", async () => {
    const path = await archived("linked");
    const outside = join(mount.directory, "outside");
    const inside = mount.path("photos", "inside");
    await symlink(path, outside);
    await symlink("linked", inside);
    expect(await casfsHere(["evict", outside])).toMatchObject({ status: 0, stdout: "1 file evicted, 17B\n" });
    expect((await casfsHere(["restore", "--wait", inside])).stdout).toMatch(/\n1 file restored\n$/);
    expect(await casfsHere(["evict", inside])).toMatchObject({ status: 0, stdout: "1 file evicted, 17B\n" });
    expect(await casfsHere(["wait", inside])).toMatchObject({ status: 0, stdout: "1 file archived\n" });
  });

  test.each([
    ["nowhere", "missing", "which is not there"],
    ["elsewhere", "/etc/hostname", "which is not on a casfs mount"],
    ["in a circle", "to in a circle", "and leads in a circle"],
  ])("a link that leads %s is an error that says so, and nothing to wait for", async (name, target, why) => {
    const link = mount.path("photos", `to ${name}`);
    await symlink(target, link);
    const named = resolve(mount.path("photos"), target);
    for (const command of ["restore", "evict", "pin"]) {
      const { status, stdout, stderr } = await casfsHere([command, link]);
      expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
      expect(stderr).toContain(`casfs: Cannot use ${link}: it is a link to ${named}, ${why}\n`);
    }
    expect(await casfsHere(["wait", link])).toMatchObject({ status: 0, stdout: "0 files archived\n" });
  });

  test("where several are mounted, fsck and inventory want to know which, and name them", async () => {
    await using other = await TestMount.make();
    await other.mount();
    for (const command of [["fsck"], ["inventory", "refresh", "photos"]]) {
      const { status, stdout, stderr } = await casfsHere(command);
      expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
      expect(stderr).toMatch(/^casfs: Cannot tell which .*: there are \d+ casfs mounts\nhint: Name one of them as /);
      expect(stderr).toContain(mount.mountpoint);
      expect(stderr).toContain(other.mountpoint);
    }
  });

  test("status --json is the report of the mount, and a list without MOUNTPOINT", async () => {
    const one = JSON.parse((await casfs("status", "--json", mount.mountpoint)).stdout);
    expect(one).toMatchObject({ mountpoint: mount.mountpoint, pid: mount.running.child.pid, suspects: [] });
    const all = JSON.parse((await casfs("status", "--json")).stdout);
    expect(all).toContainEqual(expect.objectContaining({ mountpoint: mount.mountpoint }));
  });

  test("status for people names the mount, the vaults and where the archives are", async () => {
    const { status, stdout } = await casfs("status", mount.mountpoint);
    expect(status).toBe(0);
    expect(stdout).toContain(`${mount.mountpoint}  process ${mount.running.child.pid}`);
    expect(stdout).toContain(`archives  on this machine only, in ${mount.data}`);
    expect(stdout).toContain("vaults    photos");
  });

  test("an inventory is refreshed by path, or by name with --mount", async () => {
    const byPath = await casfs("inventory", "refresh", "--wait", mount.path("photos"));
    expect(byPath).toMatchObject({ status: 0, stdout: "the inventory of photos is merged\n" });
    const byName = await casfs("inventory", "refresh", "photos", "--mount", mount.mountpoint);
    expect(byName).toMatchObject({ status: 0, stdout: "an inventory of photos is ordered\n" });
    const wrong = await casfs("inventory", "refresh", mount.path("photos", "deeper"));
    expect(wrong).toMatchObject({ status: 1, stderr: expect.stringContaining("is not the directory of a vault") });
  });

  test("a directory inside a mount is no mountpoint, and the hint names it", async () => {
    const { status, stderr } = await casfs("unmount", mount.path("photos"));
    expect(status).toBe(1);
    expect(stderr).toContain(`hint: The mountpoint is ${mount.mountpoint}`);
  });

  test("the mount says on standard error where the data goes, and one line on standard output", () => {
    expect(mount.running.line).toBe(`mounted on ${mount.mountpoint}`);
    expect(mount.running.stderr()).toContain(`archives are kept on this machine only, in ${mount.data}`);
    expect(mount.running.stderr()).toContain(mount.state);
  });
});

describe.skipIf(noMount !== undefined)(`beginning and ending${skipped}`, () => {
  let mount: TestMount;

  beforeEach(async () => {
    mount = await TestMount.make();
  });
  afterEach(() => mount[Symbol.asyncDispose]());

  const startDaemon = (...options: string[]) =>
    casfs("mount", mount.mountpoint, "--local", mount.data, "--state", mount.state, "--daemon", ...options);

  test("a mount whose log goes to a full disk goes on; a command whose result does not fit there says so", async () => {
    await using other = await TestMount.make();
    const full = 'exec 2> /dev/full; exec "$0" "$@"';
    const mounting = [casfsProgram, "mount", other.mountpoint, "--local", other.data, "--state", other.state];
    const child = spawn("sh", ["-c", full, process.execPath, ...mounting], { stdio: ["ignore", "pipe", "ignore"] });
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    await mkdir(other.path("vault"));
    await writeFile(other.path("vault", "file"), "text");
    expect(await casfs("wait", other.path("vault"))).toMatchObject({ status: 0 });
    const status = await run("sh", ["-c", '"$0" "$1" status > /dev/full', process.execPath, casfsProgram]);
    expect(status).toMatchObject({ status: 1, stderr: expect.stringMatching(/^casfs: Cannot write .*ENOSPC.*\n$/) });
    child.kill("SIGTERM");
    expect(await ended).toBe(0);
  });

  test("--daemon returns when the mount answers; after unmount the next mount finds its state free", async () => {
    for (let round = 0; round < 2; round++) {
      const started = await startDaemon();
      expect(started).toMatchObject({ status: 0, stdout: `mounted on ${mount.mountpoint}\n` });
      await mkdir(mount.path(`vault-${round}`));
      expect(await casfs("unmount", mount.mountpoint)).toMatchObject({ status: 0, stdout: "" });
      expect(existsSync(join(mount.state, "control.sock"))).toBe(false);
    }
    expect((await stat(join(mount.state, "mount.log"))).mode & 0o777).toBe(0o600);
  });

  test("a secret key given on the command line is in no process list", async () => {
    await startDaemon("--secret-id", "me", "--secret-key", "hush-hush");
    try {
      expect(execFileSync("ps", ["axww", "-o", "args"], { encoding: "utf8" })).not.toContain("hush-hush");
    } finally {
      await casfs("unmount", mount.mountpoint);
    }
  });

  test("a daemon that cannot start says why through its starter", async () => {
    await startDaemon();
    try {
      const second = await startDaemon();
      expect(second).toMatchObject({ status: 1, stdout: "" });
      expect(second.stderr).toMatch(/casfs: Cannot mount on .* is already mounted there\nhint: Unmount it first/);
    } finally {
      await casfs("unmount", mount.mountpoint);
    }
  });

  test("unmount removes what a killed process left, and its path is no riddle before that", async () => {
    await mount.mount();
    await mkdir(mount.path("photos"));
    mount.running.child.kill("SIGKILL");
    await new Promise((resolve) => mount.running.child.once("exit", resolve));
    const dead = await casfs("wait", mount.path("photos"));
    expect(dead.status).toBe(1);
    expect(dead.stderr).toContain(`casfs: Cannot reach the casfs mount at ${mount.mountpoint}: it is not running`);
    expect((await casfs("status", mount.mountpoint)).status).toBe(1);
    expect(await casfs("unmount", mount.mountpoint)).toMatchObject({ status: 0, stderr: "" });
    expect((await run("mountpoint", ["-q", mount.mountpoint])).status).not.toBe(0);
  });

  test("a daemon that does not answer is told as such, not waited for", async () => {
    await mount.mount();
    const { child } = mount.running;
    child.kill("SIGSTOP");
    try {
      const { status, stdout } = await casfs("status", mount.mountpoint);
      expect(status).toBe(1);
      expect(stdout).toContain("does not answer");
    } finally {
      child.kill("SIGCONT");
    }
  });

  test.each([["unmount"], ["unmount", "--drain"]])(
    "%s %s of a stopped mount says what it waits for, and goes on when the mount does",
    async (...words) => {
      await mount.mount();
      const { child } = mount.running;
      child.kill("SIGSTOP");
      const command = spawn(process.execPath, [casfsProgram, ...words, mount.mountpoint], { cwd: "/" });
      let said = "";
      command.stderr.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
      const ended = new Promise<number | null>((resolve) => command.once("exit", resolve));
      try {
        await eventually(() => said.includes("\n"), "the command says something");
      } finally {
        child.kill("SIGCONT");
      }
      expect(said).toMatch(
        /^casfs: waiting until .*, but its process \d+ is stopped: `kill -CONT \d+` lets it go on\n$/,
      );
      expect(said).toContain(`process ${child.pid}`);
      expect(await ended).toBe(0);
      expect((await run("mountpoint", ["-q", mount.mountpoint])).status).not.toBe(0);
    },
  );

  test("unmount --drain uploads what rests first; without it, it says what is left", async () => {
    await mount.mount(["--settle", "1h"]);
    await mkdir(mount.path("photos"));
    await writeFile(mount.path("photos", "a"), "staged");
    const undrained = await casfs("unmount", mount.mountpoint);
    expect(undrained.stderr).toBe("casfs: 1 file (6B) not archived yet; the next mount goes on with the uploads\n");
    await mount.mount(["--settle", "1h"]);
    const drained = await casfs("unmount", "--drain", mount.mountpoint);
    expect(drained.status).toBe(0);
    expect(drained.stderr).not.toContain("not archived");
    await mount.mount();
    expect((await mount.status()).staged).toMatchObject({ files: 0, bytes: 0 });
  });

  test("Ctrl-C unmounts in order and is no failure", async () => {
    await mount.mount();
    expect(await mount.running.stop("SIGINT")).toBe(0);
    expect((await run("mountpoint", ["-q", mount.mountpoint])).status).not.toBe(0);
  });
});

describe.skipIf(noMount !== undefined)(`where recalls cost money${skipped}`, () => {
  let mount: TestMount;
  let server: RunningCasfs;

  beforeAll(async () => {
    mount = await TestMount.make();
    const key = ["--secret-id", "me", "--secret-key", "hush"];
    const retrieval = ["--retrieval", "standard=300ms,inventory=100ms"];
    server = await startCasfs(["serve", "--listen", "127.0.0.1:0", "--data", mount.data, ...key, ...retrieval]);
    const endpoint = server.line.replace(/^listening on /, "");
    await mount.mount(["--endpoint", endpoint], { CASFS_SECRET_ID: "me", CASFS_SECRET_KEY: "hush" });
    await mkdir(mount.path("photos"));
    await writeFile(mount.path("photos", "a"), Buffer.alloc(100_000, 7));
    await casfs("wait", mount.path("photos"));
    await casfs("evict", mount.path("photos"));
  });
  afterAll(async () => {
    await mount[Symbol.asyncDispose]();
    await server.stop();
  });

  test("serve prints one line with its address", () => {
    expect(server.line).toMatch(/^listening on http:\/\/127\.0\.0\.1:\d+$/);
  });

  test("restore without --yes shows the price, orders nothing and exits 3", async () => {
    const { status, stdout, stderr } = await casfs("restore", mount.path("photos", "a"));
    expect(status).toBe(3);
    expect(stdout).toMatch(
      /^1 file, 97\.6KiB to restore at tier standard: .* CNY, ready in .*\n {2}or --tier expedited: /,
    );
    expect(stderr).toBe("casfs: nothing was ordered, because it costs money\nhint: Add --yes to agree to the price\n");
    expect((await mount.status()).recalls).toEqual([]);
  });

  test("restore --yes orders it", async () => {
    const { status, stdout } = await casfs("restore", "--yes", "--wait", mount.path("photos", "a"));
    expect(status).toBe(0);
    expect(stdout).toMatch(/\n1 file restored\n$/);
  });
});

/** Keeps a file open for writing in another process. */
function startHolding(path: string) {
  const release = `${path}.release`;
  const script = 'exec 3>"$1"; echo x >&3; while [ ! -e "$2" ]; do sleep 0.05; done';
  const ended = run("bash", ["-c", script, "bash", path, release]);
  const opened = (async () => {
    while (!existsSync(path) || (await stat(path)).size === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  })();
  return {
    opened,
    async end() {
      await writeFile(release, "");
      await ended;
    },
  };
}
