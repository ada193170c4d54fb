/** What `casfs status` says of recalls: which run, who waits for them, what they may cost, and what was refused. */

import type { ContentCache } from "../cache/content-cache.js";
import type { Catalog } from "../catalog/catalog.js";
import { type ByteRange, byteRange, rangeLength } from "../domain/bytes.js";
import type { ArchiveKey, InodeNumber } from "../domain/ids.js";
import type { Clock, Instant } from "../domain/time.js";
import { isWholeArchive } from "../protocol/archive-window.js";
import type { PriceTable } from "../protocol/prices.js";
import type { RecallStatus } from "../restore/recall.js";
import type { LimitState, RecallBudget } from "../restore/recall-budget.js";
import type { RestoreManager } from "../restore/restore-manager.js";
import type { FileSystem } from "../vfs/filesystem.js";
import type { RefusalCount } from "../vfs/recall-refusals.js";
import type {
  BudgetReport,
  FailedRecallReport,
  RecallLimitReport,
  RecallReport,
  RefusalReport,
  WaitingReport,
} from "./control-api.js";
import { commandLineOf } from "./process-names.js";

const failuresMax = 1000;

interface StatusParts {
  readonly catalog: Pick<Catalog, "recallFailures" | "archive">;
  readonly cache: Pick<ContentCache, "has">;
  readonly clock: Pick<Clock, "now">;
  readonly recalls: Pick<RestoreManager, "snapshot" | "status">;
  readonly recallBudget: RecallBudget;
  readonly fileSystem: Pick<FileSystem, "coldOpens" | "partialReads" | "room" | "refusals">;
  readonly prices: PriceTable;
  readonly nameOfArchive: (archive: ArchiveKey) => string;
  readonly nameOfInode: (ino: InodeNumber) => string;
}

export class RecallStatusReports {
  readonly #parts: StatusParts;

  constructor(parts: StatusParts) {
    this.#parts = parts;
  }

  recalls(): RecallReport[] {
    return this.#parts.recalls.snapshot().map((recall) => ({
      path: this.#parts.nameOfArchive(recall.archive.key),
      archiveId: recall.archive.id,
      ...jobReport(recall),
      origin: recall.origin,
      heldBy: recall.heldBy,
      sizeBytes: rangeLength(recall.window),
      range: isWholeArchive(recall.window, recall.archive.sizeBytes) ? null : recall.window,
      landedBytes: recall.landedBytes,
      startedAt: iso(recall.startedAt),
      lastError: recall.trouble?.message ?? null,
      nextAttemptAt: this.#future(recall.trouble?.nextAttemptAt),
    }));
  }

  failed(): FailedRecallReport[] {
    const { catalog, cache, nameOfArchive } = this.#parts;
    return catalog.recallFailures.latest(failuresMax).flatMap(({ archive, tier, job, failedAt, message }) => {
      const archiveId = catalog.archive(archive)?.id;
      if (archiveId === undefined || cache.has(archive)) return [];
      return { path: nameOfArchive(archive), archiveId, jobId: job, tier, failedAt: iso(failedAt), reason: message };
    });
  }

  #future(at: Instant | undefined): string | null {
    return at === undefined || at <= this.#parts.clock.now() ? null : iso(at);
  }

  async waiting(): Promise<WaitingReport[]> {
    const { fileSystem, recalls } = this.#parts;
    const opens = fileSystem.coldOpens.waiting().map(({ archive, ...open }) => {
      const recall = recalls.status(archive.key);
      return { ...open, for: "recall" as const, recall: recall === undefined ? null : jobReport(recall) };
    });
    const reads = fileSystem.partialReads.waiting().map(({ archive, range, ...read }) => {
      const recall = recalls.status(archive.key, range) ?? recalls.status(archive.key, firstByteOf(range));
      return { ...read, for: "recall" as const, recall: recall === undefined ? null : jobReport(recall) };
    });
    const writers = fileSystem.room.waiting().map((writer) => ({ ...writer, for: "room" as const, recall: null }));
    return Promise.all(
      [...opens, ...reads, ...writers].map(async ({ pid, ino, since, for: what, recall }) => ({
        pid,
        command: await commandLineOf(pid),
        path: this.#parts.nameOfInode(ino),
        since: iso(since),
        for: what,
        recall,
      })),
    );
  }

  budget(): BudgetReport {
    const { recallBudget, prices, fileSystem } = this.#parts;
    const { totals } = fileSystem.refusals;
    return {
      bytes: limitReport(recallBudget.state("bytes")),
      cost: limitReport(recallBudget.state("cost")),
      currency: prices.currency,
      refused: {
        overBudget: totals["over-budget"],
        denied: totals.denied,
        recent: fileSystem.refusals.recent().map(refusalReport),
      },
    };
  }
}

function firstByteOf({ start }: ByteRange): ByteRange {
  return byteRange(start, start + 1);
}

function jobReport({ job, tier, state, expectedAt }: RecallStatus) {
  return { jobId: job, tier, state, expectedAt: isoOrNull(expectedAt) };
}

function limitReport(state: LimitState | null): RecallLimitReport | null {
  if (state === null) return null;
  const { used, max, periodMs, freesAt } = state;
  return { used, limit: max, periodMs, freesAt: isoOrNull(freesAt) };
}

function refusalReport({ at, pid, command, path, sizeBytes, reason, message, count }: RefusalCount): RefusalReport {
  return { at: iso(at), pid, command, path, sizeBytes, reason, message, count };
}

function iso(instant: Instant): string {
  return new Date(instant).toISOString();
}

function isoOrNull(instant: Instant | null): string | null {
  return instant === null ? null : iso(instant);
}
