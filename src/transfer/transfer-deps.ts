/** What the transfers of files need from outside. */

import type { ByteRange } from "../domain/bytes.js";
import type { Clock } from "../domain/time.js";
import type { Sha256Hex, TreeHashHex } from "../protocol/service.js";

/** Hashes ranges of files off the main thread: `HashPool` of `cache/`. */
export interface RangeHasher {
  hash(path: string, range: ByteRange): Promise<{ readonly sha256: Sha256Hex; readonly treeHash: TreeHashHex }>;
  /** The tree hash alone, which takes half the time. */
  treeHash(path: string, range: ByteRange): Promise<TreeHashHex>;
}

export interface TransferDeps {
  readonly hasher: RangeHasher;
  readonly clock: Clock;
  /** From 0 (included) to 1 (excluded), for the pauses between attempts. */
  readonly random: () => number;
}

/** Parts or pieces that are under way at a time when the caller does not say. */
export const defaultParallel = 4;
