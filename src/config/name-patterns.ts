/** Names as users write them for a group of files: `*.part`, and `.~tmp~/` for all that is in such a directory. */

import picomatch from "picomatch";

/** Whether a path, the names from a vault down to a file, is one of a group. */
export type PathPredicate = (path: readonly string[]) => boolean;

const patternLengthMax = 255;

/**
 * @param text Patterns with `*`, `?` and `[...]`, separated by commas. One that ends with `/` is about directories. The
 *   empty text and `none` mean no file.
 * @throws RangeError for a pattern of several names.
 */
export function parseNamePatterns(text: string): PathPredicate {
  const patterns = text === "none" ? [] : text.split(",").map((pattern) => pattern.trim());
  const [ofDirectories, ofFiles] = [[] as string[], [] as string[]];
  for (const pattern of patterns.filter((one) => one !== "")) {
    const name = pattern.replace(/\/$/, "");
    if (name === "" || name.includes("/") || name.length > patternLengthMax) {
      throw new RangeError("a pattern is one name such as *.part, or one directory such as .~tmp~/");
    }
    (name === pattern ? ofFiles : ofDirectories).push(name);
  }
  const [isFile, isDirectory] = [matcher(ofFiles), matcher(ofDirectories)];
  return (path) => path.length > 0 && (isFile(path.at(-1)!) || path.slice(0, -1).some(isDirectory));
}

/** Braces, extended globs and a leading `!` are ordinary characters of names here. */
function matcher(patterns: readonly string[]): (name: string) => boolean {
  const matchers = patterns.map((pattern) =>
    picomatch(pattern, { dot: true, nobrace: true, noextglob: true, nonegate: true }),
  );
  return (name) => matchers.some((matches) => matches(name));
}
