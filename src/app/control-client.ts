/**
 * `ControlApi` of a mount in another process, over the Unix socket in its state directory.
 *
 * Never waits by the clock: a call may take as long as a recall. Failures come back with the kind they had there.
 */

import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { basename, dirname } from "node:path";
import { CancelledError, type CasfsError, FileSystemError, UsageError } from "../domain/errors.js";
import { AbortScope } from "../lib/abort-scope.js";
import { jsonOrUndefined } from "../lib/json-text.js";
import type { ControlApi } from "./control-api.js";
import { addressIn, openSocketDirectory } from "./control-socket.js";
import { type ControlMethod, errorFromMessage } from "./control-wire.js";

/**
 * Asks the mount that listens on `socketPath`; connects anew for every call.
 *
 * Aborting a call's signal rejects with its reason and hangs up, which ends the waiting on the other side; `close`
 * does so with all calls.
 *
 * @param options.mountpoint How messages name the mount; its state directory when absent.
 * @throws UsageError from every call when nobody answers on the socket.
 */
export function controlClient(
  socketPath: string,
  { mountpoint = dirname(socketPath) }: { readonly mountpoint?: string } = {},
): ControlApi & { close(): void } {
  const closing = new AbortController();
  const call = async <T>(method: ControlMethod, body: unknown, signal?: AbortSignal): Promise<T> => {
    using scope = new AbortScope(closing.signal);
    const onAbort = () => scope.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    try {
      return (await exchange({ socketPath, mountpoint, method, body, signal: scope.signal })) as T;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  };
  return {
    status: () => call("status", {}),
    wait: (request, signal) => call("wait", request, signal),
    drain: (request, signal) => call("drain", request, signal),
    evict: (request) => call("evict", request),
    setPinned: (request) => call("setPinned", request),
    planRestore: (request) => call("planRestore", request),
    restore: (request, signal) => call("restore", request, signal),
    readRestored: (request) => call("readRestored", request),
    cost: (request) => call("cost", request),
    ledger: (request) => call("ledger", request),
    takeOverVault: (request) => call("takeOverVault", request),
    refreshInventory: (request, signal) => call("refreshInventory", request, signal),
    restoreProgress: (request) => call("restoreProgress", request),
    fsck: (request, signal) => call("fsck", request, signal),
    close: () => closing.abort(new CancelledError(`A call to the casfs mount at ${mountpoint}`)),
  };
}

/** Whether a process listens on `socketPath`. */
export async function isControlAnswering(socketPath: string): Promise<boolean> {
  const directory = await openSocketDirectory(socketPath).catch(() => undefined);
  if (directory === undefined) return false;
  try {
    return await new Promise<boolean>((resolve) => {
      const socket = connect(addressIn(directory, basename(socketPath)));
      socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
  } finally {
    await directory.close();
  }
}

interface Exchange {
  readonly socketPath: string;
  readonly mountpoint: string;
  readonly method: ControlMethod;
  readonly body: unknown;
  readonly signal: AbortSignal;
}

async function exchange({ socketPath, mountpoint, method, body, signal }: Exchange): Promise<unknown> {
  signal.throwIfAborted();
  let answer: { readonly status: number; readonly text: string };
  try {
    const directory = await openSocketDirectory(socketPath);
    try {
      answer = await post(addressIn(directory, basename(socketPath)), { method, body, signal });
    } finally {
      await directory.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    throw connectionError(mountpoint, error as NodeJS.ErrnoException);
  }
  const message = jsonOrUndefined(answer.text);
  if (answer.status !== 200 || message === undefined) throw errorFromMessage(message);
  return message;
}

function post(
  address: string,
  { method, body, signal }: Pick<Exchange, "method" | "body" | "signal">,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json" };
    const request = httpRequest(
      { socketPath: address, path: `/${method}`, method: "POST", headers, agent: false, signal },
      (response) => readText(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject),
    );
    request.once("error", reject);
    request.end(JSON.stringify(body));
  });
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

function connectionError(mountpoint: string, cause: NodeJS.ErrnoException): CasfsError {
  const what = `Cannot reach the casfs mount at ${mountpoint}`;
  switch (cause.code) {
    case "ENOENT":
    case "ENOTDIR":
    case "ECONNREFUSED":
      return new UsageError(`${what}: it is not running`, {
        cause,
        hint: "Mount it again with `casfs mount`; `casfs unmount` removes what a dead mount has left",
      });
    case "EACCES":
    case "EPERM":
      return new UsageError(`${what}: it belongs to another user`, {
        cause,
        hint: "Run this as that user, or as root",
      });
    default:
      return new FileSystemError("unavailable", `${what}: it ended before it had answered`, { cause });
  }
}
