/** A server on a temporary directory with a clock that tests move by hand. */

import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningServer, type ServerOptions, startServer } from "../../src/server/server.js";
import { FakeClock } from "../support/fake-clock.js";
import { CasClient, credentials } from "./cas-client.js";

export const hour = 3_600_000;
/** Not a whole second: dates are shown in milliseconds and compared in seconds. */
export const startMs = Date.parse("2024-05-06T07:08:09.123Z");

export type LocalServerOptions = Partial<Omit<ServerOptions, "clock">> & { readonly clock?: FakeClock };

export class LocalServer implements AsyncDisposable {
  private constructor(
    readonly directory: string,
    readonly clock: FakeClock,
    readonly running: RunningServer,
    readonly client: CasClient,
    readonly warnings: string[],
  ) {}

  static async start(options: LocalServerOptions = {}): Promise<LocalServer> {
    const directory = options.dataDirectory ?? (await mkdtemp(join(tmpdir(), "casfs-server-")));
    const clock = options.clock ?? new FakeClock({ startMs });
    const warnings: string[] = [];
    const running = await startServer({
      host: "127.0.0.1",
      port: 0,
      ...credentials,
      region: "ap-chengdu",
      retrievalMs: { expedited: 1000, standard: 4 * hour, bulk: 8 * hour, inventory: 3 * hour },
      inventoryIntervalMs: 0,
      outputLifetimeMs: 24 * hour,
      uploadLifetimeMs: 24 * hour,
      strictSignature: false,
      clockSkewMs: 300_000,
      clock,
      observer: (event) => event.type === "warning" && warnings.push(event.message),
      ...options,
      dataDirectory: directory,
    });
    const client = new CasClient(running.port, () => Math.floor(clock.now() / 1000));
    return new LocalServer(directory, clock, running, client, warnings);
  }

  /** Stops it and starts another on the same data and clock. */
  async restarted(options: LocalServerOptions = {}): Promise<LocalServer> {
    await this.stop();
    return LocalServer.start({ ...options, dataDirectory: this.directory, clock: this.clock });
  }

  async stop(): Promise<void> {
    this.client.close();
    await this.running.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** All files that hold bytes, temporary ones included. */
export async function bodyFiles(directory: string): Promise<string[]> {
  const entries = await readdir(join(directory, "bodies"), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}
