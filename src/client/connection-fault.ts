/** What a failed connection means and how to say it to a person. */

import { describeError, type FaultEffect, ServiceError, type ServiceFault } from "../domain/errors.js";

interface Meaning {
  readonly fault: ServiceFault;
  readonly effect: FaultEffect;
  readonly words: string;
}

const neverSent = (words: string, fault: ServiceFault = "connection"): Meaning => ({ fault, effect: "none", words });
const answerLost = (words: string, fault: ServiceFault = "connection"): Meaning => ({
  fault,
  effect: "unknown",
  words,
});

/** Codes of Node's sockets and of undici. */
const meanings: Readonly<Record<string, Meaning>> = {
  ECONNREFUSED: neverSent("connection refused"),
  ENOTFOUND: neverSent("there is no such host"),
  EAI_AGAIN: neverSent("the name of the host cannot be looked up"),
  EHOSTUNREACH: neverSent("no route to the host"),
  ENETUNREACH: neverSent("the network is unreachable"),
  EADDRNOTAVAIL: neverSent("no local address is available"),
  UND_ERR_CONNECT_TIMEOUT: neverSent("no connection in time", "timeout"),
  DEPTH_ZERO_SELF_SIGNED_CERT: neverSent("its certificate is self-signed"),
  SELF_SIGNED_CERT_IN_CHAIN: neverSent("its certificate is self-signed"),
  CERT_HAS_EXPIRED: neverSent("its certificate has expired"),
  ERR_TLS_CERT_ALTNAME_INVALID: neverSent("its certificate is for another host"),
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: neverSent("its certificate cannot be verified"),
  UND_ERR_HEADERS_TIMEOUT: answerLost("no answer in time", "timeout"),
  UND_ERR_BODY_TIMEOUT: answerLost("the answer stopped in the middle", "timeout"),
  ETIMEDOUT: answerLost("the connection timed out", "timeout"),
  ECONNRESET: answerLost("the connection was reset"),
  EPIPE: answerLost("the connection was closed"),
  UND_ERR_SOCKET: answerLost("the connection was closed"),
  UND_ERR_DESTROYED: neverSent("the client has been closed"),
  UND_ERR_CLOSED: neverSent("the client has been closed"),
};

/** What undici refuses to send, such as a header with a line break; no repetition makes it better. */
const unsendableCode = "UND_ERR_INVALID_ARG";

/** The ServiceError for a failure of undici or of a socket. */
export function connectionFault(
  error: unknown,
  { origin, attempt }: { readonly origin: string; readonly attempt: string },
): ServiceError {
  if ((error as NodeJS.ErrnoException | undefined)?.code === unsendableCode) {
    return new ServiceError("refused", `Cannot ${attempt}: ${describeError(error)}`, { cause: error, effect: "none" });
  }
  const code = codeOf(error);
  const meaning = (code !== undefined && meanings[code]) || answerLost(describeError(error));
  const reached = meaning.effect === "unknown";
  const message = reached
    ? `Cannot ${attempt} at ${origin}: ${meaning.words}`
    : `Cannot reach ${origin}: ${meaning.words}`;
  return new ServiceError(meaning.fault, message, {
    cause: error,
    effect: meaning.effect,
    ...(reached ? {} : { hint: "Check that the service is running and that the endpoint is right" }),
  });
}

/** The first known code along the chain of causes; undici wraps what the socket said. */
function codeOf(error: unknown): string | undefined {
  for (let current = error, depth = 0; current instanceof Error && depth < 5; current = current.cause, depth++) {
    const { code } = current as NodeJS.ErrnoException;
    if (code !== undefined && Object.hasOwn(meanings, code)) return code;
  }
  return undefined;
}
