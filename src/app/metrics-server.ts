/** `--metrics HOST:PORT`: what Prometheus scrapes, at /metrics. Answers nothing else, and changes nothing. */

import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { ListenAddress } from "../config/config.js";
import { describeError, UsageError } from "../domain/errors.js";
import type { Metrics } from "../observability/metrics.js";

export interface MetricsServer extends AsyncDisposable {
  /** `HOST:PORT` where it really listens. */
  readonly address: string;
}

const headersTimeoutMs = 10_000;

/** @throws UsageError when nothing can listen there. */
export async function serveMetrics(listen: ListenAddress, metrics: Metrics): Promise<MetricsServer> {
  const server = createServer(
    { headersTimeout: headersTimeoutMs, requestTimeout: headersTimeoutMs },
    (request, response) => {
      if (request.method !== "GET" || request.url?.split("?", 1)[0] !== "/metrics") {
        response.writeHead(404).end("There is only GET /metrics\n");
        return;
      }
      metrics.text().then(
        (text) => response.writeHead(200, { "content-type": metrics.contentType }).end(text),
        (error: unknown) => response.writeHead(500).end(`${describeError(error)}\n`),
      );
    },
  );
  await listening(server, listen);
  const { host } = listen;
  const bound = (server.address() as AddressInfo).port;
  return {
    address: `${host.includes(":") ? `[${host}]` : host}:${bound}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function listening(server: Server, { host, port }: ListenAddress): Promise<void> {
  server.listen({ host, port });
  await once(server, "listening").catch((cause: unknown) => {
    throw new UsageError(`Cannot serve metrics on ${host}:${port}: ${describeError(cause)}`, {
      cause,
      hint: "Give --metrics another port; 0 takes a free one",
    });
  });
}
