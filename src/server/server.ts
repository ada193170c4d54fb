/**
 * The CAS-compatible service: listens, authenticates, routes, answers (cas-api sections 1-4).
 *
 * Relies on: handlers for one request in, one answer out; the store for durability.
 * Never: answers before everything that the answer may have seen is on the disk.
 */

import { randomBytes as cryptoRandomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { MIB } from "../domain/bytes.js";
import { describeError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { Clock } from "../domain/time.js";
import { WireError, type WireErrorCode } from "../protocol/error-wire.js";
import { parseQuery, splitTarget } from "../protocol/query.js";
import { matchRoute, type Operation, type Route } from "../protocol/routes.js";
import type { NameValue } from "../protocol/signature.js";
import { singleAccount } from "./accounts.js";
import { rawErrorAnswer, writeAnswer, writeError } from "./answer-writer.js";
import { archiveHandlers } from "./archive-handlers.js";
import { ArchiveStore } from "./archive-store.js";
import { Authentication, checkAccount } from "./authentication.js";
import type { Answer, CasRequest, CasState, Handler, Handlers } from "./exchange.js";
import { Inventory } from "./inventory.js";
import { jobHandlers } from "./job-handlers.js";
import { JobStore, type RetrievalTimes } from "./job-store.js";
import { multipartHandlers } from "./multipart-handlers.js";
import { MultipartStore } from "./multipart-store.js";
import { type BodyTimes, RequestBody } from "./request-body.js";
import { vaultHandlers } from "./vault-handlers.js";

export interface ServerOptions extends Partial<BodyTimes> {
  readonly dataDirectory: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly appId: string;
  readonly secretId: string;
  readonly secretKey: string;
  /** As in `ap-chengdu`; stands in resource names. */
  readonly region: string;
  readonly retrievalMs: RetrievalTimes;
  /** How old the inventory of a changed vault may get; 0 takes a new one for every inventory job. */
  readonly inventoryIntervalMs: number;
  readonly outputLifetimeMs: number;
  /** Counted from the last activity of an upload. */
  readonly uploadLifetimeMs: number;
  /** Takes only the canonical form of signatures. */
  readonly strictSignature: boolean;
  readonly clockSkewMs: number;
  readonly clock: Clock;
  readonly observer?: Observer | undefined;
  readonly randomBytes?: ((count: number) => Buffer) | undefined;
}

export interface RunningServer {
  /** `http://HOST:PORT` */
  readonly url: string;
  readonly port: number;
  /** Lets answers that are being made go out, then stops; unfinished uploads are cut. */
  close(): Promise<void>;
}

const handlers: Handlers<Operation> = { ...vaultHandlers, ...archiveHandlers, ...multipartHandlers, ...jobHandlers };

// The official client waits 100 s for data; who is silent for longer in the middle of a body is gone.
const bodyStallMsDefault = 100_000;
// A mount that lands a recall may pause while its disk is busy.
const answerStallMsDefault = 600_000;
const keepAliveMs = 75_000;
const closeGraceMs = 2000;
const requestIdBytes = 30;

/** @throws UsageError when another process serves the data directory; the system's error when the port is taken. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const randomBytes = options.randomBytes ?? cryptoRandomBytes;
  const store = await ArchiveStore.open(options.dataDirectory, { clock: options.clock, randomBytes });
  try {
    const service = new Service(store, options, randomBytes);
    const port = await service.listen();
    const host = options.host.includes(":") ? `[${options.host}]` : options.host;
    return { url: `http://${host}:${port}`, port, close: () => service.close() };
  } catch (error) {
    await store.close();
    throw error;
  }
}

class Service {
  readonly #options: ServerOptions;
  readonly #bodyTimes: BodyTimes;
  readonly #randomBytes: (count: number) => Buffer;
  readonly #state: CasState;
  readonly #authentication: Authentication;
  readonly #http: Server;
  readonly #running = new Set<Promise<void>>();

  constructor(store: ArchiveStore, options: ServerOptions, randomBytes: (count: number) => Buffer) {
    this.#options = options;
    this.#randomBytes = randomBytes;
    this.#bodyTimes = {
      bodyStallMs: options.bodyStallMs ?? bodyStallMsDefault,
      answerStallMs: options.answerStallMs ?? answerStallMsDefault,
    };
    this.#state = stateOf(store, options);
    this.#authentication = new Authentication(singleAccount(options), {
      clock: options.clock,
      clockSkewMs: options.clockSkewMs,
      strict: options.strictSignature,
    });
    this.#http = this.#createHttpServer();
  }

  async listen(): Promise<number> {
    this.#expire();
    await new Promise<void>((resolve, reject) => {
      this.#http.once("error", reject);
      this.#http.listen(this.#options.port, this.#options.host, () => {
        this.#http.off("error", reject);
        resolve();
      });
    });
    return (this.#http.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#http.close(() => resolve());
    });
    this.#http.closeIdleConnections();
    const cut = setTimeout(() => this.#http.closeAllConnections(), closeGraceMs);
    await Promise.all(this.#running);
    clearTimeout(cut);
    // What is left are connections whose answers are already with the system.
    this.#http.closeIdleConnections();
    const linger = setTimeout(() => this.#http.closeAllConnections(), closeGraceMs);
    await closed;
    clearTimeout(linger);
    await this.#state.store.close();
  }

  #createHttpServer(): Server {
    const server = createServer({
      // Fewer, larger steps between the socket and the file.
      highWaterMark: MIB,
      keepAliveTimeout: keepAliveMs,
      // An upload may take hours; `RequestBody` watches for those that have stopped.
      requestTimeout: 0,
      headersTimeout: 60_000,
      // The signature decides what a missing Host means.
      requireHostHeader: false,
    });
    server.on("request", (request, response) => this.#track(this.#serve(request, response)));
    server.on("clientError", (error: NodeJS.ErrnoException, socket) => this.#refuse(error, socket as Socket));
    return server;
  }

  #track(work: Promise<void>): void {
    // An answer that cannot even be an error has nobody left to receive it.
    const guarded = work.catch((error: unknown) => this.#warn(`An answer failed: ${describeError(error)}`));
    const tracked: Promise<void> = guarded.finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader("x-cas-requestId", this.#newRequestId());
    response.on("error", () => undefined);
    request.on("error", () => undefined);
    const body = new RequestBody(request, this.#bodyTimes);
    try {
      const answer = await this.#answer(request, body);
      await this.#state.store.durable();
      await writeAnswer(response, answer);
    } catch (error) {
      await writeError(response, body, this.#failureOf(request, error));
    }
  }

  async #answer(request: IncomingMessage, body: RequestBody): Promise<Answer> {
    const { path, query } = splitTarget(request.url ?? "/");
    const method = request.method ?? "";
    const parameters = parseQuery(query);
    const match = matchRoute(method, path);
    if (!match.ok) throw new WireError(match.code, match.message);
    const received = { method, path, parameters, headers: headerLines(request.rawHeaders) };
    const account = this.#authentication.authenticate(received);
    checkAccount(account, match.route.account);
    this.#expire();
    const headers = (name: string) => headerValue(request, name);
    const owner = { region: this.#options.region, appId: account.appId };
    return handle(this.#state, { owner, headers, parameters, body }, match.route);
  }

  #expire(): void {
    this.#state.uploads.expire();
    this.#state.jobs.expire();
  }

  #failureOf(request: IncomingMessage, error: unknown): { readonly code: WireErrorCode; readonly message: string } {
    if (error instanceof WireError) return error;
    // A client that has gone is no failure of ours.
    if (!request.destroyed) this.#warn(`${request.method} failed: ${describeError(error)}`);
    const isFull = ["ENOSPC", "EDQUOT", "SQLITE_FULL"].includes((error as NodeJS.ErrnoException).code ?? "");
    return {
      code: "ServiceUnavailableException",
      message: isFull ? "The service has no space left" : "The service failed",
    };
  }

  /** A request that Node could not parse, or a body that ended before its Content-Length. */
  #refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    if (!socket.writable || error.code === "ECONNRESET") {
      socket.destroy();
      return;
    }
    const isShort = error.code === "HPE_INVALID_EOF_STATE" || error.code === "ERR_HTTP_REQUEST_TIMEOUT";
    const code = isShort ? "RequestTimeoutException" : "BadRequest";
    const message = isShort ? "The request ended before it was complete" : "The request is not well-formed HTTP";
    socket.end(rawErrorAnswer(code, message, this.#newRequestId()), () => socket.destroy());
  }

  #newRequestId(): string {
    return this.#randomBytes(requestIdBytes).toString("base64");
  }

  #warn(message: string): void {
    this.#options.observer?.({ type: "warning", message });
  }
}

function stateOf(store: ArchiveStore, options: ServerOptions): CasState {
  const inventory = new Inventory(store, { intervalMs: options.inventoryIntervalMs });
  return {
    store,
    inventory,
    uploads: new MultipartStore(store, { lifetimeMs: options.uploadLifetimeMs }),
    jobs: new JobStore(store, inventory, options),
  };
}

function handle(state: CasState, request: CasRequest, route: Route): Answer | Promise<Answer> {
  // The table has for each operation the handler of its route; the compiler cannot follow that through the lookup.
  const handler = handlers[route.operation] as Handler<Operation>;
  return handler(state, request, route as never);
}

function headerLines(raw: readonly string[]): NameValue[] {
  return Array.from({ length: raw.length / 2 }, (_, index): NameValue => [raw[index * 2]!, raw[index * 2 + 1]!]);
}

function headerValue(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
