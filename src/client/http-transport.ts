/**
 * One signed request to the service and its answer, on undici.
 *
 * Relies on: the paths it is given need no escaping; header values are byte strings.
 * Never: repeats a request, follows a redirect, or puts a secret or a signature into an error.
 */

import type { Readable } from "node:stream";
import { type Dispatcher, Pool } from "undici";
import { describeError, ServiceError } from "../domain/errors.js";
import { type Clock, type Milliseconds, seconds } from "../domain/time.js";
import { AbortScope, abortable } from "../lib/abort-scope.js";
import { parseError } from "../protocol/error-wire.js";
import { WireFormatError } from "../protocol/json-fields.js";
import { signatureLifetimeSeconds } from "../protocol/limits.js";
import type { HeaderLookup, HeaderRecord } from "../protocol/message-headers.js";
import { formatQuery } from "../protocol/query.js";
import type { BodySource } from "../protocol/service.js";
import { authorization, type NameValue, type SigningKey, type TimeWindow } from "../protocol/signature.js";
import { connectionFault } from "./connection-fault.js";

/** A secret, or a key derived from it for a window of time (cas-api section 3.6). */
export type Credentials = { readonly secretId: string } & SigningKey;

export interface Deadlines {
  /** Until a connection is there. */
  readonly connectMs: Milliseconds;
  /** From the end of the request until the head of the answer. */
  readonly headersMs: Milliseconds;
  /** Between two pieces of a body, in either direction. */
  readonly bodyMs: Milliseconds;
}

/** The headers limit is the socket timeout of the official client: Complete is answered within it (section 10.3). */
const defaultDeadlines: Deadlines = { connectMs: seconds(10), headersMs: seconds(100), bodyMs: seconds(60) };

export interface TransportOptions {
  /** `http://host[:port]` or https. */
  readonly endpoint: string;
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly deadlines?: Partial<Deadlines> | undefined;
  /** Connections at most; a request waits for a free one. */
  readonly poolSize?: number | undefined;
}

export interface TransportRequest {
  /** What is tried, to go after "Cannot" in a message: "create the vault photos". */
  readonly attempt: string;
  readonly method: Dispatcher.HttpMethod;
  readonly path: string;
  readonly parameters?: readonly NameValue[];
  /** Lowercase names. A body from a source needs its `content-length` here. */
  readonly headers?: HeaderRecord;
  readonly body?: BodySource | string;
  readonly signal?: AbortSignal | undefined;
}

export interface StreamedAnswer {
  readonly status: number;
  readonly headers: HeaderLookup;
  /** All of them, lowercase names; a header that came twice has both values, joined by a comma. */
  readonly headerRecord: HeaderRecord;
  /** Must be consumed or returned early (`break` closes the connection); an empty one too. */
  readonly body: AsyncIterable<Uint8Array>;
}

const defaultPoolSize = 16;
const jsonBytesMax = 32 * 1024 * 1024;
const errorBytesMax = 64 * 1024;
/** A body that is sent in one piece; as a stream it takes the client a third longer. */
const wholeBytesMax = 64 * 1024;
/** A clock a little ahead of the service's must not make a signature one of the future. */
const signedBeforeSeconds = 60;

export class HttpTransport {
  readonly #pool: Pool;
  readonly #origin: string;
  readonly #host: string;
  readonly #options: TransportOptions;
  readonly #deadlines: Deadlines;

  /** @throws RangeError unless the endpoint is an http(s) URL without a path. */
  constructor(options: TransportOptions) {
    const url = parseEndpoint(options.endpoint);
    this.#options = options;
    this.#origin = url.origin;
    this.#host = url.host;
    this.#deadlines = { ...defaultDeadlines, ...options.deadlines };
    this.#pool = new Pool(url.origin, {
      connections: options.poolSize ?? defaultPoolSize,
      pipelining: 1,
      connect: { timeout: this.#deadlines.connectMs },
      headersTimeout: this.#deadlines.headersMs,
      bodyTimeout: this.#deadlines.bodyMs,
    });
  }

  /** The headers of a success; what body there is goes unread. @throws ServiceError */
  async headers(request: TransportRequest): Promise<HeaderLookup> {
    const answer = await this.stream(request);
    await this.#understood(request, () => readText(answer.body, errorBytesMax));
    return answer.headers;
  }

  /** The JSON in the body of a success, given to `parse`. @throws ServiceError */
  async json<T>(request: TransportRequest, parse: (value: unknown) => T | Promise<T>): Promise<T> {
    const answer = await this.stream(request);
    return await this.#understood(request, async () => parse(parseJson(await readText(answer.body, jsonBytesMax))));
  }

  /** A success whose body is still to come. @throws ServiceError */
  async stream(request: TransportRequest): Promise<StreamedAnswer> {
    const answer = await this.exchange(request);
    if (answer.status >= 200 && answer.status < 300) return answer;
    const text = await readText(answer.body, errorBytesMax, { cut: true });
    const requestId = answer.headers("x-cas-requestid");
    throw parseError(`Cannot ${request.attempt}`, { status: answer.status, body: text, requestId });
  }

  /** The answer, whatever its status; its body is still to come. @throws ServiceError when there is no answer. */
  async exchange(request: TransportRequest): Promise<StreamedAnswer> {
    request.signal?.throwIfAborted();
    const upload = new UploadWatch(request, this.#deadlines.bodyMs);
    try {
      await upload.begin();
      const answer = await this.#pool.request(this.#signed(request, upload));
      answer.body.on("error", () => undefined); // seen by whoever reads; without a reader there is nobody to tell
      const headers = lookupIn(answer.headers);
      const body = this.#body(answer.body, request, upload);
      return { status: answer.statusCode, headers, headerRecord: recordOf(answer.headers), body };
    } catch (error) {
      upload.end();
      throw this.#fault(error, request, upload);
    }
  }

  /** Ends all connections; requests under way fail. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  /** Runs what reads an answer; an answer that makes no sense may still be one to a request that was carried out. */
  async #understood<T>(request: TransportRequest, read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (cause) {
      if (!(cause instanceof WireFormatError)) throw cause;
      throw notUnderstood(request.attempt, cause);
    }
  }

  #signed(request: TransportRequest, upload: UploadWatch): Dispatcher.RequestOptions {
    const parameters = request.parameters ?? [];
    const headers: Record<string, string> = { host: this.#host, ...request.headers };
    if (typeof request.body === "string") headers["content-length"] = String(Buffer.byteLength(request.body));
    const { credentials } = this.#options;
    headers.authorization = Buffer.from(
      authorization({
        method: request.method,
        path: request.path,
        headers: Object.entries(headers).filter(([name]) => isSigned(name)),
        parameters,
        secretId: credentials.secretId,
        key: credentials,
        signTime: this.#signTime(),
      }),
      "utf8",
    ).toString("latin1");
    return {
      method: request.method,
      path: request.path + formatQuery(parameters),
      headers,
      body: upload.body ?? null,
      signal: upload.signal,
    };
  }

  #signTime(): TimeWindow {
    const nowSeconds = Math.floor(this.#options.clock.now() / 1000);
    return { startSeconds: nowSeconds - signedBeforeSeconds, endSeconds: nowSeconds + signatureLifetimeSeconds };
  }

  /** Not a generator: the `finally` of one that never started does not run, and the connection would stay taken. */
  #body(body: Readable, request: TransportRequest, upload: UploadWatch): AsyncIterable<Uint8Array> {
    const end = () => {
      body.destroy();
      upload.end();
    };
    const pieces: AsyncIterator<Uint8Array> = body[Symbol.asyncIterator]();
    const next = async () => {
      try {
        const step = await pieces.next();
        if (step.done) end();
        return step;
      } catch (error) {
        end();
        throw this.#fault(error, request, upload);
      }
    };
    const leave = async () => {
      end();
      return { done: true, value: undefined } as const;
    };
    return { [Symbol.asyncIterator]: () => ({ next, return: leave }) };
  }

  #fault(error: unknown, request: TransportRequest, upload: UploadWatch): unknown {
    if (request.signal?.aborted) return request.signal.reason;
    if (upload.failure !== undefined) return upload.failure.reason;
    if (error instanceof ServiceError) return error;
    return connectionFault(error, { origin: this.#origin, attempt: request.attempt });
  }
}

/** An answer that is no answer of this protocol. */
function notUnderstood(attempt: string, cause: Error): ServiceError {
  return new ServiceError("unavailable", `Cannot ${attempt}: the answer cannot be understood`, {
    cause,
    effect: "unknown",
  });
}

/** Runs a parser of answer headers; what it cannot read becomes a ServiceError. */
export function understood<T>(attempt: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (cause instanceof WireFormatError) throw notUnderstood(attempt, cause);
    throw cause;
  }
}

/**
 * The body of a request on its way: notices when its source fails and when nobody takes the next piece.
 *
 * undici limits the waiting for an answer, but not a peer that stops reading in the middle of an upload. Like undici's
 * deadlines this one is of real time: a clock that a test moves says nothing about a socket.
 */
class UploadWatch {
  body: Readable | Uint8Array | string | undefined;
  failure: { readonly reason: unknown } | undefined;
  readonly #request: TransportRequest;
  readonly #stallMs: Milliseconds;
  readonly #scope: AbortScope;
  #timer: NodeJS.Timeout | undefined;

  constructor(request: TransportRequest, stallMs: Milliseconds) {
    this.#request = request;
    this.#stallMs = stallMs;
    this.#scope = new AbortScope(request.signal);
  }

  /** Gives `body` what is to be sent: a small one whole, so that it goes out with the head. */
  async begin(): Promise<void> {
    const { body, headers } = this.#request;
    const sizeBytes = Number(headers?.["content-length"]);
    if (typeof body !== "function") this.body = body;
    else if (sizeBytes <= wholeBytesMax)
      this.body = await abortable(collected(this.#watched(body), sizeBytes), this.signal);
    // Not Readable.from(): that reads ahead, and whoever lends the pieces has them back when the next is asked for. Of an
    // iterable undici asks for the next when the socket has passed on all of the last; its types do not know that.
    else this.body = this.#watched(body) as AsyncIterable<Uint8Array> as Readable;
  }

  get signal(): AbortSignal {
    return this.#scope.signal;
  }

  /** Lets go of the caller's signal; the answer has been read, or there is none. */
  end(): void {
    clearTimeout(this.#timer);
    this.#scope[Symbol.dispose]();
  }

  async *#watched(source: BodySource): AsyncGenerator<Uint8Array> {
    this.#timer = setTimeout(() => this.#stalled(), this.#stallMs).unref();
    try {
      for await (const piece of source()) {
        this.#timer.refresh();
        yield piece;
        this.#timer.refresh();
      }
    } catch (reason) {
      this.failure ??= { reason };
      throw reason;
    } finally {
      clearTimeout(this.#timer);
    }
  }

  #stalled(): void {
    const reason = new ServiceError("timeout", `Cannot ${this.#request.attempt}: the upload has made no progress`);
    this.failure ??= { reason };
    this.#scope.abort(reason);
  }
}

/** All of `source`; of a source that is longer than `sizeBytes` enough to notice. */
async function collected(source: AsyncIterable<Uint8Array>, sizeBytes: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of source) {
    pieces.push(piece);
    length += piece.length;
    if (length > sizeBytes) break;
  }
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
}

function parseEndpoint(endpoint: string): URL {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const isPlain = url !== undefined && /^https?:$/.test(url.protocol) && url.pathname === "/" && url.search === "";
  if (!isPlain || url.username !== "") {
    throw new RangeError(`Cannot use ${JSON.stringify(endpoint)} as an endpoint: it is not http(s)://host[:port]`);
  }
  return url;
}

/** What the official client signs (section 3.3): not Content-Range, nor what a proxy may change. */
function isSigned(name: string): boolean {
  return name === "host" || name === "content-length" || name === "range" || name.startsWith("x-cas-");
}

function lookupIn(headers: Dispatcher.ResponseData["headers"]): HeaderLookup {
  return (name) => {
    const value = Object.hasOwn(headers, name) ? headers[name] : undefined;
    return Array.isArray(value) ? value[0] : value;
  };
}

function recordOf(headers: Dispatcher.ResponseData["headers"]): HeaderRecord {
  const named = Object.entries(headers).map(([name, value]) => [
    name.toLowerCase(),
    Array.isArray(value) ? value.join(", ") : (value ?? ""),
  ]);
  return Object.fromEntries(named);
}

async function readText(
  body: AsyncIterable<Uint8Array>,
  bytesMax: number,
  { cut = false }: { readonly cut?: boolean } = {},
): Promise<string> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body) {
    length += piece.length;
    if (length > bytesMax && !cut)
      throw new WireFormatError(`Cannot read the answer: it has more than ${bytesMax} bytes`);
    pieces.push(piece);
    if (length > bytesMax) break;
  }
  return Buffer.concat(pieces).toString("utf8", 0, bytesMax);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WireFormatError(`Cannot read the answer: it is not JSON (${describeError(cause)})`);
  }
}
