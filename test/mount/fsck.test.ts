/** `casfs fsck` on a real mount: in its process while it goes on, and on its state directory afterwards. */

import { readdirSync, writeFileSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { casfs, TestMount } from "../support/casfs-process.js";
import { whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();

describe.skipIf(reason !== undefined)(`fsck${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;

  beforeAll(async () => {
    mount = await TestMount.make();
    await mount.mount(["--settle", "0s"]);
    await mkdir(mount.path("photos"));
    await writeFile(mount.path("photos/a"), "the right bytes");
    expect((await casfs("wait", mount.path("photos/a"))).status).toBe(0);
  }, 60_000);

  afterAll(() => mount?.[Symbol.asyncDispose]());

  test("a mount without damage has no errors, mounted and not", async () => {
    const { status, stdout } = await casfs("fsck", mount.mountpoint);
    expect(stdout).toContain("no errors: ");
    expect(status).toBe(0);
    await mount.unmount();
    const offline = await casfs("fsck", "--state", mount.state, "--json", "--verify");
    expect(offline.status).toBe(0);
    expect(JSON.parse(offline.stdout)).toMatchObject({ errors: 0, databaseChecked: true, verifiedFiles: 1 });
    await mount.mount(["--settle", "0s"]);
  });

  test("a damaged copy is dropped, from the kernel's memory too, and the next read has the right bytes", async () => {
    await mount.unmount();
    writeFileSync(onlyCopy(mount.state), "the wrong bytes");
    await mount.mount();
    expect(await readFile(mount.path("photos/a"), "utf8")).toBe("the wrong bytes");
    const { status, stdout } = await casfs("fsck", "--verify", mount.mountpoint);
    expect(stdout).toContain("error cached-damaged: photos/a: ");
    expect(status).toBe(1);
    expect(await readFile(mount.path("photos/a"), "utf8")).toBe("the right bytes");
    expect((await casfs("fsck", "--verify", mount.mountpoint)).status).toBe(0);
  });
});

function onlyCopy(state: string): string {
  const shards = readdirSync(join(state, "cache")).filter((name) => name !== "landing");
  const copies = shards.flatMap((shard) => readdirSync(join(state, "cache", shard)).map((name) => join(shard, name)));
  expect(copies).toHaveLength(1);
  return join(state, "cache", copies[0]!);
}
