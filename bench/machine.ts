/** The state of the machine before a measurement, and what it is. */

import { cpus, release } from "node:os";
import { join } from "node:path";
import { run } from "./command.js";
import type { Bench } from "./row.js";
import type { Scale } from "./scale.js";

/** Twice the largest file (once above and once below the mount), and some. */
const touchedOfFile = 2.6;

/** Nothing of an earlier round is still written back, and the page cache finds memory that the host has given. */
export function settleMachine(bench: Bench, { mebibytes }: Scale): void {
  run("sync");
  run(join(bench.tools, "touch-memory"), String(Math.ceil(touchedOfFile * mebibytes)));
}

export function describeMachine() {
  return { cpu: `${cpus().length} x ${cpus()[0]?.model ?? "unknown"}`, kernel: release(), node: process.versions.node };
}
