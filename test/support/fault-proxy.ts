/**
 * A proxy on loopback between any client and a CAS server that does to requests what a `FaultPlan` says.
 *
 *   await using proxy = await FaultProxy.start(port, new FaultPlan([on("uploadPart", { nth: 2 }, faults.lostAnswer())]));
 *   …give proxy.url to a client, a mount (--endpoint) or a command…
 *   proxy.count("uploadPart"); proxy.exchanges; proxy.plan = new FaultPlan(); // see fault-plan.ts for plans
 *
 * Relies on: clients that wait for an answer before they send the next request on the same connection.
 * Never: changes a byte that no fault is about; Host is signed, so it arrives as the client sent it. The server must
 * not judge its value. Disposing the proxy throws when a fault of its plan was not hit.
 */

import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { splitTarget } from "../../src/protocol/query.js";
import { matchRoute, type Operation } from "../../src/protocol/routes.js";
import { type Fault, FaultPlan, type PlannedFault, type SeenRequest } from "./fault-plan.js";
import type { Silence } from "./passed-deadlines.js";
import { answerFraming, type Framing, type MessageHead, requestFraming, statusOf, WireReader } from "./wire-reader.js";

/** One request and what became of it. */
export interface Exchange extends SeenRequest {
  /** The name of the fault that it met. */
  fault: string | undefined;
  /** What the client was answered; undefined while there is no answer, or for ever. */
  status: number | undefined;
  /** Whether the server has answered with a success, seen by the client or not. */
  carriedOut: boolean;
}

export class FaultProxy implements AsyncDisposable {
  /** Called when a client will hear nothing more, which otherwise waits until it gives up by itself. */
  onSilence: ((silence: Silence) => void) | undefined;
  /** May be replaced at any time; the disposal only asks the last one. */
  plan: FaultPlan;
  /** All requests, in the order of their arrival. */
  readonly exchanges: Exchange[] = [];
  readonly #server: Server;
  readonly #connections = new Set<Connection>();

  private constructor(targetPort: number, plan: FaultPlan) {
    this.plan = plan;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      const connection = new Connection(client, targetPort, {
        arrived: (request) => this.#arrived(request),
        fellSilent: (silence) => this.onSilence?.(silence),
      });
      this.#connections.add(connection);
      client.once("close", () => this.#connections.delete(connection));
    });
  }

  /** @param targetPort Of a server on 127.0.0.1. */
  static async start(targetPort: number, plan = new FaultPlan()): Promise<FaultProxy> {
    const proxy = new FaultProxy(targetPort, plan);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Requests for an operation; `answered` counts only those that the client has got a success for. */
  count(operation: Operation, { answered = false }: { readonly answered?: boolean } = {}): number {
    const isSuccess = ({ status }: Exchange) => status !== undefined && status >= 200 && status < 300;
    return this.exchanges.filter((one) => one.operation === operation && (!answered || isSuccess(one))).length;
  }

  /** Cuts all connections, as a cable that is pulled. */
  cut(): void {
    for (const connection of this.#connections) connection.reset();
  }

  /** @throws Error when a fault was not hit. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
    this.plan.expectAllHit();
  }

  #arrived(request: SeenRequest): { readonly exchange: Exchange; readonly planned: PlannedFault | undefined } {
    const planned = this.plan.faultFor(request);
    const exchange = { ...request, fault: planned?.name, status: undefined, carriedOut: false };
    this.exchanges.push(exchange);
    return { exchange, planned };
  }
}

/** One connection of a client with one of its own to the server. */
class Connection {
  readonly #client: Socket;
  readonly #requests: WireReader;
  readonly #targetPort: number;
  readonly #proxy: ProxySide;
  #upstream: { readonly socket: Socket; readonly answers: WireReader } | undefined;
  #isBusy = false;

  constructor(client: Socket, targetPort: number, proxy: ProxySide) {
    this.#client = client;
    this.#requests = new WireReader(client);
    this.#targetPort = targetPort;
    this.#proxy = proxy;
    client.on("error", () => undefined);
    client.once("close", () => this.#upstream?.socket.destroy());
    // Who closes while it waits for an answer has given up.
    client.once("end", () => this.reset());
    void this.#serve();
  }

  /** Ends both sides at once; what is in the buffers is lost. */
  reset(): void {
    this.#client.resetAndDestroy();
    this.#upstream?.socket.destroy();
  }

  /** Never rejects. */
  async #serve(): Promise<void> {
    for (let head = await this.#requests.head(); head !== undefined; head = await this.#requests.head()) {
      const seen = seenRequest(head);
      const { exchange, planned } = this.#proxy.arrived(seen);
      this.#isBusy = true;
      await this.#exchange(head, exchange, planned).catch(() => this.reset());
      this.#isBusy = false;
      if (this.#upstream?.socket.destroyed) this.#client.end();
      if (this.#client.writableEnded || this.#client.destroyed) return;
    }
  }

  async #exchange(head: MessageHead, exchange: Exchange, planned: PlannedFault | undefined): Promise<void> {
    if (planned !== undefined && !planned.reachesServer && planned.fault.kind !== "corrupt") {
      if (await this.#withoutServer(head, exchange, planned)) return;
    }
    await this.#delay(planned, "request");
    const upstream = this.#connected();
    await Promise.all([
      this.#forwardRequest(head, upstream.socket, planned),
      this.#forwardAnswer(upstream.answers, exchange, planned),
    ]);
  }

  /** Faults that keep the request from the server. @returns false when the request goes there after all. */
  async #withoutServer(head: MessageHead, exchange: Exchange, planned: PlannedFault): Promise<boolean> {
    const { fault } = planned;
    if (fault.kind === "reset" && fault.at === "request-body") return false;
    planned.hit();
    if (fault.kind === "reset") {
      this.reset();
    } else if (fault.kind === "stall") {
      await this.#silence("head");
    } else {
      for await (const _ of this.#requests.body(requestFraming(head)));
      if (fault.kind === "answer") {
        exchange.status = fault.status;
        await write(this.#client, Buffer.from(answerText(fault)));
      } else {
        this.#client.end("\x16\x03\x01\x02 this is not HTTP\r\n\r\n");
      }
    }
    return true;
  }

  async #forwardRequest(head: MessageHead, server: Socket, planned: PlannedFault | undefined): Promise<void> {
    const framing = requestFraming(head);
    await write(server, head.raw);
    let offset = 0;
    for await (const piece of this.#requests.body(framing)) {
      const outcome = damaged(piece, offset, framing, planned, "request");
      offset += piece.length;
      await write(server, outcome.bytes);
      if (outcome.end === "reset") return this.reset();
    }
  }

  async #forwardAnswer(answers: WireReader, exchange: Exchange, planned: PlannedFault | undefined): Promise<void> {
    let head = await answers.head();
    while (head !== undefined && statusOf(head) < 200) {
      await write(this.#client, head.raw);
      head = await answers.head();
    }
    if (head === undefined) return this.reset();
    const framing = answerFraming(head, exchange.method);
    const status = statusOf(head);
    exchange.carriedOut = status < 300;
    if (await this.#lost(answers.body(framing), planned)) return;
    if (await this.#rewritten(head, answers.body(framing), exchange, planned)) return;
    await this.#delay(planned, "answer");
    exchange.status = status;
    await write(this.#client, altered(head, planned));
    let offset = 0;
    for await (const piece of answers.body(framing)) {
      const outcome = damaged(piece, offset, framing, planned, "answer");
      offset += piece.length;
      await write(this.#client, outcome.bytes);
      if (outcome.end === "stall") return this.#silence("body");
      if (outcome.end === "close") {
        this.#client.end();
        this.#upstream?.socket.destroy();
        return;
      }
    }
    if (framing.kind === "until-close") this.#client.end();
    else if (framing.kind === "length" && offset < framing.bytes) this.reset();
  }

  /** Keeps the whole answer from the client. @returns whether that is the plan. */
  async #lost(body: AsyncIterable<Buffer>, planned: PlannedFault | undefined): Promise<boolean> {
    const fault = planned?.fault;
    if ((fault?.kind !== "reset" && fault?.kind !== "stall") || fault.at !== "answer") return false;
    for await (const _ of body);
    planned?.hit();
    if (fault.kind === "reset") this.reset();
    else await this.#silence("head");
    return true;
  }

  /** Answers with another body, where the plan has one for this. @returns whether it has. */
  async #rewritten(
    head: MessageHead,
    body: AsyncIterable<Buffer>,
    exchange: Exchange,
    planned: PlannedFault | undefined,
  ): Promise<boolean> {
    if (planned?.fault.kind !== "rewrite" || !exchange.carriedOut) return false;
    const pieces: Buffer[] = [];
    for await (const piece of body) pieces.push(piece);
    const before = Buffer.concat(pieces).toString();
    const after = planned.fault.change(before);
    if (after !== before) planned.hit();
    exchange.status = statusOf(head);
    const lines = head.raw.toString("latin1").split("\r\n");
    const kept = lines.filter((line) => !/^(content-length|transfer-encoding):/i.test(line));
    kept.splice(1, 0, `Content-Length: ${Buffer.byteLength(after)}`);
    await write(this.#client, Buffer.from(kept.join("\r\n"), "latin1"));
    await write(this.#client, Buffer.from(after));
    return true;
  }

  async #delay(planned: PlannedFault | undefined, before: "request" | "answer"): Promise<void> {
    const fault = planned?.fault;
    if (planned === undefined || fault === undefined) return;
    if (fault.kind === "hold" && before === "request") await fault.until;
    else if (fault.kind === "delay" && fault.before === before) await sleep(fault.ms);
    else return;
    planned.hit();
    if (this.#client.destroyed) throw new Error("The client did not wait");
  }

  #connected(): { readonly socket: Socket; readonly answers: WireReader } {
    if (this.#upstream !== undefined) return this.#upstream;
    const socket = connect({ port: this.#targetPort, host: "127.0.0.1", noDelay: true });
    socket.on("error", () => undefined);
    // What is closed in the middle of an exchange is noticed there.
    socket.once("close", () => !this.#isBusy && this.#client.end());
    this.#upstream = { socket, answers: new WireReader(socket) };
    return this.#upstream;
  }

  /** Until the client has gone. */
  #silence(within: Silence["within"]): Promise<void> {
    const port = this.#client.remotePort;
    if (this.#client.destroyed || port === undefined) return Promise.resolve();
    this.#proxy.fellSilent({ port, within, sentBytes: this.#client.bytesWritten });
    return new Promise((resolve) => this.#client.once("close", () => resolve()));
  }
}

interface ProxySide {
  readonly arrived: (request: SeenRequest) => {
    readonly exchange: Exchange;
    readonly planned: PlannedFault | undefined;
  };
  readonly fellSilent: (silence: Silence) => void;
}

function seenRequest(head: MessageHead): SeenRequest {
  const [method = "", target = ""] = head.firstLine.split(" ");
  const match = matchRoute(method, splitTarget(target).path);
  return { operation: match.ok ? match.route.operation : null, method, target, header: (name) => head.header(name) };
}

interface Damaged {
  readonly bytes: Buffer;
  /** What happens once `bytes` are written. */
  readonly end?: "reset" | "stall" | "close";
}

/** What a fault makes of `piece`, which stands at `offset` of a body. */
function damaged(
  piece: Buffer,
  offset: number,
  framing: Framing,
  planned: PlannedFault | undefined,
  side: "request" | "answer",
): Damaged {
  const damage = planned === undefined ? undefined : damageTo(planned.fault, side);
  if (planned === undefined || damage === undefined) return { bytes: piece };
  const at = (damage.place ?? middle(framing)) - offset;
  if (at < 0 || at >= piece.length) return { bytes: piece };
  planned.hit();
  if (damage.end !== undefined) return { bytes: piece.subarray(0, at), end: damage.end };
  const bytes = Buffer.from(piece);
  bytes[at] = bytes[at]! ^ 1;
  return { bytes };
}

function damageTo(fault: Fault, side: "request" | "answer") {
  if (side === "request") {
    if (fault.kind === "corrupt" && fault.body === "request") return { place: fault.atByte, end: undefined };
    if (fault.kind === "reset" && fault.at === "request-body")
      return { place: fault.afterBytes, end: "reset" as const };
    return undefined;
  }
  if (fault.kind === "corrupt" && fault.body === "answer") return { place: fault.atByte, end: undefined };
  if (fault.kind === "stall" && fault.at === "answer-body") return { place: fault.afterBytes, end: "stall" as const };
  if (fault.kind === "truncate") return { place: fault.afterBytes, end: "close" as const };
  return undefined;
}

function middle(framing: Framing): number {
  return framing.kind === "length" ? Math.floor(framing.bytes / 2) : 0;
}

function altered(head: MessageHead, planned: PlannedFault | undefined): Buffer {
  if (planned?.fault.kind !== "alter-header") return head.raw;
  const { name, change } = planned.fault;
  const lines = head.raw.toString("latin1").split("\r\n");
  const changed = lines.flatMap((line) => {
    const colon = line.indexOf(":");
    if (line.slice(0, colon).toLowerCase() !== name.toLowerCase()) return [line];
    planned.hit();
    const value = change(line.slice(colon + 1).trim());
    return value === undefined ? [] : [`${line.slice(0, colon)}: ${value}`];
  });
  return Buffer.from(changed.join("\r\n"), "latin1");
}

function answerText({ status, headers, body }: Extract<Fault, { kind: "answer" }>): string {
  return [`HTTP/1.1 ${status} Fault`, ...headers, "", body].join("\r\n");
}

/** Resolves when the socket takes more, or is closed. */
function write(socket: Socket, bytes: Buffer): Promise<void> {
  if (bytes.length === 0 || !socket.writable || socket.write(bytes)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      socket.off("drain", done).off("close", done);
      resolve();
    };
    socket.on("drain", done).on("close", done);
  });
}
