/**
 * The end of a connection on which Node's parser has given up: bytes that are no HTTP, a body that ends too early.
 *
 * Relies on: `onRequest` being called for every request, so that its error does not overtake the answers to the requests
 * before it.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { finished } from "node:stream/promises";
import { MIB } from "../../domain/bytes.js";
import { rawErrorAnswer } from "./answer-writer.js";

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

// The client may still be sending; a connection closed under it would be reset, and the error lost (cas-api section 4.4).
const lingerMs = 2000;
const lingerBytesMax = 64 * MIB;

export class BrokenRequests {
  readonly #newRequestId: () => string;
  readonly #exchanges = new WeakMap<Socket, Set<Exchange>>();
  readonly #refused = new WeakMap<Socket, { readonly bytesRead: number }>();

  constructor(newRequestId: () => string) {
    this.#newRequestId = newRequestId;
  }

  onRequest(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const exchanges = this.#exchanges.get(socket) ?? new Set();
    this.#exchanges.set(socket, exchanges);
    const exchange = { request, response };
    exchanges.add(exchange);
    response.once("close", () => exchanges.delete(exchange));
  }

  /** What the parser has given up on gets its answer, once the requests before it have theirs. */
  async onClientError(error: NodeJS.ErrnoException, socket: Socket): Promise<void> {
    // The parser complains about everything that arrives after its first complaint.
    const refused = this.#refused.get(socket);
    if (refused !== undefined) {
      if (socket.bytesRead - refused.bytesRead > lingerBytesMax) socket.destroy();
      return;
    }
    if (!socket.writable || error.code === "ECONNRESET") {
      socket.destroy();
      return;
    }
    this.#refused.set(socket, { bytesRead: socket.bytesRead });
    const exchanges = [...(this.#exchanges.get(socket) ?? [])];
    const broken = exchanges.find(({ request }) => !request.complete);
    const earlier = exchanges.filter((exchange) => exchange !== broken);
    await Promise.all(earlier.map(({ response }) => finished(response).catch(() => undefined)));
    if (broken?.response.headersSent || !socket.writable) socket.destroy();
    else this.#end(socket, answerTo(error, this.#newRequestId()));
  }

  /** The answer to CONNECT, which is defined on no path and for which Node makes no response object (4.3). */
  refuseTunnel(socket: Socket): void {
    // Node has let go of the connection and of whatever goes wrong on it.
    socket.on("error", () => socket.destroy()).resume();
    const message = "The method CONNECT is not defined on this path";
    if (socket.writable) this.#end(socket, rawErrorAnswer("BadRequest", message, this.#newRequestId()));
  }

  #end(socket: Socket, answer: string): void {
    socket.once("end", () => socket.destroy());
    socket.setTimeout(lingerMs, () => socket.destroy());
    socket.end(answer);
    // A client that has said it will send no more has nothing left to be reset for.
    if (socket.readableEnded) socket.once("finish", () => socket.destroy());
  }
}

function answerTo({ code }: NodeJS.ErrnoException, requestId: string): string {
  const isShort = code === "HPE_INVALID_EOF_STATE" || code === "ERR_HTTP_REQUEST_TIMEOUT";
  return isShort
    ? rawErrorAnswer("RequestTimeoutException", "The request ended before it was complete", requestId)
    : rawErrorAnswer("BadRequest", "The request is not well-formed HTTP", requestId);
}
