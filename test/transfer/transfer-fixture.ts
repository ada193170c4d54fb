/** Transfers between a temporary directory and a service in memory that repeats what fails for a passing reason. */

import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HashPool } from "../../src/cache/hash-pool.js";
import { retryingService } from "../../src/client/retrying-service.js";
import { aroundEachCall } from "../../src/client/wrapped-service.js";
import { type ByteRange, MIB } from "../../src/domain/bytes.js";
import type { CasfsEvent } from "../../src/domain/events.js";
import { type JobId, type VaultName, vaultName } from "../../src/domain/ids.js";
import type { CasService } from "../../src/protocol/service.js";
import type { FileDownloadDeps } from "../../src/transfer/file-download.js";
import { FakeClock } from "../support/fake-clock.js";
import { MemoryCasService } from "../support/memory-cas-service.js";
import { newArchive } from "../support/test-bytes.js";

export const vault: VaultName = vaultName("photos");
/** Of uploads; the smallest that a client uses. */
export const partBytes = 16 * MIB;

export class TransferFixture implements AsyncDisposable {
  readonly clock = new FakeClock({ autoAdvance: true });
  readonly memory = new MemoryCasService({ clock: this.clock });
  readonly hasher = new HashPool({ workers: 2 });
  readonly events: CasfsEvent[] = [];

  private constructor(readonly directory: string) {}

  static async create(): Promise<TransferFixture> {
    const fixture = new TransferFixture(await mkdtemp(join(tmpdir(), "casfs-transfer-")));
    await fixture.memory.createVault(vault);
    return fixture;
  }

  /** Everything that uploads and downloads need. */
  deps(service: CasService = this.memory): FileDownloadDeps & { readonly service: CasService } {
    const { clock, hasher } = this;
    const random = () => 0.5;
    const observer = (event: CasfsEvent) => void this.events.push(event);
    return { service: retryingService(service, { clock, random }), hasher, clock, random, observer };
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  async file(name: string, bytes: Uint8Array): Promise<string> {
    await writeFile(this.path(name), bytes);
    return this.path(name);
  }

  files(): Promise<string[]> {
    return readdir(this.directory);
  }

  /** A finished job that retrieves `bytes`, or a range of them. */
  async retrieval(bytes: Uint8Array, range?: ByteRange): Promise<JobId> {
    const archiveId = await this.memory.uploadArchive(vault, newArchive(bytes));
    return this.memory.initiateJob(vault, { action: "retrieve-archive", archiveId, tier: "standard", range });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hasher.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Calls `effect` when the service is asked for `operation` the given time (1 is the first). */
export function onNthCall(
  memory: MemoryCasService,
  operation: keyof CasService,
  count: number,
  effect: () => Promise<void> | void,
): void {
  let calls = 0;
  memory.onCall = (called) => {
    if (called !== operation) return;
    calls += 1;
    if (calls === count) return effect();
  };
}

/** The service with some of its operations done otherwise. */
export function withCalls(service: CasService, calls: Partial<CasService>): CasService {
  return { ...aroundEachCall(service, (_operation, _options, call) => call()), ...calls };
}
