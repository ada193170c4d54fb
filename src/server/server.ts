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
import { WireError, type WireErrorCode } from "../protocol/error-wire.js";
import { parseQuery, splitTarget } from "../protocol/query.js";
import { matchRoute, type Operation, type Route } from "../protocol/routes.js";
import type { NameValue } from "../protocol/signature.js";
import { AccessControl } from "./access/access-control.js";
import { type Account, accountDirectory } from "./access/accounts.js";
import { Authentication } from "./access/authentication.js";
import { Engine, type EngineOptions } from "./engine.js";
import { writeAnswer, writeError } from "./http/answer-writer.js";
import { archiveHandlers } from "./http/archive-handlers.js";
import { BrokenRequests } from "./http/broken-requests.js";
import { limitConnections } from "./http/connection-limit.js";
import type { Answer, CasRequest, CasState, Handler, Handlers } from "./http/exchange.js";
import { jobHandlers } from "./http/job-handlers.js";
import { multipartHandlers } from "./http/multipart-handlers.js";
import { type BodyTimes, RequestBody } from "./http/request-body.js";
import { vaultHandlers } from "./http/vault-handlers.js";
import { vaultLockHandlers } from "./http/vault-lock-handlers.js";
import type { ObjectStore, ObjectStoreChoice } from "./objects/object-store.js";
import { openObjectStore } from "./objects/object-store-opening.js";
import { ArchiveStore } from "./store/archive-store.js";

export interface ServerOptions extends EngineOptions, Partial<BodyTimes> {
  readonly dataDirectory: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly appId: string;
  readonly secretId: string;
  readonly secretKey: string;
  /** Keys of other accounts, and further keys of this one. */
  readonly accounts?: readonly Account[] | undefined;
  /** How many connections are open at once; one more is closed at once. Bounds memory and open files. */
  readonly connectionsMax?: number | undefined;
  /** Longest time in which the headers of a request arrive, counted from the connection's or the last answer's end. */
  readonly headersTimeoutMs?: number | undefined;
  /** Takes only the canonical form of signatures. */
  readonly strictSignature: boolean;
  readonly clockSkewMs: number;
  /** What push-to-cos and pull-from-cos copy to and from; without it they are refused. */
  readonly objectStore?: ObjectStoreChoice | undefined;
  readonly randomBytes?: ((count: number) => Buffer) | undefined;
}

export interface RunningServer {
  /** `http://HOST:PORT` */
  readonly url: string;
  readonly port: number;
  /** Lets answers that are being made go out, then stops; unfinished uploads are cut. */
  close(): Promise<void>;
}

const handlers: Handlers<Operation> = {
  ...vaultHandlers,
  ...vaultLockHandlers,
  ...archiveHandlers,
  ...multipartHandlers,
  ...jobHandlers,
};

// The official client waits 100 s for data; who is silent for longer in the middle of a body is gone.
const bodyStallMsDefault = 100_000;
// A mount that lands a recall may pause while its disk is busy.
const answerStallMsDefault = 600_000;
const keepAliveMs = 75_000;
const headersTimeoutMsDefault = 60_000;
// Each may hold two open files and some 3 MiB.
const connectionsMaxDefault = 512;
const closeGraceMs = 2000;
const requestIdBytes = 30;

/** @throws UsageError when another process serves the data directory; the system's error when the port is taken. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const randomBytes = options.randomBytes ?? cryptoRandomBytes;
  const store = await ArchiveStore.open(options.dataDirectory, { clock: options.clock, randomBytes });
  const service = await openService(store, { ...options, randomBytes });
  try {
    const port = await service.listen();
    const host = options.host.includes(":") ? `[${options.host}]` : options.host;
    return { url: `http://${host}:${port}`, port, close: () => service.close() };
  } catch (error) {
    await service.close();
    throw error;
  }
}

async function openService(
  store: ArchiveStore,
  options: ServerOptions & Pick<ServiceParts, "randomBytes">,
): Promise<Service> {
  try {
    const objects = options.objectStore === undefined ? undefined : await openObjectStore(options.objectStore);
    return new Service({ store, objects, randomBytes: options.randomBytes }, options);
  } catch (error) {
    await store.close();
    throw error;
  }
}

interface ServiceParts {
  readonly store: ArchiveStore;
  readonly objects: ObjectStore | undefined;
  readonly randomBytes: (count: number) => Buffer;
}

class Service {
  readonly #options: ServerOptions;
  readonly #bodyTimes: BodyTimes;
  readonly #randomBytes: (count: number) => Buffer;
  readonly #engine: Engine;
  readonly #authentication: Authentication;
  readonly #access: AccessControl;
  readonly #http: Server;
  readonly #running = new Set<Promise<void>>();
  readonly #broken = new BrokenRequests(() => this.#newRequestId());

  constructor({ store, objects, randomBytes }: ServiceParts, options: ServerOptions) {
    this.#options = options;
    this.#randomBytes = randomBytes;
    this.#bodyTimes = {
      bodyStallMs: options.bodyStallMs ?? bodyStallMsDefault,
      answerStallMs: options.answerStallMs ?? answerStallMsDefault,
    };
    this.#engine = new Engine(store, objects, options);
    this.#authentication = new Authentication(accountDirectory(accountsOf(options)), {
      clock: options.clock,
      clockSkewMs: options.clockSkewMs,
      strict: options.strictSignature,
    });
    this.#access = new AccessControl(store, this.#engine.state.locks, { region: options.region });
    this.#http = this.#createHttpServer();
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#http.once("error", reject);
      this.#http.listen(this.#options.port, this.#options.host, () => {
        this.#http.off("error", reject);
        this.#engine.start();
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
    await this.#engine.close();
    await this.#engine.state.store.close();
  }

  #createHttpServer(): Server {
    const { headersTimeoutMs = headersTimeoutMsDefault } = this.#options;
    const server = createServer({
      // Fewer, larger steps between the socket and the file.
      highWaterMark: MIB,
      keepAliveTimeout: keepAliveMs,
      // An upload may take hours; `RequestBody` watches for those that have stopped.
      requestTimeout: 0,
      headersTimeout: headersTimeoutMs,
      connectionsCheckingInterval: Math.min(headersTimeoutMs / 2, 30_000),
      // The signature decides what a missing Host means.
      requireHostHeader: false,
    });
    // Not in Node's types: whoever has sent a whole request and closed that direction gets the answer all the same.
    Object.assign(server, { httpAllowHalfOpen: true });
    limitConnections(server, this.#options.connectionsMax ?? connectionsMaxDefault);
    const serve = (request: IncomingMessage, response: ServerResponse) => {
      this.#broken.onRequest(request, response);
      this.#track(this.#serve(request, response));
    };
    server.on("request", serve);
    // A client that waits for a 100 gets it when its body is wanted; other expectations are none of this service's.
    server.on("checkContinue", serve);
    server.on("checkExpectation", serve);
    // Without a listener Node would close the connection without an answer.
    server.on("connect", (_request, socket) => this.#broken.refuseTunnel(socket as Socket));
    server.on("clientError", (error, socket) => this.#track(this.#broken.onClientError(error, socket as Socket)));
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
    const body = new RequestBody(request, response, this.#bodyTimes);
    try {
      const answer = await this.#answer(request, body);
      await this.#engine.state.store.durable();
      if (body.isHeldBack) response.setHeader("connection", "close");
      await writeAnswer(response, answer);
    } catch (error) {
      await writeError(response, body, this.#failureOf(request, error));
    }
    body.forgetRest();
  }

  async #answer(request: IncomingMessage, body: RequestBody): Promise<Answer> {
    const { path, query } = splitTarget(request.url ?? "/");
    const method = request.method ?? "";
    const parameters = parseQuery(query);
    const match = matchRoute(method, path);
    if (!match.ok) throw new WireError(match.code, match.message);
    const received = { method, path, parameters, headers: headerLines(request.rawHeaders) };
    const caller = this.#authentication.authenticate(received);
    this.#engine.catchUp();
    const appId = this.#access.authorize(caller, match.route, request.socket.remoteAddress);
    const headers = (name: string) => headerValue(request, name);
    const owner = { region: this.#options.region, appId };
    return handle(this.#engine.state, { owner, headers, parameters, body }, match.route);
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

  #newRequestId(): string {
    return this.#randomBytes(requestIdBytes).toString("base64");
  }

  #warn(message: string): void {
    this.#options.observer?.({ type: "warning", message });
  }
}

function accountsOf(options: ServerOptions): Account[] {
  const { appId, secretId, secretKey, accounts = [] } = options;
  return [{ appId, secretId, secretKey }, ...accounts];
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
