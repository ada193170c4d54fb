/**
 * Cuts a stream into parts, hashing the bytes while they are gathered.
 *
 * Never: keeps a chunk of the stream, which its owner may write to again; asks for a chunk before a part is wanted.
 */

import { type ByteRange, byteRange } from "../domain/bytes.js";
import { abortable } from "../lib/abort-scope.js";
import { TreeHasher } from "../protocol/tree-hash.js";
import type { PartHash } from "../upload/part-sender.js";

export interface StreamPart extends PartHash {
  readonly range: ByteRange;
  readonly bytes: Uint8Array;
}

/**
 * Yields parts of `partSizeBytes`, the last one of what is left; nothing for an empty stream.
 *
 * @throws TypeError for a chunk that is no Uint8Array; what the stream throws. An abort rejects with `signal.reason`,
 * even while the stream gives nothing.
 */
export async function* streamParts(
  stream: AsyncIterable<Uint8Array>,
  partSizeBytes: number,
  signal: AbortSignal,
): AsyncGenerator<StreamPart> {
  const chunks = stream[Symbol.asyncIterator]();
  let part = new PartBuffer(0, partSizeBytes);
  let ended = false;
  try {
    for (;;) {
      const next = await abortable(chunks.next(), signal);
      if (next.done) {
        ended = true;
        break;
      }
      if (!(next.value instanceof Uint8Array)) throw new TypeError("Cannot upload a stream of anything but Uint8Array");
      for (let rest = next.value; rest.length > 0; ) {
        rest = part.take(rest);
        if (!part.isFull) continue;
        yield part.finish();
        part = new PartBuffer(part.end, partSizeBytes);
      }
    }
    if (part.end > part.start) yield part.finish();
  } finally {
    // Not awaited: a generator that waits for its next chunk ends only after that one.
    if (!ended) void Promise.resolve(chunks.return?.()).catch(() => undefined);
  }
}

class PartBuffer {
  readonly start: number;
  readonly #sizeBytes: number;
  readonly #hasher = new TreeHasher();
  #bytes: Buffer | undefined;
  #length = 0;

  constructor(start: number, sizeBytes: number) {
    this.start = start;
    this.#sizeBytes = sizeBytes;
  }

  get end(): number {
    return this.start + this.#length;
  }

  get isFull(): boolean {
    return this.#length === this.#sizeBytes;
  }

  /** Copies what fits. @returns what did not. */
  take(chunk: Uint8Array): Uint8Array {
    // Its pages are only taken from the system when they are written to: a short stream does not cost a whole part.
    this.#bytes ??= Buffer.allocUnsafeSlow(this.#sizeBytes);
    const taken = chunk.subarray(0, this.#sizeBytes - this.#length);
    this.#bytes.set(taken, this.#length);
    this.#hasher.update(this.#bytes.subarray(this.#length, this.#length + taken.length));
    this.#length += taken.length;
    return chunk.subarray(taken.length);
  }

  finish(): StreamPart {
    const { sha256, treeHash } = this.#hasher.digest();
    const bytes = this.#bytes!.subarray(0, this.#length);
    return { range: byteRange(this.start, this.end), bytes, sha256, treeHash };
  }
}
