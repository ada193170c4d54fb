/**
 * Entry of a worker thread: hashes ranges of files, one at a time, reading them itself.
 *
 * Never: holds more than one MiB of a file.
 */

import { closeSync, openSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { MIB } from "../domain/bytes.js";
import { LeafHasher, TreeHasher } from "../protocol/tree-hash.js";

export interface HashRequest {
  readonly path: string;
  readonly start: number;
  readonly end: number;
  /** Whether the linear SHA-256 is asked for, too; it takes as long as the leaves. */
  readonly withLinear: boolean;
}

export type HashReply =
  | { readonly sha256?: string; readonly treeHash: string; readonly leaves: Uint8Array }
  | { readonly error: { readonly message: string; readonly code: string | undefined } };

const buffer = Buffer.allocUnsafeSlow(MIB);

parentPort?.on("message", (request: HashRequest) => {
  parentPort?.postMessage(answer(request));
});

function answer(request: HashRequest): HashReply {
  try {
    return hashRange(request);
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    return { error: { message, code } };
  }
}

function hashRange({ path, start, end, withLinear }: HashRequest): HashReply {
  const hasher = withLinear ? new TreeHasher() : new LeafHasher();
  const fd = openSync(path, "r");
  try {
    for (let offset = start; offset < end; ) {
      const length = readSync(fd, buffer, 0, Math.min(MIB, end - offset), offset);
      if (length === 0) throw new Error(`Cannot hash ${path} up to ${end}: it ends at ${offset}`);
      hasher.update(buffer.subarray(0, length));
      offset += length;
    }
  } finally {
    closeSync(fd);
  }
  const { leaves, ...digest } = hasher.digest();
  return { ...digest, leaves: Buffer.concat(leaves) };
}
