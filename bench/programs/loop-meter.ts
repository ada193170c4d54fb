/**
 * Loaded before casfs with `--import`: measures what holds up the event loop of its main thread. At the end of the process
 * it writes to the file that METER names what the turn of the loop that hashed most took for that, and the longest and the
 * 99th percentile of all delays of the loop, in milliseconds.
 *
 * Bytes are counted, and timed at the speed of this machine: the time that passes meanwhile is that of other processes, too.
 */

import crypto, { type Hash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";

export interface LoopReport {
  readonly hashingMs: number;
  readonly delayMs: number;
  readonly delayMsP99: number;
}

/** A hash of very little takes some microseconds: as long as that of so many bytes. */
const leastBytes = 4096;

const target = process.env.METER;
if (isMainThread && target !== undefined) measure(target);

function measure(file: string): void {
  let [mostBytes, turnBytes] = [0, 0];
  const endTurn = () => {
    mostBytes = Math.max(mostBytes, turnBytes);
    turnBytes = 0;
  };
  const { createHash } = crypto;
  crypto.createHash = (...options) => {
    const hash: Hash = createHash(...options);
    const update = hash.update.bind(hash) as (bytes: string | Uint8Array) => Hash;
    hash.update = (bytes: string | Uint8Array) => {
      if (turnBytes === 0) setImmediate(endTurn).unref();
      turnBytes += leastBytes + bytes.length;
      return update(bytes);
    };
    return hash;
  };
  syncBuiltinESMExports();
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  process.on("exit", () => {
    endTurn();
    const report: LoopReport = {
      hashingMs: mostBytes * msPerByte(createHash),
      delayMs: delays.max / 1e6,
      delayMsP99: delays.percentile(99) / 1e6,
    };
    writeFileSync(file, JSON.stringify(report));
  });
}

/** The fastest of many: the one that nobody interrupted. */
function msPerByte(createHash: typeof crypto.createHash): number {
  const bytes = Buffer.alloc(256 * 1024);
  const times = Array.from({ length: 50 }, () => {
    const started = performance.now();
    createHash("sha256").update(bytes).digest();
    return performance.now() - started;
  });
  return Math.min(...times) / bytes.length;
}
