/** The thread of the embedded service; see `embedded-server.ts`. */

import { parentPort, workerData } from "node:worker_threads";
import { loadServeConfig } from "../config/load-config.js";
import { CasfsError, describeError } from "../domain/errors.js";
import { invariant } from "../lib/invariant.js";
import type { ServerMessage, ServerThreadOptions } from "./embedded-server.js";
import { startConfiguredServer } from "./server-app.js";

const { directory } = workerData as ServerThreadOptions;
invariant(parentPort !== null, "the embedded service runs in a worker thread");
const port = parentPort;
const say = (message: ServerMessage) => port.postMessage(message);

try {
  // The defaults of `casfs serve`, on a free port of the loopback interface.
  const flags = { data: directory, listen: "127.0.0.1:0" };
  const config = await loadServeConfig({ flags, environment: {}, home: directory, currentDirectory: directory });
  const server = await startConfiguredServer(config, (event) => say({ type: "event", event }));
  port.once("message", () => void server.close().then(() => process.exit(0)));
  say({ type: "ready", url: server.url });
} catch (error) {
  const { kind, hint } = error instanceof CasfsError ? error : { kind: "invalid" as const, hint: undefined };
  say({ type: "failed", kind, message: describeError(error), hint });
  port.close();
}
