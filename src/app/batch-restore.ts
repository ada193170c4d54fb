/**
 * `casfs restore`: many files at once. What it would cost, ordering it, and how far it is.
 *
 * The recalls belong to nobody: who stops waiting leaves them going on, and asking for the same files again joins them.
 */

import type { ContentCache } from "../cache/content-cache.js";
import { describeError } from "../domain/errors.js";
import type { ArchiveKey } from "../domain/ids.js";
import { abortable } from "../lib/abort-scope.js";
import { expeditedSizeBytesMax } from "../protocol/limits.js";
import { type PriceTable, readyIn, retrievalPrice, trafficPrice } from "../protocol/prices.js";
import { type RetrievalTier, retrievalTiers } from "../protocol/service.js";
import type { ColdArchive } from "../restore/ports.js";
import type { RecallStatus } from "../restore/recall.js";
import type { RestoreManager } from "../restore/restore-manager.js";
import { acceptedTier, isFasterTier } from "../restore/retrieval-plan.js";
import type { ColdOpens } from "../vfs/cold-opens.js";
import type { PathFailure, RestorePlan, RestoreProgress, RestoreRequest, RestoreResult } from "./control-api.js";
import type { MountPaths, NamedFile } from "./mount-paths.js";

export interface BatchRestoreParts {
  readonly cache: Pick<ContentCache, "has">;
  readonly recalls: RestoreManager;
  readonly coldOpens: ColdOpens;
  readonly paths: MountPaths;
  readonly prices: PriceTable;
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

/** Recalls that begin in one turn of the event loop; how many run is up to the recall pipeline. */
const recallsPerTurn = 16;

export class BatchRestore {
  readonly #parts: BatchRestoreParts;
  readonly #batches = new Map<string, Batch>();

  constructor(parts: BatchRestoreParts) {
    this.#parts = parts;
  }

  async plan(request: RestoreRequest): Promise<RestorePlan> {
    const { cache, recalls, paths, prices, isLocal } = this.#parts;
    const tier = request.tier ?? this.#parts.tier;
    const counts = { files: 0, bytes: 0, running: 0, slower: 0, tooLarge: 0, cachedFiles: 0, localFiles: 0 };
    const cost = { traffic: 0, tiers: { expedited: 0, standard: 0, bulk: 0 } };
    for await (const { record } of paths.files(request.paths, request)) {
      const archive = record.content?.archive;
      if (archive == null) counts.localFiles += 1;
      else if (cache.has(archive)) counts.cachedFiles += 1;
      else {
        counts.files += 1;
        counts.bytes += record.sizeBytes;
        counts.tooLarge += record.sizeBytes > expeditedSizeBytesMax ? 1 : 0;
        const running = recalls.status(archive);
        if (running !== undefined) counts.running += 1;
        if (running !== undefined && !isSlower(running, request.tier)) continue;
        if (running !== undefined) counts.slower += 1;
        else cost.traffic += trafficPrice(prices, record.sizeBytes);
        for (const each of retrievalTiers) {
          cost.tiers[each] += retrievalPrice(prices, record.sizeBytes, 1, acceptedTier(each, record.sizeBytes));
        }
      }
    }
    const { currency } = prices;
    if (isLocal) return { ...counts, tier, currency, price: 0, trafficPrice: 0, readyInMs: null, otherTiers: [] };
    const others = retrievalTiers.filter((each) => each !== tier);
    const otherTiers = others.map((each) => ({ tier: each, price: cost.tiers[each], readyInMs: readyIn[each] }));
    const price = cost.tiers[tier];
    return { ...counts, tier, currency, price, trafficPrice: cost.traffic, readyInMs: readyIn[tier], otherTiers };
  }

  async restore(request: RestoreRequest & { readonly wait: boolean; readonly batch?: string }, signal: AbortSignal) {
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

/** Whether a second job would be ordered, because somebody asks for a faster tier. */
function isSlower({ archive, tier, state }: RecallStatus, wanted: RetrievalTier | undefined): boolean {
  if (wanted === undefined || state === "landing" || state === "landed") return false;
  return isFasterTier(acceptedTier(wanted, archive.sizeBytes), tier);
}

function phaseOf({ state }: RecallStatus): "queued" | "ordered" | "landing" {
  if (state === "queued") return "queued";
  return state === "landing" || state === "landed" ? "landing" : "ordered";
}
