/** The main job through a real mount: copy in, wait, evict, read back; rsync; a new state directory. */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseDescription } from "../../src/protocol/description.js";
import { casfs, TestMount } from "../support/casfs-process.js";
import { shell, whyNoMount } from "../support/fuse-environment.js";
import { makeSourceTree, type SourceTree } from "../support/source-tree.js";

const reason = whyNoMount();
const fileCount = 1000;
const bigBytes = 200 * 1024 * 1024;

/** Everything that stat tells of a tree, one line for each name. Directories have no size of their own. */
const listing = `cd "$1" && find . -mindepth 1 \\( -type d -printf '%P %y %m %U %G %T@ -\\n' \\) -o -printf '%P %y %m %U %G %T@ %s %l\\n' | LC_ALL=C sort`;

describe.skipIf(reason !== undefined)(`the main job${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let mount: TestMount;
  let source: SourceTree;

  beforeAll(async () => {
    mount = await TestMount.make();
    source = await makeSourceTree(join(mount.directory, "source"), fileCount);
    execFileSync("bash", ["-c", `head -c ${bigBytes} /dev/urandom > "$1/big file"`, "bash", source.directory]);
    await mount.mount(["--settle", "500ms"]);
    expect((await shell('mkdir "$1"', mount.path("vault"))).status).toBe(0);
  }, 120_000);

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]();
  });

  test("a mount prints exactly one line when it answers", () => {
    expect(mount.running.line).toBe(`mounted on ${mount.mountpoint}`);
  });

  test("cp -a, wait, evict: the copy equals the source in bytes, mode, owner, times and links", async () => {
    const copied = await shell('cp -a "$1" "$2"', source.directory, mount.path("vault/copy"));
    expect(copied).toMatchObject({ status: 0, stderr: "" });
    expect(await casfs("wait", mount.path("vault"))).toMatchObject({ status: 0 });

    const evicted = await casfs("evict", mount.path("vault"));
    expect(evicted).toMatchObject({ status: 0 });
    const cold = await shell('find "$1" -type f -size +0 -printf "%b\\n" | sort -u', mount.path("vault/copy"));
    expect(cold.stdout, "every cold file has one block").toBe("1\n");

    const there = await shell(listing, mount.path("vault/copy"));
    const here = await shell(listing, source.directory);
    expect(there.stdout).toBe(here.stdout);
    expect(await casfs("restore", "-r", "--wait", mount.path("vault"))).toMatchObject({ status: 0 });
    const compared = await shell('diff -r --no-dereference "$1" "$2"', source.directory, mount.path("vault/copy"));
    expect(compared).toMatchObject({ status: 0, stdout: "" });
  }, 180_000);

  test("every non-empty file is one archive under its own name, hard links share theirs", async () => {
    const entries = await mount.inventory("vault");
    expect(entries).toHaveLength(source.nonEmptyFiles + 1);
    const names = entries.map(({ description }) => {
      const parsed = parseDescription(description);
      return parsed.kind === "casfs" ? parsed.segments.join("/") : `not ours: ${description}`;
    });
    expect(names).toContain("copy/big file");
    expect(names.every((name) => name.startsWith("copy/"))).toBe(true);
    expect(new Set(names).size).toBe(entries.length);
  });

  test("a second rsync transfers nothing and recalls nothing", async () => {
    const rsync = 'rsync -aH --stats "$1/" "$2/"';
    const first = await shell(rsync, source.directory, mount.path("vault/synced"));
    expect(first.status).toBe(0);
    expect(await casfs("wait", mount.path("vault/synced"))).toMatchObject({ status: 0 });
    const afterFirst = await mount.inventory("vault");
    const names = afterFirst.flatMap(({ description }) => {
      const parsed = parseDescription(description);
      return parsed.kind === "casfs" && parsed.segments[0] === "synced" ? [parsed.segments.join("/")] : [];
    });
    expect(names).toHaveLength(source.nonEmptyFiles + 1);
    expect(
      names.filter((name) => /\/\.[^/]*\.[A-Za-z0-9]{6}$/.test(name)),
      "no temporary name",
    ).toEqual([]);

    expect(await casfs("evict", mount.path("vault/synced"))).toMatchObject({ status: 0 });
    const second = await shell(rsync, source.directory, mount.path("vault/synced"));
    expect(second.status).toBe(0);
    expect(second.stdout).toMatch(/Number of regular files transferred: 0\b/);
    expect((await mount.status()).recalls).toEqual([]);
    expect(await mount.inventory("vault")).toHaveLength(afterFirst.length);
    const cold = await shell('find "$1" -type f -size +0 -printf "%b\\n" | sort -u', mount.path("vault/synced"));
    expect(cold.stdout, "nothing was recalled").toBe("1\n");
  }, 180_000);

  test("a new state directory has the tree back from the inventory, with names, sizes, times and contents", async () => {
    await mount.unmount();
    mount.forgetState();
    await mount.mount();
    expect(await casfs("inventory", "refresh", mount.path("vault"), "--wait")).toMatchObject({ status: 0 });

    const files = `cd "$1" && find . -type f -size +0 -printf '%P %m %U %G %T@ %s\\n' | LC_ALL=C sort`;
    const there = await shell(files, mount.path("vault/copy"));
    // Hard links are names of the catalog: an inventory knows one of them.
    const here = await shell(files.replace("-type f", "-type f ! -name 'second name'"), source.directory);
    const either = (text: string) => text.replace(/^second name /m, "dir 1/deep1/file-1 ");
    expect(either(there.stdout).split("\n").sort()).toEqual(either(here.stdout).split("\n").sort());

    expect(await casfs("restore", "-r", "--wait", mount.path("vault/copy"))).toMatchObject({ status: 0 });
    const sums = `cd "$1" && find . -type f -size +0 ! -name 'second name' ! -name file-1 -exec sha256sum {} + | LC_ALL=C sort`;
    expect((await shell(sums, mount.path("vault/copy"))).stdout).toBe((await shell(sums, source.directory)).stdout);
  }, 180_000);
});
