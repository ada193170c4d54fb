/** What is known of one archive of which only pieces are here. Changes in memory only; `partial-contents.ts` has the rest. */

import { type ByteRange, byteRange, MIB, rangeLength } from "../domain/bytes.js";
import type { ArchiveKey } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import type { Deferred } from "../lib/deferred.js";
import { IntervalSet } from "../lib/interval-set.js";
import { mebibytesAround } from "../protocol/archive-window.js";
import type { TreeHashHex } from "../protocol/service.js";
import { TreeHashJoiner } from "../protocol/tree-hash-joiner.js";
import type { PartialPiece, PartialRow } from "./ports.js";

/** What has become of the sparse file: it goes when the archive is an ordinary copy, or unwanted, or was found damaged. */
export type PartialState = "here" | "landed" | "dropped" | "damaged";

export class PartialEntry {
  readonly key: ArchiveKey;
  readonly sizeBytes: number;
  state: PartialState = "here";
  lastUsedAt: Instant;
  landedAt: Instant;
  readSinceLanding: boolean;
  openCount = 0;
  /** Windows that are being written, each with what resolves at its end. */
  readonly landings = new Map<ByteRange, Deferred<void>>();
  /** By their start; apart. */
  readonly #pieces = new Map<number, PartialPiece>();
  readonly #here = new IntervalSet();

  constructor(row: Omit<PartialRow, "pieces">, pieces: readonly PartialPiece[] = []) {
    this.key = row.key;
    this.sizeBytes = row.sizeBytes;
    this.lastUsedAt = row.lastUsedAt;
    this.landedAt = row.landedAt;
    this.readSinceLanding = row.readSinceLanding;
    for (const piece of pieces) this.add(piece);
  }

  get row(): Omit<PartialRow, "pieces"> {
    const { key, sizeBytes, lastUsedAt, landedAt, readSinceLanding } = this;
    return { key, sizeBytes, lastUsedAt, landedAt, readSinceLanding };
  }

  get isEmpty(): boolean {
    return this.#pieces.size === 0;
  }

  get landedBytes(): number {
    return sumOf(this.#here);
  }

  /** Of windows that are landing: what is still going to be written. */
  get landingBytes(): number {
    let sum = 0;
    for (const window of this.landings.keys()) sum += sumOf(this.missing(window));
    return sum;
  }

  add(piece: PartialPiece): void {
    this.remove(piece);
    this.#pieces.set(piece.start, piece);
    this.#here.add(piece);
  }

  /** Forgets the pieces within `range`. */
  remove(range: ByteRange): void {
    for (const piece of this.#within(range)) {
      this.#pieces.delete(piece.start);
      this.#here.remove(piece);
    }
  }

  /** What is not here of the MiBs around `range`, apart and in order. */
  missing(range: ByteRange): ByteRange[] {
    const wanted = mebibytesAround(range, this.sizeBytes);
    if (this.#here.has(wanted)) return [];
    const gaps = new IntervalSet([wanted]);
    for (const { start, end } of this.#here) if (start < wanted.end && end > wanted.start) gaps.remove({ start, end });
    return [...gaps].map(({ start, end }) => byteRange(start, end));
  }

  /** Of a node of the tree whose pieces are all here. */
  treeHash(window: ByteRange): TreeHashHex {
    const joiner = new TreeHashJoiner();
    for (const piece of this.#within(window).sort((a, b) => a.start - b.start)) {
      joiner.add(Buffer.from(piece.treeHash, "hex"), levelOf(rangeLength(piece)));
    }
    return joiner.root();
  }

  #within({ start, end }: ByteRange): PartialPiece[] {
    return [...this.#pieces.values()].filter((piece) => piece.start >= start && piece.end <= end);
  }
}

/** The height of the smallest full tree that holds so many bytes. */
function levelOf(bytes: number): number {
  return Math.ceil(Math.log2(Math.ceil(bytes / MIB)));
}

function sumOf(ranges: Iterable<{ readonly start: number; readonly end: number }>): number {
  let sum = 0;
  for (const { start, end } of ranges) sum += end - start;
  return sum;
}
