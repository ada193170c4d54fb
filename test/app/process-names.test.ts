/** The names of real processes, and those of a /proc that was made up. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { commandLineOf, processTable } from "../../src/app/process-names.js";

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "casfs-names-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function runningAs(path: string): Promise<{ readonly pid: number; stop(): Promise<unknown> }> {
  const child = spawn(path, ["30"], { stdio: "ignore" });
  await once(child, "spawn");
  return {
    pid: child.pid!,
    stop: async () => {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
}

test("a program has the name of its file, whole, and as the kernel cuts it", async () => {
  const program = join(directory, "gdk-pixbuf-thumbnailer");
  await copyFile("/bin/sleep", program);
  const process = await runningAs(program);
  try {
    const names = await processTable().names(process.pid);
    expect(names).toContain("gdk-pixbuf-thumbnailer");
    expect(names).toContain("gdk-pixbuf-thum");
    expect(await commandLineOf(process.pid)).toBe(`${program} 30`);
  } finally {
    await process.stop();
  }
});

test("a process that is not there has no names", async () => {
  expect(await processTable().names(2 ** 22 + 1)).toEqual([]);
  expect(await commandLineOf(2 ** 22 + 1)).toBe("?");
});

interface FakeProcess {
  readonly exe?: string;
  readonly words?: readonly string[];
  readonly comm: string;
  readonly group: number;
}

async function addProcess(pid: number, { exe, words = [], comm, group }: FakeProcess): Promise<void> {
  const place = join(directory, String(pid));
  await mkdir(place);
  await writeFile(join(place, "comm"), `${comm}\n`);
  await writeFile(join(place, "status"), `Name:\t${comm}\nTgid:\t${group}\nPid:\t${pid}\n`);
  await writeFile(join(place, "cmdline"), words.map((word) => `${word}\0`).join(""));
  if (exe !== undefined) await symlink(exe, join(place, "exe"));
}

test("a thread counts by its process, whatever it calls itself", async () => {
  await addProcess(10, { exe: "/usr/libexec/tracker-miner-fs-3", comm: "tracker-miner-f", group: 10 });
  await addProcess(11, { exe: "/usr/libexec/tracker-miner-fs-3", comm: "pool-worker", group: 10 });
  expect(await processTable(directory).names(11)).toEqual(["tracker-miner-f", "tracker-miner-fs-3", "pool-worker"]);
});

test("a script counts by its own name, and a worker of KDE by what it works for", async () => {
  const words = ["/usr/bin/python3", "-s", "/opt/scan/my-indexer.py", "--all"];
  await addProcess(20, { exe: "/usr/bin/python3.11", words, comm: "python3", group: 20 });
  expect(await processTable(directory).names(20)).toContain("my-indexer.py");
  const worker = ["/usr/libexec/kf5/kioslave5", "/usr/lib/qt5/plugins/kf5/kio/thumbnail.so", "thumbnail", ""];
  await addProcess(21, { exe: "/usr/libexec/kf5/kioslave5", words: worker, comm: "kioslave5", group: 21 });
  expect(await processTable(directory).names(21)).toContain("thumbnail.so");
});

test("a program that was replaced while it runs, or whose file may not be looked at, has its names all the same", async () => {
  await addProcess(30, { exe: "/usr/bin/updatedb (deleted)", comm: "x", group: 30 });
  expect(await processTable(directory).names(30)).toContain("updatedb");
  await addProcess(31, { words: ["-updatedb"], comm: "updatedb", group: 31 });
  expect(await processTable(directory).names(31)).toEqual(["updatedb"]);
});
