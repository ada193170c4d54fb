/**
 * Signs requests as the document says (cas-api section 3), written without the code it is to judge.
 *
 * Never imports from `src`: a mistake that client and server of casfs share would cancel itself out.
 */

import { createHash, createHmac } from "node:crypto";

export type Pair = readonly [name: string, value: string];

/** How a client builds the lines of its FormatString (section 3.3). */
export interface Dialect {
  readonly path: "verbatim" | "lowercase" | "decoded-lowercase";
  readonly parameterValues: "lowercase" | "kept";
  readonly emptyValue: "bare" | "equals";
  readonly escaping: "rfc3986" | "encodeURIComponent";
  readonly order: "sorted" | "given";
}

export const python: Dialect = {
  path: "verbatim",
  parameterValues: "lowercase",
  emptyValue: "bare",
  escaping: "rfc3986",
  order: "sorted",
};
export const nodeHelper: Dialect = {
  path: "verbatim",
  parameterValues: "kept",
  emptyValue: "equals",
  escaping: "encodeURIComponent",
  order: "given",
};
export const go: Dialect = {
  path: "decoded-lowercase",
  parameterValues: "kept",
  emptyValue: "equals",
  escaping: "rfc3986",
  order: "sorted",
};

export interface Signable {
  readonly method: string;
  /** The target before `?`. */
  readonly path: string;
  /** Names in any case; each character of a value is one byte. */
  readonly headers: readonly Pair[];
  /** Decoded text. */
  readonly parameters: readonly Pair[];
}

export interface Key {
  readonly secretId: string;
  readonly secretKey: string;
  /** `start;end` in Unix seconds. */
  readonly signTime: string;
  /** As `signTime` unless given. */
  readonly keyTime?: string;
  /** Given instead of the secret (section 3.6). */
  readonly signKey?: string;
}

export function authorizationOf(request: Signable, key: Key, dialect: Dialect = python): string {
  const keyTime = key.keyTime ?? key.signTime;
  const signKey = key.signKey ?? hmac(key.secretKey, keyTime);
  const digest = createHash("sha1").update(formatString(request, dialect), "latin1").digest("hex");
  const signature = hmac(signKey, `sha1\n${key.signTime}\n${digest}\n`);
  const list = (pairs: readonly Pair[]) =>
    pairs
      .map(([name]) => asciiLower(name.trim()))
      .sort()
      .join(";");
  return (
    `q-sign-algorithm=sha1&q-ak=${key.secretId}&q-sign-time=${key.signTime}&q-key-time=${keyTime}` +
    `&q-header-list=${list(request.headers)}&q-url-param-list=${list(request.parameters)}&q-signature=${signature}`
  );
}

/** One character per byte. */
export function formatString({ method, path, headers, parameters }: Signable, dialect: Dialect): string {
  const escaped = dialect.escaping === "rfc3986" ? rfc3986 : uriComponent;
  const parameterLine = line(parameters, dialect, (name, value) => {
    const bytes = Buffer.from(value, "utf8").toString("latin1");
    const escapedName = escaped(name).replaceAll("%2F", dialect.escaping === "rfc3986" ? "/" : "%2F");
    return [escapedName, escaped(dialect.parameterValues === "lowercase" ? asciiLower(bytes) : bytes)];
  });
  const headerLine = line(headers, dialect, (name, value) => [name, escaped(value)]);
  return `${method.toLowerCase()}\n${pathOf(path, dialect.path)}\n${parameterLine}\n${headerLine}\n`;
}

function line(pairs: readonly Pair[], dialect: Dialect, encode: (name: string, value: string) => Pair): string {
  const named = pairs.map(([name, value]): Pair => [asciiLower(name.trim()), value]);
  if (dialect.order === "sorted") named.sort(([one], [other]) => (one < other ? -1 : 1));
  return named
    .map(([name, value]) => encode(name, value))
    .map(([name, value]) => (value === "" && dialect.emptyValue === "bare" ? name : `${name}=${value}`))
    .join("&");
}

function pathOf(path: string, form: Dialect["path"]): string {
  if (form === "verbatim") return path;
  const decoded = form === "lowercase" ? path : Buffer.from(decodeURIComponent(path), "utf8").toString("latin1");
  return asciiLower(decoded);
}

function rfc3986(bytes: string): string {
  return bytes.replace(/[^A-Za-z0-9\-_.~]/g, hexEscape);
}

function uriComponent(bytes: string): string {
  return bytes.replace(/[^A-Za-z0-9\-_.~!'()*]/g, hexEscape);
}

function hexEscape(char: string): string {
  return `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}

function asciiLower(text: string): string {
  return text.replace(/[A-Z]/g, (char) => char.toLowerCase());
}

function hmac(key: string, message: string): string {
  return createHmac("sha1", Buffer.from(key, "utf8")).update(message, "latin1").digest("hex");
}
