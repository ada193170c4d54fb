/**
 * What casfs writes into the description of an archive, and what it makes of any description it finds.
 *
 *     casfs/1 photos/2019/a%20b.jpg?mode=644&mtime=1699999999.123456789&uid=1000&gid=1000&id=<file>&v=<n>&w=<writer>
 *
 * At most 1024 bytes of printable ASCII. Pure. A description is a stranger's text: no result ever has a path segment
 * that is `.`, `..`, empty or longer than 255 bytes, or that contains `/` or NUL.
 */

import type { FileTime } from "../domain/time.js";
import { archiveDescriptionBytesMax } from "./limits.js";

export interface FileDescription {
  /** Names from the top of the vault down to the file; at least one. */
  readonly segments: readonly string[];
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly mtime: FileTime;
  readonly uid: number;
  readonly gid: number;
  /** Random at the creation of the file; names it through all its versions and renames. 1-64 of `A-Z a-z 0-9 _ -`. */
  readonly fileId: string;
  /** Counts the contents of the file, from 1. */
  readonly version: number;
  /** Names the state directory that wrote it; as `fileId`. */
  readonly writer: string;
  /** The upload began before the file was closed, so the attributes may have changed since. */
  readonly provisional: boolean;
}

export type ParsedDescription =
  | ({
      readonly kind: "casfs";
      /** The path was too long; `segments` are its last ones. */
      readonly cut: boolean;
      /** Parameters this version of casfs does not know, as found. */
      readonly others: readonly (readonly [name: string, value: string])[];
    } & FileDescription)
  /** Written by a casfs that knows more than this one, or damaged: its content must not be taken for a file's. */
  | { readonly kind: "unreadable"; readonly reason: string }
  /** Another tool's description that looks like a path. */
  | { readonly kind: "path"; readonly segments: readonly string[] }
  | { readonly kind: "none" };

/** Longest name in a directory, as Linux has it. */
export const segmentBytesMax = 255;

/**
 * @param others Unknown parameters to be carried on; left out when there is no room for them.
 * @throws RangeError for values outside their domain, which are bugs of the caller.
 */
export function formatDescription(
  file: FileDescription,
  { others = [] }: { readonly others?: readonly (readonly [string, string])[] } = {},
): string {
  checkFile(file);
  const names = file.segments.map((segment) => escapeBytes(Buffer.from(segment, "utf8"), pathCharacters));
  const fixed = formatParameters(file);
  const kept = others.map(([name, value]) => `&${escapeText(name)}=${escapeText(value)}`).join("");
  return fitted(names, fixed + kept) ?? fitted(names, fixed) ?? tooLong(file);
}

export function parseDescription(text: string): ParsedDescription {
  const header = /^casfs\/(\d+)(?: (.*))?$/s.exec(text);
  if (!header) return parseForeign(text);
  const [, format, rest = ""] = header;
  if (format !== "1") return unreadable(`it has the unknown format casfs/${format!.slice(0, 20)}`);
  try {
    return parseOwn(rest);
  } catch (error) {
    if (error instanceof Unreadable) return unreadable(error.message);
    throw error;
  }
}

// --- writing ----------------------------------------------------------------------------------------------------

function formatParameters(file: FileDescription): string {
  const { seconds, nanoseconds } = file.mtime;
  const fraction = nanoseconds === 0 ? "" : `.${String(nanoseconds).padStart(9, "0")}`;
  return [
    `mode=${file.mode.toString(8)}`,
    // As in a timespec: -1.5 is half a second after -1.
    `mtime=${seconds}${fraction}`,
    `uid=${file.uid}`,
    `gid=${file.gid}`,
    `id=${file.fileId}`,
    `v=${file.version}`,
    `w=${file.writer}`,
    ...(file.provisional ? ["p=1"] : []),
  ].join("&");
}

/** The description with as many of the last names as there is room for; undefined when not even one fits. */
function fitted(names: readonly string[], parameters: string): string | undefined {
  for (let first = 0; first < names.length; first++) {
    const cut = first === 0 ? "" : "&cut=1";
    const text = `casfs/1 ${names.slice(first).join("/")}?${parameters}${cut}`;
    if (text.length <= archiveDescriptionBytesMax) return text;
  }
  return undefined;
}

function checkFile(file: FileDescription): void {
  const whole = (value: number, max: number) => Number.isSafeInteger(value) && value >= 0 && value <= max;
  const sound =
    file.segments.length > 0 &&
    file.segments.every(isSegment) &&
    whole(file.mode, 0o7777) &&
    whole(file.uid, 0xffffffff) &&
    whole(file.gid, 0xffffffff) &&
    whole(file.version, Number.MAX_SAFE_INTEGER) &&
    whole(file.mtime.nanoseconds, 999_999_999) &&
    Number.isSafeInteger(file.mtime.seconds) &&
    tokenPattern.test(file.fileId) &&
    tokenPattern.test(file.writer);
  if (!sound) throw new RangeError(`Cannot describe the file ${JSON.stringify(file)}`);
}

function tooLong(file: FileDescription): never {
  throw new RangeError(`Cannot describe the file ${JSON.stringify(file)}: it does not fit`);
}

// --- reading what casfs wrote -----------------------------------------------------------------------------------

class Unreadable extends Error {}

const tokenPattern = /^[A-Za-z0-9_-]{1,64}$/;

function parseOwn(rest: string): ParsedDescription {
  const mark = rest.indexOf("?");
  if (mark < 0) throw new Unreadable("it has no parameters");
  const parameters = parseParameters(rest.slice(mark + 1));
  const take = (name: string, pattern: RegExp): string => {
    const value = parameters.get(name);
    parameters.delete(name);
    if (value === undefined) throw new Unreadable(`it lacks the parameter ${name}`);
    if (!pattern.test(value)) throw new Unreadable(`its parameter ${name} is malformed`);
    return value;
  };
  const number = (name: string, max: number, base = 10) => {
    const value = Number.parseInt(take(name, base === 8 ? /^[0-7]{1,4}$/ : /^\d{1,16}$/), base);
    if (value > max) throw new Unreadable(`its parameter ${name} is too large`);
    return value;
  };
  const flag = (name: string) => parameters.has(name) && take(name, /^1$/) === "1";
  const own = {
    kind: "casfs" as const,
    segments: rest.slice(0, mark).split("/").map(parseSegment),
    mode: number("mode", 0o7777, 8),
    mtime: parseFileTime(take("mtime", /^-?\d{1,16}(\.\d{1,9})?$/)),
    uid: number("uid", 0xffffffff),
    gid: number("gid", 0xffffffff),
    fileId: take("id", tokenPattern),
    version: number("v", Number.MAX_SAFE_INTEGER),
    writer: take("w", tokenPattern),
    provisional: flag("p"),
    cut: flag("cut"),
  };
  for (const name of parameters.keys()) {
    // Reserved for what changes the meaning of the bytes, such as packing and encryption.
    if (name.startsWith("x-")) throw new Unreadable(`it has the unknown parameter ${name.slice(0, 40)}`);
  }
  return { ...own, others: [...parameters] };
}

function parseParameters(text: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const parameter of text.split("&")) {
    const equals = parameter.indexOf("=");
    const name = unescapeText(equals < 0 ? parameter : parameter.slice(0, equals));
    if (name === "" || parameters.has(name)) throw new Unreadable("its parameters are malformed");
    parameters.set(name, equals < 0 ? "" : unescapeText(parameter.slice(equals + 1)));
  }
  return parameters;
}

function parseSegment(text: string): string {
  const segment = unescapeText(text);
  if (!isSegment(segment)) throw new Unreadable("its path is malformed");
  return segment;
}

function parseFileTime(text: string): FileTime {
  const [secondsText, fraction = ""] = text.split(".");
  const seconds = Number(secondsText);
  if (!Number.isSafeInteger(seconds)) throw new Unreadable("its parameter mtime is too large");
  // `-0` is a zero that equals no other one.
  return { seconds: seconds === 0 ? 0 : seconds, nanoseconds: Number(fraction.padEnd(9, "0")) };
}

function unreadable(reason: string): ParsedDescription {
  return { kind: "unreadable", reason: printable(reason) };
}

function printable(text: string): string {
  return text.replace(/\p{C}+/gu, "?");
}

function isSegment(segment: string): boolean {
  return (
    segment !== "" &&
    segment !== "." &&
    segment !== ".." &&
    !/[/\0]/.test(segment) &&
    !/\p{Surrogate}/u.test(segment) &&
    Buffer.byteLength(segment) <= segmentBytesMax
  );
}

// --- reading what others wrote ----------------------------------------------------------------------------------

function parseForeign(text: string): ParsedDescription {
  if (!looksLikePath(text)) return { kind: "none" };
  const segments = text
    .replace(/[\p{Cc}\p{Surrogate}]/gu, "")
    .split("/")
    .map((segment) => cutToBytes(segment, segmentBytesMax))
    .filter((segment) => segment !== "" && segment !== "." && segment !== "..");
  return segments.length === 0 ? { kind: "none" } : { kind: "path", segments };
}

/** One word, a name with a suffix, or something with a slash; but no sentence, and none of the formats of other tools. */
function looksLikePath(text: string): boolean {
  const trimmed = text.trim();
  if (trimmed === "" || /^[<{[]/.test(trimmed) || /:\/\//.test(trimmed)) return false;
  return trimmed.includes("/") || !/\s/.test(trimmed) || /\.[A-Za-z0-9]{1,10}$/.test(trimmed);
}

/** The longest beginning of whole characters. */
function cutToBytes(text: string, bytesMax: number): string {
  if (Buffer.byteLength(text) <= bytesMax) return text;
  let cut = "";
  let bytes = 0;
  for (const char of text) {
    bytes += Buffer.byteLength(char);
    if (bytes > bytesMax) break;
    cut += char;
  }
  return cut;
}

// --- escapes ----------------------------------------------------------------------------------------------------

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/** As much as possible stays readable in a console; `%`, `?`, `#`, blanks and quotes do not. */
const pathCharacters = new Set(Buffer.from(`${alphanumeric}-_.~!$&'()*+,:;=@[]{}`));
const valueCharacters = new Set(Buffer.from(`${alphanumeric}-_.~`));

function escapeText(text: string): string {
  return escapeBytes(Buffer.from(text, "utf8"), valueCharacters);
}

function escapeBytes(bytes: Buffer, bare: ReadonlySet<number>): string {
  let text = "";
  for (const byte of bytes) {
    text += bare.has(byte) ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}

function unescapeText(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Unreadable("its escapes are malformed");
  }
}
