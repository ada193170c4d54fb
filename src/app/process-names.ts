/**
 * What the kernel knows of a process by its number: its names, from /proc.
 *
 * Relies on: /proc of the namespace in which the numbers were given. A process that has ended has no names.
 */

import { readFile, readlink } from "node:fs/promises";
import { basename } from "node:path";
import type { ProcessTable } from "../vfs/recall-governor.js";

/** What runs a script or a library, whose name is then that of the program. */
const interpreters = /^(?:python|perl|ruby|node|nodejs|bash|dash|sh|zsh|ksh|busybox|env|kioslave|kioworker)[\d.]*$/;
/** A binary that was replaced while it runs. */
const deletedMark = / \(deleted\)$/;

/** @param directory Where processes are listed, usually `/proc`. */
export function processTable(directory = "/proc"): ProcessTable {
  return {
    /**
     * All that a pattern may mean: the program's file and its argument 0, the script that an interpreter runs, and the
     * names of the process and of the thread, of which the kernel keeps 15 characters.
     */
    async names(pid) {
      const process = `${directory}/${pid}`;
      const [exe, cmdline, thread, leader] = await Promise.all([
        readlink(`${process}/exe`).catch(() => ""),
        textOf(`${process}/cmdline`),
        textOf(`${process}/comm`),
        leaderOf(directory, pid),
      ]);
      const words = cmdline.split("\0").filter((word) => word !== "");
      const program = basename(words[0] ?? "").replace(/^-/, "");
      const script = interpreters.test(basename(exe)) || interpreters.test(program) ? scriptOf(words) : "";
      const names = [leader, script, basename(exe.replace(deletedMark, "")), program, thread.trimEnd()];
      return [...new Set(names.filter((name) => name !== ""))];
    },
  };
}

/** The command line of a process, for people; `?` when there is none. It may hold secrets: never for a log. */
export async function commandLineOf(pid: number): Promise<string> {
  const text = await textOf(`/proc/${pid}/cmdline`);
  return text.replaceAll("\0", " ").trim() || "?";
}

/** FUSE gives the number of a thread, which may have a name of its own: that of its process counts first. */
async function leaderOf(directory: string, pid: number): Promise<string> {
  const [, group] = /^Tgid:\s*(\d+)$/m.exec(await textOf(`${directory}/${pid}/status`)) ?? [];
  return group === undefined ? "" : (await textOf(`${directory}/${group}/comm`)).trimEnd();
}

function scriptOf(words: readonly string[]): string {
  const script = words.slice(1).find((word) => !word.startsWith("-"));
  return script === undefined ? "" : basename(script);
}

function textOf(path: string): Promise<string> {
  return readFile(path, "utf8").catch(() => "");
}
