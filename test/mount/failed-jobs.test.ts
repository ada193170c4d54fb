/** Retrieval jobs that fail at the service, as programs and people see it on a real mount with a real service. */

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { casfsHere } from "../support/casfs-here.js";
import { FaultPlan, faults, on } from "../support/fault-plan.js";
import { eventually, run, shell, whyNoMount } from "../support/fuse-environment.js";
import { CountedMount } from "./counted-mount.js";

const reason = whyNoMount();
const message = "The archive could not be read from tape 7";

describe.skipIf(reason !== undefined)(`jobs that fail${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: CountedMount;

  beforeAll(async () => {
    mount = await CountedMount.start(["--settle", "0s"]);
    await mount.place.makeColdFiles("photos", 3);
  }, 60_000);
  afterAll(() => mount?.[Symbol.asyncDispose]());

  /** Each archive's job that fails. */
  const failing = new Map<string, string>();

  /** The first job of one more archive that is asked for fails, a second one of it does not. */
  function failOneMore(): void {
    const limit = failing.size + 1;
    const isMeant = (archive: string, job: string) => {
      if (!failing.has(archive) && failing.size < limit) failing.set(archive, job);
      return failing.get(archive) === job;
    };
    const asked = ["listJobs", "describeJob"] as const;
    mount.proxy.plan = new FaultPlan([on(asked, { from: 1 }, faults.failedJobs(message, isMeant))]);
  }

  const error = (path: string) => run("getfattr", ["--only-values", "-n", "user.casfs.error", path]);

  test("an open gets EIO, the service's reason is told everywhere, and the next open orders anew", async () => {
    const path = mount.path("photos", "cold1");
    failOneMore();
    const read = await run("cat", [path]);
    expect(read).toMatchObject({ status: 1, stdout: "", stderr: expect.stringContaining("Input/output error") });
    expect(mount.requests.jobs).toBe(1);
    const logged = new RegExp(`the recall of .* failed: .*${message}`);
    await eventually(() => logged.test(mount.place.running.stderr()), "the log says why");
    expect((await error(path)).stdout).toMatch(new RegExp(`^recall failed at .*${message}; the next open asks again$`));
    const { failedRecalls } = await mount.place.status();
    expect(failedRecalls).toMatchObject([{ path: "photos/cold1", tier: "standard" }]);
    expect(failedRecalls[0]).toMatchObject({ reason: expect.stringContaining(message), jobId: expect.any(String) });
    const status = await casfsHere(["status", mount.place.mountpoint]);
    expect(status.stdout).toMatch(new RegExp(`! photos/cold1: its recall failed .*${message}`));

    expect((await shell('cat "$1" | wc -c', path)).stdout).toBe("5000\n");
    expect(mount.requests.jobs).toBe(2);
    expect((await error(path)).status).toBe(1);
    expect((await mount.place.status()).failedRecalls).toEqual([]);
  });

  test("a batch restore reports what failed, brings the others, and can be repeated", async () => {
    await mount.evict("photos");
    failOneMore();
    const before = mount.requests.jobs;
    const restore = ["restore", "-r", "--wait", "--yes", mount.path("photos")];
    const { status, stdout, stderr } = await casfsHere(restore);
    expect({ status, stdout: stdout.split("\n").at(-2) }).toEqual({ status: 1, stdout: "2 files restored" });
    expect(stderr).toMatch(new RegExp(`^casfs: 1 file not restored\n  .*/photos/cold\\d: .*${message}\n$`));
    const again = await casfsHere(restore);
    expect(again).toMatchObject({ status: 0, stdout: expect.stringMatching(/\n1 file restored\n$/) });
    // The good job of cold1 is joined.
    expect(mount.requests.jobs - before).toBe(3);
  });
});
