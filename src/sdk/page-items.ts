/** A listing of any length as one sequence (cas-api section 6.5). */

import { CASClientError } from "./cas-errors.js";

interface ItemPage<T> {
  /** Where the next page begins; null on the last one. */
  readonly marker: string | null;
  readonly items: readonly T[];
}

/**
 * Asks for a page when the one before has been consumed.
 *
 * @throws CASClientError when the service gives the same marker again, which would go on for ever.
 */
export async function* pageItems<T>(fetchPage: (marker?: string) => Promise<ItemPage<T>>): AsyncGenerator<T> {
  let marker: string | undefined;
  for (;;) {
    const page = await fetchPage(marker);
    yield* page.items;
    if (page.marker === null) return;
    if (page.marker === marker) throw new CASClientError(`The listing does not go on after the marker ${marker}`);
    marker = page.marker;
  }
}
