/** Names that make room for another: `name (suffix)`. Pure. */

import { nameBytesMax } from "../vfs/names.js";

/** The first of `name (suffix 1)`, `name (suffix 2)` … that is free; each cut so that it stays within 255 bytes. */
export function freeSuffixedName(name: string, suffixes: Iterable<string>, isTaken: (name: string) => boolean): string {
  for (const suffix of suffixes) {
    const candidate = suffixedName(name, suffix);
    if (!isTaken(candidate)) return candidate;
  }
  throw new Error("Broken invariant: the suffixes never end");
}

export function suffixedName(name: string, suffix: string): string {
  const tail = ` (${suffix})`;
  let head = name;
  while (Buffer.byteLength(head) + Buffer.byteLength(tail) > nameBytesMax) head = [...head].slice(0, -1).join("");
  return head + tail;
}
