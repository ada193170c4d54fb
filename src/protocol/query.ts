/** Query strings and request targets, as bytes that a signature covers. */

import type { NameValue } from "./signature.js";

/** `?name=value&...` with RFC 3986 escapes, empty without parameters. Undefined values are left out. */
export function formatQuery(parameters: readonly NameValue[]): string {
  if (parameters.length === 0) return "";
  return `?${parameters.map(([name, value]) => `${escapeText(name)}=${escapeText(value)}`).join("&")}`;
}

/** The decoded pairs in the order received; `+` is a space (cas-api section 3.3), broken escapes stay as they are. */
export function parseQuery(query: string): NameValue[] {
  if (query === "") return [];
  return query
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair): NameValue => {
      const equals = pair.indexOf("=");
      if (equals < 0) return [unescapeText(pair), ""];
      return [unescapeText(pair.slice(0, equals)), unescapeText(pair.slice(equals + 1))];
    });
}

/** The value of the first parameter of that name in any case (section 3.4); an empty value counts as absent. */
export function queryValue(parameters: readonly NameValue[], name: string): string | undefined {
  const value = parameters.find(([other]) => other.toLowerCase() === name)?.[1];
  return value === "" ? undefined : value;
}

/** Splits a request target at `?`; of an absolute target (`GET http://host/path`, section 15.15) only the path stays. */
export function splitTarget(target: string): { readonly path: string; readonly query: string } {
  const relative = target.replace(/^https?:\/\/[^/?#]*/i, "");
  const mark = relative.indexOf("?");
  const path = mark < 0 ? relative : relative.slice(0, mark);
  return { path: path === "" ? "/" : path, query: mark < 0 ? "" : relative.slice(mark + 1) };
}

function escapeText(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

function unescapeText(text: string): string {
  const spaced = text.replaceAll("+", " ");
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}
