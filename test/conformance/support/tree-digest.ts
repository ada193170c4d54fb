/** SHA-256 and tree hash by the recursive definition (cas-api section 13.2); never imports from `src`. */

import { createHash } from "node:crypto";

const leafBytes = 1_048_576;

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The root splits at the largest power of two of leaves that is smaller than the whole; that is the pairing of 13.2. */
export function treeHash(bytes: Uint8Array): string {
  return root(bytes).toString("hex");
}

/** The two hash headers of an upload. */
export function hashesOf(bytes: Uint8Array): { "x-cas-content-sha256": string; "x-cas-sha256-tree-hash": string } {
  return { "x-cas-content-sha256": sha256(bytes), "x-cas-sha256-tree-hash": treeHash(bytes) };
}

function root(bytes: Uint8Array): Buffer {
  if (bytes.length <= leafBytes) return createHash("sha256").update(bytes).digest();
  let left = leafBytes;
  while (left * 2 < bytes.length) left *= 2;
  return createHash("sha256")
    .update(root(bytes.subarray(0, left)))
    .update(root(bytes.subarray(left)))
    .digest();
}
