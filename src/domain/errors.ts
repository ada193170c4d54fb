/**
 * Failures that a caller can act upon.
 *
 * `kind` says what can be done; wire codes (`client/`) and errno (`fuse/errno.ts`) are translated at the edges.
 * Programmer errors are not here: they are `invariant()` in `lib/`.
 */

import type { ArchiveId } from "./ids.js";

export type ErrorKind =
  | "not-found"
  | "exists"
  | "not-a-directory"
  | "is-a-directory"
  | "not-empty"
  | "not-permitted"
  | "access-denied"
  | "invalid"
  | "name-too-long"
  | "bad-name"
  | "cross-vault"
  | "read-only"
  | "too-large"
  | "not-restored"
  | "not-ready"
  | "cancelled"
  | "corrupt"
  | "unavailable"
  | "no-space"
  | "over-budget"
  | "busy"
  | "stale"
  | "bad-handle"
  | "no-attribute"
  | "out-of-range"
  | "not-supported"
  | "too-many-links"
  | "loop";

export interface CasfsErrorOptions extends ErrorOptions {
  readonly hint?: string;
}

export abstract class CasfsError extends Error {
  abstract readonly kind: ErrorKind;
  /** One sentence for the user, when there is something to do. */
  readonly hint: string | undefined;

  constructor(message: string, options: CasfsErrorOptions = {}) {
    super(message, options);
    this.hint = options.hint;
  }
}

/** The content is only in the vault, and the caller did not want to wait for it. */
export class NotRestoredError extends CasfsError {
  override readonly name = "NotRestoredError";
  override readonly kind = "not-restored";
  constructor(
    readonly archiveId: ArchiveId,
    options?: ErrorOptions,
  ) {
    super(`Cannot read archive ${archiveId}: it is in cold storage`, {
      ...options,
      hint: "Run `casfs restore <path>` and read again when it has finished",
    });
  }
}

/** A request on the file system that POSIX answers with an errno; `kind` chooses it. */
export class FileSystemError extends CasfsError {
  override readonly name = "FileSystemError";
  constructor(
    override readonly kind: ErrorKind,
    message: string,
    options?: CasfsErrorOptions,
  ) {
    super(message, options);
  }
}

/** Bytes that are not what their hash says. */
export class CorruptError extends CasfsError {
  override readonly name = "CorruptError";
  override readonly kind = "corrupt";
}

/** The caller went away (INTERRUPT, an aborted signal) before there was an answer. */
export class CancelledError extends CasfsError {
  override readonly name = "CancelledError";
  override readonly kind = "cancelled";
  constructor(what: string, options?: ErrorOptions) {
    super(`${what} was cancelled`, options);
  }
}

/**
 * Why the archive service did not do what it was asked.
 *
 * - `throttled`, `unavailable`, `timeout`, `connection`: worth repeating;
 * - `digest`: the service received other bytes than were hashed; worth sending again;
 * - `expired`: the signature's time was over; sign again once;
 * - `missing`: no such vault, archive, upload or job;
 * - `denied`: the key is wrong or may not do this;
 * - `refused`: the request itself is not acceptable; repeating it cannot help.
 */
export type ServiceFault =
  | "throttled"
  | "unavailable"
  | "timeout"
  | "connection"
  | "digest"
  | "expired"
  | "missing"
  | "denied"
  | "refused";

/** Whether a failed request may have done its work all the same: "unknown" when its answer was lost. */
export type FaultEffect = "none" | "unknown";

/** An answer of the archive service that is not a success, or no answer. */
export class ServiceError extends CasfsError {
  override readonly name = "ServiceError";
  override readonly kind: ErrorKind;
  readonly fault: ServiceFault;
  /** The service's own name for the failure, for logs and for people who know it. */
  readonly code: string | undefined;
  readonly requestId: string | undefined;
  /** By default "unknown" for a timeout or a lost connection, "none" for every answer of the service. */
  readonly effect: FaultEffect;

  constructor(
    fault: ServiceFault,
    message: string,
    options: CasfsErrorOptions & {
      readonly code?: string | undefined;
      readonly requestId?: string | undefined;
      readonly effect?: FaultEffect | undefined;
    } = {},
  ) {
    super(message, options);
    this.fault = fault;
    this.kind = kindByFault[fault];
    this.code = options.code;
    this.requestId = options.requestId;
    this.effect = options.effect ?? (fault === "timeout" || fault === "connection" ? "unknown" : "none");
  }
}

const kindByFault: Record<ServiceFault, ErrorKind> = {
  throttled: "unavailable",
  unavailable: "unavailable",
  timeout: "unavailable",
  connection: "unavailable",
  digest: "corrupt",
  expired: "access-denied",
  missing: "not-found",
  denied: "access-denied",
  refused: "invalid",
};

/** Whether the same request may succeed when it is simply sent again after a pause. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof ServiceError &&
    ["throttled", "unavailable", "timeout", "connection", "digest"].includes(error.fault)
  );
}

/** Whether the service does not know the vault, archive, upload or job that was asked for. */
export function isMissing(error: unknown): boolean {
  return error instanceof ServiceError && error.fault === "missing";
}

/** A setting, argument or state directory that cannot be used. */
export class UsageError extends CasfsError {
  override readonly name = "UsageError";
  override readonly kind = "invalid";
}

/** The text of anything thrown, for a log line or a person. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `: ${describeError(error.cause)}`;
  return `${error.message}${cause}`;
}
