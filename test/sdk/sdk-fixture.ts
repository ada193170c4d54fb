/** A server on a temporary directory and an SDK that talks to it; the clock of both is moved by hand. */

import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { CASClient, type CASClientOptions, CasAPI, Vault } from "../../src/sdk/index.js";
import { credentials } from "../server/cas-client.js";
import { LocalServer, type LocalServerOptions } from "../server/local-server.js";

const { secretId, secretKey } = credentials;

export class SdkServer implements AsyncDisposable {
  readonly client: CASClient;
  readonly api: CasAPI;

  private constructor(readonly server: LocalServer) {
    this.client = this.clientWith();
    this.api = new CasAPI(this.client);
  }

  static async start(options?: LocalServerOptions): Promise<SdkServer> {
    return new SdkServer(await LocalServer.start(options));
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.server.running.port}`;
  }

  /** Another client of the same server; close it. */
  clientWith(options: Partial<CASClientOptions> = {}): CASClient {
    const now = () => new Date(this.server.clock.now());
    return new CASClient({ endpoint: this.endpoint, secretId, secretKey, now, ...options });
  }

  vault(name = "photos"): Promise<Vault> {
    return Vault.create(this.api, name);
  }

  /** Moves the server's clock. */
  async pass(durationMs: number): Promise<void> {
    await this.server.clock.advance(durationMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api.close();
    await this.server[Symbol.asyncDispose]();
  }
}

/** A server that answers as a test says, and an SDK that talks to it; `requests` is what it was asked, in order. */
export class ScriptedServer implements AsyncDisposable {
  private constructor(
    readonly api: CasAPI,
    readonly requests: IncomingMessage[],
    readonly close: () => Promise<void>,
  ) {}

  static async start(listener: RequestListener, options: Partial<CASClientOptions> = {}): Promise<ScriptedServer> {
    const requests: IncomingMessage[] = [];
    const server = createServer((request, response) => {
      requests.push(request);
      request.resume();
      listener(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const endpoint = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const api = new CasAPI(new CASClient({ endpoint, secretId, secretKey, ...options }));
    return new ScriptedServer(api, requests, async () => {
      await api.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
  }

  get client(): CASClient {
    return this.api.client;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

export async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

export async function bytesOf(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await collected(body));
}
