/**
 * The Authorization header: made by the client, verified by the server (cas-api section 3).
 *
 * Header values are byte strings: text in which each character is one byte (Latin-1), as Node hands them out and takes
 * them. Parameter values are ordinary text. Never reads a clock: `now` and the windows are given.
 */

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { Instant } from "../domain/time.js";
import type { WireErrorCode } from "./error-wire.js";
import { clockSkewSecondsDefault } from "./limits.js";

/** Unix seconds, both ends included. */
export interface TimeWindow {
  readonly startSeconds: number;
  readonly endSeconds: number;
}

/** Either the secret itself, or a key derived from it by somebody else for a window of time (section 3.6). */
export type SigningKey = { readonly secretKey: string } | { readonly signKey: string; readonly keyTime: TimeWindow };

export type NameValue = readonly [name: string, value: string];

export interface SignableRequest {
  readonly method: string;
  /** The request target before `?`, exactly as sent. */
  readonly path: string;
  /** The headers to sign, as byte strings; each name once. */
  readonly headers: readonly NameValue[];
  /** All query parameters, decoded. */
  readonly parameters: readonly NameValue[];
}

/** `<start>;<end>`, as in q-sign-time and q-key-time. */
export function formatWindow(window: TimeWindow): string {
  return `${window.startSeconds};${window.endSeconds}`;
}

/** The SignKey: 40 lowercase hex digits. May be given to somebody who shall sign only within `keyTime`. */
export function signingKey(secretKey: string, keyTime: string): string {
  return hmacHex(secretKey, keyTime);
}

/** The value of the Authorization header in canonical form; a delegated key clips the sign time into its window. */
export function authorization(
  request: SignableRequest & { readonly secretId: string; readonly key: SigningKey; readonly signTime: TimeWindow },
): string {
  const delegated = "signKey" in request.key;
  const signTime = formatWindow(delegated ? clip(request.signTime, request.key.keyTime) : request.signTime);
  const keyTime = delegated ? formatWindow(request.key.keyTime) : signTime;
  const signKey = delegated ? request.key.signKey : signingKey(request.key.secretKey, keyTime);
  const formatString = canonicalFormatString(request);
  return [
    "q-sign-algorithm=sha1",
    `q-ak=${request.secretId}`,
    `q-sign-time=${signTime}`,
    `q-key-time=${keyTime}`,
    `q-header-list=${nameList(request.headers)}`,
    `q-url-param-list=${nameList(request.parameters)}`,
    `q-signature=${signatureOf(formatString, signTime, signKey)}`,
  ].join("&");
}

/** The text that is hashed, in the form of section 3.2. */
export function canonicalFormatString(request: SignableRequest): string {
  return formatString(
    request.method,
    request.path,
    lineOf(sorted(request.parameters.map(([name, value]) => [canonicalName(name), utf8(value)])), canonicalParameter),
    lineOf(sorted(request.headers.map(([name, value]) => [canonicalName(name), latin1(value)])), canonicalHeader),
  );
}

export interface ParsedAuthorization {
  readonly secretId: string;
  /** As written; the text itself is what is signed. */
  readonly signTimeText: string;
  readonly keyTimeText: string;
  readonly signTime: TimeWindow;
  readonly keyTime: TimeWindow;
  readonly headerNames: readonly string[];
  readonly parameterNames: readonly string[];
  readonly signature: string;
}

const fieldCount = 7;

/** The seven fields of an Authorization header, or undefined when they are not all there and well-formed. */
export function parseAuthorization(text: string): ParsedAuthorization | undefined {
  const fields = new Map<string, string>();
  for (const field of text.trim().split("&")) {
    const equals = field.indexOf("=");
    if (equals < 1 || fields.has(field.slice(0, equals))) return undefined;
    fields.set(field.slice(0, equals), field.slice(equals + 1));
  }
  const signTimeText = fields.get("q-sign-time") ?? "";
  const keyTimeText = fields.get("q-key-time") ?? "";
  const signTime = parseWindow(signTimeText);
  const keyTime = parseWindow(keyTimeText);
  const secretId = fields.get("q-ak");
  const headerList = fields.get("q-header-list");
  const parameterList = fields.get("q-url-param-list");
  const signature = fields.get("q-signature")?.toLowerCase();
  if (fields.size !== fieldCount) return undefined;
  if (fields.get("q-sign-algorithm") !== "sha1" || !signTime || !keyTime || !secretId) return undefined;
  if (headerList === undefined || parameterList === undefined || !signature) return undefined;
  if (!/^[0-9a-f]{40}$/.test(signature)) return undefined;
  return {
    secretId,
    signTimeText,
    keyTimeText,
    signTime,
    keyTime,
    headerNames: splitNames(headerList),
    parameterNames: splitNames(parameterList),
    signature,
  };
}

export interface ReceivedRequest {
  readonly method: string;
  /** The request target before `?`, exactly as received; of an absolute target only the path (section 15.15). */
  readonly path: string;
  /** Every header line in the order received, byte strings; names in any case, `Host` possibly twice (15.1). */
  readonly headers: readonly NameValue[];
  /** The decoded query in the order received. */
  readonly parameters: readonly NameValue[];
}

export interface VerificationOptions {
  readonly secretKeyOf: (secretId: string) => string | undefined;
  readonly now: Instant;
  readonly skewSeconds?: number;
  /** Accepts only the canonical form of section 3.2, not the variants of other clients. */
  readonly strict?: boolean;
}

export type Verification =
  | { readonly ok: true; readonly secretId: string }
  | { readonly ok: false; readonly code: WireErrorCode; readonly message: string };

/** Whether `request` was signed with the secret it names, by the rules of section 3.4. */
export function verifySignature(request: ReceivedRequest, options: VerificationOptions): Verification {
  const header = request.headers.find(([name]) => name.toLowerCase() === "authorization")?.[1];
  if (!header) return refusal("MissingAuthenticationTokenException", "The request has no Authorization header");
  const parsed = parseAuthorization(Buffer.from(header, "latin1").toString("utf8"));
  if (!parsed) return refusal("InvalidSignatureException", "The Authorization header is not well-formed");
  const secretKey = options.secretKeyOf(parsed.secretId);
  if (secretKey === undefined) return refusal("UnrecognizedClientException", "The access key id is unknown");
  const outOfTime = checkTime(parsed, options);
  if (outOfTime) return outOfTime;
  const signed = signedValues(request, parsed);
  if (typeof signed === "string") return refusal("InvalidSignatureException", signed);

  const signKey = signingKey(secretKey, parsed.keyTimeText);
  for (const candidate of candidateFormatStrings(request, signed, options.strict ?? false)) {
    if (equalHex(signatureOf(candidate, parsed.signTimeText, signKey), parsed.signature)) {
      return { ok: true, secretId: parsed.secretId };
    }
  }
  return refusal("InvalidSignatureException", "The signature does not match the request");
}

// --- verification -----------------------------------------------------------------------------------------------

type Bytes = readonly [name: string, value: Buffer];

/** The signed names with their values, in the order received. */
interface SignedValues {
  readonly parameters: readonly Bytes[];
  /** One list of headers per `Host` value received. */
  readonly headersByHost: readonly (readonly Bytes[])[];
}

// Each Host line doubles the work, so a request cannot bring any number of them.
const hostValuesMax = 4;

function checkTime({ signTime, keyTime }: ParsedAuthorization, options: VerificationOptions): Verification | undefined {
  const skew = options.skewSeconds ?? clockSkewSecondsDefault;
  const nowSeconds = Math.floor(options.now / 1000);
  for (const window of [signTime, keyTime]) {
    if (nowSeconds > window.endSeconds + skew) return refusal("ExpiredTokenException", "The signature has expired");
    if (nowSeconds < window.startSeconds - skew) {
      return refusal("ExpiredTokenException", "The signature is not yet valid");
    }
  }
  return undefined;
}

function signedValues(request: ReceivedRequest, parsed: ParsedAuthorization): SignedValues | string {
  const parameters = pick(request.parameters, parsed.parameterNames, utf8);
  if (typeof parameters === "string") return `The signed parameter ${parameters} is missing or given twice`;
  const isHost = ([name]: NameValue) => name.toLowerCase() === "host";
  const hosts = request.headers.filter(isHost).slice(0, hostValuesMax);
  const variants = parsed.headerNames.includes("host") && hosts.length > 0 ? hosts : [undefined];
  const headersByHost: Bytes[][] = [];
  for (const host of variants) {
    // The host keeps its place among the received lines; only the order of the signed ones matters.
    const lines = request.headers.filter((line) => line === host || !isHost(line));
    const headers = pick(lines, parsed.headerNames, latin1);
    if (typeof headers === "string") return `The signed header ${headers} is missing or given twice`;
    headersByHost.push(headers);
  }
  return { parameters, headersByHost };
}

/** The named pairs in the order of `received`; the name of one that is absent or ambiguous. */
function pick(
  received: readonly NameValue[],
  names: readonly string[],
  encode: (value: string) => Buffer,
): Bytes[] | string {
  const wanted = new Set(names);
  const found: Bytes[] = [];
  for (const [name, value] of received) {
    const lowercase = canonicalName(name);
    if (wanted.has(lowercase)) found.push([lowercase, encode(value)]);
  }
  for (const name of wanted) {
    if (found.filter(([other]) => other === name).length !== 1) return name;
  }
  return found;
}

type FormatItem = (name: string, value: Buffer) => string;

const canonicalParameter: FormatItem = (name, value) =>
  item(encode(utf8(name), unreservedAndSlash), encode(asciiLowercase(value), unreserved), "bare");
const canonicalHeader: FormatItem = (name, value) => item(name, encode(value, unreserved), "bare");

/** Section 3.4, step 6: what the Python, Node and Go clients make of a parameter. */
const parameterForms: readonly FormatItem[] = [
  canonicalParameter,
  (name, value) => item(encode(utf8(name), unreservedAndSlash), encode(asciiLowercase(value), unreserved), "equals"),
  (name, value) => item(encode(utf8(name), unreservedAndSlash), encode(value, unreserved), "equals"),
  (name, value) => item(encode(utf8(name), uriComponent), encode(value, uriComponent), "equals"),
];

const headerForms: readonly FormatItem[] = [
  canonicalHeader,
  (name, value) => item(name, encode(value, unreserved), "equals"),
  (name, value) => item(name, encode(value, uriComponent), "equals"),
];

/** Every text that one of the known clients may have signed for this request, the canonical one first, each once. */
function* candidateFormatStrings(request: ReceivedRequest, signed: SignedValues, strict: boolean): Generator<string> {
  const seen = new Set<string>();
  for (const candidate of allFormatStrings(request, signed, strict)) {
    if (seen.has(candidate)) continue;
    seen.add(candidate);
    yield candidate;
  }
}

function* allFormatStrings(request: ReceivedRequest, signed: SignedValues, strict: boolean): Generator<string> {
  const { method, path } = request;
  const canonicalLine = lineOf(sorted(signed.parameters), canonicalParameter);
  // Most requests are canonical; what the variants would be is not worth finding out for them.
  for (const headers of signed.headersByHost) {
    yield formatString(method, path, canonicalLine, lineOf(sorted(headers), canonicalHeader));
  }
  if (strict) return;
  const parameterLines = lineVariants(signed.parameters, parameterForms);
  for (const headers of signed.headersByHost) {
    const headerLines = lineVariants(headers, headerForms);
    for (const variant of pathVariants(path)) {
      for (const parameterLine of parameterLines) {
        for (const headerLine of headerLines) yield formatString(method, variant, parameterLine, headerLine);
      }
    }
  }
}

function lineVariants(items: readonly Bytes[], forms: readonly FormatItem[]): string[] {
  return [...new Set([sorted(items), items].flatMap((order) => forms.map((form) => lineOf(order, form))))];
}

function pathVariants(path: string): string[] {
  const lowercase = (text: string) => asciiLowercase(latin1(text)).toString("latin1");
  return [...new Set([path, lowercase(path), lowercase(percentDecoded(path))])];
}

function percentDecoded(path: string): string {
  return path.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function parseWindow(text: string): TimeWindow | undefined {
  const match = /^(\d{1,12});(\d{1,12})$/.exec(text);
  if (!match) return undefined;
  const window = { startSeconds: Number(match[1]), endSeconds: Number(match[2]) };
  return window.endSeconds < window.startSeconds ? undefined : window;
}

function splitNames(list: string): string[] {
  return list === "" ? [] : [...new Set(list.split(";").map(canonicalName))];
}

function refusal(code: WireErrorCode, message: string): Verification {
  return { ok: false, code, message };
}

function equalHex(one: string, other: string): boolean {
  const left = Buffer.from(one, "latin1");
  const right = Buffer.from(other, "latin1");
  return left.length === right.length && timingSafeEqual(left, right);
}

// --- both sides -------------------------------------------------------------------------------------------------

function signatureOf(text: string, signTime: string, signKey: string): string {
  const digest = createHash("sha1").update(latin1(text)).digest("hex");
  return hmacHex(signKey, `sha1\n${signTime}\n${digest}\n`);
}

function hmacHex(key: string, message: string): string {
  return createHmac("sha1", utf8(key)).update(message).digest("hex");
}

/** All parts are byte strings here; a path is ASCII as sent. */
function formatString(method: string, path: string, parameterLine: string, headerLine: string): string {
  return `${method.toLowerCase()}\n${path}\n${parameterLine}\n${headerLine}\n`;
}

function clip(window: TimeWindow, into: TimeWindow): TimeWindow {
  const within = (value: number) => Math.min(Math.max(value, into.startSeconds), into.endSeconds);
  return { startSeconds: within(window.startSeconds), endSeconds: within(window.endSeconds) };
}

function nameList(pairs: readonly NameValue[]): string {
  return pairs
    .map(([name]) => canonicalName(name))
    .sort(byText)
    .join(";");
}

function lineOf(items: readonly Bytes[], form: FormatItem): string {
  return items.map(([name, value]) => form(name, value)).join("&");
}

function sorted<T>(items: readonly (readonly [string, T])[]): (readonly [string, T])[] {
  return [...items].sort(([one], [other]) => byText(one, other));
}

function byText(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

function item(name: string, value: string, whenEmpty: "bare" | "equals"): string {
  return value === "" && whenEmpty === "bare" ? name : `${name}=${value}`;
}

function canonicalName(name: string): string {
  return asciiLowercase(utf8(name.trim())).toString("utf8");
}

function utf8(text: string): Buffer {
  return Buffer.from(text, "utf8");
}

function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

// `toLowerCase()` would change letters beyond ASCII, which the service leaves alone.
function asciiLowercase(bytes: Buffer): Buffer {
  const lowercase = Buffer.from(bytes);
  for (let index = 0; index < lowercase.length; index++) {
    const byte = lowercase[index]!;
    if (byte >= 0x41 && byte <= 0x5a) lowercase[index] = byte + 0x20;
  }
  return lowercase;
}

function bytesOf(text: string): ReadonlySet<number> {
  return new Set(Buffer.from(text, "latin1"));
}

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const unreserved = bytesOf(`${alphanumeric}-_.~`);
const unreservedAndSlash = bytesOf(`${alphanumeric}-_.~/`);
/** What JavaScript's `encodeURIComponent` leaves bare. */
const uriComponent = bytesOf(`${alphanumeric}-_.~!'()*`);

function encode(bytes: Buffer, bare: ReadonlySet<number>): string {
  let text = "";
  for (const byte of bytes) {
    text += bare.has(byte) ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}
