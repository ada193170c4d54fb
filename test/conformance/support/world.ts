/** A server with a clock of the test's, a client that knows only the document, and names that nobody has used yet. */

import { hour, LocalServer, type LocalServerOptions } from "../../server/local-server.js";
import { WireClient } from "./wire-client.js";

export { hour } from "../../server/local-server.js";

export const identity = {
  appId: "1250000000",
  secretId: "conformanceSecretId",
  secretKey: "conformance/Secret+Key==",
};

export class World implements AsyncDisposable {
  readonly wire: WireClient;
  #names = 0;

  private constructor(readonly server: LocalServer) {
    this.wire = this.client(identity);
  }

  static async start(options: LocalServerOptions = {}): Promise<World> {
    return new World(await LocalServer.start({ ...identity, ...options }));
  }

  /** A client with a key of its own. */
  client(key: { readonly secretId: string; readonly secretKey: string }): WireClient {
    return new WireClient(this.server.running.port, key, () => Math.floor(this.server.clock.now() / 1000));
  }

  /** A new vault; returns its name. */
  async vault(): Promise<string> {
    const name = this.freshName();
    await this.wire.createVault(name);
    return name;
  }

  freshName(): string {
    this.#names += 1;
    return `Vault_${this.#names}.x-1`;
  }

  /** Lets every retrieval of the default server become ready. */
  finishJobs(): Promise<void> {
    return this.server.clock.advance(9 * hour);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.server[Symbol.asyncDispose]();
  }
}

/** Waits until `look` finds something; for what the server does on its own. */
export async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error("It did not happen");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Waits until the job whose path is `target` has succeeded or failed; its description then. */
export function completed({ wire }: World, target: string) {
  return eventually(async () => {
    const json = (await wire.get(target)).json();
    return json.Completed ? json : undefined;
  });
}
