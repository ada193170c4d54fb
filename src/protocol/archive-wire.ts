/** Upload Archive: request and answer headers (cas-api section 9.1). */

import type { ByteCount } from "../domain/bytes.js";
import { type ArchiveId, archiveId, type VaultName } from "../domain/ids.js";
import { invalidParameter } from "./error-wire.js";
import { WireFormatError } from "./json-fields.js";
import { singleUploadBytesMax } from "./limits.js";
import {
  type HeaderLookup,
  type HeaderRecord,
  headerText,
  optionalDescription,
  requiredByteCount,
  requiredSha256,
  requiredTreeHash,
} from "./message-headers.js";
import { archivePath } from "./routes.js";
import type { Sha256Hex, TreeHashHex } from "./service.js";

export interface ArchiveUpload {
  readonly sizeBytes: ByteCount;
  readonly sha256: Sha256Hex;
  readonly treeHash: TreeHashHex;
  readonly description: string;
}

export function formatArchiveUpload(archive: ArchiveUpload): HeaderRecord {
  const description = headerText(archive.description);
  return {
    "content-length": String(archive.sizeBytes),
    "x-cas-content-sha256": archive.sha256,
    "x-cas-sha256-tree-hash": archive.treeHash,
    ...(description === "" ? {} : { "x-cas-archive-description": description }),
  };
}

/** @throws WireError */
export function parseArchiveUpload(
  headers: HeaderLookup,
  { sizeBytesMax = singleUploadBytesMax }: { readonly sizeBytesMax?: number } = {},
): ArchiveUpload {
  const sizeBytes = requiredByteCount(headers, "content-length");
  if (sizeBytes === 0) throw invalidParameter("An archive must not be empty");
  if (sizeBytes > sizeBytesMax) throw invalidParameter(`A single upload must not exceed ${sizeBytesMax} bytes`);
  return {
    sizeBytes,
    sha256: requiredSha256(headers),
    treeHash: requiredTreeHash(headers),
    description: optionalDescription(headers),
  };
}

/** The headers of a successful Upload Archive or Complete; the latter has no linear hash to echo. */
export function formatArchiveCreated(created: {
  readonly appId: string;
  readonly vault: VaultName;
  readonly archive: ArchiveId;
  readonly sha256?: Sha256Hex | undefined;
  readonly treeHash?: TreeHashHex | undefined;
}): HeaderRecord {
  return {
    location: archivePath(created.appId, created.vault, created.archive),
    "x-cas-archive-id": created.archive,
    ...(created.sha256 === undefined ? {} : { "x-cas-content-sha256": created.sha256 }),
    ...(created.treeHash === undefined ? {} : { "x-cas-sha256-tree-hash": created.treeHash }),
  };
}

/** @throws WireFormatError */
export function parseArchiveCreated(headers: HeaderLookup): {
  readonly archive: ArchiveId;
  readonly treeHash: string | null;
} {
  const treeHash = headers("x-cas-sha256-tree-hash")?.toLowerCase() || null;
  return { archive: idHeader(headers, "x-cas-archive-id", archiveId), treeHash };
}

/** Reads the id that an answer's header carries. @throws WireFormatError */
export function idHeader<T>(headers: HeaderLookup, name: string, parse: (text: string) => T): T {
  const text = headers(name);
  if (text === undefined) throw new WireFormatError(`Cannot read the answer: the header ${name} is missing`);
  try {
    return parse(text);
  } catch (cause) {
    throw new WireFormatError(`Cannot read the answer: the header ${name} is no id`, { cause });
  }
}
