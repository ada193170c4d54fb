/** What a mount's event loop spends on hashing, and how long others wait, while a large file is written, uploaded, evicted and recalled. */

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { background, casfsProgram, run, until } from "../command.js";
import type { LoopReport } from "../programs/loop-meter.js";
import type { Bench, Contestants, Row } from "../row.js";
import { type Scale, sizeText } from "../scale.js";
import { type CasfsMount, mountCasfs } from "../subject.js";

export const hashingRow = (scale: Scale): Row => ({
  name: "event-loop-hashing",
  work: `longest hashing in one turn of the event loop, ${sizeText(scale)}`,
  reference: null,
  rounds: 1,
  target: { kind: "duration", atMostMs: 5 },
  prepare: async (bench) => ({ casfs: { round: async () => hashingMs(bench, scale) }, reference: null }),
});

/** Written, hashed, uploaded, evicted and recalled by a mount whose event loop is watched. */
async function hashingMs(bench: Bench, scale: Scale): Promise<number> {
  const place = bench.place("hashing");
  const file = join(place, "report.json");
  const meter = fileURLToPath(new URL("../programs/loop-meter.js", import.meta.url));
  process.env.METER = file;
  const options = ["--local", join(place, "service"), "--parallel", "8"];
  const mount = await mountCasfs(place, options, ["--import", meter]);
  delete process.env.METER;
  run("mkdir", mount.root);
  writeLarge(join(mount.root, "large"), scale);
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

function writeLarge(file: string, { mebibytes }: Scale): void {
  run("dd", "if=/dev/urandom", `of=${file}`, "bs=1M", `count=${mebibytes}`);
}

/** How long `getattr` waits (99 of 100 are faster) while eight parts of a file are on their way up or down, and while nothing is. */
export const latencyRow = (scale: Scale): Row => ({
  name: "getattr-p99",
  work: `getattr, p99, while ${sizeText(scale)} is uploaded and recalled in 8 parts at a time`,
  reference: "the same mount, idle",
  rounds: Math.min(3, scale.roundsMax),
  target: { kind: "time", atMost: 5 },
  prepare: (bench) => latency(bench, scale),
});

const idleMs = 4000;

async function latency(bench: Bench, scale: Scale): Promise<Contestants> {
  const place = bench.place("latency");
  const mount = await mountCasfs(place, ["--local", join(place, "service"), "--parallel", "8"]);
  run("mkdir", mount.root);
  run("touch", join(mount.root, "small"));
  let rounds = 0;
  const busy = async () => {
    rounds += 1;
    const large = join(mount.root, `large-${rounds}`);
    writeLarge(large, scale);
    const upAndDown = async () => {
      for (const work of ["wait", "evict"]) run(process.execPath, casfsProgram, work, large);
      run("head", "-c", "1", large);
    };
    return p99Ms(bench, mount, place, upAndDown);
  };
  return {
    casfs: { round: busy, close: () => mount.close() },
    reference: { round: () => p99Ms(bench, mount, place, () => sleep(idleMs)) },
  };
}

async function p99Ms(bench: Bench, mount: CasfsMount, place: string, work: () => Promise<void>): Promise<number> {
  const stop = join(place, "stop");
  rmSync(stop, { force: true });
  const meter = background(
    join(bench.tools, "getattr-latency"),
    [join(mount.root, "small"), stop],
    join(place, "latency"),
  );
  await work();
  writeFileSync(stop, "");
  await until(meter.hasEnded, { withinMs: 10_000, what: () => "getattr-latency does not end" });
  return Number(meter.output()) / 1000;
}
