/**
 * A client of the conformance tests: signs by its own signer and sends what the test says, one connection a request.
 *
 * Like the official Python client it signs all headers but Content-Range and sends the whole request before it reads.
 */

import { authorizationOf, type Dialect, type Key, type Pair, python } from "./signer.js";
import { hashesOf } from "./tree-digest.js";
import { type Reply, WireConnection } from "./wire-connection.js";

export interface WireRequest {
  readonly method: string;
  /** Path and query as sent. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  /** Sent as it is; null sends none. */
  readonly authorization?: string | null;
  readonly key?: Partial<Key>;
  readonly dialect?: Dialect;
  /** Sends no Content-Length of its own, although there is a body. */
  readonly withoutLength?: boolean;
}

export const host = "cas.ap-chengdu.myqcloud.com";

export class WireClient {
  /** What was asked and answered through `send`, in order. */
  readonly log: { readonly method: string; readonly target: string; readonly status: number }[] = [];

  constructor(
    readonly port: number,
    readonly identity: { readonly secretId: string; readonly secretKey: string },
    readonly nowSeconds: () => number,
  ) {}

  async send(request: WireRequest): Promise<Reply> {
    using connection = await WireConnection.open(this.port);
    await connection.send(this.bytesOf(request));
    const reply = await connection.receive({ bodyless: request.method === "HEAD" });
    this.log.push({ method: request.method, target: request.target, status: reply.status });
    return reply;
  }

  /** The whole request, head and body. */
  bytesOf(request: WireRequest): Buffer {
    const body = Buffer.from((request.body ?? "") as Uint8Array);
    return Buffer.concat([Buffer.from(this.headOf(request), "latin1"), body]);
  }

  /** The head with its final empty line; one character per byte. */
  headOf(request: WireRequest): string {
    const headers = this.#headersOf(request);
    const signature = request.authorization === undefined ? this.sign(request, headers) : request.authorization;
    const lines = [...headers, ...(signature === null ? [] : [["Authorization", signature] as const])];
    return [`${request.method} ${request.target} HTTP/1.1`, ...lines.map((line) => line.join(": ")), "", ""].join(
      "\r\n",
    );
  }

  sign(request: WireRequest, headers: readonly Pair[] = this.#headersOf(request)): string {
    const mark = request.target.indexOf("?");
    const path = (mark < 0 ? request.target : request.target.slice(0, mark)).replace(/^http:\/\/[^/]*/, "");
    const parameters = mark < 0 ? [] : parametersOf(request.target.slice(mark + 1));
    const signed = headers.filter(([name]) => !["content-range", "expect"].includes(name.toLowerCase()));
    const now = this.nowSeconds();
    const key = { ...this.identity, signTime: `${now};${now + 1200}`, ...request.key };
    return authorizationOf(
      { method: request.method, path, headers: signed, parameters },
      key,
      request.dialect ?? python,
    );
  }

  // --- the requests that most tests begin with ---

  createVault(vault: string): Promise<Reply> {
    return this.send({ method: "PUT", target: `/-/vaults/${vault}` });
  }

  uploadRequest(vault: string, body: Uint8Array, headers: Readonly<Record<string, string>> = {}): WireRequest {
    return { method: "POST", target: `/-/vaults/${vault}/archives`, body, headers: { ...hashesOf(body), ...headers } };
  }

  /** Uploads and returns the archive's id. */
  async upload(vault: string, body: Uint8Array, headers: Readonly<Record<string, string>> = {}): Promise<string> {
    return idOf(await this.send(this.uploadRequest(vault, body, headers)), "x-cas-archive-id");
  }

  async initiateUpload(vault: string, partSizeBytes: number, description?: string): Promise<string> {
    const headers = {
      "x-cas-part-size": String(partSizeBytes),
      ...(description === undefined ? {} : { "x-cas-archive-description": description }),
    };
    const reply = await this.send({ method: "POST", target: `/-/vaults/${vault}/multipart-uploads`, headers });
    return idOf(reply, "x-cas-multipart-upload-id");
  }

  partRequest(vault: string, upload: string, body: Uint8Array, first: number): WireRequest {
    const contentRange = `bytes ${first}-${first + body.length - 1}/*`;
    return {
      method: "PUT",
      target: `/-/vaults/${vault}/multipart-uploads/${upload}`,
      body,
      headers: { ...hashesOf(body), "Content-Range": contentRange },
    };
  }

  putPart(vault: string, upload: string, body: Uint8Array, first: number): Promise<Reply> {
    return this.send(this.partRequest(vault, upload, body, first));
  }

  complete(vault: string, upload: string, sizeBytes: number, treeHash: string): Promise<Reply> {
    return this.send({
      method: "POST",
      target: `/-/vaults/${vault}/multipart-uploads/${upload}`,
      headers: { "x-cas-archive-size": String(sizeBytes), "x-cas-sha256-tree-hash": treeHash },
    });
  }

  jobRequest(vault: string, order: object | string): WireRequest {
    const body = typeof order === "string" ? order : JSON.stringify(order);
    return { method: "POST", target: `/-/vaults/${vault}/jobs`, body };
  }

  /** Starts a job and returns its id. */
  async startJob(vault: string, order: object): Promise<string> {
    return idOf(await this.send(this.jobRequest(vault, order)), "x-cas-job-id");
  }

  get(target: string, headers: Readonly<Record<string, string>> = {}): Promise<Reply> {
    return this.send({ method: "GET", target, headers });
  }

  #headersOf(request: WireRequest): Pair[] {
    const given = Object.entries(request.headers ?? {});
    const has = (name: string) => given.some(([other]) => other.toLowerCase() === name);
    const length = Buffer.byteLength(request.body ?? "");
    return [
      ...(has("host") ? [] : [["Host", host] as const]),
      ...(has("content-length") || request.withoutLength ? [] : [["Content-Length", String(length)] as const]),
      ...given,
    ];
  }
}

/** The decoded query, by the rules of forms. */
export function parametersOf(query: string): Pair[] {
  return [...new URLSearchParams(query)];
}

function idOf(reply: Reply, header: string): string {
  const id = reply.header(header);
  if (id === undefined) throw new Error(`No ${header} in the answer ${reply.status} ${reply.body}`);
  return id;
}
