/** What the command line asks of a running mount: see `control-api.ts`. */

import type { ContentCache } from "../cache/content-cache.js";
import type { HashPool } from "../cache/hash-pool.js";
import type { CacheLayout } from "../cache/layout.js";
import type { PartialContents } from "../cache/partial-contents.js";
import type { StagingBudget } from "../cache/staging-budget.js";
import type { Catalog } from "../catalog/catalog.js";
import type { TrashSummary } from "../catalog/trash-table.js";
import { CancelledError, describeError, FileSystemError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import { type ArchiveKey, type ContentId, type InodeNumber, isVaultName, type VaultName } from "../domain/ids.js";
import { type Clock, type Instant, type Milliseconds, ms, seconds } from "../domain/time.js";
import { abortable } from "../lib/abort-scope.js";
import type { PriceTable } from "../protocol/prices.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { InventorySync } from "../restore/inventory-sync.js";
import type { RecallBudget } from "../restore/recall-budget.js";
import type { RestoreManager } from "../restore/restore-manager.js";
import type { Streamer } from "../upload/streamer.js";
import type { UploadQueue, UploadStatus } from "../upload/upload-queue.js";
import type { StreamStatus } from "../upload/upload-stream.js";
import type { FileSystem } from "../vfs/filesystem.js";
import { BatchRestore } from "./batch-restore.js";
import type {
  ControlApi,
  EvictResult,
  FsckReport,
  MountPath,
  PathFailure,
  RestorePlan,
  RestoreProgress,
  RestoreRequest,
  StatusReport,
  TakeOverResult,
  UploadReport,
  VaultReport,
  WaitResult,
} from "./control-api.js";
import { CostSurvey } from "./cost-survey.js";
import type { CostReport } from "./cost-tally.js";
import { runFsck } from "./fsck.js";
import type { LedgerReport } from "./ledger-report.js";
import type { MountPaths, NamedFile } from "./mount-paths.js";
import { RecallStatusReports } from "./recall-status.js";

export interface MountControlParts {
  readonly catalog: Catalog;
  readonly cache: ContentCache;
  readonly partial: Pick<PartialContents, "landedBytes" | "openPartial">;
  readonly budget: StagingBudget;
  readonly uploads: UploadQueue;
  readonly streams: Pick<Streamer, "snapshot">;
  readonly recalls: RestoreManager;
  readonly recallBudget: RecallBudget;
  readonly inventories: InventorySync;
  readonly fileSystem: FileSystem;
  readonly paths: MountPaths;
  readonly layout: CacheLayout;
  readonly hashPool: HashPool;
  readonly bootId: string;
  /** Drops a cached copy whose bytes are wrong, here and in the kernel's memory. */
  readonly dropDamaged: (archive: ArchiveKey) => Promise<void>;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly about: Pick<StatusReport, "mountpoint" | "pid" | "stateDirectory" | "service">;
  readonly tier: RetrievalTier;
  /** `--partial-recall`; null: files are recalled whole. */
  readonly partialOverBytes: number | null;
  readonly prices: PriceTable;
  /** The one vault that is shown; null for all. */
  readonly vault: VaultName | null;
  readonly cacheBytesMax: number;
  /** Whether the service, when it was asked last, did not have a vault that the catalog knows. */
  readonly isGone: (vault: VaultName) => boolean;
  /** How long `wait` and `drain` bear failures of an upload that pass by themselves. */
  readonly uploadPatienceMs: Milliseconds;
}

/** How long the kernel may take to tell that a file whose close() has returned is not open any more. */
const releaseWithinMs = seconds(2);
const releasePollMs = ms(5);

export class MountControl implements ControlApi {
  readonly #parts: MountControlParts;
  readonly #startedAt: Instant;
  readonly #batches: BatchRestore;
  readonly #recallReports: RecallStatusReports;
  readonly #survey: CostSurvey;

  constructor(parts: MountControlParts) {
    this.#parts = parts;
    const { coldOpens } = parts.fileSystem;
    const isLocal = parts.about.service.local;
    this.#batches = new BatchRestore({ ...parts, coldOpens, isLocal });
    this.#survey = new CostSurvey({
      ...parts,
      isFree: parts.about.service.local,
      placeOf: (archive) => {
        if (parts.cache.has(archive)) return "here";
        return parts.recalls.status(archive) === undefined ? "cold" : "recalling";
      },
    });
    this.#recallReports = new RecallStatusReports({
      ...parts,
      nameOfArchive: (archive) => this.#nameOfArchive(archive),
      nameOfInode: (ino) => parts.paths.nameOf(ino),
    });
    this.#startedAt = parts.clock.now();
  }

  async status(): Promise<StatusReport> {
    const { about, catalog, cache, budget, cacheBytesMax, fileSystem } = this.#parts;
    const unarchived = catalog.contents.unarchived();
    const deletes = catalog.deletes.pending();
    const usage = cache.usage();
    return {
      ...about,
      startedAt: iso(this.#startedAt),
      staged: {
        files: unarchived.length,
        bytes: sum(unarchived.map((content) => content.sizeBytes)),
        ...budget.usage(),
        room: fileSystem.room.state,
      },
      uploads: this.#uploads(),
      recalls: this.#recallReports.recalls(),
      failedRecalls: this.#recallReports.failed(),
      waiting: await this.#recallReports.waiting(),
      recallBudget: this.#recallReports.budget(),
      cache: {
        files: usage.contents,
        bytes: usage.usedBytes,
        limitBytes: cacheBytesMax,
        pinned: catalog.cached.load().filter((copy) => copy.pinned).length,
        partialFiles: usage.partialContents,
        partialBytes: usage.partialBytes,
      },
      vaults: catalog.vaults().map(({ name, visibility }) => this.#vault(name, visibility === "visible")),
      deletes: { pending: deletes.length, lastError: deletes.find((one) => one.error !== null)?.error ?? null },
      trash: trashReport(catalog.trashTable.summary()),
      missing: {
        files: catalog.missing.fileCount(),
        paths: catalog.missing.files(missingPathsMax).map((ino) => this.#parts.paths.nameOf(ino)),
      },
      suspects: unarchived
        .filter((content) => content.interrupted)
        .map((content) => ({ path: this.#nameOf(content.id), reason: "interrupted: kept here and not uploaded" })),
    };
  }

  async wait({ paths }: { readonly paths: readonly MountPath[] }, signal: AbortSignal): Promise<WaitResult> {
    const waiting: Promise<WaitOutcome>[] = [];
    for await (const file of this.#parts.paths.files(paths)) {
      if (file.record.content === null) continue;
      waiting.push(this.#waitFor(file, file.record.content.id, signal));
    }
    return collect(await Promise.all(waiting));
  }

  async drain(_request: Record<string, never>, signal: AbortSignal): Promise<WaitResult> {
    const { catalog } = this.#parts;
    const waiting = catalog.contents.unarchived().map((content) => {
      const record = catalog.inode(content.ino);
      // Superseded or nameless versions are not sent; the newest is what counts.
      if (record?.content?.id !== content.id || record.nlink === 0) return undefined;
      return this.#waitFor({ path: this.#parts.paths.nameOf(content.ino), record }, content.id, signal);
    });
    return collect(await Promise.all(waiting.filter((one) => one !== undefined)));
  }

  async evict({ paths }: { readonly paths: readonly MountPath[] }): Promise<EvictResult> {
    let evicted = 0;
    let bytes = 0;
    const kept: PathFailure[] = [];
    for await (const { path, record } of this.#parts.paths.files(paths)) {
      const { content } = record;
      const partialBytes = content?.archive == null ? 0 : this.#parts.partial.landedBytes(content.archive);
      if (content === null || (partialBytes === 0 && this.#parts.fileSystem.coldOpens.isCold(content))) continue;
      try {
        await this.#parts.fileSystem.extendedAttributes.evict(record);
        evicted += 1;
        bytes += partialBytes > 0 ? partialBytes : record.sizeBytes;
      } catch (error) {
        kept.push({ path, reason: describeError(error) });
      }
    }
    return { evicted, bytes, kept };
  }

  async setPinned(request: { readonly paths: readonly MountPath[]; readonly pinned: boolean }) {
    let files = 0;
    for await (const { record } of this.#parts.paths.files(request.paths)) {
      if (record.content?.archive == null) continue;
      await this.#parts.cache.setPinned(record.content.archive, request.pinned);
      files += 1;
    }
    return { files };
  }

  planRestore(request: RestoreRequest): Promise<RestorePlan> {
    return this.#batches.plan(request);
  }

  restore(request: RestoreRequest & { readonly wait: boolean; readonly batch?: string }, signal: AbortSignal) {
    return this.#batches.restore(request, signal);
  }

  readRestored(request: { readonly path: MountPath; readonly start: number; readonly length: number }) {
    return this.#batches.read(request);
  }

  async restoreProgress({ batch }: { readonly batch: string }): Promise<RestoreProgress | null> {
    return this.#batches.progress(batch);
  }

  cost({ paths }: { readonly paths: readonly MountPath[] }): Promise<CostReport> {
    return this.#survey.cost(paths);
  }

  async ledger({ since }: { readonly since: string | null }): Promise<LedgerReport> {
    return this.#survey.ledger(since);
  }

  async takeOverVault({ vault: name }: { readonly vault: string }): Promise<TakeOverResult> {
    const vault = this.#knownVault(name);
    const { catalog, uploads, inventories, observer } = this.#parts;
    const deletes = catalog.deletes.pending().filter((one) => one.vault === vault).length;
    const other = await catalog.takeOver(vault);
    if (other === null) return { otherWriter: null, uploads: 0, deletes: 0 };
    observer({ type: "vault-taken-over", vault });
    const held = uploads.snapshot().filter((upload) => upload.vault === vault && upload.state === "retrying");
    for (const { content } of held) uploads.expedite(content);
    // What the other one did last is shown; what is there by then is history.
    inventories.refresh(vault, {}).catch(() => {}); // reported where it happens
    return { otherWriter: other.id, uploads: held.length, deletes };
  }

  async refreshInventory(request: { readonly vault: string; readonly wait: boolean }, signal: AbortSignal) {
    const vault = this.#knownVault(request.vault);
    const { wait } = request;
    const refreshed = this.#parts.inventories.refresh(vault, {});
    refreshed.catch(() => {}); // reported where it happens
    if (wait) await abortable(refreshed, signal);
    return { merged: wait };
  }

  #knownVault(name: string): VaultName {
    if (isVaultName(name) && this.#parts.catalog.vault(name) !== undefined) return name;
    throw new FileSystemError("not-found", `There is no vault ${name} in this mount`);
  }

  fsck(request: { readonly verify: boolean }, signal: AbortSignal): Promise<FsckReport> {
    const { catalog, layout, hashPool, bootId, clock, dropDamaged: drop } = this.#parts;
    return runFsck({ check: catalog.check(), layout, hashPool, bootId, clock, drop, mounted: true }, request, signal);
  }

  async #waitFor(file: NamedFile, content: ContentId, signal: AbortSignal): Promise<WaitOutcome> {
    const { catalog, uploads } = this.#parts;
    await this.#untilReleased(file.record.ino, signal);
    const stored = catalog.contents.find(content);
    if (stored === undefined || stored.phase === "archived") return { archived: true };
    const left = (reason: string): WaitOutcome => ({ archived: false, left: { path: file.path, reason } });
    if (stored.phase === "writing") return left("it is open for writing");
    if (stored.interrupted) return left("its writing was interrupted: write it again, or remove it");
    if (this.#parts.fileSystem.schedule.isTemporary(file.record.ino)) return left(temporaryReason);
    uploads.expedite(content);
    try {
      await uploads.whenArchived(content, { signal, patienceMs: this.#parts.uploadPatienceMs });
      return { archived: true };
    } catch (error) {
      if (signal.aborted) throw error;
      if (catalog.contents.find(content)?.phase === "archived") return { archived: true };
      if (error instanceof CancelledError) return left("it was changed or removed meanwhile");
      return left(`its upload failed, and will be tried again: ${describeError(error)}`);
    }
  }

  // After `cp a /mnt/vault && casfs wait /mnt/vault` the file would else be open for writing every now and then.
  async #untilReleased(ino: InodeNumber, signal: AbortSignal): Promise<void> {
    const { clock, fileSystem } = this.#parts;
    const deadline = clock.now() + releaseWithinMs;
    while (fileSystem.contents.handles.file(ino)?.isClosing && clock.now() < deadline) {
      await clock.sleep(releasePollMs, { signal });
    }
  }

  #uploads(): UploadReport[] {
    const streams = this.#parts.streams.snapshot().map((stream) => streamReport(this.#nameOf(stream.content), stream));
    const uploads = this.#parts.uploads.snapshot().map((upload) => ({
      path: this.#nameOf(upload.content),
      state: this.#isHeld(upload) ? "held" : upload.state,
      sizeBytes: upload.sizeBytes,
      sentBytes: upload.sentBytes,
      parts: upload.totalParts,
      partsSent: upload.sentParts,
      attempts: upload.attempts,
      lastError: upload.lastError ?? null,
      nextAttemptAt: upload.nextAttemptAt === null ? null : iso(upload.nextAttemptAt),
    }));
    return [...streams, ...uploads];
  }

  #isHeld({ vault, state }: UploadStatus): boolean {
    return state === "retrying" && vault !== undefined && this.#parts.catalog.heldBecause(vault) !== undefined;
  }

  #vault(name: VaultName, visible: boolean): VaultReport {
    const { mergedAtMs, job, error } = this.#parts.catalog.vaultTable.inventoryState(name);
    const inventory = job !== null ? "running" : (error ?? (mergedAtMs === null ? "none" : "merged"));
    const inventoryAt = mergedAtMs === null ? null : new Date(mergedAtMs).toISOString();
    const readOnly = this.#parts.catalog.heldBecause(name)?.message ?? null;
    return { name, visible, inventory, inventoryAt, readOnly, gone: this.#parts.isGone(name) };
  }

  #nameOf(content: ContentId): string {
    const ino = this.#parts.catalog.contents.find(content)?.ino;
    return ino === undefined ? `content ${content}` : this.#parts.paths.nameOf(ino);
  }

  #nameOfArchive(archive: ArchiveKey): string {
    const ino = this.#parts.catalog.contents.inodeOfArchive(archive);
    return ino === undefined ? `archive ${archive}` : this.#parts.paths.nameOf(ino);
  }
}

const missingPathsMax = 20;
const temporaryReason = "its name is a temporary one: rename it, or it is uploaded a day after it was closed";

type WaitOutcome = { readonly archived: true } | { readonly archived: false; readonly left: PathFailure };

function collect(outcomes: readonly WaitOutcome[]): WaitResult {
  return {
    archived: outcomes.filter((outcome) => outcome.archived).length,
    left: outcomes.flatMap((outcome) => (outcome.archived ? [] : outcome.left)),
  };
}

function iso(instant: Instant): string {
  return new Date(instant).toISOString();
}

/** Of a file that is still written. */
function streamReport(path: string, stream: StreamStatus): UploadReport {
  const { sizeBytes, sentParts, totalParts, attempts, lastError, nextAttemptAt } = stream;
  return {
    path,
    state: "streaming",
    sizeBytes,
    sentBytes: sentParts * stream.partSizeBytes,
    parts: totalParts,
    partsSent: sentParts,
    attempts,
    lastError: lastError ?? null,
    nextAttemptAt: nextAttemptAt === null ? null : iso(nextAttemptAt),
  };
}

function trashReport({ files, bytes, nextPurgeAt }: TrashSummary): StatusReport["trash"] {
  return { files, bytes, nextPurgeAt: nextPurgeAt === null ? null : iso(nextPurgeAt) };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
