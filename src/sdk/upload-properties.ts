/** What the service says about unfinished uploads and their parts (cas-api sections 10.4 and 10.5). */

import { JsonFields } from "../protocol/json-fields.js";
import { parseInclusiveRange } from "../protocol/multipart-wire.js";
import { parsePage } from "../protocol/page-wire.js";
import { treeHashHex } from "../protocol/tree-hash.js";
import { dateOf } from "./wire-date.js";

export interface MultipartUploadProperties {
  readonly multipartUploadId: string;
  /** `""` when the upload has none. */
  readonly archiveDescription: string;
  readonly creationDate: Date;
  readonly partSizeInBytes: number;
  readonly vaultQcs: string;
}

/** A part that the service has: bytes from `start` (included) to `end` (excluded) of the archive. */
export interface PartProperties {
  readonly start: number;
  readonly end: number;
  /** 64 lowercase hex digits. */
  readonly treeHash: string;
}

/** `marker` asks for the next page; null when the list is complete (section 6.5). */
export interface MultipartUploadList {
  readonly marker: string | null;
  readonly uploadsList: readonly MultipartUploadProperties[];
}

/** One page of the parts of an upload, with the upload itself. `marker` is a byte offset as text. */
export interface PartList extends MultipartUploadProperties {
  readonly marker: string | null;
  readonly parts: readonly PartProperties[];
}

/** @throws WireFormatError */
function parseUploadProperties(value: unknown): MultipartUploadProperties {
  const fields = new JsonFields(value, "the description of an upload");
  return {
    multipartUploadId: fields.text("MultipartUploadId"),
    archiveDescription: fields.text("ArchiveDescription"),
    creationDate: dateOf(fields, "CreationDate"),
    partSizeInBytes: fields.bytes("PartSizeInBytes"),
    vaultQcs: fields.text("VaultQCS"),
  };
}

/** @throws WireFormatError */
export function parseUploadList(value: unknown): MultipartUploadList {
  const fields = new JsonFields(value, "a list of uploads");
  const { marker, items } = parsePage(fields, "UploadsList", parseUploadProperties);
  return { marker, uploadsList: items };
}

/** @throws WireFormatError */
export function parsePartList(value: unknown): PartList {
  const { marker, items } = parsePage(new JsonFields(value, "a list of parts"), "Parts", parsePart);
  return { ...parseUploadProperties(value), marker, parts: items };
}

function parsePart(value: unknown): PartProperties {
  const fields = new JsonFields(value, "the description of a part");
  const { start, end } = fields.parsed("RangeInBytes", parseInclusiveRange);
  return { start, end, treeHash: fields.parsed("SHA256TreeHash", treeHashHex) };
}
