/**
 * Errors as they travel: status, code, type (cas-api section 4), and what they mean to a client.
 *
 * `WireError` is what everything that reads a request throws; the server formats it, and nothing else decides a status.
 */

import { describeError, type FaultEffect, ServiceError, type ServiceFault } from "../domain/errors.js";
import { WireFormatError } from "./json-fields.js";

export type WireErrorType = "Client" | "Server";

interface WireErrorKind {
  readonly status: number;
  readonly type: WireErrorType;
}

/** Section 4.2. */
export const wireErrors = {
  AccessDeniedException: { status: 403, type: "Client" },
  BadRequest: { status: 400, type: "Client" },
  ExpiredTokenException: { status: 403, type: "Client" },
  InvalidParameterValueException: { status: 400, type: "Client" },
  InvalidSignatureException: { status: 400, type: "Client" },
  LimitExceededException: { status: 400, type: "Client" },
  MissingAuthenticationTokenException: { status: 400, type: "Client" },
  MissingParameterValueException: { status: 400, type: "Client" },
  PolicyEnforcedException: { status: 400, type: "Client" },
  ResourceNotFoundException: { status: 404, type: "Client" },
  RequestTimeoutException: { status: 408, type: "Client" },
  SerializationException: { status: 400, type: "Client" },
  ThrottlingException: { status: 400, type: "Client" },
  UnrecognizedClientException: { status: 400, type: "Client" },
  ServiceUnavailableException: { status: 500, type: "Server" },
  InsufficientCapacityException: { status: 503, type: "Server" },
  InvalidDigest: { status: 400, type: "Client" },
} as const satisfies Record<string, WireErrorKind>;

export type WireErrorCode = keyof typeof wireErrors;

/** A request that gets an error for an answer; `message` is sent to the client. */
export class WireError extends Error {
  override readonly name = "WireError";

  constructor(
    readonly code: WireErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  get status(): number {
    return wireErrors[this.code].status;
  }
}

/** The usual refusal of a value in a request (section 4.3). */
export function invalidParameter(message: string): WireError {
  return new WireError("InvalidParameterValueException", message);
}

export function missingParameter(what: string): WireError {
  return new WireError("MissingParameterValueException", `${what} is missing`);
}

export interface ErrorWire {
  readonly code: string;
  readonly message: string;
  readonly type: WireErrorType;
}

export function formatError(code: WireErrorCode, message: string): { status: number; body: ErrorWire } {
  const { status, type } = wireErrors[code];
  return { status, body: { code, message, type } };
}

/** Runs `parse`; a value outside its domain, or a field of another type, becomes the service's refusal. */
export function refusing<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof RangeError || error instanceof WireFormatError) throw invalidParameter(describeError(error));
    throw error;
  }
}

/** The JSON object in the body of a request, whatever its Content-Type (section 2.1). @throws WireError */
export function parseJsonBody(body: Uint8Array): object {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (cause) {
    throw new WireError("SerializationException", "The body is not well-formed JSON", { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new WireError("SerializationException", "The body is no JSON object");
  }
  return value;
}

const faultByCode: Record<WireErrorCode, ServiceFault> = {
  AccessDeniedException: "denied",
  BadRequest: "refused",
  ExpiredTokenException: "expired",
  InvalidParameterValueException: "refused",
  InvalidSignatureException: "denied",
  LimitExceededException: "refused",
  MissingAuthenticationTokenException: "denied",
  MissingParameterValueException: "refused",
  // The vault's own retrieval rate: waiting helps, so it is throttling and not a refusal.
  PolicyEnforcedException: "throttled",
  ResourceNotFoundException: "missing",
  RequestTimeoutException: "timeout",
  SerializationException: "refused",
  ThrottlingException: "throttled",
  UnrecognizedClientException: "denied",
  ServiceUnavailableException: "unavailable",
  InsufficientCapacityException: "unavailable",
  InvalidDigest: "digest",
};

export interface ErrorAnswer {
  readonly status: number;
  /** The body as received, cut at a bound of the reader's choice. */
  readonly body: string;
  readonly requestId: string | undefined;
}

/** A ServiceError that came as an answer, with that answer. */
export class AnsweredServiceError extends ServiceError {
  constructor(
    readonly answer: ErrorAnswer,
    ...failure: ConstructorParameters<typeof ServiceError>
  ) {
    super(...failure);
  }
}

/**
 * What an answer outside 2xx means.
 *
 * Hostile or foreign bodies (a proxy's HTML, an array, nothing) are judged by the status alone. `attempt` says what was
 * tried, as in "Cannot create vault x".
 */
export function parseError(attempt: string, answer: ErrorAnswer): AnsweredServiceError {
  const { code, message } = parseErrorBody(answer.body);
  const fault = faultOf(code, answer.status);
  const said = message ?? `the service answered ${answer.status}`;
  return new AnsweredServiceError(answer, fault, `${attempt}: ${said}${code === undefined ? "" : ` (${code})`}`, {
    code,
    requestId: answer.requestId,
    effect: effectOf(fault, code, answer.status),
    ...hintOf(fault, code),
  });
}

// Long or unprintable texts of a stranger have no place in a log line.
const messageLengthMax = 500;

function parseErrorBody(body: string): { readonly code: string | undefined; readonly message: string | undefined } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return { code: undefined, message: undefined };
  }
  if (typeof parsed !== "object" || parsed === null) return { code: undefined, message: undefined };
  const { code, message } = parsed as { readonly code?: unknown; readonly message?: unknown };
  return {
    code: typeof code === "string" && /^[A-Za-z]{1,80}$/.test(code) ? code : undefined,
    message: typeof message === "string" ? printable(message) : undefined,
  };
}

function printable(text: string): string {
  return text.replace(/\p{C}+/gu, " ").slice(0, messageLengthMax);
}

function faultOf(code: string | undefined, status: number): ServiceFault {
  if (code !== undefined && Object.hasOwn(faultByCode, code)) return faultByCode[code as WireErrorCode];
  if (status === 429) return "throttled";
  if (status === 408 || status === 504) return "timeout";
  if (status >= 500) return "unavailable";
  if (status === 404) return "missing";
  if (status === 401 || status === 403) return "denied";
  return "refused";
}

/** A gateway's 5xx, without the service's own words, may have lost the answer of a request that was carried out. */
function effectOf(fault: ServiceFault, code: string | undefined, status: number): FaultEffect {
  if (status >= 500 && status !== 503 && code === undefined) return "unknown";
  // The service itself says that it did not get the whole request.
  if (fault === "timeout" && code !== undefined) return "none";
  return fault === "timeout" ? "unknown" : "none";
}

function hintOf(fault: ServiceFault, code: string | undefined): { readonly hint?: string } {
  if (fault === "expired") return { hint: "Check the clock of this machine" };
  if (code === "InvalidSignatureException") return { hint: "Check the secret key" };
  if (code === "UnrecognizedClientException") return { hint: "Check the secret id" };
  if (code === "AccessDeniedException") return { hint: "Check the app id and what the key may do" };
  return {};
}
