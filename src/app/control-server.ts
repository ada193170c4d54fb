/**
 * Answers the command line on a Unix socket: HTTP with one path for each method of `ControlApi`.
 *
 * Relies on: one process per state directory, so that a socket which is already there is a dead one's.
 * Never: decides anything; that is the `ControlApi` behind it.
 */

import { chmod, type FileHandle, rename } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { basename } from "node:path";
import { CancelledError, CasfsError, FileSystemError, UsageError } from "../domain/errors.js";
import { removeIfPresent } from "../lib/durable-file.js";
import type { ControlApi } from "./control-api.js";
import { addressIn, openSocketDirectory } from "./control-socket.js";
import { type ControlMethod, type ControlRequest, errorMessage, requestSchemas } from "./control-wire.js";

export interface ControlServer {
  /** Fails the calls that are under way, waits for them to end, and removes the socket. */
  close(): Promise<void>;
}

/** Many paths on one command line; the kernel allows a command line of 2 MiB. */
const requestBytesMax = 16 * 1024 * 1024;

/**
 * Listens on `socketPath` (of any length, mode 0600), replacing what a dead process left there.
 *
 * When a caller goes away, the signal of its call is aborted.
 */
export async function serveControl(options: {
  readonly socketPath: string;
  readonly api: ControlApi;
}): Promise<ControlServer> {
  const directory = await openSocketDirectory(options.socketPath);
  const calls = new RunningCalls(options.api);
  const server = createServer((request, response) => calls.answer(request, response));
  try {
    await listen(server, directory, basename(options.socketPath));
  } catch (error) {
    await directory.close();
    throw error;
  }
  return { close: () => close({ server, calls, directory, socketPath: options.socketPath }) };
}

/** Under a temporary name first: the socket appears in the place of an old one, and with its mode. */
async function listen(server: Server, directory: FileHandle, name: string): Promise<void> {
  const temporary = addressIn(directory, `${name}.${process.pid}`);
  await removeIfPresent(temporary);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(temporary, resolve);
  });
  await chmod(temporary, 0o600);
  await rename(temporary, addressIn(directory, name));
}

async function close(running: {
  readonly server: Server;
  readonly calls: RunningCalls;
  readonly directory: FileHandle;
  readonly socketPath: string;
}): Promise<void> {
  const closed = new Promise((resolve) => running.server.close(resolve));
  await running.calls.end(new FileSystemError("unavailable", "The casfs mount is being unmounted"));
  running.server.closeAllConnections();
  await closed;
  await removeIfPresent(running.socketPath);
  await running.directory.close();
}

const methods: { readonly [M in ControlMethod]: (api: ControlApi, request: unknown, signal: AbortSignal) => unknown } =
  {
    status: (api) => api.status(),
    wait: (api, request, signal) => api.wait(parsed("wait", request), signal),
    drain: (api, _request, signal) => api.drain({}, signal),
    evict: (api, request) => api.evict(parsed("evict", request)),
    setPinned: (api, request) => api.setPinned(parsed("setPinned", request)),
    planRestore: (api, request) => api.planRestore(parsed("planRestore", request)),
    restore: (api, request, signal) => api.restore(parsed("restore", request), signal),
    readRestored: (api, request) => api.readRestored(parsed("readRestored", request)),
    cost: (api, request) => api.cost(parsed("cost", request)),
    ledger: (api, request) => api.ledger(parsed("ledger", request)),
    takeOverVault: (api, request) => api.takeOverVault(parsed("takeOverVault", request)),
    refreshInventory: (api, request, signal) => api.refreshInventory(parsed("refreshInventory", request), signal),
    restoreProgress: (api, request) => api.restoreProgress(parsed("restoreProgress", request)),
    fsck: (api, request, signal) => api.fsck(parsed("fsck", request), signal),
  };

function parsed<M extends ControlMethod>(method: M, request: unknown): ControlRequest<M> {
  const result = requestSchemas[method].safeParse(request);
  if (result.success) return result.data as ControlRequest<M>;
  throw new UsageError(`Cannot understand the request ${method}: ${result.error.issues[0]?.message ?? "not valid"}`);
}

class RunningCalls {
  readonly #api: ControlApi;
  readonly #controllers = new Set<AbortController>();
  readonly #running = new Set<Promise<void>>();
  #ended: CasfsError | undefined;

  constructor(api: ControlApi) {
    this.#api = api;
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const call = this.#answer(request, response).finally(() => this.#running.delete(call));
    this.#running.add(call);
  }

  async end(reason: CasfsError): Promise<void> {
    this.#ended = reason;
    for (const controller of this.#controllers) controller.abort(reason);
    await Promise.all(this.#running);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const controller = new AbortController();
    this.#controllers.add(controller);
    // Also emitted after a complete answer; an abort is then without effect.
    response.once("close", () => controller.abort(new CancelledError("A call of the command line")));
    try {
      const result = await this.#call(request, controller.signal);
      await send(response, 200, result);
    } catch (error) {
      await send(response, error instanceof CasfsError ? 400 : 500, errorMessage(error));
    } finally {
      this.#controllers.delete(controller);
    }
  }

  async #call(request: IncomingMessage, signal: AbortSignal): Promise<unknown> {
    if (this.#ended !== undefined) throw this.#ended;
    const method = (request.url ?? "").slice(1);
    if (request.method !== "POST" || !Object.hasOwn(methods, method)) {
      throw new FileSystemError("not-supported", `Cannot do ${JSON.stringify(method)}: the mount does not know it`, {
        hint: "It may run another version of casfs; unmount it and mount it again",
      });
    }
    return methods[method as ControlMethod](this.#api, await readJson(request), signal);
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > requestBytesMax) throw new UsageError("Cannot take so many paths at once");
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch (cause) {
    throw new UsageError("Cannot understand the request: it is not JSON", { cause });
  }
}

/** Resolves when the answer is handed to the kernel or the caller is gone. */
function send(response: ServerResponse, status: number, body: unknown): Promise<void> {
  if (response.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    response.once("close", resolve);
    response.writeHead(status, { "content-type": "application/json", connection: "close" });
    response.end(JSON.stringify(body), () => resolve());
  });
}
