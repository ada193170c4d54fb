/**
 * The body of a request: read by a handler, or discarded before an error is answered.
 *
 * Relies on: the socket's idle timer. A body may take hours as long as something arrives now and then; when nothing
 * does, `signal` aborts with a RequestTimeoutException.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import { invalidParameter, WireError } from "../../protocol/error-wire.js";
import { singleUploadBytesMax } from "../../protocol/limits.js";

export interface BodyTimes {
  /** Longest pause within a body, in milliseconds. */
  readonly bodyStallMs: number;
  /** Longest time in which a client takes nothing of an answer, in milliseconds. */
  readonly answerStallMs: number;
}

export class RequestBody {
  /** Node copies each piece of a body into a buffer of its own. */
  readonly givesPieces = true;
  readonly #stream: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #times: BodyTimes;
  readonly #stalled = new AbortController();
  #isHeldBack: boolean;

  constructor(stream: IncomingMessage, response: ServerResponse, times: BodyTimes) {
    this.#stream = stream;
    this.#response = response;
    this.#times = times;
    this.#isHeldBack = hasBody(stream) && /^100-continue$/i.test(stream.headers.expect ?? "");
    if (!hasBody(stream)) {
      stream.socket.setTimeout(times.answerStallMs);
      return;
    }
    stream.setTimeout(times.bodyStallMs, () => {
      this.#stalled.abort(new WireError("RequestTimeoutException", "Nothing more of the body has arrived"));
    });
    stream.once("end", () => stream.socket.setTimeout(times.answerStallMs));
  }

  /** The bytes; asks for them, when the client waits for that (`Expect: 100-continue`). */
  get stream(): IncomingMessage {
    if (this.#isHeldBack) {
      this.#isHeldBack = false;
      this.#response.writeContinue();
    }
    return this.#stream;
  }

  /** Whether the client waits to be asked for the body; after an answer it may send it or not, who knows. */
  get isHeldBack(): boolean {
    return this.#isHeldBack;
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
   * Resolves at the end of the body, after `bytesMax`, or when the client is gone, stalls or waits to be asked.
   */
  async discard(bytesMax: number): Promise<void> {
    if (this.#isHeldBack) return;
    let bytes = 0;
    await this.#consume((chunk) => {
      bytes += chunk.length;
      if (bytes > bytesMax) throw new Error("enough");
    }).catch(() => undefined);
  }

  /**
   * After the answer: takes what still comes, so that no reset overtakes the answer on its way to a client that sends
   * everything before it reads. One that stalls, or sends more than any upload has, is cut off.
   */
  forgetRest(): void {
    const stream = this.#stream;
    if (stream.readableEnded || stream.destroyed || this.#isHeldBack || this.signal.aborted) return;
    let bytes = 0;
    stream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > singleUploadBytesMax) stream.destroy();
    });
    this.signal.addEventListener("abort", () => stream.destroy(), { once: true });
    const watch = () => stream.socket.setTimeout(this.#times.bodyStallMs);
    watch();
    // With the end of the answer Node gives the connection the longer time of one that waits for its next request.
    this.#response.once("finish", watch);
    stream.once("end", watch);
    stream.resume();
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
