/**
 * Brings a vault's inventory into the catalog: finds or starts the job, waits, reads the output as a stream.
 *
 * Relies on: the output of a job being the same each time it is fetched, so that a broken download is taken up again
 * behind the entries that were read.
 * Never: merges anything but a complete inventory. A job that somebody else started may be limited to some dates,
 * which its description does not show, so only jobs that carry our own description are joined.
 */

import { createHash } from "node:crypto";
import { CancelledError, describeError, isMissing, isTransient, ServiceError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { JobId, VaultName } from "../domain/ids.js";
import { type Clock, type Instant, ms } from "../domain/time.js";
import { AbortScope, abortable } from "../lib/abort-scope.js";
import { type BackoffLimits, backoffDelayMs } from "../lib/backoff.js";
import { readInventoryJson } from "../protocol/inventory-wire.js";
import type { CasService, JobDescription, JobOutput } from "../protocol/service.js";
import { listAllJobs } from "./job-list.js";
import type { JobPoller } from "./job-poller.js";
import type { InventoryCatalog, InventoryEntry, InventoryMerge, InventoryOutcome } from "./ports.js";

export interface InventorySyncParts {
  readonly service: Pick<CasService, "initiateJob" | "listJobs" | "describeJob" | "getJobOutput">;
  readonly catalog: InventoryCatalog;
  readonly poller: Pick<JobPoller, "wait">;
  readonly clock: Clock;
  readonly random: () => number;
  readonly observer: Observer;
}

export interface InventorySyncOptions {
  /** Entries that go to the catalog at a time. */
  readonly batchSize?: number;
  /** Entries of one job; the service's own limit when absent. */
  readonly jobLimit?: number;
}

export interface InventoryResult {
  readonly archives: number;
}

type InventoryJob = Extract<JobDescription, { readonly action: "retrieve-inventory" }>;

const attemptsMax = 6;
const retry: BackoffLimits = { delayMsMin: 1_000, delayMsMax: 60_000 };
/** What the first job of every inventory of ours is called; the same name lets others join it. */
export const inventoryJobDescription = "casfs inventory";

export class InventorySync {
  readonly #parts: InventorySyncParts;
  readonly #options: InventorySyncOptions;
  readonly #running = new Map<VaultName, Promise<InventoryResult>>();
  readonly #closing = new AbortScope();

  constructor(parts: InventorySyncParts, options: InventorySyncOptions = {}) {
    this.#parts = parts;
    this.#options = options;
  }

  /**
   * Resolves when an inventory of `vault` is merged; who asks while one is under way waits for that one. An abort
   * rejects with `signal.reason`, and the inventory goes on.
   *
   * @throws ServiceError, or WireFormatError for an output that is not an inventory.
   */
  async refresh(
    vault: VaultName,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<InventoryResult> {
    this.#closing.signal.throwIfAborted();
    return abortable(this.#running.get(vault) ?? this.#begin(vault), signal);
  }

  /** Stops what is in flight and waits for it; a journaled job is joined at the next start. */
  async close(): Promise<void> {
    this.#closing.abort(new CancelledError("The inventory"));
    await Promise.allSettled(this.#running.values());
  }

  #begin(vault: VaultName): Promise<InventoryResult> {
    const result = this.#run(vault).finally(() => this.#running.delete(vault));
    this.#running.set(vault, result);
    result.catch(() => undefined); // Nobody has to wait; a failure is reported.
    return result;
  }

  async #run(vault: VaultName): Promise<InventoryResult> {
    const startedAt = this.#parts.clock.now();
    try {
      const { archives, missing = 0, heldBecause } = await this.#synchronize(vault);
      const durationMs = this.#parts.clock.now() - startedAt;
      this.#parts.observer({ type: "inventory-merged", vault, archives, durationMs });
      if (missing > 0) this.#parts.observer({ type: "archives-missing", vault, archives: missing });
      if (heldBecause !== undefined) this.#parts.observer({ type: "vault-held", vault, message: heldBecause });
      return { archives };
    } catch (error) {
      if (!this.#closing.signal.aborted) await this.#fail(vault, error);
      throw error;
    }
  }

  async #synchronize(vault: VaultName): Promise<InventoryOutcome> {
    const first = await this.#firstJob(vault);
    const merge = this.#parts.catalog.beginInventory(vault);
    try {
      let takenAt = first.createdAt;
      for (let job: InventoryJob | undefined = first; job !== undefined; job = await this.#nextJob(vault, job)) {
        const pageTakenAt = await this.#readOutput(vault, job, merge);
        // Pages of different days together are only as new as the oldest of them.
        takenAt = Math.min(takenAt, pageTakenAt ?? job.createdAt) as Instant;
      }
      return await merge.merge(takenAt, first.completedAt ?? first.createdAt);
    } catch (error) {
      await merge.discard();
      throw error;
    }
  }

  /** The journaled job when it is still good, else one of ours that runs, else a new one. */
  async #firstJob(vault: VaultName): Promise<InventoryJob> {
    const journaled = this.#parts.catalog.inventoryJob(vault);
    if (journaled !== null) {
      const job = await this.#journaledJob(vault, journaled);
      if (job !== undefined) return job;
    }
    const jobId = await this.#findOrStart(
      vault,
      inventoryJobDescription,
      undefined,
      (job) => job.status === "in-progress",
    );
    await this.#parts.catalog.didRequestInventory(vault, jobId);
    return this.#waitFor(vault, jobId);
  }

  /** The job for what `job` left over; undefined when it was complete. */
  async #nextJob(vault: VaultName, job: InventoryJob): Promise<InventoryJob | undefined> {
    if (job.nextMarker === null) return undefined;
    const description = `${inventoryJobDescription} ${fingerprint(`${job.id} ${job.nextMarker}`)}`;
    const isUsable = (other: JobDescription) => other.status !== "failed";
    return this.#waitFor(vault, await this.#findOrStart(vault, description, job.nextMarker, isUsable));
  }

  /**
   * The answer to Initiate Job may be lost, so the list comes first, before every attempt: a job that was not there
   * at the first is the one we started, and will do even when it has finished by now.
   */
  async #findOrStart(
    vault: VaultName,
    description: string,
    marker: string | undefined,
    isUsable: (job: JobDescription) => boolean,
  ): Promise<JobId> {
    const { service } = this.#parts;
    const { signal } = this.#closing;
    let before: ReadonlySet<JobId> | undefined;
    return this.#retrying(async () => {
      const jobs = await listAllJobs(service, vault, signal);
      before ??= new Set(jobs.map(({ id }) => id));
      const isNew = (job: JobDescription) => before?.has(job.id) === false && job.status !== "failed";
      const found = jobs.find((job) => isOurs(job, description) && (isUsable(job) || isNew(job)));
      return found?.id ?? this.#start(vault, description, marker);
    });
  }

  async #start(vault: VaultName, description: string, marker: string | undefined): Promise<JobId> {
    const { service, observer } = this.#parts;
    const filter = { marker, limit: this.#options.jobLimit };
    const request = { action: "retrieve-inventory", format: "json", filter, description } as const;
    const jobId = await service.initiateJob(vault, request, { signal: this.#closing.signal });
    observer({ type: "inventory-started", vault, jobId });
    return jobId;
  }

  /** undefined when the job failed or was forgotten meanwhile: it is replaced. */
  async #journaledJob(vault: VaultName, jobId: JobId): Promise<InventoryJob | undefined> {
    try {
      const job = await this.#parts.poller.wait(vault, jobId, { signal: this.#closing.signal });
      return job.action === "retrieve-inventory" && job.status === "succeeded" ? job : undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async #waitFor(vault: VaultName, jobId: JobId): Promise<InventoryJob> {
    const job = await this.#parts.poller.wait(vault, jobId, { signal: this.#closing.signal });
    if (job.action === "retrieve-inventory" && job.status === "succeeded") return job;
    throw new ServiceError("unavailable", `Inventory job ${jobId} of vault ${vault} failed: ${job.statusMessage}`);
  }

  /** @returns when the service took this inventory; null when it does not say. */
  async #readOutput(vault: VaultName, job: InventoryJob, merge: InventoryMerge): Promise<Instant | null> {
    let added = 0;
    return this.#retrying(async (progressed) => {
      const output = await this.#parts.service.getJobOutput(vault, job.id, undefined, { signal: this.#closing.signal });
      const batches = readInventoryJson(whole(output));
      let pending: InventoryEntry[] = [];
      let toSkip = added;
      for (;;) {
        const next = await batches.next();
        const fresh = next.done ? [] : next.value.slice(Math.min(toSkip, next.value.length));
        if (!next.done) toSkip -= next.value.length - fresh.length;
        for (const entry of fresh) {
          pending.push(entry);
          if (pending.length < (this.#options.batchSize ?? 1000)) continue;
          await merge.add(pending);
          added += pending.length;
          pending = [];
          progressed();
        }
        if (!next.done) continue;
        if (pending.length > 0) await merge.add(pending);
        return next.value.takenAt;
      }
    });
  }

  /** Repeats `work` while what goes wrong may pass, a bounded number of times without progress. */
  async #retrying<T>(work: (progressed: () => void) => Promise<T>): Promise<T> {
    const { clock, random, observer } = this.#parts;
    const { signal } = this.#closing;
    let failures = 0;
    const progressed = () => {
      failures = 0;
    };
    for (;;) {
      try {
        return await work(progressed);
      } catch (error) {
        signal.throwIfAborted();
        failures += 1;
        if (!isTransient(error) || failures === attemptsMax) throw error;
        observer({ type: "warning", message: `${describeError(error)}; it will be tried again` });
        await clock.sleep(ms(backoffDelayMs(failures, retry, random)), { signal });
      }
    }
  }

  async #fail(vault: VaultName, error: unknown): Promise<void> {
    const message = describeError(error);
    this.#parts.observer({ type: "inventory-failed", vault, message });
    try {
      await this.#parts.catalog.didFailInventory(vault, message);
    } catch (catalogError) {
      const warning = `Cannot record that the inventory of vault ${vault} failed: ${describeError(catalogError)}`;
      this.#parts.observer({ type: "warning", message: warning });
    }
  }
}

/** `body` with an end that is noticed when it comes too early. */
async function* whole(output: JobOutput): AsyncGenerator<Uint8Array> {
  let received = 0;
  for await (const chunk of output.body) {
    received += chunk.length;
    yield chunk;
  }
  if (received >= output.sizeBytes) return;
  throw new ServiceError("connection", `The inventory broke off after ${received} of ${output.sizeBytes} bytes`);
}

function isOurs(job: JobDescription, description: string): boolean {
  return job.action === "retrieve-inventory" && job.format === "json" && job.description === description;
}

function fingerprint(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
