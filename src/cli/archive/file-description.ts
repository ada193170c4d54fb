/** The description that `archive put` gives a file: its name, so that a mount shows the archive as that file. Pure. */

import { parseDescription } from "../../protocol/description.js";

/**
 * `name` in printable ASCII. Kept as it is where a mount shows that very name; elsewhere what is not plain is escaped as
 * in a URL, which a mount shows as it stands: a readable name rather than an archive id.
 */
export function describeFile(name: string): string {
  const isPrintable = /^[\x20-\x7e]*$/.test(name);
  const parsed = isPrintable ? parseDescription(name) : undefined;
  if (parsed?.kind === "path" && parsed.segments.length === 1 && parsed.segments[0] === name) return name;
  return encodeURIComponent(name);
}
