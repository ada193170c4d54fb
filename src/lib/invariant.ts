/** Programmer errors stop here: they are bugs, not failures that a caller could handle. */

/** @throws Error when `condition` does not hold; `what` names the promise that was broken. */
export function invariant(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`Broken invariant: ${what}`);
}

/** @throws Error always; the compiler proves that it is never reached. */
export function unreachable(value: never): never {
  throw new Error(`Broken invariant: unexpected ${JSON.stringify(value)}`);
}
