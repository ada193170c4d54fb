/** Pages of a listing: `marker` and `limit` (cas-api section 6.5). */

import { setImmediate as nextTurn } from "node:timers/promises";
import { invalidParameter } from "./error-wire.js";
import type { JsonFields } from "./json-fields.js";
import { pageLimitMax } from "./limits.js";
import { queryValue } from "./query.js";
import type { Page, PageRequest } from "./service.js";
import type { NameValue } from "./signature.js";

const itemsPerTurn = 64;

/** What a page is cut by; the limit always has a value. */
export interface PageQuery {
  readonly marker: string | undefined;
  readonly limit: number;
}

export function formatPageQuery(page: PageRequest = {}): NameValue[] {
  const parameters: NameValue[] = [];
  if (page.limit !== undefined) parameters.push(["limit", String(page.limit)]);
  if (page.marker !== undefined) parameters.push(["marker", page.marker]);
  return parameters;
}

/** @throws WireError unless the limit is an integer of 1-1000. */
export function parsePageQuery(parameters: readonly NameValue[]): PageQuery {
  return { marker: queryValue(parameters, "marker"), limit: parseLimit(queryValue(parameters, "limit")) };
}

/** Reads a list answer; the empty marker means the same as null. */
export function parsePage<T>(fields: JsonFields, listName: string, parseItem: (item: unknown) => T): Page<T> {
  return { items: fields.list(listName).map(parseItem), marker: fields.textOrNull("Marker") };
}

/** The same for long pages: the event loop is let go now and then. */
export async function parsePageInTurns<T>(
  fields: JsonFields,
  listName: string,
  parseItem: (item: unknown) => T,
): Promise<Page<T>> {
  const items: T[] = [];
  for (const item of fields.list(listName)) {
    items.push(parseItem(item));
    if (items.length % itemsPerTurn === 0) await nextTurn();
  }
  return { items, marker: fields.textOrNull("Marker") };
}

function parseLimit(text: string | undefined): number {
  if (text === undefined) return pageLimitMax;
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > pageLimitMax) throw invalidParameter(`The limit is not an integer of 1-${pageLimitMax}`);
  return limit;
}
