/** Where contents are in the state directory. Pure. */

import { join } from "node:path";
import type { ArchiveKey, ContentId } from "../domain/ids.js";

export const shardCount = 256;

/** The paths below one state directory. */
export class CacheLayout {
  readonly stagingDirectory: string;
  readonly cacheDirectory: string;
  readonly landingDirectory: string;
  readonly partialDirectory: string;

  constructor(stateDirectory: string) {
    this.stagingDirectory = join(stateDirectory, "staging");
    this.cacheDirectory = join(stateDirectory, "cache");
    this.landingDirectory = join(this.cacheDirectory, "landing");
    this.partialDirectory = join(this.cacheDirectory, "partial");
  }

  staged(content: ContentId): string {
    return join(this.stagingDirectory, String(content));
  }

  /** A file that is there only while it is tried what the disk can do. */
  get stagingProbe(): string {
    return join(this.stagingDirectory, "probe");
  }

  /** Directory of shard number 0..255; keys are minted in sequence, so their low byte spreads them evenly. */
  shardDirectory(shard: number): string {
    return join(this.cacheDirectory, shard.toString(16).padStart(2, "0"));
  }

  cached(archive: ArchiveKey): string {
    return join(this.shardDirectory(shardOf(archive)), String(archive));
  }

  landing(archive: ArchiveKey): string {
    return join(this.landingDirectory, `${archive}.part`);
  }

  /** A sparse file of the archive's size, with the windows that are here. */
  partial(archive: ArchiveKey): string {
    return join(this.partialDirectory, String(archive));
  }

  /** Which pieces of a landing are verified. */
  landingPieces(archive: ArchiveKey): string {
    return join(this.landingDirectory, `${archive}.pieces`);
  }
}

function shardOf(archive: ArchiveKey): number {
  return archive % shardCount;
}

/** The number that `name` spells, undefined unless it is spelled as this module writes it. */
export function numberOfName(name: string): number | undefined {
  return /^(0|[1-9][0-9]{0,15})$/.test(name) && Number.isSafeInteger(Number(name)) ? Number(name) : undefined;
}
