/**
 * What POSIX and Linux say of a file system, checked on a real mount. The checks are Python programs in `posix/`, because
 * Python has nearly every system call; each is a promise that also holds on a local disk (`posix/run.py` runs them there).
 */

import { readFileSync } from "node:fs";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestMount } from "../support/casfs-process.js";
import { whyNoDriver } from "../support/driver.js";
import { driverLimits, unexpectedProblem } from "../support/driver-limits.js";
import { run, shell } from "../support/fuse-environment.js";
import { whyNoPython } from "../support/python.js";
import { testSeed } from "../support/test-seed.js";

const reason = whyNoDriver() ?? whyNoPython();
const directory = fileURLToPath(new URL("./posix/", import.meta.url));

const groups = [
  { group: "names", title: "names, links and directories" },
  { group: "owners", title: "owners and permissions" },
  { group: "times", title: "times" },
  { group: "file_bytes", title: "bytes of files" },
  { group: "extended", title: "extended attributes" },
];

function checksOf(group: string): string[] {
  const source = readFileSync(join(directory, `${group}.py`), "utf8");
  return [...source.matchAll(/^def check_(\w+)/gm)].map(([, name]) => name!.replaceAll("_", " "));
}

interface Outcome {
  readonly check: string;
  /** null when it passed. */
  readonly problem: string | null;
}

describe.skipIf(reason !== undefined)(
  `a mount behaves like a local disk${reason ? ` (skipped: ${reason})` : ""}`,
  () => {
    let mount: TestMount;

    beforeAll(async () => {
      mount = await TestMount.make();
      // Other users have to reach it. Whatever is closed is uploaded at once, while the next check goes on.
      await chmod(mount.directory, 0o755);
      await mount.mount(["--allow-other", "--settle", "0s", "--rewrite-interval", "0s"]);
      expect((await shell('mkdir "$1"', mount.path("v"))).status).toBe(0);
    }, 60_000);

    afterAll(async () => {
      await mount?.[Symbol.asyncDispose]();
    });

    describe.each(groups)("$title", ({ group }) => {
      let outcomes: ReadonlyMap<string, string | null>;

      beforeAll(async () => {
        const ran = await run("python3", ["-B", join(directory, "run.py"), group, mount.path("v")], {
          timeoutMs: 100_000,
        });
        const lines = ran.stdout.split("\n").filter((line) => line !== "");
        outcomes = new Map(
          lines.map((line) => JSON.parse(line) as Outcome).map(({ check, problem }) => [check, problem]),
        );
        expect(ran).toMatchObject({ status: 0 });
      }, 120_000);

      test.each(checksOf(group))("%s", (check) => {
        expect(unexpectedProblem(check, outcomes.get(check))).toBeNull();
      });
    });

    // CASFS_STORM_STEPS makes the stories longer.
    const seed = String(testSeed);
    const steps = Number(process.env.CASFS_STORM_STEPS ?? 1000);
    const timeoutMs = 60_000 + steps * 50;

    test(
      "random calls of several processes and users end as they do on a local disk",
      async () => {
        const local = join(mount.directory, "local");
        await mkdir(local, { mode: 0o755 });
        const program = join(directory, "storm.py");
        const ran = await run("python3", ["-B", program, mount.path("v"), local, seed, String(steps)], { timeoutMs });
        expect(ran, `seed ${seed}`).toMatchObject({ status: 0, stdout: "", stderr: "" });
      },
      timeoutMs,
    );

    test(
      "whatever is done to a file, every byte of it is right",
      async () => {
        const program = join(directory, "fsx.py");
        const words = [mount.path("v"), seed, String(steps), ...driverLimits.steps];
        const ran = await run("python3", ["-B", program, ...words], { timeoutMs });
        expect(ran, `seed ${seed}`).toMatchObject({ status: 0, stdout: "", stderr: "" });
      },
      timeoutMs,
    );

    test(
      "what several processes do at once fits together, and the next mount shows the same",
      async () => {
        const place = mount.path("v", "crowd");
        await mkdir(place);
        const crowd = (...more: readonly string[]) =>
          run("python3", ["-B", join(directory, "crowd.py"), place, ...more], { timeoutMs });
        const changed = await crowd(seed, String(Math.ceil(steps / 4)));
        expect(changed, `seed ${seed}`).toMatchObject({ status: 0, stderr: "" });
        await mount.unmount();
        await mount.mount(["--allow-other", "--read-only"]);
        expect((await crowd()).stdout, `seed ${seed}`).toBe(changed.stdout);
      },
      timeoutMs,
    );

    test("with --read-only every change is EROFS, and reading works", async () => {
      const changes = `cd "$1" && ls > /dev/null || exit 9
      for change in "touch new" "mkdir new" "rm -r crowd" "mv crowd other" "ln -s x new" "chmod 700 crowd" "mkfifo new" "touch crowd"
      do $change 2>&1 | grep -q "Read-only file system" || echo "$change"; done`;
      expect(await shell(changes, mount.path("v"))).toMatchObject({ status: 0, stdout: "", stderr: "" });
      await mount.unmount();
      await mount.mount(["--allow-other"]);
    });

    test("nothing of all that is left open or waits", async () => {
      const { stdout } = await shell('rm -rf "$1"/* && ls -A "$1"', mount.path("v"));
      expect(stdout).toBe("");
    });
  },
);
