/** What a mount's event loop spends on hashing while a gigabyte is written, uploaded, evicted and recalled. */

import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { casfsProgram, run } from "../command.js";
import type { LoopReport } from "../programs/loop-meter.js";
import type { Bench, Row } from "../row.js";
import { mountCasfs } from "../subject.js";

const mebibytes = 1024;

export const hashingRow: Row = {
  name: "event-loop-hashing",
  work: "longest hashing in one turn of the event loop, 1 GiB",
  reference: null,
  rounds: 1,
  target: { kind: "duration", atMostMs: 5 },
  prepare: async (bench) => ({ casfs: { round: async () => hashingMs(bench) }, reference: null }),
};

/** Written, hashed, uploaded, evicted and recalled by a mount whose event loop is watched. */
async function hashingMs(bench: Bench): Promise<number> {
  const place = bench.place("hashing");
  const file = join(place, "report.json");
  const meter = fileURLToPath(new URL("../programs/loop-meter.js", import.meta.url));
  process.env.METER = file;
  const options = ["--local", join(place, "service"), "--parallel", "8"];
  const mount = await mountCasfs(place, options, ["--import", meter]);
  delete process.env.METER;
  run("mkdir", mount.root);
  writeLarge(join(mount.root, "large"));
  run(process.execPath, casfsProgram, "wait", join(mount.root, "large"));
  run(process.execPath, casfsProgram, "evict", join(mount.root, "large"));
  run("head", "-c", "1", join(mount.root, "large"));
  await mount.close();
  const report = JSON.parse(readFileSync(file, "utf8")) as LoopReport;
  console.log(
    `bench: all delays of the event loop: longest ${report.delayMs.toFixed(1)} ms, p99 ${report.delayMsP99.toFixed(1)} ms`,
  );
  rmSync(place, { recursive: true });
  return report.hashingMs;
}

function writeLarge(file: string): void {
  run("dd", "if=/dev/urandom", `of=${file}`, "bs=1M", `count=${mebibytes}`);
}
