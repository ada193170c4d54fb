/** Bytes that carry their own offset, so that a misplaced block shows. */

import { byteCount } from "../../src/domain/bytes.js";
import type { BodySource, NewArchive } from "../../src/protocol/service.js";
import { digestOf } from "../../src/protocol/tree-hash.js";

/** The bytes `offset % 251` from `start` on, the data rule of the protocol's vectors. */
export function testBytes(length: number, start = 0): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let index = 0; index < length; index++) bytes[index] = (start + index) % 251;
  return bytes;
}

/** A body that can be opened again and again, in pieces of at most `pieceBytes`. */
export function bodyOf(bytes: Uint8Array, pieceBytes = 64 * 1024): BodySource {
  return async function* () {
    for (let offset = 0; offset < bytes.length; offset += pieceBytes) yield bytes.subarray(offset, offset + pieceBytes);
  };
}

export function newArchive(bytes: Uint8Array, description = ""): NewArchive {
  const { sha256, treeHash } = digestOf(bytes);
  return { body: bodyOf(bytes), sizeBytes: byteCount(bytes.length), sha256, treeHash, description };
}

export async function readAll(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
