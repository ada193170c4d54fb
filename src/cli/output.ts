/** How values of the service are printed. Pure. */

import { formatSize } from "../lib/amount-text.js";

/** One JSON document; keys are in camelCase and stay, dates are ISO 8601. */
export function jsonOutput(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

/** `16MiB`, with `bytes` `16777216`, with `exact` both; `-` for what is not known. */
export function sizeText(
  size: number | null,
  { bytes, exact = false }: { readonly bytes: boolean; readonly exact?: boolean },
): string {
  if (size === null) return "-";
  if (bytes) return String(size);
  return exact && size >= 1024 ? `${formatSize(size)} (${size} bytes)` : formatSize(size);
}
