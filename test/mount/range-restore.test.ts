/** `casfs restore --range` on a real mount: a part of a file, paid for, brought and verified without the rest. */

import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MIB } from "../../src/domain/bytes.js";
import { casfsHere } from "../support/casfs-here.js";
import { shell, whyNoMount } from "../support/fuse-environment.js";
import { CountedMount } from "./counted-mount.js";

const reason = whyNoMount();

describe.skipIf(reason !== undefined)(`restoring a part${reason ? ` (skipped: ${reason})` : ""}`, () => {
  const bytes = { small: randomBytes(5 * MIB), large: randomBytes(8 * MIB + 1000) };
  let mount: CountedMount;
  let small: string;
  let large: string;

  beforeAll(async () => {
    mount = await CountedMount.start(["--settle", "0s", "--partial-recall", "6MiB"]);
    small = mount.path("photos", "small");
    large = mount.path("photos", "large");
    await mkdir(mount.path("photos"));
    await writeFile(small, bytes.small);
    await writeFile(large, bytes.large);
    await mount.wait("photos");
    await mount.evict("photos");
  }, 60_000);
  afterAll(() => mount?.[Symbol.asyncDispose]());

  const restore = (...words: string[]) => casfsHere(["restore", ...words]);
  const output = (name: string) => join(mount.place.directory, name);

  test("where reading it would recall the whole file it is refused, and says what to do, before anything is ordered", async () => {
    const { status, stdout, stderr } = await restore("--range", "1MiB-2MiB", "--yes", small);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(/would recall the rest of it, too\nhint: Write the part with --output FILE, or mount with/);
    const behind = await restore("--range", "6MiB-", "--yes", "-o", output("behind"), small);
    expect(behind).toMatchObject({ status: 1, stderr: expect.stringContaining("the file has 5242880 bytes") });
    expect(existsSync(output("behind"))).toBe(false);
    expect(mount.requests.jobs).toBe(0);
  });

  test("with --output exactly the bytes are written that were asked for; they cost whole MiBs, once", async () => {
    const [start, end] = [1500 * 1024, 2500 * 1024];
    const asked = ["--range", "1500KiB-2500KiB"];
    const unpaid = await restore(...asked, "-o", output("part"), small);
    expect(unpaid).toMatchObject({ status: 3, stderr: expect.stringContaining("--yes") });
    expect(unpaid.stdout).toMatch(/^bytes 1048576-3145728 in 2 jobs, 2MiB to restore at tier standard: less than /);
    expect(existsSync(output("part"))).toBe(false);
    expect(mount.requests.jobs).toBe(0);

    const paid = await restore(...asked, "--yes", "-o", output("part"), small);
    expect(paid).toMatchObject({ status: 0, stderr: "" });
    expect(paid.stdout).toContain(`\n2 parts restored\n1000KiB written to ${output("part")}\n`);
    expect((await readFile(output("part"))).equals(bytes.small.subarray(start, end))).toBe(true);
    expect(mount.requests.jobs).toBe(2);

    const again = await restore(...asked, "-o", output("again"), small);
    expect(again).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^nothing to restore: these bytes are here/),
    });
    expect((await readFile(output("again"))).equals(bytes.small.subarray(start, end))).toBe(true);
    const twice = await restore(...asked, "-o", output("again"), small);
    expect(twice).toMatchObject({ status: 1, stderr: expect.stringContaining("it is there already") });
    expect(mount.requests.jobs).toBe(2);
    expect((await readFile(small)).equals(bytes.small)).toBe(true);
  });

  test("where the mount reads parts of it, reading the part then orders nothing", async () => {
    const before = mount.requests.jobs;
    const { status, stdout } = await restore("--range", "4MiB-6MiB", "--yes", "--wait", large);
    expect({ status, stdout: stdout.split("\n").at(-2) }).toEqual({ status: 0, stdout: "1 part restored" });
    expect(mount.requests.jobs - before).toBe(1);
    const read = await shell('dd if="$1" of="$2" bs=1M skip=4 count=2 status=none', large, output("read"));
    expect(read).toMatchObject({ status: 0, stderr: "" });
    expect((await readFile(output("read"))).equals(bytes.large.subarray(4 * MIB, 6 * MIB))).toBe(true);
    expect(mount.requests.jobs - before).toBe(1);
  });

  test.each([
    ["--range", "1MiB-2MiB", "a", "b"],
    ["--range", "1MiB-2MiB", "-r", "a"],
    ["--range", "2MiB-1MiB", "a"],
    ["--range", "5", "a"],
    ["--output", "x", "a"],
  ])("%s %s %s %s is no part of a file", async (...words) => {
    expect(await restore(...words)).toMatchObject({ status: 2, stdout: "" });
  });
});
