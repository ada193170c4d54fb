/**
 * Entry of a worker thread: hashes files from their beginning on while they grow, and remembers how far it is.
 *
 * Relies on: its orders saying whether what it has hashed of a file is still there.
 * Never: takes a processor from whoever writes: it runs at a lower priority.
 */

import { createHash, type Hash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { setPriority } from "node:os";
import { parentPort } from "node:worker_threads";
import { MIB } from "../domain/bytes.js";
import type { HashEnd, HashStep } from "./written-content.js";

export type RunningRequest = { readonly file: number } & (
  | ({ readonly kind: "step"; readonly path: string; readonly partLeaves: number } & HashStep)
  | ({ readonly kind: "end"; readonly path: string } & HashEnd)
  /** Not answered. */
  | { readonly kind: "forget" }
);

/** `linear`: the hash of the part that ends with a step; of the whole or the part that was asked for. */
export type RunningReply =
  | { readonly leaves: Uint8Array; readonly linear: string | undefined }
  | { readonly error: string };

interface Running {
  /** Leaves that the hashes describe. */
  position: number;
  whole: Hash | undefined;
  /** Of the part that `position` is in; in the first part it is that of the whole. */
  part: Hash | undefined;
}

const niceness = 10;
const files = new Map<number, Running>();
const buffer = Buffer.allocUnsafeSlow(MIB);

// On Linux this is about the calling thread alone.
setPriority(0, niceness);

parentPort?.on("message", (request: RunningRequest) => {
  if (request.kind === "forget") files.delete(request.file);
  else parentPort?.postMessage(answer(request));
});

function answer(request: Exclude<RunningRequest, { kind: "forget" }>): RunningReply {
  try {
    return request.kind === "step" ? hashStep(request) : hashEnd(request);
  } catch (error) {
    files.delete(request.file);
    return { error: (error as Error).message };
  }
}

function hashStep(request: Extract<RunningRequest, { kind: "step" }>): RunningReply {
  const { file, path, first, end, partLeaves } = request;
  const running = files.get(file) ?? { position: 0, whole: undefined, part: undefined };
  files.set(file, running);
  const continues = running.position === first;
  if (!request.wholeIntact || !continues) running.whole = undefined;
  if (!request.partIntact || !continues) running.part = undefined;
  if (first === 0 && request.wholeIntact) running.whole = createHash("sha256");
  if (first > 0 && first % partLeaves === 0) running.part = createHash("sha256");

  const leaves = hashBytes(path, first * MIB, end * MIB, running.whole, running.part);
  running.position = end;
  if (end % partLeaves !== 0) return { leaves, linear: undefined };
  const linear = end === partLeaves ? running.whole?.copy().digest("hex") : running.part?.digest("hex");
  running.part = undefined;
  return { leaves, linear };
}

function hashEnd({ file, path, first, endBytes, of }: Extract<RunningRequest, { kind: "end" }>): RunningReply {
  const running = files.get(file);
  files.delete(file);
  const linear = of === "whole" ? running?.whole : running?.part;
  if (linear === undefined || running?.position !== first) return { error: "There is no running hash" };
  const leaves = hashBytes(path, first * MIB, endBytes, linear);
  return { leaves, linear: linear.digest("hex") };
}

/** Feeds the bytes to `running`. @returns the leaves of the MiBs from `start` on. */
function hashBytes(path: string, start: number, end: number, ...running: readonly (Hash | undefined)[]): Uint8Array {
  const leaves: Buffer[] = [];
  const fd = openSync(path, "r");
  try {
    for (let offset = start; offset < end; offset += MIB) {
      const bytes = buffer.subarray(0, Math.min(MIB, end - offset));
      readFully(fd, bytes, offset);
      leaves.push(createHash("sha256").update(bytes).digest());
      for (const hash of running) hash?.update(bytes);
    }
  } finally {
    closeSync(fd);
  }
  return Buffer.concat(leaves);
}

function readFully(fd: number, bytes: Uint8Array, offset: number): void {
  for (let done = 0; done < bytes.length; ) {
    const length = readSync(fd, bytes, done, bytes.length - done, offset + done);
    if (length === 0) throw new Error(`The file ends at ${offset + done}`);
    done += length;
  }
}
