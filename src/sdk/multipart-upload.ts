/** An upload in parts as an object (CAS SDK documentation; cas-api section 17.8). */

import { byteCount, splitRange, totalLength } from "../domain/bytes.js";
import { vaultName } from "../domain/ids.js";
import { forEachConcurrently } from "../lib/concurrency.js";
import { archiveSizeBytesMax, clientPartSizeBytesMin } from "../protocol/limits.js";
import { formatInclusiveRange } from "../protocol/multipart-wire.js";
import { uploadPartSize } from "../protocol/part-size.js";
import type { CallOptions } from "../protocol/service.js";
import { defaultParallel } from "../transfer/transfer-deps.js";
import { sourceStats, type UploadOptions, uploadSource } from "./archive-upload.js";
import { type ByteSpan, parseRangeFromStr, toByteRange } from "./byte-span.js";
import type { CASResponse } from "./cas-api.js";
import { clientPartsOf } from "./cas-client.js";
import { CASClientError, CASServerError, HashDoesNotMatchError } from "./cas-errors.js";
import { combineTreeHashes } from "./content-hashes.js";
import type { MultipartUploadProperties, PartProperties } from "./upload-properties.js";
import type { Vault } from "./vault.js";

/** A range of the archive, and the hash of the part that the service has of it, else null. */
export interface UploadPart extends ByteSpan {
  readonly treeHash: string | null;
}

/** How the parts are sent; the size of the parts is that of the upload. */
export type SendPartsOptions = Pick<UploadOptions, "onProgress" | "parallel" | "signal">;

interface KnownContent {
  readonly filePath?: string | undefined;
  /** Bytes of the file. */
  readonly sizeTotal?: number | undefined;
  /** What the service has. */
  readonly parts?: readonly PartProperties[] | undefined;
}

/** The parts are those known when this object was made, or since `resume` and `start`. */
export class MultipartUpload {
  readonly properties: MultipartUploadProperties;
  #filePath: string | undefined;
  #sizeTotal: number;
  #parts: readonly PartProperties[];
  #sizeCompleted = 0;
  #treeHash: string | null = null;

  constructor(
    readonly vault: Vault,
    properties: MultipartUploadProperties,
    { filePath, parts = [], sizeTotal = endOf(parts) }: KnownContent = {},
  ) {
    this.properties = properties;
    this.#filePath = filePath;
    this.#sizeTotal = sizeTotal;
    this.#parts = parts;
    this.#sizeCompleted = totalLength(parts);
  }

  /**
   * The part size for an archive of `sizeTotal` bytes (cas-api section 13.4): `partSize` if it is a multiple of 1 MiB, at
   * least 16 MiB and not more than the archive, else 16 MiB; more where 10,000 parts would not do.
   *
   * @throws RangeError for an archive below 16 MiB or larger than 42,949,672,960,000 bytes.
   */
  static calcPartSize(sizeTotal: number, partSize: number = clientPartSizeBytesMin): number {
    if (sizeTotal > archiveSizeBytesMax) throw new RangeError(`file too big: ${sizeTotal}`);
    if (sizeTotal < clientPartSizeBytesMin) {
      throw new RangeError(`file too small: ${sizeTotal}, please use Vault.uploadArchive`);
    }
    return uploadPartSize(sizeTotal, partSize);
  }

  /** `"first-last"`, both included, as a range whose `end` is excluded. @throws RangeError for anything else. */
  static parseRangeFromStr(text: string): ByteSpan {
    return parseRangeFromStr(text);
  }

  /** See `Vault.initiateMultipartUpload`. */
  static async initiate(
    vault: Vault,
    filePath: string,
    options: CallOptions & { readonly description?: string | undefined; readonly partSize?: number | undefined },
  ): Promise<MultipartUpload> {
    const { description, signal } = options;
    const sizeTotal = (await sourceStats(filePath)).size;
    const partSize = MultipartUpload.calcPartSize(sizeTotal, options.partSize);
    const upload = { partSize, description };
    const { data } = await vault.api.initiateMultipartUpload(vault.name, upload, { signal });
    const page = await vault.api.listParts(vault.name, data.multipartUploadId, {}, { signal });
    return new MultipartUpload(vault, page.data, { filePath, sizeTotal });
  }

  /** See `Vault.getMultipartUploader`. */
  static async describe(vault: Vault, uploadId: string, options?: CallOptions): Promise<MultipartUpload> {
    const first = (await vault.api.listParts(vault.name, uploadId, {}, options)).data;
    if (first.marker === null) return new MultipartUpload(vault, first, { parts: first.parts });
    return new MultipartUpload(vault, first, { parts: await listedParts(vault, uploadId, options) });
  }

  get id(): string {
    return this.properties.multipartUploadId;
  }

  get description(): string {
    return this.properties.archiveDescription;
  }

  get creationDate(): Date {
    return this.properties.creationDate;
  }

  /** In bytes; of all parts but the last. */
  get partSize(): number {
    return this.properties.partSizeInBytes;
  }

  /** The file that is uploaded, once it is known. */
  get filePath(): string | undefined {
    return this.#filePath;
  }

  /** Bytes of the file; without one, up to the end of the last part that the service has. */
  get sizeTotal(): number {
    return this.#sizeTotal;
  }

  /** Bytes that the service has. */
  get sizeCompleted(): number {
    return this.#sizeCompleted;
  }

  /** By offset: all parts of the file, or without one those that the service has. */
  get parts(): readonly UploadPart[] {
    if (this.#filePath === undefined) return this.#parts;
    const hashes = new Map(this.#parts.map((part) => [`${part.start}-${part.end}`, part.treeHash]));
    const whole = { start: byteCount(0), end: byteCount(this.#sizeTotal) };
    return splitRange(whole, this.partSize).map(({ start, end }) => ({
      start,
      end,
      treeHash: hashes.get(`${start}-${end}`) ?? null,
    }));
  }

  /** Of the whole archive; null until all parts of it are there. */
  get treeHash(): string | null {
    if (this.#treeHash !== null || this.#filePath === undefined) return this.#treeHash;
    const hashes = this.parts.map((part) => part.treeHash);
    return hashes.length > 0 && hashes.every((hash) => hash !== null) ? combineTreeHashes(hashes) : null;
  }

  /**
   * Sends the parts that are missing, in parallel, and completes the upload.
   *
   * @returns the archive's id.
   * @throws CASClientError without a file; otherwise as `Vault.uploadArchive`. Other failures are thrown as they are; the
   * CAS SDK for Python makes a ValueError of them.
   */
  async start({ onProgress, parallel, signal }: SendPartsOptions = {}): Promise<string> {
    const filePath = this.#filePath;
    if (filePath === undefined) throw new CASClientError(`The upload ${this.id} has no file: use resume(filePath)`);
    const parts = clientPartsOf(this.vault.api.client);
    const uploaded = await uploadSource(parts, vaultName(this.vault.name), filePath, {
      resume: this.id,
      parallel,
      signal,
      onProgress: (progress) => {
        this.#sizeCompleted = progress.sentBytes;
        onProgress?.(progress);
      },
    });
    this.#treeHash = uploaded.treeHash;
    this.#sizeCompleted = uploaded.size;
    return uploaded.archiveId;
  }

  /**
   * Compares what the service has with the file at `filePath`, then sends the rest and completes the upload. One whose
   * completion had no answer is asked for its archive, which the service knows for an hour.
   *
   * @returns the archive's id.
   * @throws HashDoesNotMatchError when a part is not of this file; otherwise as `start`.
   */
  async resume(filePath: string, options: SendPartsOptions = {}): Promise<string> {
    this.#sizeTotal = (await sourceStats(filePath)).size;
    this.#parts = await listedParts(this.vault, this.id, options).catch((error: unknown) => {
      // Completed, perhaps: `start` asks.
      if (error instanceof CASServerError && error.status === 404) return [];
      throw error;
    });
    this.#sizeCompleted = totalLength(this.#parts);
    const { parallel = defaultParallel, signal } = options;
    await forEachConcurrently(this.#parts, { concurrency: parallel, signal }, (part) =>
      this.#checkPart(filePath, part),
    );
    this.#filePath = filePath;
    return this.start(options);
  }

  /** Ends the upload; the service forgets its parts. */
  cancel(options?: CallOptions): Promise<CASResponse<void>> {
    return this.vault.api.abortMultipartUpload(this.vault.name, this.id, options);
  }

  async #checkPart(filePath: string, part: PartProperties): Promise<void> {
    const range = toByteRange(part);
    const { hasher } = clientPartsOf(this.vault.api.client);
    const isInside = part.end <= this.#sizeTotal;
    if (isInside && (await hasher.treeHash(filePath, range)) === part.treeHash) return;
    throw new HashDoesNotMatchError(`The bytes ${formatInclusiveRange(range)} of ${filePath} are not those uploaded`);
  }
}

async function listedParts(vault: Vault, uploadId: string, options?: CallOptions): Promise<PartProperties[]> {
  const parts: PartProperties[] = [];
  for await (const part of vault.api.listAllParts(vault.name, uploadId, { signal: options?.signal })) parts.push(part);
  return parts;
}

const endOf = (parts: readonly ByteSpan[]) => parts.at(-1)?.end ?? 0;
