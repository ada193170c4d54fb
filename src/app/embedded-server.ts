/**
 * The local CAS service inside a mount's process, on a thread of its own: its hashing and fsyncs must not delay the
 * file system, and it must not outlive the mount.
 */

import { Worker } from "node:worker_threads";
import { type Credentials, localCredentials } from "../config/credentials.js";
import { type CasfsError, type ErrorKind, FileSystemError } from "../domain/errors.js";
import type { CasfsEvent, Observer } from "../domain/events.js";
import { workerEntry } from "../lib/worker-entry.js";

export interface EmbeddedServer extends AsyncDisposable {
  readonly url: string;
  readonly credentials: Credentials;
}

/** What the thread says to the mount. */
export type ServerMessage =
  | { readonly type: "ready"; readonly url: string }
  | { readonly type: "failed"; readonly kind: ErrorKind; readonly message: string; readonly hint: string | undefined }
  | { readonly type: "event"; readonly event: CasfsEvent };

export interface ServerThreadOptions {
  readonly directory: string;
}

/** @throws CasfsError when the directory cannot be used; "busy" when another process serves it. */
export async function startEmbeddedServer(directory: string, observer: Observer): Promise<EmbeddedServer> {
  const credentials = await localCredentials(directory);
  const options: ServerThreadOptions = { directory };
  const worker = new Worker(workerEntry(import.meta.url, "./embedded-server-thread.js"), { workerData: options });
  // Listened to from the start: a thread that has died by itself would not tell again.
  const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  const url = await ready(worker, observer);
  return {
    url,
    credentials,
    async [Symbol.asyncDispose]() {
      worker.postMessage("close");
      await ended;
    },
  };
}

function ready(worker: Worker, observer: Observer): Promise<string> {
  return new Promise((resolve, reject) => {
    worker.on("message", (message: ServerMessage) => {
      if (message.type === "ready") resolve(message.url);
      else if (message.type === "event") observer(message.event);
      else reject(failure(message));
    });
    worker.on("error", (error) => {
      observer({ type: "warning", message: `The embedded service has failed: ${error}` });
      reject(error);
    });
  });
}

function failure({ kind, message, hint }: Extract<ServerMessage, { readonly type: "failed" }>): CasfsError {
  return new FileSystemError(kind, message, hint === undefined ? {} : { hint });
}
