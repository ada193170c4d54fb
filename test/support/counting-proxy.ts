/** An HTTP proxy in front of a CAS server that counts requests and can hold some of them up. */

import { createServer, request as httpRequest, type Server } from "node:http";
import type { AddressInfo } from "node:net";

export interface ProxiedRequest {
  readonly method: string;
  readonly path: string;
}

export class CountingProxy implements AsyncDisposable {
  /** Requests that were answered by the server, in the order of their answers. */
  readonly answered: ProxiedRequest[] = [];
  /** Called before a request is passed on; what it awaits delays the request. */
  onRequest: (request: ProxiedRequest) => Promise<void> = async () => {};
  readonly #server: Server;

  private constructor(targetPort: number) {
    this.#server = createServer(async (incoming, outgoing) => {
      const seen = { method: incoming.method ?? "", path: incoming.url ?? "" };
      await this.onRequest(seen);
      const forwarded = httpRequest({
        host: "127.0.0.1",
        port: targetPort,
        method: incoming.method,
        path: incoming.url,
        headers: incoming.rawHeaders,
      });
      forwarded.on("response", (answer) => {
        this.answered.push(seen);
        outgoing.writeHead(answer.statusCode ?? 500, answer.rawHeaders);
        answer.pipe(outgoing);
      });
      forwarded.on("error", () => outgoing.destroy());
      incoming.on("error", () => forwarded.destroy());
      incoming.pipe(forwarded);
    });
  }

  static async start(targetPort: number): Promise<CountingProxy> {
    const proxy = new CountingProxy(targetPort);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  count(method: string, path: RegExp): number {
    return this.answered.filter((one) => one.method === method && path.test(one.path)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
