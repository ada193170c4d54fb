/** `casfs serve`: the local CAS service as a process of its own. */

import { mkdir } from "node:fs/promises";
import { type AccountEntry, readAccounts } from "../config/accounts-file.js";
import type { ServeConfig } from "../config/config.js";
import { type Credentials, localCredentials } from "../config/credentials.js";
import { describeError, UsageError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import { seconds } from "../domain/time.js";
import { clockSkewSecondsDefault } from "../protocol/limits.js";
import { type RunningServer, startServer } from "../server/server.js";
import { publishAddress } from "./server-address.js";
import { systemClock } from "./system-clock.js";

export interface RunServerOptions {
  readonly observer: Observer;
  /** Its abort stops the server in order. */
  readonly signal: AbortSignal;
  readonly onReady: (url: string) => void;
}

/** Resolves when the server has stopped. @throws UsageError when data directory or address cannot be used. */
export async function runServer(config: ServeConfig, options: RunServerOptions): Promise<void> {
  const server = await startConfiguredServer(config, options.observer);
  options.onReady(server.url);
  await aborted(options.signal);
  await server.close();
}

/** @throws UsageError when data directory or address cannot be used. */
export async function startConfiguredServer(config: ServeConfig, observer: Observer): Promise<RunningServer> {
  await mkdir(config.dataDirectory, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw new UsageError(`Cannot use data directory ${config.dataDirectory}: ${describeError(error)}`, {
      cause: error,
    });
  });
  const credentials = config.credentials ?? (await localCredentials(config.dataDirectory));
  const accounts = config.accounts === undefined ? [] : await readAccounts(config.accounts, [credentials]);
  const server = await startOrExplain(config, { credentials, accounts }, observer);
  // Only an aid for commands that look for it; on a full disk, archives can be read all the same.
  const address = await publishAddress(config.dataDirectory, server.url).catch((error: unknown) => {
    observer({ type: "warning", message: `Cannot publish the address of the service: ${describeError(error)}` });
  });
  const close = () => {
    address?.[Symbol.dispose]();
    return server.close();
  };
  return { url: server.url, port: server.port, close };
}

async function startOrExplain(
  config: ServeConfig,
  { credentials, accounts }: { readonly credentials: Credentials; readonly accounts: readonly AccountEntry[] },
  observer: Observer,
): Promise<RunningServer> {
  try {
    return await startServer({
      dataDirectory: config.dataDirectory,
      host: config.listen.host,
      port: config.listen.port,
      appId: credentials.appId,
      secretId: credentials.secretId,
      secretKey: credentials.secretKey,
      accounts,
      region: config.region,
      retrievalMs: config.retrieval,
      inventoryIntervalMs: config.inventoryInterval,
      outputLifetimeMs: config.outputLifetime,
      uploadLifetimeMs: config.uploadLifetime,
      lenientPartSize: config.lenientPartSize,
      singleUploadBytesMax: config.singleUploadMax,
      notifyHosts: config.notifyHosts,
      objectStore: config.objectStore,
      strictSignature: config.strictSignature,
      clockSkewMs: seconds(clockSkewSecondsDefault),
      clock: systemClock,
      observer,
    });
  } catch (error) {
    throw explain(config, error);
  }
}

function explain({ listen: { host, port } }: ServeConfig, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "EADDRINUSE") {
    return new UsageError(`Cannot listen on ${host}:${port}: the port is taken`, {
      cause: error,
      hint: "Give another --listen HOST:PORT; port 0 takes a free one",
    });
  }
  if (code === "EACCES" || code === "EADDRNOTAVAIL") {
    return new UsageError(`Cannot listen on ${host}:${port}: ${describeError(error)}`, { cause: error });
  }
  return error;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
