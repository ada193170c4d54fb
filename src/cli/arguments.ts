/** What stands on a command line of the service commands, read once. Throws what commander reports as a usage error. */

import { InvalidArgumentError } from "commander";
import { parseSize } from "../config/units.js";
import { type ByteCount, type ByteRange, byteRange } from "../domain/bytes.js";
import {
  type ArchiveId,
  archiveId,
  isVaultName,
  type JobId,
  jobId,
  type UploadId,
  uploadId,
  type VaultName,
} from "../domain/ids.js";
import { archiveDescriptionBytesMax, inventoryLimitMax, pageLimitMax } from "../protocol/limits.js";
import { CommandLineError } from "./failure.js";

/** `NAME`, or `cas://NAME` as the official command line has it. */
export function vaultArgument(text: string): VaultName {
  const name = /^cas:\/\/([^/]*)/i.exec(text)?.[1] ?? text;
  if (isVaultName(name)) return name;
  throw new InvalidArgumentError("A vault name is 1-255 characters of a-z A-Z 0-9 _ - .");
}

export const archiveArgument = (text: string): ArchiveId => understood(() => archiveId(text));
export const jobArgument = (text: string): JobId => understood(() => jobId(text));
export const uploadArgument = (text: string): UploadId => understood(() => uploadId(text));

/** For `<ID...>`: commander hands over what it has so far. */
export function archiveArguments(text: string, previous: readonly ArchiveId[] | undefined): readonly ArchiveId[] {
  return [...(previous ?? []), archiveArgument(text)];
}

/** Travels in a header, which has no line breaks (cas-api section 9.1). */
export function descriptionArgument(text: string): string {
  if (!/\p{Cc}/u.test(text) && Buffer.byteLength(text) <= archiveDescriptionBytesMax) return text;
  throw new InvalidArgumentError(
    `A description has at most ${archiveDescriptionBytesMax} bytes and no control characters`,
  );
}

export const sizeArgument = (text: string): ByteCount => understood(() => parseSize(text));

export const pageLimitArgument = (text: string): number => wholeNumber(text, pageLimitMax);
export const inventoryLimitArgument = (text: string): number => wholeNumber(text, inventoryLimitMax);

/** `2026-11-22`, `2026-11-22T10:00:00Z` and what else ISO 8601 has; without a zone it is UTC. */
export function dateArgument(text: string): Date {
  const isIso = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/.test(text);
  const hasZone = /(Z|[+-]\d\d:?\d\d)$/.test(text.slice(10));
  const date = new Date(isIso && text.includes("T") && !hasZone ? `${text}Z` : text);
  if (isIso && !Number.isNaN(date.getTime())) return date;
  throw new InvalidArgumentError("A date is written like 2026-11-22 or 2026-11-22T10:00:00Z");
}

export function urlArgument(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new InvalidArgumentError("It must be an http:// or https:// URL");
}

/** `true` or `false`. */
export function flagArgument(text: string): boolean {
  if (text === "true" || text === "false") return text === "true";
  throw new InvalidArgumentError("It must be true or false");
}

/** A range as the service writes it, both ends included; `"first-"` goes to the end of what it is a range of. */
export interface RangeOptions {
  readonly range?: { readonly start: number; readonly end: number | undefined };
  readonly start?: ByteCount;
  readonly size?: ByteCount;
}

/** `FIRST-LAST` in bytes, both included, or `FIRST-`. */
export function rangeArgument(text: string): { readonly start: number; readonly end: number | undefined } {
  const [, first, last] = /^(\d{1,15})-(\d{1,15})?$/.exec(text) ?? [];
  if (first !== undefined && (last === undefined || Number(last) >= Number(first))) {
    return { start: Number(first), end: last === undefined ? undefined : Number(last) + 1 };
  }
  throw new InvalidArgumentError("A range is FIRST-LAST in bytes, both included, such as 0-1048575");
}

/** `FROM-TO` as sizes, without the byte at TO, or `FROM-`: a part of a file. */
export function partArgument(text: string): { readonly start: number; readonly end: number | null } {
  const [from = "", to, ...rest] = text.split("-");
  if (from === "" || to === undefined || rest.length > 0) {
    throw new InvalidArgumentError("A part is FROM-TO, such as 10MiB-20MiB, or FROM- for all from there on");
  }
  const start = sizeArgument(from);
  const end = to === "" ? null : sizeArgument(to);
  if (end === null || end > start) return { start, end };
  throw new InvalidArgumentError("TO is the first byte that is not wanted, so it is larger than FROM");
}

/** What `--range`, or `--start` and `--size`, ask for; undefined when nothing is. `end` undefined: to the end. */
export function chosenSpan({
  range,
  start,
  size,
}: RangeOptions): { readonly start: number; readonly end: number | undefined } | undefined {
  if (range !== undefined && (start !== undefined || size !== undefined)) {
    throw new CommandLineError("Cannot use --range together with --start or --size");
  }
  if (range !== undefined) return range;
  if (start === undefined && size === undefined) return undefined;
  if (size === 0) throw new CommandLineError("Cannot use --size 0: a range has at least one byte");
  const from = start ?? 0;
  return { start: from, end: size === undefined ? undefined : from + size };
}

/** `span` within something of `sizeBytes`. @throws CommandLineError when it begins behind it. */
export function spanWithin(
  span: { readonly start: number; readonly end: number | undefined },
  sizeBytes: number,
): ByteRange {
  if (span.start < sizeBytes) return byteRange(span.start, Math.min(span.end ?? sizeBytes, sizeBytes));
  throw new CommandLineError(`Cannot use a range that starts at ${span.start}: there are only ${sizeBytes} bytes`);
}

function wholeNumber(text: string, max: number): number {
  const number = /^\d+$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= max) return number;
  throw new InvalidArgumentError(`It must be a whole number from 1 to ${max}`);
}

function understood<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof RangeError) throw new InvalidArgumentError(sentence(error.message));
    throw error;
  }
}

const sentence = (text: string) => text.replace(/^./, (letter) => letter.toUpperCase());
