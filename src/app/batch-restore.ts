/**
 * `casfs restore`: many files at once. What it would cost, ordering it, and how far it is.
 *
 * The recalls belong to nobody: who stops waiting leaves them going on, and asking for the same files again joins them.
 */

import type { ContentCache } from "../cache/content-cache.js";
import { byteCount } from "../domain/bytes.js";
import { describeError } from "../domain/errors.js";
import type { ArchiveKey, VaultName } from "../domain/ids.js";
import { type Clock, seconds } from "../domain/time.js";
import { AbortScope, abortable } from "../lib/abort-scope.js";
import type { PriceTable } from "../protocol/prices.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { ColdArchive } from "../restore/ports.js";
import type { RecallStatus } from "../restore/recall.js";
import type { RestoreManager } from "../restore/restore-manager.js";
import type { ArchiveJob } from "../restore/retrieval-plan.js";
import type { ContentRecord, InodeRecord } from "../vfs/catalog-port.js";
import type { ColdOpens } from "../vfs/cold-opens.js";
import type { PathFailure, RestorePlan, RestoreProgress, RestoreRequest, RestoreResult } from "./control-api.js";
import type { MountPaths, NamedFile } from "./mount-paths.js";
import { RangeRestore, type RangeRestoreParts } from "./range-restore.js";
import { RestoreTally } from "./restore-tally.js";

export interface BatchRestoreParts extends RangeRestoreParts {
  readonly cache: ContentCache;
  readonly recalls: RestoreManager;
  readonly coldOpens: ColdOpens;
  readonly paths: MountPaths;
  readonly prices: PriceTable;
  readonly clock: Clock;
  /** The mount's own tier. */
  readonly tier: RetrievalTier;
  /** Whether the service costs nothing and is as fast as it was told to be. */
  readonly isLocal: boolean;
}

/** One call of `restore`, for those who want to know how far it is. */
interface Batch {
  readonly archives: Map<ArchiveKey, ColdArchive>;
  files: number;
  bytes: number;
  landed: number;
  landedBytes: number;
  failed: number;
}

type JobLookup = (archive: ColdArchive) => ArchiveJob | undefined;

/** How long the service may take to list its jobs before a price is said without them. */
const listingPatienceMs = seconds(20);
/** Recalls that begin in one turn of the event loop; how many run is up to the recall pipeline. */
const recallsPerTurn = 16;

export class BatchRestore {
  readonly #parts: BatchRestoreParts;
  readonly #ranges: RangeRestore;
  readonly #batches = new Map<string, Batch>();

  constructor(parts: BatchRestoreParts) {
    this.#parts = parts;
    this.#ranges = new RangeRestore(parts);
  }

  /** See `ControlApi.readRestored`. */
  read(request: Parameters<RangeRestore["read"]>[0]): ReturnType<RangeRestore["read"]> {
    return this.#ranges.read(request);
  }

  /** A service that does not answer soon makes the price an upper bound, and no error. */
  async plan(request: RestoreRequest): Promise<RestorePlan> {
    const patience = new AbortScope();
    this.#parts.clock.sleep(listingPatienceMs, { signal: patience.signal }).then(
      () => patience.abort(),
      () => {},
    );
    try {
      return await this.#plan(request, patience.signal);
    } finally {
      patience.abort();
    }
  }

  async #plan(request: RestoreRequest, signal: AbortSignal): Promise<RestorePlan> {
    const { prices, isLocal, paths } = this.#parts;
    const tally = new RestoreTally({ prices, isLocal, wanted: request.tier, usual: this.#parts.tier });
    const vaults = new Map<VaultName, Promise<JobLookup | undefined>>();
    const jobsIn = (vault: VaultName) => {
      const listed = vaults.get(vault) ?? this.#jobsIn(vault, signal);
      vaults.set(vault, listed);
      return listed;
    };
    if (request.range !== undefined) return this.#ranges.plan(request, jobsIn);
    for await (const { record } of paths.files(request.paths, request)) await this.#count(record, tally, jobsIn);
    return tally.plan((await Promise.all(vaults.values())).every((jobs) => jobs !== undefined));
  }

  async #count(
    { content, sizeBytes }: InodeRecord,
    tally: RestoreTally,
    jobsIn: (vault: VaultName) => Promise<JobLookup | undefined>,
  ): Promise<void> {
    const { cache, recalls } = this.#parts;
    if (content?.archive == null) return tally.here("local");
    if (cache.has(content.archive)) return tally.here("cached");
    const archive = this.#coldArchive(content);
    if (archive === undefined) return tally.unreadable(byteCount(sizeBytes));
    const recall = recalls.status(archive.key);
    // One that ends with its reader is paid for because of this restore, so it has its price.
    if (recall?.isCertain) {
      const isReady = recall.state === "landing" || recall.state === "landed";
      return tally.cold(archive.sizeBytes, { tier: recall.tier, isReady, isOurs: true });
    }
    const job = (await jobsIn(archive.vault))?.(archive);
    const underWay = job && { tier: job.tier, isReady: job.status === "succeeded", isOurs: false };
    tally.cold(archive.sizeBytes, underWay);
  }

  /** undefined when the service does not say. */
  async #jobsIn(vault: VaultName, signal: AbortSignal): Promise<JobLookup | undefined> {
    if (this.#parts.isLocal) return () => undefined;
    return abortable(this.#parts.recalls.jobsIn(vault), signal).catch(() => undefined);
  }

  /** undefined when its bytes are not to be had. */
  #coldArchive(content: ContentRecord): ColdArchive | undefined {
    try {
      return this.#parts.coldOpens.coldArchive(content);
    } catch {
      return undefined;
    }
  }

  async restore(request: RestoreRequest & { readonly wait: boolean; readonly batch?: string }, signal: AbortSignal) {
    if (request.range !== undefined) return this.#ranges.restore(request, signal);
    const batch: Batch = { archives: new Map(), files: 0, bytes: 0, landed: 0, landedBytes: 0, failed: 0 };
    if (request.batch !== undefined) this.#batches.set(request.batch, batch);
    try {
      return await this.#restore(request, batch, signal);
    } finally {
      if (request.batch !== undefined) this.#batches.delete(request.batch);
    }
  }

  /** null: that call has ended, or was never made. */
  progress(id: string): RestoreProgress | null {
    const batch = this.#batches.get(id);
    if (batch === undefined) return null;
    const { files, bytes, landed, failed } = batch;
    const progress = {
      files,
      bytes,
      landed,
      failed,
      landedBytes: batch.landedBytes,
      queued: 0,
      ordered: 0,
      landing: 0,
    };
    let expectedAt: number | null = null;
    for (const key of batch.archives.keys()) {
      const status = this.#parts.recalls.status(key);
      if (status === undefined) continue;
      progress[phaseOf(status)] += 1;
      progress.landedBytes += status.landedBytes;
      if (status.expectedAt !== null) expectedAt = Math.max(expectedAt ?? 0, status.expectedAt);
    }
    // What is queued has no time yet, and neither has a service that does as it was told.
    const isKnown = expectedAt !== null && progress.queued === 0 && !(this.#parts.isLocal && progress.landing === 0);
    return { ...progress, expectedAt: isKnown ? new Date(expectedAt!).toISOString() : null };
  }

  async #restore(
    request: RestoreRequest & { readonly wait: boolean },
    batch: Batch,
    signal: AbortSignal,
  ): Promise<RestoreResult> {
    const failures: PathFailure[] = [];
    const recalls: Promise<void>[] = [];
    for await (const file of this.#parts.paths.files(request.paths, request)) {
      if (!this.#parts.coldOpens.isCold(file.record.content)) continue;
      recalls.push(this.#restoreOne(file, request.tier, batch, failures));
      // The file system has its turn in between.
      if (recalls.length % recallsPerTurn === 0) await new Promise(setImmediate);
      signal.throwIfAborted();
    }
    if (request.wait) await abortable(Promise.all(recalls), signal);
    return { started: recalls.length, landed: request.wait ? batch.landed : 0, failed: failures };
  }

  async #restoreOne(
    { path, record }: NamedFile,
    tier: RetrievalTier | undefined,
    batch: Batch,
    failures: PathFailure[],
  ): Promise<void> {
    try {
      const archive = this.#parts.coldOpens.coldArchive(record.content!);
      batch.files += 1;
      batch.bytes += archive.sizeBytes;
      batch.archives.set(archive.key, archive);
      const wish = { tier: tier ?? this.#parts.tier, origin: "restore", faster: tier !== undefined } as const;
      await this.#parts.recalls.recall(archive, wish);
      batch.landed += 1;
      batch.landedBytes += archive.sizeBytes;
      batch.archives.delete(archive.key);
    } catch (error) {
      batch.failed += 1;
      failures.push({ path, reason: describeError(error) });
    }
  }
}

function phaseOf({ state }: RecallStatus): "queued" | "ordered" | "landing" {
  if (state === "queued") return "queued";
  return state === "landing" || state === "landed" ? "landing" : "ordered";
}
