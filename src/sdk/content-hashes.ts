/** The two hashes of content, wherever it is (cas-api section 13). */

import { createReadStream } from "node:fs";
import { MIB } from "../domain/bytes.js";
import type { TreeHashHex } from "../protocol/service.js";
import { combineTreeHashes as combine, TreeHasher, treeHashHex } from "../protocol/tree-hash.js";

/** A path of a file, bytes in memory, or a stream. */
export type ContentSource = string | Uint8Array | AsyncIterable<Uint8Array>;

export interface ContentDigest {
  /** In bytes. */
  readonly size: number;
  /** Linear SHA-256, 64 lowercase hex digits (13.1). */
  readonly contentSha256: string;
  /** SHA-256 tree hash over leaves of 1 MiB, 64 lowercase hex digits (13.2). Of empty content the SHA-256 of nothing. */
  readonly treeHash: string;
}

/** Both hashes in one reading. */
export async function contentDigest(
  source: ContentSource,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ContentDigest> {
  const hasher = new TreeHasher();
  for await (const piece of piecesOf(source)) {
    signal?.throwIfAborted();
    hasher.update(piece);
  }
  const { sizeBytes, sha256, treeHash } = hasher.digest();
  return { size: sizeBytes, contentSha256: sha256, treeHash };
}

/** The tree hash alone; see `contentDigest`. */
export async function treeHash(
  source: ContentSource,
  options?: { readonly signal?: AbortSignal | undefined },
): Promise<string> {
  return (await contentDigest(source, options)).treeHash;
}

/** The linear hash alone; see `contentDigest`. */
export async function contentSha256(
  source: ContentSource,
  options?: { readonly signal?: AbortSignal | undefined },
): Promise<string> {
  return (await contentDigest(source, options)).contentSha256;
}

/**
 * The tree hash of an archive from those of its parts, in order (13.2).
 *
 * Right only when all parts but the last have the same size of 1 MiB times a power of two.
 *
 * @throws RangeError without parts, and for what is no hash.
 */
export function combineTreeHashes(parts: readonly string[]): string {
  return combine(parts.map((part): TreeHashHex => treeHashHex(part)));
}

function piecesOf(source: ContentSource): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  if (typeof source === "string") return createReadStream(source, { highWaterMark: MIB });
  return source instanceof Uint8Array ? [source] : source;
}
