/** The bytes of an archive or a part as the SDK's users hand them over, made into what a request needs. */

import { MIB } from "../domain/bytes.js";
import type { BodySource, Sha256Hex, TreeHashHex } from "../protocol/service.js";
import { digestOf, sha256Hex, treeHashHex } from "../protocol/tree-hash.js";

/** Bytes in memory, or a stream of them: a Node `Readable`, a web `ReadableStream`, an async generator. */
export type ArchiveContent = Uint8Array | AsyncIterable<Uint8Array>;

/** Both hashes travel in the header before the body, so those of a stream must be known beforehand (section 9.1). */
export interface ContentHashes {
  /** Linear SHA-256, 64 hex digits ("etag" in the CAS SDK for Python). */
  readonly contentSha256: string;
  /** SHA-256 tree hash, 64 hex digits ("tree_etag"). */
  readonly treeHash: string;
}

/** Computed for bytes in memory where they are not given. */
export type GivenHashes = { readonly [K in keyof ContentHashes]?: ContentHashes[K] | undefined };

export interface RequestBody {
  readonly body: BodySource;
  readonly sizeBytes: number;
  readonly sha256: Sha256Hex;
  readonly treeHash: TreeHashHex;
}

const pieceBytes = MIB;

/** @throws RangeError for empty content and for hashes that are none. */
export function bytesBody(bytes: Uint8Array, given: GivenHashes): RequestBody {
  checkSize(bytes.length);
  const hashes = given.contentSha256 && given.treeHash ? undefined : digestOf(bytes);
  return {
    body: () => piecesOf(bytes),
    sizeBytes: bytes.length,
    sha256: given.contentSha256 ? sha256Hex(given.contentSha256) : hashes!.sha256,
    treeHash: given.treeHash ? treeHashHex(given.treeHash) : hashes!.treeHash,
  };
}

/**
 * The first `sizeBytes` of a stream; what the stream has beyond them is not read.
 *
 * @throws RangeError for size 0 and for hashes that are none. The request fails with a RangeError if the stream ends early.
 */
export function streamBody(stream: AsyncIterable<Uint8Array>, sizeBytes: number, hashes: ContentHashes): RequestBody {
  checkSize(sizeBytes);
  return {
    body: () => firstBytes(stream, sizeBytes),
    sizeBytes,
    sha256: sha256Hex(hashes.contentSha256),
    treeHash: treeHashHex(hashes.treeHash),
  };
}

/** Either of the two. @throws TypeError for a stream without size or hashes. */
export function contentBody(
  content: ArchiveContent,
  given: GivenHashes & { readonly size?: number | undefined },
): RequestBody {
  const { contentSha256, treeHash, size } = given;
  if (content instanceof Uint8Array) return bytesBody(content.subarray(0, size ?? content.length), given);
  if (size === undefined || !contentSha256 || !treeHash) {
    throw new TypeError("Cannot send a stream without its size, contentSha256 and treeHash; Vault.uploadArchive can");
  }
  return streamBody(content, size, { contentSha256, treeHash });
}

function checkSize(sizeBytes: number): void {
  if (sizeBytes === 0) throw new RangeError("CAS does not support zero byte archive.");
}

async function* piecesOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += pieceBytes) yield bytes.subarray(start, start + pieceBytes);
}

async function* firstBytes(stream: AsyncIterable<Uint8Array>, sizeBytes: number): AsyncGenerator<Uint8Array> {
  let left = sizeBytes;
  for await (const piece of stream) {
    yield piece.length > left ? piece.subarray(0, left) : piece;
    left -= Math.min(piece.length, left);
    if (left === 0) return;
  }
  throw new RangeError(`Cannot send ${sizeBytes} bytes: the stream ended ${left} bytes early`);
}
