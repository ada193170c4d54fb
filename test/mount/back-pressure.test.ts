/** A full staging area on a real mount: writers wait for uploads, can be interrupted, and hold up nobody else. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { WaitingReport } from "../../src/app/control-api.js";
import { MIB } from "../../src/domain/bytes.js";
import { casfs, type RunningCasfs, startCasfs, TestMount } from "../support/casfs-process.js";
import { FaultPlan, faults, on } from "../support/fault-plan.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { run, shell, whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();
const key = { CASFS_APP_ID: "-", CASFS_SECRET_ID: "pressure", CASFS_SECRET_KEY: "pressure-key" };
const noSpace = "No space left on device";

describe.skipIf(reason !== undefined)(`back-pressure${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;
  let server: RunningCasfs;
  let proxy: FaultProxy;

  beforeEach(async () => {
    mount = await TestMount.make();
    server = await startCasfs(["serve", "--listen", "127.0.0.1:0", "--data", mount.data], key);
    proxy = await FaultProxy.start(Number(new URL(server.line.replace("listening on ", "")).port));
    await mountIt();
    await shell('mkdir "$1"', mount.path("v"));
  });

  afterEach(async () => {
    await mount[Symbol.asyncDispose]();
    await server.stop();
    // Fails the test when a fault was not hit.
    await proxy[Symbol.asyncDispose]();
  });

  const pressed = ["--staging-size", "16MiB", "--settle", "1h"];
  const mountIt = (...options: readonly string[]) =>
    mount.mount(["--endpoint", proxy.url, ...pressed, ...options], key);

  /** Uploads arrive at the service when the returned function is called. */
  function holdUploads(): () => void {
    let letGo = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    proxy.plan = new FaultPlan([on("uploadArchive", { from: 1 }, faults.heldRequest(held))]);
    return () => {
      letGo();
      proxy.plan = new FaultPlan();
    };
  }

  const write = (name: string, mebibytes: number) =>
    run("dd", ["if=/dev/urandom", `of=${mount.path("v", name)}`, "bs=1M", `count=${mebibytes}`], { timeoutMs: 60_000 });

  /** Files of 4 MiB until staging is full. */
  async function fill(): Promise<void> {
    for (const name of ["a", "b", "c", "d"]) expect(await write(name, 4)).toMatchObject({ status: 0 });
  }

  async function waitingWriters(): Promise<readonly WaitingReport[]> {
    return (await mount.status()).waiting.filter((one) => one.for === "room");
  }

  /** A dd that waits for room. */
  async function waitingWriter(name: string): Promise<ChildProcess> {
    const dd = spawn("dd", ["if=/dev/zero", `of=${mount.path("v", name)}`, "bs=1M", "count=4"], { cwd: "/" });
    await until(async () => (await waitingWriters()).some((one) => one.path === `v/${name}`), `${name} waits`);
    return dd;
  }

  test("more than fits is written, because uploads do not settle meanwhile, and staging keeps its limit", async () => {
    let largest = 0;
    const watch = setInterval(() => {
      largest = Math.max(largest, stagedOnDisk(mount.state));
    }, 10);
    for (let file = 0; file < 8; file++) expect(await write(`file-${file}`, 8)).toMatchObject({ status: 0 });
    clearInterval(watch);
    expect(largest).toBeGreaterThan(8 * MIB);
    expect(largest).toBeLessThanOrEqual(17 * MIB);
    const { staged, room } = await mount
      .status()
      .then((status) => ({ staged: status.staged, room: status.staged.room }));
    expect(staged.limitBytes).toBe(16 * MIB);
    expect(staged.usedBytes).toBeLessThanOrEqual(16 * MIB);
    expect(room).toBe("roomy");
    expect(mount.running.stderr()).toContain("writers wait for uploads: ");
  }, 120_000);

  test("a file that is larger than the limit goes to the vault while it is written", async () => {
    expect(await write("before", 4)).toMatchObject({ status: 0 });
    expect(await write("large", 40)).toMatchObject({ status: 0 });
    expect((await shell('stat -c %s "$1"', mount.path("v/large"))).stdout).toBe(`${40 * MIB}\n`);
    expect((await shell('getfattr --only-values -n user.casfs.state "$1"', mount.path("v/large"))).stdout).toBe(
      "archived",
    );
    expect(stagedOnDisk(mount.state)).toBeLessThanOrEqual(5 * MIB);
  });

  test("without an upload that makes progress writers get ENOSPC, and rm makes room", async () => {
    await mount.unmount();
    await mountIt("--stall-timeout", "3s");
    await server.stop("SIGKILL");
    await fill();
    const before = performance.now();
    expect((await write("e", 1)).stderr).toContain(noSpace);
    const waitedMs = performance.now() - before;
    expect(waitedMs).toBeGreaterThan(2_900);
    expect((await mount.status()).staged.room).toBe("stalled");
    expect(mount.running.stderr()).toContain("no upload has made progress for 3s");

    // Who comes later need not wait again to hear the same.
    const again = performance.now();
    expect((await write("f", 1)).stderr).toContain(noSpace);
    expect(performance.now() - again).toBeLessThan(waitedMs - 1000);

    expect(await shell('rm "$1"', mount.path("v/a"))).toMatchObject({ status: 0 });
    expect(await write("g", 2)).toMatchObject({ status: 0 });
    expect((await mount.status()).staged.room).toBe("roomy");
  });

  test("a writer that waits can be interrupted and killed, is shown, and holds up nobody else", async () => {
    const letGo = holdUploads();
    await fill();
    for (const signal of ["SIGINT", "SIGKILL"] as const) {
      const dd = await waitingWriter(signal);
      const [shown] = await waitingWriters();
      expect(shown).toMatchObject({ pid: dd.pid, path: `v/${signal}` });
      expect(shown!.command).toContain("dd if=/dev/zero");
      // The kernel holds the inode of the waiting writer, and only that.
      const others = await run("bash", ["-c", 'ls -l "$1" && md5sum "$1/a" && df "$1"', "bash", mount.path("v")]);
      expect(others).toMatchObject({ status: 0 });
      expect(others.stdout).toContain(signal);
      const itself = await run("bash", ["-c", 'stat "$1" && head -c 10 "$1"', "bash", mount.path("v", signal)]);
      expect(itself).toMatchObject({ status: 0 });

      // The uploads are held: without the signal it would wait until it is told that there is no room.
      dd.kill(signal);
      expect(await once(dd, "exit")).toEqual([null, signal]);
      expect(await waitingWriters()).toEqual([]);
    }
    const patient = await waitingWriter("patient");
    const status = new Promise<number | null>((resolve) => patient.once("exit", resolve));
    letGo();
    expect(await status).toBe(0);
  });

  test("fallocate waits too, and is interrupted", async () => {
    const letGo = holdUploads();
    await fill();
    const child = spawn("fallocate", ["-l", "4MiB", mount.path("v/reserved")], { cwd: "/" });
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    await until(async () => (await waitingWriters()).length === 1, "fallocate waits");
    child.kill("SIGINT");
    await ended;
    letGo();
    expect(await run("fallocate", ["-l", "4MiB", mount.path("v/reserved")])).toMatchObject({ status: 0 });
  });

  test("kill -9 while writers wait loses nothing, and the next mount goes on", async () => {
    const letGo = holdUploads();
    await fill();
    const digests = await shell('cd "$1" && md5sum a b c d', mount.path("v"));
    const dd = await waitingWriter("cut-off");
    const ended = new Promise((resolve) => dd.once("exit", resolve));
    await mount.crash();
    await ended;
    letGo();
    await mountIt();
    expect((await mount.status()).staged.usedBytes).toBeGreaterThanOrEqual(16 * MIB - 4096);
    expect(await write("after", 8)).toMatchObject({ status: 0 });
    expect((await shell('cd "$1" && md5sum a b c d', mount.path("v"))).stdout).toBe(digests.stdout);
    expect(await casfs("wait", mount.path("v/a"), mount.path("v/after"))).toMatchObject({ status: 0 });
  });
});

/** Bytes that staging takes from the disk; files may go while it looks. */
function stagedOnDisk(state: string): number {
  const directory = join(state, "staging");
  const blocks = readdirSync(directory).map(
    (name) => statSync(join(directory, name), { throwIfNoEntry: false })?.blocks,
  );
  return blocks.reduce<number>((sum, each) => sum + (each ?? 0) * 512, 0);
}

async function until(condition: () => Promise<boolean>, what: string, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
