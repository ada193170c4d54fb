/** Multipart upload messages (cas-api section 10). */

import { type ByteCount, type ByteRange, byteRange, MIB, rangeLength } from "../domain/bytes.js";
import { type UploadId, uploadId, type VaultName } from "../domain/ids.js";
import { idHeader } from "./archive-wire.js";
import { invalidParameter, refusing } from "./error-wire.js";
import { JsonFields } from "./json-fields.js";
import { partCountMax, partSizeBytesMax, partSizeBytesMin } from "./limits.js";
import {
  type HeaderLookup,
  type HeaderRecord,
  headerText,
  optionalDescription,
  requiredByteCount,
  requiredHeader,
  requiredSha256,
  requiredTreeHash,
} from "./message-headers.js";
import { parsePage } from "./page-wire.js";
import { formatVaultQcs, type VaultOwner } from "./qcs.js";
import { uploadPath } from "./routes.js";
import type { Page, PartDescription, PartsPage, Sha256Hex, TreeHashHex, UploadDescription } from "./service.js";
import { treeHashHex } from "./tree-hash.js";
import { formatTime } from "./wire-time.js";

// --- Initiate (10.1) --------------------------------------------------------------------------------------------

export interface NewUpload {
  readonly partSizeBytes: ByteCount;
  readonly description: string;
}

export function formatInitiateUpload({ partSizeBytes, description }: NewUpload): HeaderRecord {
  const text = headerText(description);
  return {
    "x-cas-part-size": String(partSizeBytes),
    ...(text === "" ? {} : { "x-cas-archive-description": text }),
  };
}

/** @param lenient Takes every multiple of 1 MiB, not only powers of two (section 16, row 2). @throws WireError */
export function parseInitiateUpload(
  headers: HeaderLookup,
  { lenient = false }: { readonly lenient?: boolean } = {},
): NewUpload {
  const partSizeBytes = requiredByteCount(headers, "x-cas-part-size");
  if (!isPartSize(partSizeBytes, lenient)) {
    const multiple = lenient ? "a multiple of 1 MiB" : "1 MiB times a power of two";
    throw invalidParameter(`The part size must be ${multiple}, at most 4 GiB`);
  }
  return { partSizeBytes, description: optionalDescription(headers) };
}

/** Whether the service takes this part size: 1 MiB x 2^n up to 4 GiB. */
export function isPartSize(sizeBytes: number, lenient = false): boolean {
  if (sizeBytes < partSizeBytesMin || sizeBytes > partSizeBytesMax || sizeBytes % MIB !== 0) return false;
  return lenient || Number.isInteger(Math.log2(sizeBytes / MIB));
}

export function formatUploadCreated(appId: string, vault: VaultName, upload: UploadId): HeaderRecord {
  return { location: uploadPath(appId, vault, upload), "x-cas-multipart-upload-id": upload };
}

/** @throws WireFormatError */
export function parseUploadCreated(headers: HeaderLookup): UploadId {
  return idHeader(headers, "x-cas-multipart-upload-id", uploadId);
}

// --- Upload Part (10.2) -----------------------------------------------------------------------------------------

export interface PartUpload {
  readonly range: ByteRange;
  readonly sha256: Sha256Hex;
  readonly treeHash: TreeHashHex;
}

export function formatPartUpload(part: PartUpload): HeaderRecord {
  return {
    "content-length": String(rangeLength(part.range)),
    "content-range": formatContentRange(part.range),
    "content-type": "application/octet-stream",
    "x-cas-content-sha256": part.sha256,
    "x-cas-sha256-tree-hash": part.treeHash,
  };
}

/** @throws WireError also when the part does not fit the upload's part size. */
export function parsePartUpload(headers: HeaderLookup, partSizeBytes: number): PartUpload {
  const { range } = parseContentRange(requiredHeader(headers, "content-range"));
  const sizeBytes = requiredByteCount(headers, "content-length");
  if (sizeBytes === 0) throw invalidParameter("A part must not be empty");
  if (sizeBytes !== rangeLength(range)) throw invalidParameter("Content-Length and Content-Range differ");
  if (range.start % partSizeBytes !== 0)
    throw invalidParameter("The part does not start at a multiple of the part size");
  if (sizeBytes > partSizeBytes) throw invalidParameter("The part is larger than the part size");
  if (range.start / partSizeBytes >= partCountMax)
    throw invalidParameter(`There must be at most ${partCountMax} parts`);
  return { range, sha256: requiredSha256(headers), treeHash: requiredTreeHash(headers) };
}

/** `bytes <first>-<last>/*`, or with the total instead of `*`. */
export function formatContentRange(range: ByteRange, totalBytes?: number): string {
  return `bytes ${range.start}-${range.end - 1}/${totalBytes ?? "*"}`;
}

/** Takes an unknown total (`/*`), a known one, and none at all. @throws WireError */
export function parseContentRange(text: string): { readonly range: ByteRange; readonly totalBytes: number | null } {
  const match = /^bytes[ =](\d{1,15})-(\d{1,15})(?:\/(\*|\d{1,15}))?$/i.exec(text.trim());
  const [, first, last, total] = match ?? [];
  if (!match || Number(last) < Number(first)) throw invalidParameter("Content-Range is not `bytes first-last/*`");
  const totalBytes = total === undefined || total === "*" ? null : Number(total);
  if (totalBytes !== null && Number(last) >= totalBytes) throw invalidParameter("Content-Range ends beyond its total");
  return { range: refusing(() => byteRange(Number(first), Number(last) + 1)), totalBytes };
}

// --- Complete (10.3) --------------------------------------------------------------------------------------------

export interface UploadCompletion {
  readonly sizeBytes: ByteCount;
  readonly treeHash: TreeHashHex;
}

export function formatCompletion({ sizeBytes, treeHash }: UploadCompletion): HeaderRecord {
  return { "x-cas-archive-size": String(sizeBytes), "x-cas-sha256-tree-hash": treeHash };
}

/** @throws WireError */
export function parseCompletion(headers: HeaderLookup): UploadCompletion {
  return { sizeBytes: requiredByteCount(headers, "x-cas-archive-size"), treeHash: requiredTreeHash(headers) };
}

// --- listings (10.4, 10.5) --------------------------------------------------------------------------------------

export interface UploadWire {
  /** Never null: `cascmd` cannot print that (section 15.3). */
  readonly ArchiveDescription: string;
  readonly CreationDate: string;
  readonly MultipartUploadId: string;
  readonly PartSizeInBytes: number;
  readonly VaultQCS: string;
}

export interface UploadListWire {
  readonly Marker: string | null;
  readonly UploadsList: readonly UploadWire[];
}

export interface PartWire {
  /** Both ends included. */
  readonly RangeInBytes: string;
  readonly SHA256TreeHash: string;
}

export interface PartListWire extends UploadWire {
  readonly Marker: string | null;
  readonly Parts: readonly PartWire[];
}

function formatUpload(owner: VaultOwner, vault: VaultName, upload: UploadDescription): UploadWire {
  return {
    ArchiveDescription: upload.description,
    CreationDate: formatTime(upload.createdAt),
    MultipartUploadId: upload.id,
    PartSizeInBytes: upload.partSizeBytes,
    VaultQCS: formatVaultQcs(owner, vault),
  };
}

/** @throws WireFormatError */
function parseUpload(value: unknown): UploadDescription {
  const fields = new JsonFields(value, "the description of an upload");
  return {
    id: fields.parsed("MultipartUploadId", uploadId),
    description: fields.text("ArchiveDescription"),
    createdAt: fields.time("CreationDate"),
    partSizeBytes: fields.bytes("PartSizeInBytes"),
  };
}

export function formatUploadList(owner: VaultOwner, vault: VaultName, page: Page<UploadDescription>): UploadListWire {
  return { Marker: page.marker, UploadsList: page.items.map((upload) => formatUpload(owner, vault, upload)) };
}

/** @throws WireFormatError */
export function parseUploadList(value: unknown): Page<UploadDescription> {
  return parsePage(new JsonFields(value, "a list of uploads"), "UploadsList", parseUpload);
}

export function formatPartList(owner: VaultOwner, vault: VaultName, page: PartsPage): PartListWire {
  return {
    ...formatUpload(owner, vault, page.upload),
    Marker: page.marker,
    Parts: page.items.map(({ range, treeHash }) => ({
      RangeInBytes: formatInclusiveRange(range),
      SHA256TreeHash: treeHash,
    })),
  };
}

/** @throws WireFormatError */
export function parsePartList(value: unknown): PartsPage {
  const page = parsePage(new JsonFields(value, "a list of parts"), "Parts", parsePart);
  return { ...page, upload: parseUpload(value) };
}

/** Reads a parts marker: the byte offset to list from, as decimal text (section 10.4). @throws WireError */
export function parsePartsMarker(marker: string | undefined): number {
  if (marker === undefined) return 0;
  if (!/^\d{1,15}$/.test(marker)) throw invalidParameter("The marker is not a byte offset");
  return Number(marker);
}

/** `first-last`, both included. */
export function formatInclusiveRange(range: ByteRange): string {
  return `${range.start}-${range.end - 1}`;
}

/** @throws RangeError unless `text` is `first-last`. */
export function parseInclusiveRange(text: string): ByteRange {
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(text);
  if (!match) throw new RangeError(`Cannot read ${JSON.stringify(text.slice(0, 80))} as a range of bytes`);
  return byteRange(Number(match[1]), Number(match[2]) + 1);
}

function parsePart(value: unknown): PartDescription {
  const fields = new JsonFields(value, "the description of a part");
  return {
    range: fields.parsed("RangeInBytes", parseInclusiveRange),
    treeHash: fields.parsed("SHA256TreeHash", treeHashHex),
  };
}
