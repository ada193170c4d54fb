/** Tree hashes of stored bytes, from the hashes that were kept when they arrived (cas-api section 13.3). */

import type { ByteRange } from "../../domain/bytes.js";
import { treeHashLeafBytes } from "../../protocol/limits.js";
import type { TreeHashHex } from "../../protocol/service.js";
import { isTreeHashAligned } from "../../protocol/tree-hash.js";
import { TreeHashJoiner } from "../../protocol/tree-hash-joiner.js";
import type { BodyFileRow } from "./body-table.js";

/** A body as far as its tree is concerned. */
export interface HashedBody {
  readonly sizeBytes: number;
  /** The files that hold bytes of the half-open range, in order. */
  filesOf(range: ByteRange): Iterable<BodyFileRow>;
  /** SHA-256 of each MiB of one file, 32 bytes each. */
  leavesOf(fileId: number): Buffer;
}

const leafHashBytes = 32;

/**
 * The tree hash of `range`; null when it is no subtree, or the body has lost its bytes.
 *
 * A file that is a subtree itself, as every part of a power of two is, counts as one node; of others the leaves are
 * read, which costs some 2 microseconds for each MiB: half a million of them, 10,000 parts of 48 MiB, take a second.
 */
export function rangeTreeHash(body: HashedBody, range: ByteRange): TreeHashHex | null {
  if (!isTreeHashAligned(range, body.sizeBytes)) return null;
  const joiner = new TreeHashJoiner();
  for (const file of body.filesOf(range)) {
    const extent = { start: file.start, end: file.start + file.size_bytes } as ByteRange;
    const isWithin = extent.start >= range.start && extent.end <= range.end;
    if (isWithin && isTreeHashAligned(extent, body.sizeBytes)) joiner.add(file.tree_hash, levelOf(file.size_bytes));
    else for (const leaf of leavesWithin(body.leavesOf(file.file_id), extent, range)) joiner.add(leaf, 0);
  }
  return joiner.isEmpty ? null : joiner.root();
}

/** The height of the smallest full tree that holds so many bytes. */
function levelOf(sizeBytes: number): number {
  return Math.ceil(Math.log2(Math.ceil(sizeBytes / treeHashLeafBytes)));
}

function* leavesWithin(leaves: Buffer, file: ByteRange, range: ByteRange): Generator<Buffer, void, undefined> {
  const first = Math.max(0, range.start - file.start) / treeHashLeafBytes;
  const end = Math.ceil((Math.min(range.end, file.end) - file.start) / treeHashLeafBytes);
  for (let index = first; index < end; index++) {
    yield leaves.subarray(index * leafHashBytes, (index + 1) * leafHashBytes);
  }
}
