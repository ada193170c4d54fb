/** An HTTP server of a few lines that answers as a test tells it, however wrong. */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Script = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

export interface ScriptedServer {
  readonly url: string;
  /** Requests seen so far. */
  readonly requests: IncomingMessage[];
  close(): Promise<void>;
}

/** Gives each request to the next script; the last one answers all that follow. */
export async function scriptedServer(...scripts: readonly Script[]): Promise<ScriptedServer> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    response.on("error", () => undefined);
    request.on("error", () => undefined);
    const script = scripts[Math.min(requests.length, scripts.length - 1)]!;
    requests.push(request);
    void script(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { url: `http://127.0.0.1:${port}`, requests, close };
}

/** Reads the whole request, then answers. */
export function answering(status: number, headers: Record<string, string> = {}, body = ""): Script {
  return async (request, response) => {
    for await (const _ of request);
    response.writeHead(status, { "x-cas-requestId": "request-1", ...headers });
    response.end(body);
  };
}

export function answeringJson(value: unknown, status = 200): Script {
  return answering(status, { "content-type": "application/json" }, JSON.stringify(value));
}
