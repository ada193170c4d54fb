/**
 * Takes the service's messages that a job has ended (`--callback`).
 *
 * They are unsigned and may come from anybody, so they are only hints: the vault's jobs are asked for, and that counts.
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { isIP } from "node:net";
import { UsageError } from "../domain/errors.js";
import type { VaultName } from "../domain/ids.js";
import { jsonOrUndefined } from "../lib/json-text.js";
import { parseVaultQcs } from "../protocol/qcs.js";

/** A job's description; the longest description of a job is 1 KiB. */
const bodyBytesMax = 64 * 1024;
const requestTimeoutMs = 10_000;
const connectionsMax = 64;

/** @throws UsageError when the port of `url` cannot be listened on. */
export async function listenForCallbacks(
  url: string,
  onJobEnded: (vault: VaultName) => void,
): Promise<AsyncDisposable> {
  const { hostname, port, pathname } = new URL(url);
  const server = createServer({ requestTimeout: requestTimeoutMs }, (request, response) => {
    answer(request, response, { pathname, onJobEnded }).catch(() => response.destroy());
  });
  server.maxConnections = connectionsMax;
  // A name is that of a router or a balancer as often as it is ours.
  const host = hostname.replace(/^\[|\]$/g, "");
  const listening = { port: port === "" ? 80 : Number(port), ...(isIP(host) === 0 ? {} : { host }) };
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(listening, resolve)).catch(
    (cause: unknown) => {
      throw new UsageError(`Cannot take notifications at ${url}`, { cause, hint: "Give --callback another port" });
    },
  );
  return {
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { pathname, onJobEnded }: { readonly pathname: string; readonly onJobEnded: (vault: VaultName) => void },
): Promise<void> {
  const isOurs = request.method === "POST" && request.url?.split("?")[0] === pathname;
  const vault = isOurs ? await vaultOf(request) : undefined;
  response.writeHead(vault === undefined ? 400 : 204, { connection: "close" }).end();
  if (vault !== undefined) onJobEnded(vault);
}

async function vaultOf(request: IncomingMessage): Promise<VaultName | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytesMax) return undefined;
    chunks.push(chunk);
  }
  const message = jsonOrUndefined(Buffer.concat(chunks).toString("utf8")) as { readonly VaultQCS?: unknown } | null;
  const name = message?.VaultQCS;
  return typeof name === "string" ? parseVaultQcs(name) : undefined;
}
