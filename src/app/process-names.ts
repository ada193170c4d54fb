/**
 * What the kernel knows of a process by its number: its names, from /proc.
 *
 * Relies on: /proc of the namespace in which the numbers were given. A process that has ended has no names.
 * Never: waits in the event loop. The command line is memory of the process, which may itself wait for this mount; all
 * else the kernel has at hand, and reading it at once takes a quarter of the time.
 */

import { readFileSync, readlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";
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
      const exe = programOf(process);
      const thread = textAtHand(`${process}/comm`);
      const leader = leaderOf(directory, pid);
      const cmdline = await textOf(`${process}/cmdline`);
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
function leaderOf(directory: string, pid: number): string {
  const [, group] = /^Tgid:\s*(\d+)$/m.exec(textAtHand(`${directory}/${pid}/status`)) ?? [];
  return group === undefined ? "" : textAtHand(`${directory}/${group}/comm`).trimEnd();
}

function programOf(process: string): string {
  try {
    return readlinkSync(`${process}/exe`);
  } catch {
    return "";
  }
}

function scriptOf(words: readonly string[]): string {
  const script = words.slice(1).find((word) => !word.startsWith("-"));
  return script === undefined ? "" : basename(script);
}

function textAtHand(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function textOf(path: string): Promise<string> {
  return readFile(path, "utf8").catch(() => "");
}
