/** Speaks to a server in raw HTTP: what it sends is exactly what a test says, signed with the protocol's own code. */

import { Agent, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { MIB } from "../../src/domain/bytes.js";
import { authorization } from "../../src/protocol/signature.js";
import { digestOf } from "../../src/protocol/tree-hash.js";

export const credentials = { appId: "1250000000", secretId: "AKIDexample", secretKey: "exampleSecretKey" };

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  json(): any;
}

export interface Call {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  /** Sent as it is; the default is the signature of everything below. */
  readonly authorization?: string | null;
  /** Unix seconds of the signature's window. */
  readonly window?: readonly [number, number];
  readonly secretKey?: string;
  readonly secretId?: string;
}

export class CasClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 32 });

  constructor(
    readonly port: number,
    readonly nowSeconds: () => number,
  ) {}

  close(): void {
    this.#agent.destroy();
  }

  /** `target` is path and query, as sent. */
  call(method: string, target: string, call: Call = {}): Promise<Reply> {
    const body = call.body === undefined ? undefined : Buffer.from(call.body as Uint8Array);
    const headers: Record<string, string> = {
      host: "cas.test",
      ...(body === undefined ? {} : { "content-length": String(body.length) }),
      ...call.headers,
    };
    const signature = call.authorization === undefined ? this.sign(method, target, headers, call) : call.authorization;
    if (signature !== null) headers.authorization = signature;
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        { host: "127.0.0.1", port: this.port, method, path: target, headers, agent: this.#agent },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", reject);
          response.on("end", () => {
            const received = Buffer.concat(chunks);
            const json = () => JSON.parse(received.toString("utf8"));
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: received, json });
          });
        },
      );
      request.on("error", reject);
      request.end(body);
    });
  }

  sign(method: string, target: string, headers: Readonly<Record<string, string>>, call: Call = {}): string {
    const url = new URL(target, "http://cas.test");
    const signed = [
      "host",
      "content-length",
      "x-cas-content-sha256",
      "x-cas-sha256-tree-hash",
      "x-cas-archive-description",
    ];
    const [startSeconds, endSeconds] = call.window ?? [this.nowSeconds() - 10, this.nowSeconds() + 1190];
    return authorization({
      method,
      path: target.split("?")[0]!,
      headers: signed.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]] as const])),
      parameters: [...url.searchParams],
      secretId: call.secretId ?? credentials.secretId,
      key: { secretKey: call.secretKey ?? credentials.secretKey },
      signTime: { startSeconds, endSeconds },
    });
  }

  // --- shorthands for what most tests need ---

  createVault(vault: string): Promise<Reply> {
    return this.call("PUT", `/-/vaults/${vault}`);
  }

  upload(vault: string, content: Uint8Array, headers: Readonly<Record<string, string>> = {}): Promise<Reply> {
    return this.call("POST", `/-/vaults/${vault}/archives`, {
      body: content,
      headers: { ...hashHeaders(content), ...headers },
    });
  }

  async uploaded(vault: string, content: Uint8Array, headers: Readonly<Record<string, string>> = {}): Promise<string> {
    return idOf(await this.upload(vault, content, headers), "x-cas-archive-id");
  }

  async initiateUpload(vault: string, partSizeBytes = MIB, headers: Readonly<Record<string, string>> = {}) {
    const reply = await this.call("POST", `/-/vaults/${vault}/multipart-uploads`, {
      headers: { "x-cas-part-size": String(partSizeBytes), ...headers },
    });
    return idOf(reply, "x-cas-multipart-upload-id");
  }

  putPart(
    vault: string,
    upload: string,
    part: { readonly start: number; readonly content: Uint8Array; readonly headers?: Readonly<Record<string, string>> },
  ): Promise<Reply> {
    const last = part.start + part.content.length - 1;
    return this.call("PUT", `/-/vaults/${vault}/multipart-uploads/${upload}`, {
      body: part.content,
      headers: { "content-range": `bytes ${part.start}-${last}/*`, ...hashHeaders(part.content), ...part.headers },
    });
  }

  complete(vault: string, upload: string, whole: { readonly sizeBytes: number; readonly treeHash: string }) {
    return this.call("POST", `/-/vaults/${vault}/multipart-uploads/${upload}`, {
      headers: { "x-cas-archive-size": String(whole.sizeBytes), "x-cas-sha256-tree-hash": whole.treeHash },
    });
  }

  initiateJob(vault: string, order: object): Promise<Reply> {
    return this.call("POST", `/-/vaults/${vault}/jobs`, { body: JSON.stringify(order) });
  }

  async startedJob(vault: string, order: object): Promise<string> {
    return idOf(await this.initiateJob(vault, order), "x-cas-job-id");
  }

  output(vault: string, job: string, range?: string): Promise<Reply> {
    return this.call("GET", `/-/vaults/${vault}/jobs/${job}/output`, range === undefined ? {} : { headers: { range } });
  }
}

export function hashHeaders(content: Uint8Array): Record<string, string> {
  const { sha256, treeHash } = digestOf(content);
  return { "x-cas-content-sha256": sha256, "x-cas-sha256-tree-hash": treeHash };
}

function idOf(reply: Reply, header: string): string {
  const id = reply.headers[header];
  if (typeof id !== "string") throw new Error(`No ${header} in ${reply.status}: ${reply.body.toString()}`);
  return id;
}
