/**
 * How many bytes are staged, against the limit that the user set: the one owner of that number.
 *
 * Counted without a system call for each write, so it is an upper bound of what the staging files allocate: of each
 * content the blocks that its writes touched, each time they did, but never more than what lies before its last byte.
 * For a file without holes the bound is exact; one with holes is measured when the limit is met. A measurement misses
 * writes that are on their way at that moment, at most one of each writer. Shared (reflinked) blocks count in full.
 * Never: touches a file, or waits; that is `staging-area.ts` and `vfs/staging-room.ts`.
 */

import type { ContentId } from "../domain/ids.js";
import type { StagedBytes, StagedRange, StagedUsage } from "../vfs/ports.js";

export interface StagingBudgetParts {
  /** null: no limit but the disk. */
  readonly limitBytes: number | null;
  /** Bytes that the staging file of a content allocates on the disk; undefined when there is none. */
  readonly allocatedBytes: (content: ContentId) => number | undefined;
}

interface Staged {
  /** End of the last block that was written. */
  readonly endBytes: number;
  /** What it counts for: never more than `endBytes`. */
  readonly usedBytes: number;
  readonly hasHoles: boolean;
}

const blockBytes = 4096;

export class StagingBudget implements StagedBytes {
  readonly #parts: StagingBudgetParts;
  readonly #contents = new Map<ContentId, Staged>();
  /** Contents with holes that were written or cut since they were measured. */
  readonly #unmeasured = new Set<ContentId>();
  #usedBytes = 0;
  #leaving = 0;
  #onFreed: (bytes: number) => void = () => {};

  constructor(parts: StagingBudgetParts) {
    this.#parts = parts;
  }

  usage(): StagedUsage {
    return { usedBytes: this.#usedBytes, limitBytes: this.#parts.limitBytes };
  }

  get isLeaving(): boolean {
    return this.#leaving > 0;
  }

  onFreed(listener: (bytes: number) => void): void {
    this.#onFreed = listener;
  }

  grows(content: ContentId, range: StagedRange): boolean {
    const staged = this.#staged(content);
    return grown(staged, range).usedBytes > staged.usedBytes;
  }

  fits(content: ContentId, range: StagedRange): boolean {
    const staged = this.#staged(content);
    return this.#hasRoom(grown(staged, range).usedBytes - staged.usedBytes);
  }

  take(content: ContentId, range: StagedRange): boolean {
    const staged = this.#staged(content);
    const next = grown(staged, range);
    const growth = next.usedBytes - staged.usedBytes;
    if (!this.#hasRoom(growth)) return false;
    this.#contents.set(content, next);
    this.#usedBytes += growth;
    if (next.hasHoles) this.#unmeasured.add(content);
    return true;
  }

  measure(): void {
    for (const content of this.#unmeasured) this.#measure(content);
  }

  allocated(content: ContentId): number {
    if (this.#unmeasured.has(content)) this.#measure(content);
    return this.#staged(content).usedBytes;
  }

  #measure(content: ContentId): void {
    this.#unmeasured.delete(content);
    const staged = this.#staged(content);
    const allocated = this.#parts.allocatedBytes(content);
    if (allocated === undefined) return;
    this.#set(content, { ...staged, usedBytes: Math.min(staged.usedBytes, upToBlock(allocated)) });
  }

  couldFit(content: ContentId, range: StagedRange): boolean {
    const { limitBytes } = this.#parts;
    return limitBytes === null || grown(this.#staged(content), range).usedBytes <= limitBytes;
  }

  /** A staging file of `sizeBytes` is there, of which `allocatedBytes` are on the disk. */
  found(content: ContentId, { sizeBytes, allocatedBytes }: { sizeBytes: number; allocatedBytes: number }): void {
    const endBytes = upToBlock(sizeBytes);
    const usedBytes = Math.min(endBytes, upToBlock(allocatedBytes));
    this.#set(content, { endBytes, usedBytes, hasHoles: usedBytes < endBytes });
  }

  /** The staging file of a content has no more than `sizeBytes` now. */
  cut(content: ContentId, sizeBytes: number): void {
    if (!this.#contents.has(content)) return;
    const staged = this.#staged(content);
    const endBytes = Math.min(staged.endBytes, upToBlock(sizeBytes));
    const usedBytes = Math.min(staged.usedBytes, endBytes);
    this.#set(content, { ...staged, endBytes, usedBytes });
    if (staged.hasHoles) this.#unmeasured.add(content);
    if (usedBytes < staged.usedBytes) this.#onFreed(staged.usedBytes - usedBytes);
  }

  /** Of the staging file of a content `freedBytes` have left the disk, and its length has stayed. */
  punched(content: ContentId, freedBytes: number): void {
    const staged = this.#staged(content);
    const usedBytes = Math.max(0, staged.usedBytes - freedBytes);
    this.#set(content, { ...staged, usedBytes, hasHoles: true });
    this.#unmeasured.add(content);
    this.#onFreed(staged.usedBytes - usedBytes);
  }

  /** The content stops being staged when `ending` settles; until then its bytes still count. */
  leave(content: ContentId, ending: Promise<unknown>): void {
    this.#leaving += 1;
    const left = () => {
      this.#leaving -= 1;
      this.#onFreed(this.#forget(content));
    };
    ending.then(left, left);
  }

  move(from: ContentId, to: ContentId): void {
    const staged = this.#staged(from);
    this.#contents.delete(from);
    this.#usedBytes -= staged.usedBytes;
    // A copy may have the holes of its source, and nobody has looked.
    this.#set(to, { ...staged, hasHoles: true });
    this.#unmeasured.add(to);
  }

  release(content: ContentId): void {
    const freedBytes = this.#forget(content);
    if (freedBytes > 0) this.#onFreed(freedBytes);
  }

  #hasRoom(growth: number): boolean {
    const { limitBytes } = this.#parts;
    return growth <= 0 || limitBytes === null || this.#usedBytes + growth <= limitBytes;
  }

  /** @returns the bytes that it counted for. */
  #forget(content: ContentId): number {
    const { usedBytes } = this.#staged(content);
    this.#set(content, nothingStaged);
    this.#contents.delete(content);
    this.#unmeasured.delete(content);
    return usedBytes;
  }

  #staged(content: ContentId): Staged {
    return this.#contents.get(content) ?? nothingStaged;
  }

  #set(content: ContentId, staged: Staged): void {
    this.#usedBytes += staged.usedBytes - this.#staged(content).usedBytes;
    this.#contents.set(content, staged);
  }
}

const nothingStaged: Staged = { endBytes: 0, usedBytes: 0, hasHoles: false };

function grown(staged: Staged, range: StagedRange): Staged {
  const endBytes = Math.max(staged.endBytes, upToBlock(range.end));
  return {
    endBytes,
    usedBytes: Math.min(endBytes, staged.usedBytes + touchedBy(range)),
    hasHoles: staged.hasHoles || range.start > staged.endBytes,
  };
}

/** Bytes of the blocks that a range touches. */
function touchedBy({ start, end }: StagedRange): number {
  return upToBlock(end) - Math.floor(start / blockBytes) * blockBytes;
}

function upToBlock(bytes: number): number {
  return Math.ceil(bytes / blockBytes) * blockBytes;
}
