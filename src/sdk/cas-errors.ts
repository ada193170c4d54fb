/**
 * What the SDK throws (CAS SDK documentation, "Exceptions"; cas-api section 17.9), and how the failures of the layers
 * below become it. An abort is none of these: it rejects with the signal's own reason.
 */

import { CasfsError, CorruptError, ServiceError } from "../domain/errors.js";
import { jsonOrUndefined } from "../lib/json-text.js";
import { printable } from "../lib/printable.js";
import { AnsweredServiceError } from "../protocol/error-wire.js";
import { UploadForgottenError, UploadMismatchError } from "../transfer/transfer-errors.js";

/** An answer outside 2xx, as it came. */
export interface ServerAnswer {
  readonly status: number;
  /** Text of the body, possibly cut. */
  readonly body: string;
  readonly requestId: string | undefined;
}

// A proxy's error page has no place in a message.
const contentCharactersMax = 1024;

/**
 * The service answered with something else than 2xx.
 *
 * `message` is the service's own sentence; `String(error)` is the text of the CAS SDK, with all fields in it.
 */
export class CASServerError extends Error {
  override readonly name = "CASServerError";
  /** HTTP status. */
  readonly status: number;
  /** One of the codes of cas-api section 4.2, for example `ResourceNotFoundException`; undefined for a non-JSON body. */
  readonly code: string | undefined;
  /** `Client` or `Server`; undefined for a non-JSON body. */
  readonly type: string | undefined;
  readonly requestId: string | undefined;
  /** The body of an answer that is not the service's JSON (a proxy's page, for example), else undefined. */
  readonly content: string | undefined;
  readonly #text: string;

  constructor({ status, body, requestId }: ServerAnswer, options?: ErrorOptions) {
    const fields = errorFields(body);
    const origin = `request_id=${requestId ?? ""}`;
    const text =
      fields === undefined
        ? `Expected 2xx, got (${status}, content=${printable(body.slice(0, contentCharactersMax))}, ${origin})`
        : `Expected 2xx, got (${status}, code=${fields.code ?? ""}, message=${fields.message ?? ""}, type=${fields.type ?? ""}, ${origin})`;
    super(text, options); // so that the stack, which is printed when nobody catches it, tells everything
    this.message = fields?.message ?? text;
    this.status = status;
    this.code = fields?.code;
    this.type = fields?.type;
    this.requestId = requestId;
    this.content = fields === undefined ? body : undefined;
    this.#text = text;
  }

  override toString(): string {
    return this.#text;
  }
}

/** The SDK could not do what it was asked; for a failed connection, `cause` says why. */
export class CASClientError extends Error {
  override readonly name: string = "CASClientError";
}

/** How far a transfer had come when it failed, in bytes. */
export interface TransferProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** A multipart upload ended before all its parts were there; `resume: error.uploadId` continues it within a day. */
export class UploadArchiveError extends CASClientError {
  override readonly name = "UploadArchiveError";
  readonly doneBytes: number;
  readonly totalBytes: number;

  constructor(
    readonly uploadId: string,
    { doneBytes, totalBytes }: TransferProgress,
    options?: ErrorOptions,
  ) {
    super(`Incomplete upload ${uploadId} : ${doneBytes} / ${totalBytes}`, options);
    this.doneBytes = doneBytes;
    this.totalBytes = totalBytes;
  }
}

/** There is no output to download, or not all of it came. */
export class DownloadArchiveError extends CASClientError {
  override readonly name = "DownloadArchiveError";

  /** The download ended early. */
  static incomplete({ doneBytes, totalBytes }: TransferProgress, options?: ErrorOptions): DownloadArchiveError {
    return new DownloadArchiveError(`Incomplete download: ${doneBytes} / ${totalBytes}`, options);
  }
}

/** Bytes that are not what their hash says. */
export class HashDoesNotMatchError extends CASClientError {
  override readonly name = "HashDoesNotMatchError";
}

/** What the user of the SDK gets to see for a failure of the layers below; everything else stays as it is. */
export function sdkErrorOf(error: unknown): unknown {
  if (error instanceof AnsweredServiceError) return new CASServerError(error.answer);
  if (error instanceof UploadForgottenError && error.cause instanceof AnsweredServiceError) {
    return new CASServerError(error.cause.answer, { cause: error }); // what to look for in an inventory
  }
  if (!(error instanceof CasfsError)) return error;
  const isMismatch =
    error instanceof CorruptError ||
    error instanceof UploadMismatchError ||
    (error instanceof ServiceError && error.fault === "digest");
  const Kind = isMismatch ? HashDoesNotMatchError : CASClientError;
  return new Kind(error.message, { cause: error.cause ?? error });
}

/** Runs `work` of the layers below. @throws what `sdkErrorOf` makes of its failure. */
export async function withSdkErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw sdkErrorOf(error);
  }
}

interface ErrorFields {
  readonly code: string | undefined;
  readonly message: string | undefined;
  readonly type: string | undefined;
}

function errorFields(body: string): ErrorFields | undefined {
  const value = jsonOrUndefined(body);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { code, message, type } = value as Readonly<Record<string, unknown>>;
  return { code: textOrUndefined(code), message: textOrUndefined(message), type: textOrUndefined(type) };
}

// They end in messages, and those on terminals.
const textOrUndefined = (value: unknown) => (typeof value === "string" ? printable(value) : undefined);
