/** The tree hash of a run of consecutive subtrees, whatever their sizes (cas-api section 13.2). */

import { createHash } from "node:crypto";
import type { TreeHashHex } from "./service.js";

interface Node {
  /** The node spans 2^level leaves, or fewer when it is the last of the tree. */
  readonly level: number;
  readonly hash: Uint8Array;
}

/**
 * Takes nodes of one tree from left to right and keeps only those that still wait for their right neighbour: as many as
 * the tree is high, however long the run.
 */
export class TreeHashJoiner {
  readonly #waiting: Node[] = [];

  /**
   * Adds the node that follows. Its place in the run must be a multiple of its 2^level leaves; only the last node of
   * all may span fewer.
   */
  add(hash: Uint8Array, level: number): void {
    let node: Node = { hash, level };
    for (let left = this.#waiting.at(-1); left?.level === node.level; left = this.#waiting.at(-1)) {
      this.#waiting.pop();
      node = { hash: parentHash(left.hash, node.hash), level: node.level + 1 };
    }
    this.#waiting.push(node);
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** @throws RangeError when nothing was added: the tree hash of nothing is undefined. */
  root(): TreeHashHex {
    // What is left over on the right moves up until it meets a neighbour.
    const last = this.#waiting.at(-1);
    if (last === undefined) throw new RangeError("Cannot compute a tree hash of no leaves");
    const root = this.#waiting.slice(0, -1).reduceRight((right, { hash }) => parentHash(hash, right), last.hash);
    return Buffer.from(root).toString("hex") as TreeHashHex;
  }
}

function parentHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return createHash("sha256").update(left).update(right).digest();
}
