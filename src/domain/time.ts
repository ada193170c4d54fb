/** Time as the core sees it: milliseconds, and a clock that arrives from outside. */

/** Milliseconds since 1970-01-01T00:00:00Z. */
export type Instant = number & { readonly __brand: "Instant" };
export type Milliseconds = number & { readonly __brand: "Milliseconds" };

export const ms = (value: number): Milliseconds => value as Milliseconds;
export const seconds = (value: number): Milliseconds => (value * 1000) as Milliseconds;
export const minutes = (value: number): Milliseconds => seconds(value * 60);
export const hours = (value: number): Milliseconds => minutes(value * 60);

/** The only source of time outside `app/`; tests advance a fake one by hand. */
export interface Clock {
  now(): Instant;
  /** Resolves after `duration`. An abort rejects with `signal.reason`. */
  sleep(duration: Milliseconds, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
}

/** A moment with the file system's resolution: `seconds` may be negative (before 1970), `nanoseconds` is 0..999,999,999. */
export interface FileTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** The file time of a clock's instant, to the millisecond. */
export function fileTime(instant: Instant): FileTime {
  const wholeSeconds = Math.floor(instant / 1000);
  return { seconds: wholeSeconds, nanoseconds: Math.round((instant - wholeSeconds * 1000) * 1e6) };
}

/** The later of two file times. */
export function laterTime(one: FileTime, other: FileTime): FileTime {
  const isLater = one.seconds - other.seconds || one.nanoseconds - other.nanoseconds;
  return isLater > 0 ? one : other;
}
