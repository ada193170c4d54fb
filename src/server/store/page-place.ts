/**
 * Markers of listings that are ordered by (creation, id): uploads and jobs (cas-api section 6.5).
 *
 * Opaque to clients. They hold both, so that a page can go on after the item that a marker names has gone.
 */

import { invalidParameter } from "../../protocol/error-wire.js";

/** A place in the order of such a listing: there the next page begins. */
export interface Place {
  readonly atMs: number;
  readonly id: string;
}

const beginning: Place = { atMs: 0, id: "" };

/** The marker that names a place. */
export function formatPlace({ atMs, id }: Place): string {
  return `${atMs}.${id}`;
}

/** @throws WireError for a text that is no marker of ours. */
export function parsePlace(marker: string | undefined): Place {
  if (marker === undefined) return beginning;
  const match = /^(\d{1,15})\.([A-Za-z0-9_-]{1,255})$/.exec(marker);
  if (!match) throw invalidParameter("The marker is none that this listing has returned");
  return { atMs: Number(match[1]), id: match[2]! };
}
