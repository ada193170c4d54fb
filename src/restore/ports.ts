/** What recalling needs besides `CasService`: the journal, a place for the bytes, and the catalog for inventories. */

import type { ByteCount, ByteRange } from "../domain/bytes.js";
import type { ArchiveId, ArchiveKey, JobId, VaultName } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import type { ArchiveWindow } from "../protocol/archive-window.js";
import type { RetrievalTier, TreeHashHex } from "../protocol/service.js";
import type { PieceSink } from "./piece-download.js";

/** Who asked for a recall: an open that waits, a person who has confirmed what it costs, or a guess of what comes next. */
export type RecallOrigin = "open" | "restore" | "ahead";

/** An archive as the catalog knows it. */
export interface ColdArchive {
  readonly key: ArchiveKey;
  readonly vault: VaultName;
  readonly id: ArchiveId;
  readonly sizeBytes: ByteCount;
  readonly treeHash: TreeHashHex;
}

/** Bytes of one archive that are recalled together: the whole of it, or a window. */
export interface RecalledBytes {
  readonly archive: ColdArchive;
  readonly window: ArchiveWindow;
}

/** How far the journal knows a recall to be. `jobId` is null between the intent and the answer of Initiate Job. */
export interface JournaledRecall extends RecalledBytes {
  readonly tier: RetrievalTier;
  readonly jobId: JobId | null;
  readonly requestedAt: Instant;
  /** Jobs that took the place of one whose output was gone. */
  readonly replaced: number;
  /** Somebody wants it who does not wait for it; who waited for another did so in an earlier process. */
  readonly isKept: boolean;
  /** When the budget was charged for a job that is not known to be ordered; null when it was not. */
  readonly chargedAt: Instant | null;
}

/** What the journal has to know of a recall that begins, for the process that goes on with it. */
export type RecallIntent = Pick<JournaledRecall, "tier" | "isKept" | "chargedAt">;

/** A recall that was given up: the next one begins anew. */
export interface RecallFailure {
  readonly archive: ArchiveKey;
  readonly tier: RetrievalTier;
  /** null: none was ordered, or none is known. */
  readonly job: JobId | null;
  readonly failedAt: Instant;
  /** In the service's own words where they are from there. */
  readonly message: string;
}

/** Promises resolve when the change is committed: it then survives kill -9. */
export interface RestoreJournal {
  /** Recalls that neither landed nor failed, oldest first; asked once, at start. */
  unfinished(): readonly JournaledRecall[];
  /** A new recall, or a faster tier for one that goes on; whether there is a job is open from here. */
  willRequest(bytes: RecalledBytes, intent: RecallIntent): Promise<void>;
  /** Somebody wants it now who does not wait for it. */
  willKeep(bytes: RecalledBytes): Promise<void>;
  /** Nobody wants it any more, and no job was ordered. */
  didWithdraw(bytes: RecalledBytes): Promise<void>;
  /** The output of the job is gone; another one takes its place. */
  willReplace(bytes: RecalledBytes, intent: Pick<RecallIntent, "chargedAt">): Promise<void>;
  /** `isFree`: the job was there already, and somebody else has paid for it. */
  didRequest(bytes: RecalledBytes, jobId: JobId, options: { readonly isFree: boolean }): Promise<void>;
  didLand(bytes: RecalledBytes): Promise<void>;
  didFail(bytes: RecalledBytes, message: string): Promise<void>;
}

/** Where a recalled content is put together. Invisible to readers until `commit`. */
export interface Landing extends AsyncDisposable {
  /** What is not here yet; less than the whole after a restart in the middle of a download. */
  missing(): readonly ByteRange[];
  /** Writes at `offset`, several buffers one behind the other. They count only after `pieceVerified` of their range. */
  write(offset: number, data: Uint8Array | readonly Uint8Array[]): Promise<void>;
  /** Tree hash of the bytes of `range` on disk, computed off the main thread. */
  hash(range: ByteRange): Promise<TreeHashHex>;
  pieceVerified(range: ByteRange): Promise<void>;
  /** Reads the whole again, in pieces of at most 1 MiB, for the last check. */
  read(): AsyncIterable<Uint8Array>;
  /** Tree hash of all bytes on disk; what `hash` has read back since this landing was opened is not read again. */
  treeHash(): Promise<TreeHashHex>;
  /** fsync, rename, fsync of the directory: now readers see it. */
  commit(): Promise<void>;
  /** Throws away all bytes. */
  discard(): Promise<void>;
}

export interface ContentSink {
  has(archive: ArchiveKey): boolean;
  /**
   * Why a content of `sizeBytes` could not land when `underWayBytes` of others were going to land before it; null when
   * it could. Nothing is evicted yet.
   *
   * @param archive Whose window it is; a file whose windows alone fill the cache may grow, as one that is larger may land.
   */
  whyNoRoom(sizeBytes: number, underWayBytes: number, archive?: ArchiveKey): Promise<string | null>;
  /**
   * Makes room and opens (or re-opens) the landing place. Disposing keeps the verified pieces for a later `begin`.
   *
   * @throws CasfsError "no-space" when the disk cannot take it.
   */
  begin(archive: ColdArchive): Promise<Landing>;
}

/**
 * Where a window lands, at its place in a file of which the rest is missing. Each piece counts, and readers see it,
 * when its `pieceVerified` has resolved; it throws CorruptError for one that the service gave no hash of.
 */
export interface WindowLanding extends PieceSink, AsyncDisposable {
  /** What of the window is not here yet. */
  missing(): readonly ByteRange[];
  /** Tree hash of the window, from those of its pieces; all of them are here. */
  treeHash(): TreeHashHex;
  /** Throws away all bytes of the window. */
  discard(): Promise<void>;
}

/** Archives of which only windows are here. */
export interface WindowSink {
  /** What of `range` is not here, apart and in order; ends at whole MiBs, or the end of the archive. */
  missing(archive: ColdArchive, range: ByteRange): readonly ByteRange[];
  /**
   * Makes room for a window. Several of one archive may land at a time. Disposing keeps the pieces that were verified.
   *
   * @throws CasfsError "no-space" when the disk cannot take it.
   */
  begin(archive: ColdArchive, window: ArchiveWindow): Promise<WindowLanding>;
  /**
   * All windows are here: the archive becomes an ordinary cached content, once its own tree hash has been found right.
   *
   * @throws CorruptError when that is wrong: all windows are dropped.
   */
  complete(archive: ColdArchive): Promise<void>;
}

/** One row of an inventory. */
export interface InventoryEntry {
  readonly archiveId: ArchiveId;
  readonly description: string;
  readonly createdAt: Instant;
  readonly sizeBytes: ByteCount;
  readonly treeHash: TreeHashHex;
}

export interface InventoryOutcome {
  readonly archives: number;
  /** Archives that this inventory was the last proof for that the service does not have them any more. */
  readonly missing?: number;
  readonly heldBecause?: string | undefined;
}

/** Collects one complete inventory of a vault; nothing of it is visible before `merge`. */
export interface InventoryMerge {
  /** In slices of a few milliseconds. */
  add(entries: readonly InventoryEntry[]): Promise<void>;
  /**
   * Makes the inventory visible in one step.
   *
   * @param inventoryDate Of the service's clock: what was made later is not in it.
   * @param seenAt When the service handed it out, by the service's clock; the inventory may be a day old by then.
   * @returns `heldBecause` when it shows that somebody else writes to the vault.
   */
  merge(inventoryDate: Instant, seenAt?: Instant): Promise<InventoryOutcome>;
  discard(): Promise<void>;
}

export interface InventoryCatalog {
  beginInventory(vault: VaultName): InventoryMerge;
  /** The job that was started for `vault` and has not been merged; survives a restart. */
  inventoryJob(vault: VaultName): JobId | null;
  didRequestInventory(vault: VaultName, job: JobId): Promise<void>;
  didFailInventory(vault: VaultName, message: string): Promise<void>;
}
