/** Patterns with wildcards, as policies of strangers have them. */

/**
 * Whether `text` as a whole is what `pattern` says: `*` stands for any number of characters, `?` for one.
 *
 * Not by a regular expression: a pattern with many stars would make one backtrack for ever. This takes at most
 * pattern length times text length steps, because only the last star ever has to give way.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  let at = 0;
  let position = 0;
  let star = -1;
  let starTook = 0;
  while (position < text.length) {
    if (pattern[at] === "*") {
      star = at++;
      starTook = position;
    } else if (at < pattern.length && (pattern[at] === "?" || pattern[at] === text[position])) {
      at++;
      position++;
    } else if (star >= 0) {
      at = star + 1;
      position = ++starTook;
    } else {
      return false;
    }
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}
