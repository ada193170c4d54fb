/** Header values as text, and the readers that a server uses on the headers of a request. */

import { type ByteCount, byteCount } from "../domain/bytes.js";
import { invalidParameter, missingParameter, refusing } from "./error-wire.js";
import { archiveDescriptionBytesMax } from "./limits.js";
import type { Sha256Hex, TreeHashHex } from "./service.js";
import { sha256Hex, treeHashHex } from "./tree-hash.js";

/** Looks a header up by its lowercase name; values are byte strings (Latin-1), as Node hands them out. */
export type HeaderLookup = (name: string) => string | undefined;

/** Headers to send, lowercase names; values are byte strings. */
export type HeaderRecord = Readonly<Record<string, string>>;

/** Text as the byte string of its UTF-8, without the blanks around it that HTTP would drop (cas-api section 3.4). */
export function headerText(text: string): string {
  return Buffer.from(text.trim(), "utf8").toString("latin1");
}

/** The text of a header's bytes; invalid UTF-8 is replaced (section 15.16). */
function textOfHeader(value: string): string {
  return Buffer.from(value, "latin1").toString("utf8");
}

/** @throws WireError when the header is absent or empty. */
export function requiredHeader(headers: HeaderLookup, name: string): string {
  const value = headers(name);
  if (value === undefined || value === "") throw missingParameter(`The header ${name}`);
  return value;
}

export function requiredSha256(headers: HeaderLookup): Sha256Hex {
  const text = requiredHeader(headers, "x-cas-content-sha256");
  return refusing(() => sha256Hex(text));
}

export function requiredTreeHash(headers: HeaderLookup): TreeHashHex {
  const text = requiredHeader(headers, "x-cas-sha256-tree-hash");
  return refusing(() => treeHashHex(text));
}

/** A decimal number of bytes, digits only. */
export function requiredByteCount(headers: HeaderLookup, name: string): ByteCount {
  const text = requiredHeader(headers, name);
  if (!/^\d{1,16}$/.test(text)) throw invalidParameter(`The header ${name} is not a decimal number`);
  return refusing(() => byteCount(Number(text)));
}

/** The description of an archive, empty when absent. @throws WireError above 1024 bytes. */
export function optionalDescription(headers: HeaderLookup): string {
  const value = headers("x-cas-archive-description") ?? "";
  if (value.length > archiveDescriptionBytesMax) {
    throw invalidParameter(`The archive description is longer than ${archiveDescriptionBytesMax} bytes`);
  }
  return textOfHeader(value);
}
