/**
 * Runs a program that is not our child any more when it works, so that no SIGCHLD tells of its end.
 *
 * Relies on: a shell at /bin/sh. libfuse 2.9 cancels its threads when the mount is gone, and they take SIGCHLD; one that
 * is cancelled inside libuv's handler keeps its lock, and the process hangs for ever at the next signal it looks at.
 */

import { spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { type ProgramResult, programEnvironment } from "../mount-table.js";

/** Waits for a line on descriptor 3 and says on 4 what the program said, its exit status in the last line. */
const script = '{ read -r _ && "$@" 2>&1; echo "$?"; } <&3 >&4 &';
const notInstalledStatus = 127;

export async function runOrphan(program: string, programArguments: readonly string[]): Promise<ProgramResult> {
  const child = spawn("/bin/sh", ["-c", script, "sh", program, ...programArguments], {
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    env: programEnvironment,
    cwd: "/",
  });
  const [orders, answers] = [child.stdio[3] as Writable, child.stdio[4] as Readable];
  // The answer says what has become of it.
  orders.on("error", () => undefined);
  let said = "";
  answers.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => orders.end("\n"));
    child.once("close", () => {
      const lines = said.trimEnd().split("\n");
      const status = Number(lines.pop() || Number.NaN);
      const text = lines.join("\n").trim() || `${program} ended with status ${status}`;
      resolve({ ok: status === 0, notInstalled: status === notInstalledStatus, text });
    });
  });
}
