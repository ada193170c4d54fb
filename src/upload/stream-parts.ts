/**
 * The parts of a file that is uploaded while it is written: which may be sent, which are as the service has them, which
 * have left the disk. Pure.
 *
 * Every write counts in the parts that it touches, from before it begins until it has ended. A part may be sent when it
 * is whole and nobody writes it; what was sent stands for the part only if nobody has written it since. So a part is
 * never dropped of which the service may have other bytes.
 */

import { type ByteRange, byteRange } from "../domain/bytes.js";
import { invariant } from "../lib/invariant.js";
import { partCountMax } from "../protocol/limits.js";

/** What has to be known of the bytes to say which part is whole. */
export interface WrittenBytes {
  /** Whether every byte of `range` has been written. */
  covers(range: ByteRange): boolean;
}

/** A part as it is at one moment. */
export interface PartSnapshot {
  readonly index: number;
  readonly range: ByteRange;
  /** Counts the writes into it. */
  readonly edition: number;
}

interface Part {
  edition: number;
  /** Writes that have begun and not ended. */
  writing: number;
  sending: boolean;
  /** The edition that the service has. */
  sent: number | undefined;
}

export class StreamParts {
  readonly partSizeBytes: number;
  readonly #parts = new Map<number, Part>();
  /** Parts that the service does not have as they are now. */
  readonly #unsent = new Set<number>();
  /** Sent, and still on the disk. */
  readonly #kept = new Set<number>();
  readonly #dropped = new Set<number>();
  #sendingCount = 0;
  #sentEndBytes = 0;

  /** @param writtenBytes Length of what was written before the upload began. */
  constructor(partSizeBytes: number, writtenBytes: number) {
    this.partSizeBytes = partSizeBytes;
    for (const index of this.#indexes({ start: 0, end: writtenBytes })) this.#unsent.add(index);
  }

  get sentCount(): number {
    return this.#kept.size + this.#dropped.size;
  }

  /** Parts that the service has as they are, and the disk too. */
  get keptCount(): number {
    return this.#kept.size;
  }

  get droppedCount(): number {
    return this.#dropped.size;
  }

  get isSending(): boolean {
    return this.#sendingCount > 0;
  }

  /** Where the last part ends that the service may have, in whatever edition: the answer may be on its way, or lost. */
  get sentEndBytes(): number {
    return this.#sentEndBytes;
  }

  /** Whether any of `range` has left the disk. */
  hasDropped(range: ByteRange): boolean {
    if (this.#dropped.size === 0) return false;
    for (const index of this.#indexes(range)) if (this.#dropped.has(index)) return true;
    return false;
  }

  /** Before `range` is written, of which nothing has left the disk. */
  beginWrite(range: ByteRange): void {
    invariant(!this.hasDropped(range), "what has left is not written again");
    for (const index of this.#indexes(range)) {
      const part = this.#part(index);
      part.edition += 1;
      part.writing += 1;
      this.#unsent.add(index);
      this.#kept.delete(index);
    }
  }

  /** After `range` was written, or could not be. */
  endWrite(range: ByteRange): void {
    for (const index of this.#indexes(range)) this.#part(index).writing -= 1;
  }

  /** The first part that may be sent now; it counts as being sent until `didSend` or `didFail`. */
  next(written: WrittenBytes): PartSnapshot | undefined {
    const index = this.#firstSendable(written);
    if (index === undefined) return undefined;
    const part = this.#part(index);
    return this.#begun(part, { index, range: this.#range(index), edition: part.edition });
  }

  /**
   * What has been written of the last part, which is not whole yet: sending it keeps the upload alive. `didSendTail` or
   * `didFail` has to follow. undefined when the file ends with a part, or that part is busy.
   */
  tail(endBytes: number): PartSnapshot | undefined {
    const index = Math.floor(endBytes / this.partSizeBytes);
    const start = index * this.partSizeBytes;
    const part = this.#parts.get(index);
    if (start === endBytes || part === undefined || part.sending || part.writing > 0) return undefined;
    return this.#begun(part, { index, range: byteRange(start, endBytes), edition: part.edition });
  }

  hasNext(written: WrittenBytes): boolean {
    return this.#firstSendable(written) !== undefined;
  }

  /** The service has confirmed the part. */
  didSend({ index, edition }: PartSnapshot): void {
    const part = this.#ended(index);
    part.sent = edition;
    if (part.edition !== edition || part.writing > 0) return;
    this.#unsent.delete(index);
    this.#kept.add(index);
  }

  /** It is not whole, so it will be sent again. */
  didSendTail({ index }: PartSnapshot): void {
    this.#ended(index);
  }

  didFail({ index }: PartSnapshot): void {
    this.#ended(index);
  }

  /** The service has nothing any more. */
  forgetSent(): void {
    invariant(this.#dropped.size === 0, "what is only in the service cannot be sent again");
    for (const index of this.#kept) this.#unsent.add(index);
    this.#kept.clear();
    this.#sentEndBytes = 0;
  }

  /** Whether the part was written since: then it proves nothing that the service refused it. */
  isOutdated({ index, edition }: PartSnapshot): boolean {
    return this.#part(index).edition !== edition;
  }

  /**
   * Parts that the service has as they are, in order.
   *
   * @param endBytes Only those that end here or before.
   */
  droppable(endBytes: number): PartSnapshot[] {
    const indexes = [...this.#kept].filter((index) => (index + 1) * this.partSizeBytes <= endBytes);
    return indexes
      .sort((a, b) => a - b)
      .map((index) => ({ index, range: this.#range(index), edition: this.#part(index).edition }));
  }

  /** The bytes of a part leave the disk. @returns false when it was written since it was sent. */
  drop({ index, edition }: PartSnapshot): boolean {
    const part = this.#part(index);
    if (!this.#kept.has(index) || part.edition !== edition) return false;
    invariant(part.writing === 0 && part.sent === edition, "a part that is dropped is the one that was sent");
    this.#kept.delete(index);
    this.#dropped.add(index);
    this.#parts.delete(index);
    return true;
  }

  #firstSendable(written: WrittenBytes): number | undefined {
    let first: number | undefined;
    for (const index of this.#unsent) {
      if (index >= partCountMax || (first !== undefined && index > first)) continue;
      const part = this.#parts.get(index);
      if (part?.sending || (part?.writing ?? 0) > 0) continue;
      if (written.covers(this.#range(index))) first = index;
    }
    return first;
  }

  #begun(part: Part, snapshot: PartSnapshot): PartSnapshot {
    part.sending = true;
    this.#sendingCount += 1;
    this.#sentEndBytes = Math.max(this.#sentEndBytes, snapshot.range.end);
    return snapshot;
  }

  #ended(index: number): Part {
    const part = this.#part(index);
    part.sending = false;
    this.#sendingCount -= 1;
    return part;
  }

  #part(index: number): Part {
    let part = this.#parts.get(index);
    if (part === undefined) {
      part = { edition: 0, writing: 0, sending: false, sent: undefined };
      this.#parts.set(index, part);
    }
    return part;
  }

  #range(index: number): ByteRange {
    return byteRange(index * this.partSizeBytes, (index + 1) * this.partSizeBytes);
  }

  *#indexes({ start, end }: { readonly start: number; readonly end: number }): Generator<number> {
    for (let index = Math.floor(start / this.partSizeBytes); index * this.partSizeBytes < end; index += 1) yield index;
  }
}
