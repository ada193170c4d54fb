/** Where a listing goes on. */

import { ServiceError } from "../domain/errors.js";
import { printable } from "../lib/printable.js";

/**
 * The marker to ask the next page with; undefined when `page` was the last.
 *
 * @param asked The marker that `page` was asked with.
 * @throws ServiceError "refused" when the service gives the same marker again: the listing would go on for ever.
 */
export function nextMarker(page: { readonly marker: string | null }, asked: string | undefined): string | undefined {
  if (page.marker === null) return undefined;
  if (page.marker !== asked) return page.marker;
  throw new ServiceError("refused", `The listing does not go on after the marker ${printable(asked)}`);
}
