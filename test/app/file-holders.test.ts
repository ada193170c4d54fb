import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fileHolders } from "../../src/app/file-holders.js";
import type { InodeNumber } from "../../src/domain/ids.js";

let proc: string;

beforeEach(() => {
  proc = mkdtempSync(join(tmpdir(), "casfs-proc-"));
  mkdirSync(join(proc, "self"));
  const mounts = ["22 1 0:21 / /mnt/a rw - ext4 x rw", "40 1 0:44 / /mnt/a\\040b rw - fuse casfs rw"];
  writeFileSync(join(proc, "self/mountinfo"), `${mounts.join("\n")}\n`);
});

afterEach(() => rmSync(proc, { recursive: true }));

const ino = 7 as InodeNumber;

function addProcess(pid: number, parent: number, descriptors: readonly string[]): void {
  mkdirSync(join(proc, `${pid}/fdinfo`), { recursive: true });
  writeFileSync(join(proc, `${pid}/status`), `Name:\tx\nPPid:\t${parent}\n`);
  for (const [number, text] of descriptors.entries()) writeFileSync(join(proc, `${pid}/fdinfo/${number}`), text);
}

const descriptor = ({ flags = "0100001", mount = 40, inode = 7 } = {}) =>
  `pos:\t0\nflags:\t${flags}\nmnt_id:\t${mount}\nino:\t${inode}\n`;
const isHeld = (closer: number, writers: readonly number[] = []) =>
  fileHolders("/mnt/a b", proc).isHeld(ino, { closer, writers });

test("a descriptor for writing of who closes, of a parent, and of a writer counts", async () => {
  addProcess(10, 1, [descriptor()]);
  addProcess(11, 10, []);
  addProcess(12, 11, []);
  addProcess(20, 1, [descriptor()]);
  addProcess(30, 1, []);
  expect(await isHeld(10)).toBe(true);
  expect(await isHeld(12)).toBe(true);
  expect(await isHeld(30)).toBe(false);
  expect(await isHeld(30, [20])).toBe(true);
});

test("readers, other files, other mounts and processes that are gone do not", async () => {
  addProcess(10, 1, [
    descriptor({ flags: "0100000" }),
    descriptor({ inode: 8 }),
    descriptor({ mount: 22 }),
    "pos:\t0\nflags:\t02\nmnt_id:\t40\n",
  ]);
  expect(await isHeld(10, [99])).toBe(false);
  expect(await fileHolders("/elsewhere", proc).isHeld(ino, { closer: 10, writers: [] })).toBe(false);
});
