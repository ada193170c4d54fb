/**
 * Entry of a worker thread: hashes ranges of files, one at a time, reading them itself.
 *
 * Never: holds more than one MiB of a file.
 */

import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { MIB } from "../domain/bytes.js";
import { LeafHasher, TreeHasher, treeHashOfLeafBytes } from "../protocol/tree-hash.js";
import type { KnownLeaves } from "./leaf-store.js";

export interface HashRequest {
  readonly path: string;
  readonly start: number;
  readonly end: number;
  /** Whether the linear SHA-256 is asked for, too; it takes as long as the leaves. */
  readonly withLinear: boolean;
  /** Leaves of the range's first MiBs, some of which are known. */
  readonly known?: KnownLeaves | undefined;
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
    return request.known === undefined ? hashRange(request) : hashUnknown(request, request.known);
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

/** As `hashRange`, but for leaves that are known; where no linear hash is asked for, their bytes are not even read. */
function hashUnknown({ path, start, end, withLinear }: HashRequest, { leaves, known }: KnownLeaves): HashReply {
  const linear = withLinear ? createHash("sha256") : undefined;
  const hashed: Uint8Array[] = [];
  const fd = openSync(path, "r");
  try {
    for (let offset = start, leaf = 0; offset < end; offset += MIB, leaf += 1) {
      const isKnown = known[leaf] === 1;
      const bytes = buffer.subarray(0, Math.min(MIB, end - offset));
      if (!isKnown || linear !== undefined) readFully(fd, bytes, offset, path);
      linear?.update(bytes);
      hashed.push(isKnown ? leaves.subarray(leaf * 32, leaf * 32 + 32) : createHash("sha256").update(bytes).digest());
    }
  } finally {
    closeSync(fd);
  }
  const all = Buffer.concat(hashed);
  const digest = { treeHash: treeHashOfLeafBytes(all), leaves: all };
  return linear === undefined ? digest : { ...digest, sha256: linear.digest("hex") };
}

function readFully(fd: number, bytes: Uint8Array, offset: number, path: string): void {
  for (let done = 0; done < bytes.length; ) {
    const length = readSync(fd, bytes, done, bytes.length - done, offset + done);
    if (length === 0)
      throw new Error(`Cannot hash ${path} up to ${offset + bytes.length}: it ends at ${offset + done}`);
    done += length;
  }
}
