/**
 * Where a mount or a command finds the archive service: somewhere else, in a process of this machine, or in its own.
 *
 * Relies on: a data directory being served by one process at a time, which publishes its address.
 */

import { httpCasService } from "../client/http-cas-service.js";
import type { ServiceChoice } from "../config/config.js";
import { type Credentials, localCredentials } from "../config/credentials.js";
import { CasfsError, ServiceError, UsageError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import { ms } from "../domain/time.js";
import { startEmbeddedServer } from "./embedded-server.js";
import { serverAddress } from "./server-address.js";
import { systemClock } from "./system-clock.js";

export interface ServicePlace extends AsyncDisposable {
  /** `http://HOST:PORT`, for now. */
  readonly url: string;
  /** The same each time, also for a local service whose port changes. */
  readonly identity: string;
  readonly credentials: Credentials;
  /** Of a service on this machine, which bills nothing; null for one somewhere else. */
  readonly dataDirectory: string | null;
  /** For a place that ends with another process: what has taken its place then. */
  readonly reopen?: () => Promise<ServicePlace>;
}

/** A server that is just starting has the directory but no address yet. */
const startingAttempts = 20;
const startingPauseMs = ms(100);

/**
 * The service of `choice`: a local one is joined where it runs, else runs in this process until the place is disposed.
 *
 * @throws CasfsError when the data directory cannot be used.
 */
export async function sharedServicePlace(choice: ServiceChoice, observer: Observer): Promise<ServicePlace> {
  if (choice.kind === "remote") return remotePlace(choice);
  const { directory } = choice;
  for (let attempt = 1; ; attempt++) {
    const running = await runningPlace(directory);
    if (running !== undefined) return { ...running, reopen: () => sharedServicePlace(choice, observer) };
    try {
      return await ownServicePlace(choice, observer);
    } catch (error) {
      const isBusy = error instanceof CasfsError && error.kind === "busy";
      if (!isBusy || attempt === startingAttempts) throw error;
    }
    await systemClock.sleep(startingPauseMs);
  }
}

/** The same without looking for one that runs: a local service lives and ends with this place. */
export async function ownServicePlace(choice: ServiceChoice, observer: Observer): Promise<ServicePlace> {
  if (choice.kind === "remote") return remotePlace(choice);
  const embedded = await startEmbeddedServer(choice.directory, observer);
  const { url, credentials } = embedded;
  const close = () => embedded[Symbol.asyncDispose]();
  return { ...identified(choice.directory), url, credentials, [Symbol.asyncDispose]: close };
}

function remotePlace({ endpoint, credentials }: Extract<ServiceChoice, { readonly kind: "remote" }>): ServicePlace {
  return {
    url: endpoint,
    identity: endpoint,
    credentials,
    dataDirectory: null,
    async [Symbol.asyncDispose]() {},
  };
}

/** Undefined when no server answers to the key of the directory. @throws ServiceError when one refuses that key. */
async function runningPlace(directory: string): Promise<ServicePlace | undefined> {
  const address = await serverAddress(directory);
  if (address === undefined) return undefined;
  const { url, pid } = address;
  const credentials = await localCredentials(directory);
  const { appId, secretId, secretKey } = credentials;
  const service = httpCasService({ endpoint: url, appId, credentials: { secretId, secretKey }, clock: systemClock });
  try {
    await service.listVaults({ limit: 1 });
    return { ...identified(directory), url, credentials, async [Symbol.asyncDispose]() {} };
  } catch (error) {
    if (!(error instanceof ServiceError) || error.fault !== "denied") return undefined;
    throw new UsageError(`Cannot use ${directory}: process ${pid} serves it with another access key`, {
      cause: error,
      hint: `Give --endpoint ${url}, and the key of that server in CASFS_SECRET_ID and CASFS_SECRET_KEY`,
    });
  } finally {
    await service.close();
  }
}

const identified = (directory: string) => ({ identity: `local:${directory}`, dataDirectory: directory });
