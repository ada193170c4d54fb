/** A server, a proxy that breaks what its plan says, and a client behind the proxy. */

import { httpCasService } from "../../src/client/http-cas-service.js";
import { retryingService } from "../../src/client/retrying-service.js";
import { throttledService } from "../../src/client/throttled-service.js";
import { type ArchiveId, type VaultName, vaultName } from "../../src/domain/ids.js";
import type { Clock } from "../../src/domain/time.js";
import { readInventoryJson } from "../../src/protocol/inventory-wire.js";
import type { Operation } from "../../src/protocol/routes.js";
import type { CasService, UploadDescription } from "../../src/protocol/service.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import type { InventoryEntry } from "../../src/restore/ports.js";
import { credentials } from "../server/cas-client.js";
import { LocalServer } from "../server/local-server.js";
import { FaultPlan, type Rule } from "../support/fault-plan.js";
import { type Exchange, FaultProxy } from "../support/fault-proxy.js";
import { PassedDeadlines } from "../support/passed-deadlines.js";
import { newArchive, readAll } from "../support/test-bytes.js";

export const vault: VaultName = vaultName("photos");

type HttpService = ReturnType<typeof httpCasService>;

export class FaultFixture implements AsyncDisposable {
  /** The server's time. Sleeping takes none of the real one: it moves the server's ahead. */
  readonly clock: Clock;
  /** Through the proxy, one request for each call. It gives up where the proxy is silent, at once, and nowhere else. */
  readonly service: HttpService;
  /** Past the proxy: what the server holds in truth. */
  readonly direct: HttpService;
  readonly #deadlines = new PassedDeadlines();

  private constructor(
    readonly server: LocalServer,
    readonly proxy: FaultProxy,
  ) {
    this.clock = movingClock(server);
    const shared = { credentials, clock: this.clock };
    this.service = httpCasService({ ...shared, endpoint: proxy.url });
    this.direct = httpCasService({ ...shared, endpoint: server.running.url });
    proxy.onSilence = (silence) => void this.#deadlines.pass(silence);
  }

  /** With the vault `vault`. Jobs are done at once. */
  static async create(): Promise<FaultFixture> {
    const retrievalMs = { expedited: 0, standard: 0, bulk: 0, inventory: 0 };
    const server = await LocalServer.start({ retrievalMs });
    const fixture = new FaultFixture(server, await FaultProxy.start(server.running.port));
    await fixture.direct.createVault(vault);
    return fixture;
  }

  plan(...rules: readonly Rule[]): void {
    this.proxy.plan = new FaultPlan(rules);
  }

  /** The client as a mount has it: bounded, and repeating what failed for a passing reason. */
  get patient(): CasService {
    const throttled = throttledService(this.service, { limits: { transfersMax: 8, callsMax: 8 }, clock: this.clock });
    return retryingService(throttled, { clock: this.clock, random: () => 0.5 });
  }

  /** The requests for one operation that the server carried out, whether or not the client got to know. */
  carriedOut(operation: Operation): Exchange[] {
    return this.proxy.exchanges.filter((one) => one.operation === operation && one.carriedOut);
  }

  /** All archives of the vault, by a fresh inventory. */
  async archives(): Promise<InventoryEntry[]> {
    const job = await this.direct.initiateJob(vault, { action: "retrieve-inventory", format: "json" });
    const output = await this.direct.getJobOutput(vault, job, undefined);
    const entries: InventoryEntry[] = [];
    for await (const batch of readInventoryJson(output.body)) entries.push(...batch);
    return entries;
  }

  /** How many archives of the vault have these bytes; each of them is read. @throws Error when one has others. */
  async copiesOf(bytes: Buffer): Promise<number> {
    const { treeHash } = digestOf(bytes);
    const copies = (await this.archives()).filter((entry) => entry.treeHash === treeHash);
    for (const { archiveId } of copies) {
      if (!(await this.bytesOf(archiveId)).equals(bytes)) throw new Error(`Archive ${archiveId} has other bytes`);
    }
    return copies.length;
  }

  async openUploads(): Promise<readonly UploadDescription[]> {
    return (await this.direct.listMultipartUploads(vault)).items;
  }

  /** Puts an archive there behind the proxy's back. */
  stored(bytes: Uint8Array): Promise<ArchiveId> {
    return this.direct.uploadArchive(vault, newArchive(bytes));
  }

  /** A finished retrieval of the archive. */
  retrieval(archiveId: ArchiveId) {
    const request = { action: "retrieve-archive", archiveId, tier: "standard", description: "" } as const;
    return this.direct.initiateJob(vault, request);
  }

  /** The bytes of an archive as the server would give them to anybody. */
  async bytesOf(archive: ArchiveId): Promise<Buffer> {
    const output = await this.direct.getJobOutput(vault, await this.retrieval(archive), undefined);
    return readAll(output.body);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#deadlines[Symbol.dispose]();
      await this.service.close();
      await this.direct.close();
      await this.proxy[Symbol.asyncDispose]();
    } finally {
      await this.server[Symbol.asyncDispose]();
    }
  }
}

/** Several sleepers wake in the order in which they lay down; each moves the clock to its own end at least. */
function movingClock({ clock }: LocalServer): Clock {
  let moved = Promise.resolve();
  return {
    now: () => clock.now(),
    sleep: async (duration, { signal } = {}) => {
      const wakeAt = clock.now() + duration;
      moved = moved.then(() => (signal?.aborted ? undefined : clock.advance(Math.max(0, wakeAt - clock.now()))));
      await moved;
      signal?.throwIfAborted();
    },
  };
}
