/** Text of others made harmless for a terminal. */

/** `text` with control characters spelled out: names of files and words of a service may hold escape sequences. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
