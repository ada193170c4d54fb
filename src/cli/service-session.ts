/**
 * What every command that talks to the service does around its work: settings, key, connections, Ctrl-C, failures.
 *
 * Loaded only when such a command runs, so that the others start quickly.
 */

import { sharedServicePlace } from "../app/service-place.js";
import { openService, type ServiceStack } from "../app/service-stack.js";
import { type ServiceConfig, serviceShape, transferShape } from "../config/config.js";
import { loadServiceConfig, processSources } from "../config/load-config.js";
import { CancelledError, FileSystemError, ServiceError } from "../domain/errors.js";
import type { CasfsEvent } from "../domain/events.js";
import { printable } from "../lib/printable.js";
import { parseError } from "../protocol/error-wire.js";
import { CasAPI } from "../sdk/cas-api.js";
import { CASClient } from "../sdk/cas-client.js";
import { CASClientError, CASServerError } from "../sdk/cas-errors.js";
import { configured } from "./failure.js";
import { hideSecrets } from "./process-surroundings.js";
import type { Flags } from "./settings-options.js";
import { stopSignals } from "./stop-signals.js";
import type { Terminal } from "./terminal.js";

/** The service as a command sees it. */
export interface ServiceSession {
  readonly api: CasAPI;
  /** The same service, with retries: for transfers. */
  readonly service: ServiceStack["service"];
  readonly config: ServiceConfig;
  /** Names the service; the same each time. */
  readonly identity: string;
  /** Whose vaults these are: an account number, or the public half of the key. */
  readonly account: string;
  /** Whether nothing costs anything, as on this machine. */
  readonly isFree: boolean;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  readonly terminal: Terminal;
  readonly observer: (event: CasfsEvent) => void;
  /** What a person should know when Ctrl-C ends the command from here on. */
  onInterrupt: string | undefined;
}

/** Runs `work` with the service that the settings name; the connections end with it. */
export async function withService(
  flags: object,
  terminal: Terminal,
  work: (session: ServiceSession) => Promise<void>,
): Promise<void> {
  const settings = settingsOf(flags);
  const config = await configured(loadServiceConfig(processSources(settings)));
  hideSecrets(settings, "casfs");
  using stop = stopSignals({ what: "The command", onRepeated: () => process.exit(130) });
  const observer = (event: CasfsEvent) => tellTrouble(event, terminal);
  await using stack = await openService(config, observer, sharedServicePlace);
  const { endpoint, credentials } = stack;
  const client = new CASClient({ endpoint, ...credentials, connections: 2 * config.parallel });
  const session: ServiceSession = {
    api: new CasAPI(client),
    service: stack.service,
    config,
    identity: stack.binding.endpoint,
    account: credentials.appId === "-" ? credentials.secretId : credentials.appId,
    isFree: stack.dataDirectory !== null,
    signal: stop.signal,
    terminal,
    observer,
    onInterrupt: undefined,
  };
  try {
    await work(session);
  } catch (error) {
    if (error instanceof ReaderGone) return;
    if (!stop.signal.aborted) throw error;
    tellInterrupted(session);
  } finally {
    await client.close();
  }
}

/** Runs `call`; what fails is told as "Cannot `attempt`: what the service said". */
export async function attempting<T>(attempt: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw explained(attempt, error);
  }
}

/** The same for a listing that is pulled page by page. */
export async function* attemptingEach<T>(attempt: string, items: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* items;
  } catch (error) {
    throw explained(attempt, error);
  }
}

function explained(attempt: string, error: unknown): unknown {
  if (error instanceof CASServerError) return serverFailure(`Cannot ${attempt}`, error);
  if (error instanceof CASClientError) {
    const hint = "Check that the service is running and that the endpoint is right";
    return new ServiceError("connection", withCannot(attempt, error.message), { cause: error, hint });
  }
  if (error instanceof RangeError) return new FileSystemError("invalid", `Cannot ${attempt}: ${error.message}`);
  return error;
}

/** With the hint that belongs to the code. */
function serverFailure(attempt: string, error: CASServerError): ServiceError {
  const { status, requestId, code, type, message } = error;
  const body = error.content ?? JSON.stringify({ code, type, message });
  return parseError(attempt, { status, body, requestId });
}

/** `error` with what to do about it, when it is a refusal and says nothing itself. */
export function withHint(error: unknown, hint: string): unknown {
  if (!(error instanceof ServiceError) || error.fault !== "refused" || error.hint !== undefined) return error;
  const { fault, message, code, requestId, cause } = error;
  return new ServiceError(fault, message, { code, requestId, cause, hint });
}

const withCannot = (attempt: string, message: string) =>
  message.startsWith("Cannot ") ? message : `Cannot ${attempt}: ${message}`;

/** Only what is a setting; the other options of a command are its own. */
function settingsOf(flags: object): Flags {
  const wanted = new Set([...Object.keys(serviceShape), ...Object.keys(transferShape), "config"]);
  return Object.fromEntries(Object.entries(flags as Flags).filter(([key]) => wanted.has(key)));
}

function tellTrouble(event: CasfsEvent, terminal: Terminal): void {
  if (event.type === "service-retry") terminal.tell(`casfs: ${printable(event.message)}; trying again`);
  if (event.type === "warning") terminal.tell(`casfs: ${printable(event.message)}`);
  if (event.type === "piece-corrupt")
    terminal.tell(`casfs: bytes ${event.start}-${event.end} came damaged; fetching them again`);
}

function tellInterrupted({ terminal, onInterrupt }: ServiceSession): void {
  terminal.showStatus("");
  terminal.tell("casfs: interrupted");
  if (onInterrupt !== undefined) terminal.tell(`hint: ${onInterrupt}`);
  terminal.exitCode = 130;
}

/** What ends a command whose reader, such as `head`, has gone; that is no failure. */
export class ReaderGone extends CancelledError {
  constructor() {
    super("Printing");
  }
}
