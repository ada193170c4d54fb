/**
 * Sends the parts of one upload that the service does not have yet, in parallel; shared by the mount and the SDK.
 *
 * Relies on: ranges of a source that read and hash the same every time.
 * Never: trusts a part that it did not hash itself; completes or aborts the upload.
 */

import type { ByteRange } from "../domain/bytes.js";
import { CasfsError } from "../domain/errors.js";
import type { UploadId, VaultName } from "../domain/ids.js";
import { forEachConcurrently } from "../lib/concurrency.js";
import { nextMarker } from "../protocol/next-marker.js";
import type { CasService, Sha256Hex, TreeHashHex, UploadDescription } from "../protocol/service.js";
import { combineTreeHashes } from "../protocol/tree-hash.js";
import { partCount, partRanges } from "./part-plan.js";

export interface PartHash {
  readonly sha256: Sha256Hex;
  readonly treeHash: TreeHashHex;
}

/** The bytes of which parts are made. */
export interface PartSource {
  hash(range: ByteRange): Promise<PartHash>;
  /** Called again for every attempt to send `range`. */
  read(range: ByteRange): AsyncIterable<Uint8Array>;
}

export interface PartsToSend {
  readonly vault: VaultName;
  readonly uploadId: UploadId;
  readonly sizeBytes: number;
  readonly partSizeBytes: number;
  /** What the service holds already. */
  readonly present: PresentParts;
  /** Parts that can only be with the service, and what it confirmed of them. */
  readonly dropped?: PresentParts | undefined;
}

export interface FinishedPart {
  readonly range: ByteRange;
  readonly treeHash: TreeHashHex;
  /** The service had it, with this hash. */
  readonly kept: boolean;
}

export interface SendPartsOptions {
  readonly concurrency: number;
  readonly signal: AbortSignal | undefined;
  /** Awaited before the part counts as done. */
  readonly onPart?: ((part: FinishedPart) => Promise<void> | void) | undefined;
}

/**
 * Hashes every part and sends those that the service has not, or has with another hash.
 *
 * @throws LostPartError when one is neither here nor with the service, as it was confirmed.
 * @returns the tree hash of the whole, for Complete.
 */
export async function sendMissingParts(
  { service, source }: { readonly service: Pick<CasService, "uploadPart">; readonly source: PartSource },
  { vault, uploadId, sizeBytes, partSizeBytes, present, dropped }: PartsToSend,
  { concurrency, signal, onPart }: SendPartsOptions,
): Promise<TreeHashHex> {
  const hashes = new Array<TreeHashHex>(partCount(sizeBytes, partSizeBytes));
  const ranges = partRanges(sizeBytes, partSizeBytes);
  await forEachConcurrently(ranges, { concurrency, signal }, async (range, partSignal) => {
    const confirmed = dropped?.hashOf(range);
    if (confirmed !== undefined) {
      if (!present.has(range, confirmed)) throw new LostPartError(range);
      hashes[range.start / partSizeBytes] = confirmed;
      return onPart?.({ range, treeHash: confirmed, kept: true });
    }
    const { sha256, treeHash } = await source.hash(range);
    partSignal.throwIfAborted();
    hashes[range.start / partSizeBytes] = treeHash;
    const kept = present.has(range, treeHash);
    if (!kept) {
      const body = () => source.read(range);
      await service.uploadPart(vault, uploadId, { range, sha256, treeHash, body }, { signal: partSignal }); // safe to repeat
    }
    await onPart?.({ range, treeHash, kept });
  });
  return combineTreeHashes(hashes);
}

/** A part had left the disk, and the service does not have it as it has confirmed it. */
export class LostPartError extends CasfsError {
  override readonly name = "LostPartError";
  override readonly kind = "corrupt";
  constructor({ start, end }: ByteRange) {
    super(`The service does not have bytes ${start} to ${end}, which it had confirmed and which are not here any more`);
  }
}

/** The parts of one upload that the service lists; at most 10,000. */
export class PresentParts {
  readonly #hashes = new Map<string, TreeHashHex>();
  #endBytes = 0;

  add(range: ByteRange, treeHash: TreeHashHex): void {
    this.#hashes.set(rangeKey(range), treeHash);
    this.#endBytes = Math.max(this.#endBytes, range.end);
  }

  has(range: ByteRange, treeHash: TreeHashHex): boolean {
    return this.hashOf(range) === treeHash;
  }

  hashOf(range: ByteRange): TreeHashHex | undefined {
    return this.#hashes.get(rangeKey(range));
  }

  /** Where the last of them ends; 0 without any. */
  get endBytes(): number {
    return this.#endBytes;
  }
}

/** Asks for all pages of List Parts (cas-api section 10.4). */
export async function listPresentParts(
  service: Pick<CasService, "listParts">,
  { vault, uploadId }: { readonly vault: VaultName; readonly uploadId: UploadId },
  signal: AbortSignal | undefined,
): Promise<{ readonly upload: UploadDescription; readonly present: PresentParts }> {
  const present = new PresentParts();
  let marker: string | undefined;
  for (;;) {
    const page = await service.listParts(vault, uploadId, { marker }, { signal });
    for (const { range, treeHash } of page.items) present.add(range, treeHash);
    marker = nextMarker(page, marker);
    if (marker === undefined) return { upload: page.upload, present };
  }
}

function rangeKey({ start, end }: ByteRange): string {
  return `${start}-${end}`;
}
