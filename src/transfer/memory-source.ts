/** Bytes in memory as the source of an upload. Relies on: nobody writing to them meanwhile. */

import { setImmediate as nextTurn } from "node:timers/promises";
import { type ByteCount, type ByteRange, byteCount, MIB, splitRange } from "../domain/bytes.js";
import { TreeHasher } from "../protocol/tree-hash.js";
import type { PartHash } from "../upload/part-sender.js";
import type { UploadableSource } from "./source-upload.js";

export class MemorySource implements UploadableSource {
  readonly name = "the given bytes";
  readonly sizeBytes: ByteCount;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.sizeBytes = byteCount(bytes.length);
  }

  /** In slices of about two milliseconds, so that the event loop goes on. */
  async hash(range: ByteRange): Promise<PartHash> {
    const hasher = new TreeHasher();
    for (const { start, end } of splitRange(range, MIB)) {
      if (start > range.start) await nextTurn();
      hasher.update(this.#bytes.subarray(start, end));
    }
    return hasher.digest();
  }

  async *read(range: ByteRange): AsyncGenerator<Uint8Array> {
    for (const { start, end } of splitRange(range, MIB)) yield this.#bytes.subarray(start, end);
  }

  // What changed in memory leaves no trace; a part that changed between hash and body is refused by the service.
  async checkUnchanged(): Promise<void> {}

  async explainRefusal(error: unknown): Promise<unknown> {
    return error;
  }
}

/** Makes slices of bytes that are in memory already. */
export async function* piecesOfBytes(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += MIB) yield bytes.subarray(start, start + MIB);
}
