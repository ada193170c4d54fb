/**
 * The SHA-256 tree hash of an archive, streaming and by range (cas-api section 13).
 *
 * Leaves are raw 32-byte SHA-256 values of 1 MiB each, the last one of what is left.
 */

import { createHash, type Hash } from "node:crypto";
import type { ByteRange } from "../domain/bytes.js";
import { treeHashLeafBytes } from "./limits.js";
import type { Sha256Hex, TreeHashHex } from "./service.js";

const sha256Bytes = 32;

export interface TreeDigest {
  readonly sizeBytes: number;
  readonly treeHash: TreeHashHex;
  readonly leaves: Buffer[];
}

export interface ContentDigest extends TreeDigest {
  /** Linear SHA-256 of the whole content. */
  readonly sha256: Sha256Hex;
}

/** Hashes a stream into leaves; for verifying, where the linear hash is not needed. Empty content has one empty leaf. */
export class LeafHasher {
  readonly #leaves: Buffer[] = [];
  readonly #withLinear: boolean;
  #leaf = createHash("sha256");
  #leafBytes = 0;
  #sizeBytes = 0;
  /** Only from the second leaf on: within the first, the leaf is the linear hash, and each byte is hashed once. */
  #linear: Hash | undefined;

  constructor({ withLinear = false }: { readonly withLinear?: boolean } = {}) {
    this.#withLinear = withLinear;
  }

  update(bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.length; ) {
      if (this.#leafBytes === treeHashLeafBytes) this.#endLeaf();
      const piece = bytes.subarray(offset, offset + treeHashLeafBytes - this.#leafBytes);
      this.#leaf.update(piece);
      this.#linear?.update(piece);
      this.#leafBytes += piece.length;
      offset += piece.length;
    }
    this.#sizeBytes += bytes.length;
  }

  /** Ends the hashing; call it once, as the last thing. */
  digest(): TreeDigest {
    const { leaves } = this.finish();
    return { sizeBytes: this.#sizeBytes, treeHash: treeHashOfLeaves(leaves), leaves };
  }

  protected finish(): { readonly leaves: Buffer[]; readonly linear: Buffer } {
    const last = this.#leaf.digest();
    this.#leaves.push(last);
    return { leaves: this.#leaves, linear: this.#linear?.digest() ?? last };
  }

  protected get sizeBytes(): number {
    return this.#sizeBytes;
  }

  #endLeaf(): void {
    if (this.#withLinear && this.#leaves.length === 0) this.#linear = this.#leaf.copy();
    this.#leaves.push(this.#leaf.digest());
    this.#leaf = createHash("sha256");
    this.#leafBytes = 0;
  }
}

/** Hashes a stream into leaves and its linear SHA-256 in one pass. */
export class TreeHasher extends LeafHasher {
  constructor() {
    super({ withLinear: true });
  }

  override digest(): ContentDigest {
    const { leaves, linear } = this.finish();
    return {
      sizeBytes: this.sizeBytes,
      sha256: linear.toString("hex") as Sha256Hex,
      treeHash: treeHashOfLeaves(leaves),
      leaves,
    };
  }
}

/** All hashes of content that is in memory. */
export function digestOf(bytes: Uint8Array): ContentDigest {
  const hasher = new TreeHasher();
  hasher.update(bytes);
  return hasher.digest();
}

/** @throws RangeError without leaves: the tree hash of nothing is undefined. */
export function treeHashOfLeaves(leaves: readonly Uint8Array[]): TreeHashHex {
  if (leaves.length === 0) throw new RangeError("Cannot compute a tree hash of no leaves");
  let level: readonly Uint8Array[] = leaves;
  while (level.length > 1) level = nextLevel(level);
  return Buffer.from(level[0]!).toString("hex") as TreeHashHex;
}

/** As `treeHashOfLeaves`, of leaves that lie one behind the other in `bytes`. */
export function treeHashOfLeafBytes(bytes: Uint8Array): TreeHashHex {
  const leaves: Uint8Array[] = [];
  for (let offset = 0; offset < bytes.length; offset += sha256Bytes) {
    leaves.push(bytes.subarray(offset, offset + sha256Bytes));
  }
  return treeHashOfLeaves(leaves);
}

/**
 * The tree hash of an archive from those of its parts, in order.
 *
 * Right only when all parts but the last have the same size of 1 MiB times a power of two.
 */
export function combineTreeHashes(parts: readonly TreeHashHex[]): TreeHashHex {
  return treeHashOfLeaves(parts.map((part) => Buffer.from(part, "hex")));
}

/** Whether `range` is exactly the extent of one node of the archive's tree (section 13.3). */
export function isTreeHashAligned(range: ByteRange, archiveSizeBytes: number): boolean {
  const length = range.end - range.start;
  if (length <= 0 || range.end > archiveSizeBytes) return false;
  let nodeBytes = treeHashLeafBytes;
  while (nodeBytes < length) nodeBytes *= 2;
  return range.start % nodeBytes === 0 && (length === nodeBytes || range.end === archiveSizeBytes);
}

/** The tree hash of `range`, from the leaves of the whole archive; null when the range is no subtree of it. */
export function subtreeHash(
  leaves: readonly Uint8Array[],
  range: ByteRange,
  archiveSizeBytes: number,
): TreeHashHex | null {
  if (!isTreeHashAligned(range, archiveSizeBytes)) return null;
  const first = range.start / treeHashLeafBytes;
  return treeHashOfLeaves(leaves.slice(first, Math.ceil(range.end / treeHashLeafBytes)));
}

const hexPattern = /^[0-9a-fA-F]{64}$/;

/** Lowercases; the official command line sends capitals. @throws RangeError unless `text` is 64 hex digits. */
export function sha256Hex(text: string): Sha256Hex {
  if (!hexPattern.test(text)) throw new RangeError(`Cannot use ${JSON.stringify(text.slice(0, 80))} as a SHA-256 hash`);
  return text.toLowerCase() as Sha256Hex;
}

/** Lowercases; the official command line sends capitals. @throws RangeError unless `text` is 64 hex digits. */
export function treeHashHex(text: string): TreeHashHex {
  if (!hexPattern.test(text)) throw new RangeError(`Cannot use ${JSON.stringify(text.slice(0, 80))} as a tree hash`);
  return text.toLowerCase() as TreeHashHex;
}

function nextLevel(level: readonly Uint8Array[]): Uint8Array[] {
  const next: Uint8Array[] = [];
  for (let index = 0; index < level.length; index += 2) {
    const left = level[index]!;
    const right = level[index + 1];
    next.push(right === undefined ? left : createHash("sha256").update(left).update(right).digest());
  }
  return next;
}
