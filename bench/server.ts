/** The servers of the rows without a mount: `casfs serve`, and a plain one that only moves bytes. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Background, background, casfsProgram, until } from "./command.js";
import { held } from "./held.js";
import { peakBytes } from "./memory.js";

export interface Server {
  readonly url: string;
  /** The largest amount of memory that it has held at a time. */
  peakBytes(): number;
  close(): Promise<void>;
}

/** As the programs in `bench/programs` sign. */
export const access = { appId: "1250000000", secretId: "bench", secretKey: "bench-key" };

const startsWithinMs = 60_000;

/** `casfs serve` on what is kept in `place`; jobs are done at once. */
export function startService(place: string): Promise<Server> {
  const keys = ["--app-id", access.appId, "--secret-id", access.secretId, "--secret-key", access.secretKey];
  const times = ["--retrieval", "expedited=0s,standard=0s,bulk=0s,inventory=0s"];
  const where = ["--listen", "127.0.0.1:0", "--data", serviceData(place)];
  return started([casfsProgram, "serve", ...where, ...keys, ...times], join(place, "service.log"));
}

/** The options with which `casfs mount` uses the service at `url`. */
export function serviceOptions(url: string): readonly string[] {
  return ["--endpoint", url, "--secret-id", access.secretId, "--secret-key", access.secretKey];
}

/** Where the service of `place` keeps its data. */
export function serviceData(place: string): string {
  return join(place, "service");
}

/** Plain node:http: a PUT becomes a synced file in `place`, a GET sends it back. */
export function startPlainServer(place: string): Promise<Server> {
  const program = fileURLToPath(new URL("programs/plain-server.js", import.meta.url));
  return started([program, place], join(place, "server.log"));
}

async function started(args: readonly string[], log: string): Promise<Server> {
  const server = background(process.execPath, args, log);
  const url = () => /listening on (\S+)/.exec(server.output())?.[1];
  await until(() => server.hasEnded() || url() !== undefined, { withinMs: startsWithinMs, what: server.output });
  const known = url();
  if (known === undefined) throw new Error(`${args.join(" ")} ended before it had started: ${server.output()}`);
  return held({ url: known, peakBytes: () => peakBytes(server.pid), close: () => stop(server) });
}

async function stop(server: Background): Promise<void> {
  server.kill();
  await until(server.hasEnded, { withinMs: startsWithinMs, what: () => "a server that was killed is still there" });
}
