/**
 * The body of a request: read by a handler, or discarded before an error is answered.
 *
 * Relies on: the socket's idle timer. A body may take hours as long as something arrives now and then; when nothing
 * does, `signal` aborts with a RequestTimeoutException.
 */

import type { IncomingMessage } from "node:http";
import { invalidParameter, WireError } from "../protocol/error-wire.js";

export interface BodyTimes {
  /** Longest pause within a body, in milliseconds. */
  readonly bodyStallMs: number;
  /** Longest time in which a client takes nothing of an answer, in milliseconds. */
  readonly answerStallMs: number;
}

export class RequestBody {
  readonly stream: IncomingMessage;
  readonly #stalled = new AbortController();

  constructor(stream: IncomingMessage, times: BodyTimes) {
    this.stream = stream;
    if (!hasBody(stream)) {
      stream.socket.setTimeout(times.answerStallMs);
      return;
    }
    stream.setTimeout(times.bodyStallMs, () => {
      this.#stalled.abort(new WireError("RequestTimeoutException", "Nothing more of the body has arrived"));
    });
    stream.once("end", () => stream.socket.setTimeout(times.answerStallMs));
  }

  /** Aborts when the body stalls. */
  get signal(): AbortSignal {
    return this.#stalled.signal;
  }

  /** The whole body. @throws WireError when it is longer than `bytesMax`. */
  async readAll(bytesMax: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    await this.#consume((chunk) => {
      bytes += chunk.length;
      if (bytes > bytesMax) throw invalidParameter(`The body is longer than ${bytesMax} bytes`);
      chunks.push(chunk);
    });
    return Buffer.concat(chunks);
  }

  /**
   * Reads on and forgets what arrives: a client that is still sending would not see an answer (cas-api section 4.4).
   *
   * Resolves at the end of the body, after `bytesMax`, or when the client is gone or stalls.
   */
  async discard(bytesMax: number): Promise<void> {
    let bytes = 0;
    await this.#consume((chunk) => {
      bytes += chunk.length;
      if (bytes > bytesMax) throw new Error("enough");
    }).catch(() => undefined);
  }

  /** Whether all of it has been read. */
  get ended(): boolean {
    return this.stream.readableEnded;
  }

  #consume(take: (chunk: Buffer) => void): Promise<void> {
    const { stream, signal } = this;
    if (stream.readableEnded) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const stop = (error?: unknown) => {
        stream.off("data", onData).off("end", onEnd).off("error", stop).off("close", onClose);
        signal.removeEventListener("abort", onAbort);
        stream.pause();
        if (error === undefined) resolve();
        else reject(error);
      };
      const onData = (chunk: Buffer) => {
        try {
          take(chunk);
        } catch (error) {
          stop(error);
        }
      };
      const onEnd = () => stop();
      const onClose = () => stop(new Error("The connection was closed before the end of the body"));
      const onAbort = () => stop(signal.reason);
      if (signal.aborted) return stop(signal.reason);
      if (stream.destroyed) return onClose();
      signal.addEventListener("abort", onAbort, { once: true });
      stream.on("data", onData).on("end", onEnd).on("error", stop).on("close", onClose);
      stream.resume();
    });
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}
