/**
 * The journals of upload and restore in memory. They outlive the objects that use them, as the catalog outlives a
 * process, and can crash after a step: from then on nothing is journaled, and whoever asks gets `SimulatedCrash`.
 */

import type { CachedRow, CacheIndex, PartialIndex, PartialPiece, PartialRow } from "../../src/cache/ports.js";
import type { ByteRange } from "../../src/domain/bytes.js";
import { type ByteCount, byteCount } from "../../src/domain/bytes.js";
import type { ArchiveId, ArchiveKey, ContentId, JobId, UploadId, VaultName } from "../../src/domain/ids.js";
import type { Instant } from "../../src/domain/time.js";
import type { TreeHashHex } from "../../src/protocol/service.js";
import type {
  ColdArchive,
  InventoryCatalog,
  InventoryEntry,
  InventoryMerge,
  JournaledRecall,
  RecalledBytes,
  RecallIntent,
  RestoreJournal,
} from "../../src/restore/ports.js";
import type {
  ArchivedContent,
  DeleteJournal,
  PendingDelete,
  PendingUpload,
  ReplacedArchive,
  UploadJournal,
  UploadProgress,
} from "../../src/upload/ports.js";
import { nextUploadState, type UploadEvent } from "../../src/upload/upload-state.js";

export class SimulatedCrash extends Error {
  override readonly name = "SimulatedCrash";
  constructor(step: string) {
    super(`The process died after ${step}`);
  }
}

/** Dies after a named step; every later step fails as well, because a dead process writes nothing. */
export class CrashPlan {
  #crashAfter: string | undefined;
  #crashed: SimulatedCrash | undefined;
  readonly steps: string[] = [];

  crashAfter(step: string): void {
    this.#crashAfter = step;
  }

  get hasCrashed(): boolean {
    return this.#crashed !== undefined;
  }

  /** The next process. */
  restart(): void {
    this.#crashAfter = undefined;
    this.#crashed = undefined;
  }

  async step(name: string, change: () => void): Promise<void> {
    await Promise.resolve();
    if (this.#crashed !== undefined) throw this.#crashed;
    change();
    this.steps.push(name);
    if (name !== this.#crashAfter) return;
    this.#crashed = new SimulatedCrash(name);
    throw this.#crashed;
  }
}

interface ContentRow {
  content: ContentId;
  vault: VaultName;
  sizeBytes: ByteCount;
  dueAt: Instant;
  attempts: number;
  progress: UploadProgress;
  state: "sealed" | "claimed" | "archived" | "gone";
  synced: boolean;
  isLost: boolean;
  lastError: string | undefined;
  archived: ArchivedContent | undefined;
  readonly sentParts: Map<string, { range: { start: ByteCount; end: ByteCount }; treeHash: TreeHashHex }>;
}

export class MemoryUploadJournal implements UploadJournal, DeleteJournal {
  readonly crash = new CrashPlan();
  flushes = 0;
  readonly #rows = new Map<ContentId, ContentRow>();
  readonly #abandoned = new Map<UploadId, VaultName>();
  readonly #deletes = new Map<ArchiveId, PendingDelete>();

  seal(content: ContentId, vault: VaultName, sizeBytes: number, dueAt = 0 as Instant): void {
    this.#rows.set(content, {
      content,
      vault,
      sizeBytes: byteCount(sizeBytes),
      dueAt,
      attempts: 0,
      progress: { step: "sealed" },
      state: "sealed",
      synced: false,
      isLost: false,
      lastError: undefined,
      archived: undefined,
      sentParts: new Map(),
    });
  }

  row(content: ContentId): Readonly<ContentRow> {
    return this.#row(content);
  }

  /** The content is deleted or written anew; its upload, if there is one, is abandoned. */
  forget(content: ContentId): void {
    const row = this.#row(content);
    row.state = "gone";
    if ("uploadId" in row.progress) this.#abandoned.set(row.progress.uploadId, row.vault);
  }

  requestDelete(vault: VaultName, archiveId: ArchiveId, dueAt = 0 as Instant): void {
    this.#deletes.set(archiveId, { vault, archiveId, dueAt, attempts: 0 });
  }

  pending(): PendingUpload[] {
    return [...this.#rows.values()].filter(isPending).map(toPending);
  }

  find(content: ContentId): PendingUpload | undefined {
    const row = this.#rows.get(content);
    return row !== undefined && isPending(row) ? toPending(row) : undefined;
  }

  claim(content: ContentId): boolean {
    const row = this.#rows.get(content);
    if (row === undefined || !isPending(row)) return false;
    row.state = "claimed";
    return true;
  }

  describe(content: ContentId): string {
    return `casfs/1 content-${content}`;
  }

  didSync(content: ContentId): Promise<void> {
    return this.crash.step("didSync", () => {
      this.#row(content).synced = true;
    });
  }

  async didNotSync(content: ContentId): Promise<void> {
    this.#row(content).isLost = true;
  }

  /** Files have no former versions here: `vfs/identical.test.ts` is about them. */
  replacedArchives(): readonly ReplacedArchive[] {
    return [];
  }

  async didMatch(): Promise<ArchivedContent | undefined> {
    return undefined;
  }

  willSend(
    content: ContentId,
    intent: { readonly treeHash: TreeHashHex; readonly description: string },
  ): Promise<void> {
    return this.#advance(content, "willSend", "will-send", () => ({ step: "sending", ...intent }));
  }

  willInitiate(
    content: ContentId,
    intent: { readonly partSizeBytes: ByteCount; readonly description: string },
  ): Promise<void> {
    return this.#advance(content, "willInitiate", "will-initiate", () => ({ step: "initiating", ...intent }));
  }

  didInitiate(content: ContentId, { uploadId }: { readonly uploadId: UploadId }): Promise<void> {
    return this.#advance(content, "didInitiate", "did-initiate", (progress) => {
      if (progress.step !== "initiating") throw new Error("didInitiate without willInitiate");
      const { partSizeBytes, description } = progress;
      return { step: "parts", uploadId, partSizeBytes, description };
    });
  }

  didSendPart(content: ContentId, part: Parameters<UploadJournal["didSendPart"]>[1]): Promise<void> {
    return this.crash.step("didSendPart", () => {
      const row = this.#row(content);
      row.attempts = 0;
      row.sentParts.set(`${part.range.start}`, part);
    });
  }

  sentParts(content: ContentId): ReturnType<UploadJournal["sentParts"]> {
    return [...this.#row(content).sentParts.values()];
  }

  /** No file is written while it is uploaded here: `vfs/streaming.test.ts` is about them. */
  droppedParts(): ReturnType<UploadJournal["droppedParts"]> {
    return [];
  }

  async didLoseParts(): Promise<void> {
    throw new Error("Nothing was dropped");
  }

  willComplete(content: ContentId, treeHash: TreeHashHex): Promise<void> {
    return this.#advance(content, "willComplete", "will-complete", (progress) => {
      if (!("uploadId" in progress)) throw new Error("willComplete without an upload id");
      const { uploadId, partSizeBytes, description } = progress;
      return { step: "completing", uploadId, partSizeBytes, description, treeHash };
    });
  }

  didArchive(content: ContentId, archived: ArchivedContent): Promise<void> {
    return this.crash.step("didArchive", () => {
      const row = this.#row(content);
      nextUploadState(row.progress.step, "did-archive");
      row.state = "archived";
      row.archived = archived;
    });
  }

  didLoseUpload(content: ContentId): Promise<void> {
    return this.#advance(content, "didLoseUpload", "did-lose", () => ({ step: "sealed" }));
  }

  didFail(content: ContentId, failure: { readonly message: string; readonly retryAt: Instant }): Promise<void> {
    return this.crash.step("didFail", () => {
      const row = this.#row(content);
      row.attempts += 1;
      row.lastError = failure.message;
      row.dueAt = failure.retryAt;
    });
  }

  abandoned(): { readonly vault: VaultName; readonly uploadId: UploadId }[] {
    return [...this.#abandoned].map(([uploadId, vault]) => ({ uploadId, vault }));
  }

  didAbort(uploadId: UploadId): Promise<void> {
    return this.crash.step("didAbort", () => {
      this.#abandoned.delete(uploadId);
    });
  }

  async flush(): Promise<void> {
    this.flushes += 1;
  }

  isHeld(): boolean {
    return false;
  }

  pendingDeletes(): PendingDelete[] {
    return [...this.#deletes.values()];
  }

  didDelete(archiveId: ArchiveId): Promise<void> {
    return this.crash.step("didDelete", () => {
      this.#deletes.delete(archiveId);
    });
  }

  didFailDelete(archiveId: ArchiveId, _vault: VaultName, failure: { readonly retryAt: Instant }): Promise<void> {
    return this.crash.step("didFailDelete", () => {
      const found = this.#deletes.get(archiveId);
      if (found === undefined) return;
      this.#deletes.set(archiveId, { ...found, dueAt: failure.retryAt, attempts: found.attempts + 1 });
    });
  }

  #advance(
    content: ContentId,
    step: string,
    event: UploadEvent,
    next: (progress: UploadProgress) => UploadProgress,
  ): Promise<void> {
    return this.crash.step(step, () => {
      const row = this.#row(content);
      const progress = next(row.progress);
      if (nextUploadState(row.progress.step, event) !== progress.step) throw new Error(`${step} leads elsewhere`);
      if (progress.step === "sealed" || progress.step === "initiating") row.sentParts.clear();
      row.progress = progress;
    });
  }

  #row(content: ContentId): ContentRow {
    const row = this.#rows.get(content);
    if (row === undefined) throw new Error(`There is no content ${content}`);
    return row;
  }
}

function isPending(row: ContentRow): boolean {
  return !row.isLost && (row.state === "sealed" || row.state === "claimed");
}

function toPending({ content, vault, sizeBytes, dueAt, attempts, progress }: ContentRow): PendingUpload {
  return { content, vault, sizeBytes, dueAt, attempts, progress };
}

export class MemoryRestoreJournal implements RestoreJournal {
  readonly crash = new CrashPlan();
  readonly landed: ArchiveKey[] = [];
  readonly failures = new Map<ArchiveKey, string>();
  readonly #archives = new Map<ArchiveKey, ColdArchive>();
  readonly #unfinished = new Map<
    string,
    RecalledBytes & RecallIntent & { isKept: boolean; jobId: JobId | null; replaced: number }
  >();

  /** The journal looks archives up by key, as the catalog does. */
  know(archive: ColdArchive): ColdArchive {
    this.#archives.set(archive.key, archive);
    return archive;
  }

  unfinished(): JournaledRecall[] {
    return [...this.#unfinished.values()].map((row) => {
      return { ...row, archive: this.#archives.get(row.archive.key)!, requestedAt: 0 as Instant };
    });
  }

  willRequest({ archive, window }: RecalledBytes, intent: RecallIntent): Promise<void> {
    return this.crash.step("willRequest", () => {
      const key = placeOf({ archive, window });
      const replaced = this.#unfinished.get(key)?.replaced ?? 0;
      this.#unfinished.set(key, { archive, window, ...intent, jobId: null, replaced });
    });
  }

  willKeep(bytes: RecalledBytes): Promise<void> {
    return this.crash.step("willKeep", () => {
      this.#unfinished.get(placeOf(bytes))!.isKept = true;
    });
  }

  didWithdraw(bytes: RecalledBytes): Promise<void> {
    return this.crash.step("didWithdraw", () => void this.#unfinished.delete(placeOf(bytes)));
  }

  willReplace(bytes: RecalledBytes): Promise<void> {
    return this.crash.step("willReplace", () => {
      const row = this.#unfinished.get(placeOf(bytes))!;
      row.jobId = null;
      row.replaced += 1;
    });
  }

  didRequest(bytes: RecalledBytes, jobId: JobId): Promise<void> {
    return this.crash.step("didRequest", () => {
      this.#unfinished.get(placeOf(bytes))!.jobId = jobId;
    });
  }

  didLand(bytes: RecalledBytes): Promise<void> {
    return this.crash.step("didLand", () => {
      this.#unfinished.delete(placeOf(bytes));
      this.landed.push(bytes.archive.key);
    });
  }

  didFail(bytes: RecalledBytes, message: string): Promise<void> {
    return this.crash.step("didFail", () => {
      this.#unfinished.delete(placeOf(bytes));
      this.failures.set(bytes.archive.key, message);
    });
  }
}

function placeOf({ archive, window }: RecalledBytes): string {
  return `${archive.key} ${window.start} ${window.end}`;
}

export class MemoryPartialIndex implements PartialIndex {
  readonly rows = new Map<ArchiveKey, PartialRow>();

  load(): PartialRow[] {
    return [...this.rows.values()];
  }

  async addPiece(row: Omit<PartialRow, "pieces">, piece: PartialPiece): Promise<void> {
    const others = this.#outside(row.key, piece);
    this.rows.set(row.key, { ...row, pieces: [...others, piece].sort((a, b) => a.start - b.start) });
  }

  async removePieces(key: ArchiveKey, range: ByteRange): Promise<void> {
    const row = this.rows.get(key);
    if (row !== undefined) this.rows.set(key, { ...row, pieces: this.#outside(key, range) });
  }

  async remove(key: ArchiveKey): Promise<void> {
    this.rows.delete(key);
  }

  async touch(uses: Parameters<PartialIndex["touch"]>[0]): Promise<void> {
    for (const use of uses) {
      const row = this.rows.get(use.key);
      if (row !== undefined) this.rows.set(use.key, { ...row, ...use });
    }
  }

  #outside(key: ArchiveKey, { start, end }: ByteRange): PartialPiece[] {
    return (this.rows.get(key)?.pieces ?? []).filter((piece) => piece.start < start || piece.end > end);
  }
}

export class MemoryCacheIndex implements CacheIndex {
  readonly rows = new Map<ArchiveKey, CachedRow>();
  touches = 0;
  flushes = 0;

  async flush(): Promise<void> {
    this.flushes += 1;
  }

  load(): CachedRow[] {
    return [...this.rows.values()];
  }

  async put(row: CachedRow): Promise<void> {
    this.rows.set(row.key, row);
  }

  async remove(key: ArchiveKey): Promise<void> {
    this.rows.delete(key);
  }

  async touch(uses: Parameters<CacheIndex["touch"]>[0]): Promise<void> {
    this.touches += 1;
    for (const use of uses) {
      const row = this.rows.get(use.key);
      if (row !== undefined) this.rows.set(use.key, { ...row, ...use });
    }
  }
}

export class MemoryInventoryCatalog implements InventoryCatalog {
  readonly crash = new CrashPlan();
  readonly jobs = new Map<VaultName, JobId>();
  readonly failures = new Map<VaultName, string>();
  readonly merged: { readonly vault: VaultName; readonly date: Instant; readonly entries: InventoryEntry[] }[] = [];
  discarded = 0;
  largestBatch = 0;

  beginInventory(vault: VaultName): InventoryMerge {
    const entries: InventoryEntry[] = [];
    return {
      add: async (batch) => {
        this.largestBatch = Math.max(this.largestBatch, batch.length);
        entries.push(...batch);
      },
      merge: async (date) => {
        await this.crash.step("merge", () => {
          this.merged.push({ vault, date, entries });
          this.jobs.delete(vault);
        });
        return { archives: entries.length };
      },
      discard: async () => {
        this.discarded += 1;
      },
    };
  }

  inventoryJob(vault: VaultName): JobId | null {
    return this.jobs.get(vault) ?? null;
  }

  didRequestInventory(vault: VaultName, job: JobId): Promise<void> {
    return this.crash.step("didRequestInventory", () => {
      this.jobs.set(vault, job);
    });
  }

  didFailInventory(vault: VaultName, message: string): Promise<void> {
    return this.crash.step("didFailInventory", () => {
      this.failures.set(vault, message);
      this.jobs.delete(vault);
    });
  }
}
