/** JSON of others. */

/** What `text` says; undefined when it is not JSON. The parser's own error would quote `text`, which may hold a secret. */
export function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
