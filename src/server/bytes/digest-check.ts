/** Compares what was received with what the client said it would send (cas-api section 4.3). */

import { WireError } from "../../protocol/error-wire.js";
import type { Sha256Hex, TreeHashHex } from "../../protocol/service.js";
import type { ContentDigest } from "../../protocol/tree-hash.js";

/** What the headers of a request say of its body. */
export interface ClaimedDigest {
  readonly sha256: Sha256Hex;
  readonly treeHash: TreeHashHex;
}

/** @throws WireError InvalidDigest */
export function checkDigest(claimed: ClaimedDigest, received: ContentDigest): void {
  if (claimed.sha256 !== received.sha256) {
    throw new WireError("InvalidDigest", "The SHA-256 of the body differs from x-cas-content-sha256");
  }
  if (claimed.treeHash !== received.treeHash) {
    throw new WireError("InvalidDigest", "The tree hash of the body differs from x-cas-sha256-tree-hash");
  }
}
