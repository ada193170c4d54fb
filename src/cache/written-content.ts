/**
 * What is known of the hashes of one staging file while it is written. Pure bookkeeping: it is told of every change, and
 * says what may be hashed next.
 *
 * Relies on: hearing of a change before its first byte, and when it is over. The leaf of a MiB is known only as long as
 * nothing in it has changed since before it was read; a linear hash counts only while all leaves below it are known.
 * Never: covers more than what was written in order, from the first byte on. All else is hashed for its upload.
 */

import { type ByteRange, MIB } from "../domain/bytes.js";
import type { Sha256Hex } from "../protocol/service.js";
import { type LeafSpan, LeafStore } from "./leaf-store.js";

/** What the worker shall hash at a time: a span within one part. */
export interface HashStep extends LeafSpan {
  /** Whether the running hash of the whole, and that of the part, are right and wanted up to `first`. */
  readonly wholeIntact: boolean;
  readonly partIntact: boolean;
}

/** Bytes that are hashed last, behind a running hash: the rest of a part, or of the whole. */
export interface HashEnd {
  /** The leaf with which the rest begins. */
  readonly first: number;
  readonly endBytes: number;
  readonly of: "whole" | "part";
}

export interface WrittenContentOptions {
  /** Bytes of a part of an upload, each of which has a linear hash of its own; a power of two MiB. */
  readonly partBytes: number;
  /** Up to this size a content is uploaded in one request, whose linear hash is that of the whole. */
  readonly wholeBytesMax: number;
}

/** Bytes that are on their way into the file, half-open. */
export interface Change {
  readonly start: number;
  readonly end: number;
}

// An answer is waited for when the content is to be uploaded: it must not take long.
const stepLeavesMax = 4;
// So much stays in the page cache even of a small machine: reading it again costs no disk access.
const lagLeavesMax = 256;

export class WrittenContent {
  readonly leaves = new LeafStore();
  readonly #partLeaves: number;
  readonly #wholeLeavesMax: number;
  /** Bytes from the first on that were written in order. */
  #frontier = 0;
  readonly #underWay = new Set<Change>();
  /** Leaves before this one were given out to be hashed, or are left to the upload. Each is given out once. */
  #position = 0;
  /** Linear hashes of complete parts, by the part's number; right while all leaves of the part are known. */
  readonly #parts = new Map<number, Sha256Hex>();
  /** What is being hashed, and what changed in it meanwhile. */
  #step: (LeafSpan & { readonly changes: LeafSpan[] }) | undefined;

  constructor({ partBytes, wholeBytesMax }: WrittenContentOptions) {
    this.#partLeaves = partBytes / MIB;
    // The running hash of the first part is that of the whole.
    this.#wholeLeavesMax = Math.max(wholeBytesMax, partBytes) / MIB;
  }

  /** Leaves that may be remembered by now; what this takes of memory grows with it. */
  get position(): number {
    return this.#position;
  }

  get isHashing(): boolean {
    return this.#step !== undefined;
  }

  /** Whether all that was known has been given away. */
  get isSpent(): boolean {
    return this.#step === undefined && this.leaves.count === 0;
  }

  /** Nothing is hashed in `start` to `end` until the change is over. */
  willWrite(start: number, end: number): Change {
    const change = { start, end };
    this.#underWay.add(change);
    this.#changes(start, end);
    return change;
  }

  didWrite(change: Change): void {
    this.#underWay.delete(change);
    if (change.start <= this.#frontier) this.#frontier = Math.max(this.#frontier, change.end);
  }

  /** Any of its bytes may have been written. */
  didFail(change: Change): void {
    this.#underWay.delete(change);
  }

  /** Whether there are complete MiBs that were not given out. */
  get mayContinue(): boolean {
    return this.#frontier >= (this.#position + 1) * MIB && this.#settledBytes() >= (this.#position + 1) * MIB;
  }

  /** The file was set to this size, in one go. */
  didCut(sizeBytes: number): void {
    this.#changes(sizeBytes, Number.POSITIVE_INFINITY);
    this.#frontier = Math.min(this.#frontier, sizeBytes);
    if (sizeBytes > 0) return;
    this.#position = 0;
    this.#parts.clear();
  }

  /** Gives out the next complete MiBs, of one part; one span at a time. */
  nextStep(): HashStep | undefined {
    if (this.#step !== undefined) return undefined;
    const limit = Math.floor(this.#settledBytes() / MIB);
    if (limit - this.#position > lagLeavesMax) this.skipTo(this.#partStart(limit));
    const first = this.#position;
    if (limit <= first) return undefined;
    const end = Math.min(limit, this.#partStart(first) + this.#partLeaves, first + stepLeavesMax);
    this.#begin({ first, end });
    return {
      ...{ first, end },
      wholeIntact: end <= this.#wholeLeavesMax && this.leaves.has({ first: 0, end: first }),
      partIntact: this.leaves.has({ first: this.#partStart(first), end: first }),
    };
  }

  /** What `nextStep` gave out was hashed; `part` is the linear hash of the part that ends with it. */
  didHash(leaves: Uint8Array, part: Sha256Hex | undefined): void {
    const { changes, ...span } = this.#endStep();
    this.leaves.put(span, leaves);
    for (const changed of changes) this.leaves.forget(changed);
    const whole = { first: this.#partStart(span.first), end: span.end };
    if (part !== undefined && this.leaves.has(whole)) this.#parts.set(whole.first / this.#partLeaves, part);
  }

  /** What was given out could not be hashed. */
  didNotHash(): void {
    this.#endStep();
  }

  /** Leaves before this one are not hashed here any more. */
  skipTo(leaf: number): void {
    this.#position = Math.max(this.#position, leaf);
  }

  /** The linear hash of `range`, when it is a complete part that was hashed and has not changed since. */
  partHash(range: ByteRange): Sha256Hex | undefined {
    const first = range.start / MIB;
    const isPart = first % this.#partLeaves === 0 && range.end === (first + this.#partLeaves) * MIB;
    const isKnown = isPart && this.leaves.has({ first, end: first + this.#partLeaves });
    return isKnown ? this.#parts.get(first / this.#partLeaves) : undefined;
  }

  /**
   * Gives out what is missing to the hash of `range` behind a running hash; undefined where there is none, or where less
   * than half of the range is behind it: then hashing it anew takes no longer.
   */
  nextEnd(range: ByteRange): HashEnd | undefined {
    const first = this.#position;
    const doneBytes = first * MIB - range.start;
    const isWorthIt = doneBytes > 0 && doneBytes * 2 >= range.end - range.start && range.end >= first * MIB;
    if (!isWorthIt || this.#step !== undefined || this.#isUnderWay(range)) return undefined;
    const of = this.#runningHashOf(range);
    if (of === undefined || !this.leaves.has({ first: range.start / MIB, end: first })) return undefined;
    this.#begin({ first, end: Math.ceil(range.end / MIB) });
    return { first, endBytes: range.end, of };
  }

  /**
   * What `nextEnd` gave out was hashed; the running hash is used up.
   *
   * @returns whether `range` has not changed meanwhile: then what was hashed, and the leaves before it, are right.
   */
  didHashEnd(range: ByteRange): boolean {
    const { first, changes } = this.#endStep();
    return changes.length === 0 && this.leaves.has({ first: range.start / MIB, end: first });
  }

  #changes(start: number, end: number): void {
    // What was not given out yet is not known: the writer of new bytes pays nothing.
    if (start >= this.#position * MIB) return;
    const changed = { first: Math.floor(start / MIB), end: Math.ceil(end / MIB) };
    this.leaves.forget(changed);
    if (this.#step !== undefined && changed.end > this.#step.first) this.#step.changes.push(changed);
  }

  #begin(span: LeafSpan): void {
    this.#position = span.end;
    this.#step = { ...span, changes: [] };
  }

  #endStep(): LeafSpan & { readonly changes: readonly LeafSpan[] } {
    const step = this.#step!;
    this.#step = undefined;
    return step;
  }

  #runningHashOf({ start, end }: ByteRange): HashEnd["of"] | undefined {
    if (start === 0 && this.#position <= this.#wholeLeavesMax) return "whole";
    const partStart = this.#partStart(this.#position);
    const isInPart = start === partStart * MIB && end <= (partStart + this.#partLeaves) * MIB;
    return isInPart ? "part" : undefined;
  }

  #isUnderWay(range: ByteRange): boolean {
    return [...this.#underWay].some(({ start, end }) => start < range.end && end > range.start);
  }

  /** Bytes from the first on that were written in order, and to which nothing is on its way. */
  #settledBytes(): number {
    let settled = this.#frontier;
    for (const { start } of this.#underWay) settled = Math.min(settled, start);
    return settled;
  }

  #partStart(leaf: number): number {
    return leaf - (leaf % this.#partLeaves);
  }
}
