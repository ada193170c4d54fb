/** Uploads of a real mount over a network that breaks, and the commands that wait for them. */

import { spawn } from "node:child_process";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { casfs, casfsProgram } from "../support/casfs-process.js";
import { FaultPlan, faults, on } from "../support/fault-plan.js";
import { eventually, whyNoMount } from "../support/fuse-environment.js";
import { CountedMount, script } from "./counted-mount.js";

const reason = whyNoMount();

describe.skipIf(reason !== undefined)(`a broken network${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: CountedMount;

  beforeEach(async () => {
    mount = await CountedMount.start(["--settle", "1h", "--multipart-threshold", "16MiB"]);
    const made = await script(
      'mkdir "$1" "$2/v"; cd "$2/v"; seq 1000 > a; seq 2000 > b; head -c 34000000 /dev/urandom > large; cp a b large "$1"',
      mount.path("v"),
      mount.plain(),
    );
    expect(made).toMatchObject({ status: 0, stderr: "" });
  }, 60_000);
  afterEach(() => mount?.[Symbol.asyncDispose](), 60_000);

  /** A command that goes on while the test does something. */
  function start(...words: readonly string[]) {
    const child = spawn(process.execPath, [casfsProgram, ...words], { cwd: "/", stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    const ended = new Promise<NodeJS.Signals | number | null>((resolve) => {
      child.once("close", (status, signal) => resolve(signal ?? status));
    });
    return { child, ended, said: () => said };
  }

  /** In the vault, by a new inventory, there is one archive of each file; read back they are what was written. */
  async function expectOneArchiveEach(): Promise<void> {
    mount.proxy.plan = new FaultPlan();
    expect(await casfs("inventory", "refresh", mount.path("v"), "--wait")).toMatchObject({ status: 0 });
    const { place } = mount;
    const deadline = Date.now() + 60_000;
    while ((await place.status()).deletes.pending > 0 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    // By a second state directory: what it shows is what there is.
    await place.unmount();
    place.forgetState();
    await mount.mount();
    expect(await casfs("inventory", "refresh", mount.path("v"), "--wait")).toMatchObject({ status: 0 });
    const same = await script('ls "$1"; diff -r "$1" "$2"', mount.path("v"), mount.plain("v"));
    expect(same).toMatchObject({ status: 0, stdout: "a\nb\nlarge\n", stderr: "" });
  }

  test("casfs wait comes through refusals, resets and lost answers, and each file is one archive", async () => {
    mount.proxy.plan = new FaultPlan([
      on("uploadArchive", { nth: 1 }, faults.lostAnswer()),
      on("uploadArchive", { nth: 3 }, faults.resetInRequestBody()),
      on("initiateMultipartUpload", { nth: 1 }, faults.badGateway()),
      on("uploadPart", { nth: 1 }, faults.throttled()),
      on("uploadPart", { nth: 3 }, faults.corruptedRequest()),
      on("completeMultipartUpload", { nth: 1 }, faults.lostAnswer()),
    ]);
    expect(await casfs("wait", mount.path("v"))).toMatchObject({ status: 0, stdout: "3 files archived\n", stderr: "" });
    mount.proxy.plan.expectAllHit();
    expect((await mount.place.status()).staged.files).toBe(0);
    await expectOneArchiveEach();
  }, 90_000);

  test("a cable that is pulled again and again only delays an upload in parts", async () => {
    const waited = casfs("wait", mount.path("v"));
    for (let pulled = 0; pulled < 5; pulled++) {
      const { length } = mount.proxy.exchanges;
      await eventually(
        () => mount.proxy.exchanges.length > length || mount.requests.uploads === 3,
        "it goes on",
        20_000,
      );
      mount.proxy.cut();
    }
    expect(await waited).toMatchObject({ status: 0, stdout: "3 files archived\n" });
    await expectOneArchiveEach();
  }, 90_000);

  test("unmount --drain says that it waits in an outage, and ends when everything is archived", async () => {
    mount.proxy.plan = new FaultPlan([on("any", { from: 1 }, faults.badGateway())]);
    const drain = start("unmount", "--drain", mount.place.mountpoint);
    await eventually(() => drain.said().includes("waiting until everything in"), "it says so");
    expect(drain.child.exitCode).toBeNull();
    mount.proxy.plan = new FaultPlan();
    expect(await drain.ended).toBe(0);
    expect(mount.requests.uploads).toBe(3);
    await mount.mount();
    expect((await mount.place.status()).staged.files).toBe(0);
    await expectOneArchiveEach();
  }, 90_000);

  test("Ctrl-C ends casfs wait in an outage, and the uploads go on when it is over", async () => {
    mount.proxy.plan = new FaultPlan([on("any", { from: 1 }, faults.resetBeforeRequest())]);
    const wait = start("wait", mount.path("v"));
    await eventually(() => mount.proxy.exchanges.length > 5, "it has tried");
    wait.child.kill("SIGINT");
    expect(await wait.ended).toBe("SIGINT");
    mount.proxy.plan = new FaultPlan();
    await eventually(() => mount.requests.uploads === 3, "all are archived");
    await expectOneArchiveEach();
  }, 90_000);
});
