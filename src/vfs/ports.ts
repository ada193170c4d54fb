/**
 * Local bytes as the file system sees them: contents in staging that are still written, and cached copies.
 *
 * Never: the network. A cold content is recalled through `restore/` first; then it is here.
 */

import type { ByteRange } from "../domain/bytes.js";
import type { ArchiveKey, ContentId, InodeNumber } from "../domain/ids.js";
import type { Instant, Milliseconds } from "../domain/time.js";
import type { ArchiveWindow } from "../protocol/archive-window.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { ColdArchive, RecallOrigin } from "../restore/ports.js";
import type { RecallStatus } from "../restore/recall.js";
import type { UploadFailure, UploadWatcher } from "../upload/ports.js";
import type { Streamer } from "../upload/streamer.js";

/** An open local file; closed by the last user (`close`). Offsets and lengths in bytes. */
export interface ContentFile {
  /** Fills `into` from `offset`; resolves with the number of bytes, fewer only at the end of the file. */
  read(offset: number, into: Uint8Array): Promise<number>;
  /** Writes all of `data`. @throws the system's ENOSPC when the disk is full. */
  write(offset: number, data: Uint8Array): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  /** What the file takes of the disk: less than its length when it has holes. */
  allocatedBytes(): number;
  /** fallocate(2) is not in Node: extends the file with zeros when it is shorter than `sizeBytes`. */
  extendTo(sizeBytes: number): Promise<void>;
  /** fdatasync. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Bytes written but not yet archived; never evicted. One file per content version. */
export interface StagingArea {
  /** Makes an empty staging file, open for reading and writing. */
  create(content: ContentId): Promise<ContentFile>;
  /** Makes a staging file that begins as a (reflink) copy of the first `sizeBytes` of another content. */
  copyOf(source: LocalContent, content: ContentId, sizeBytes: number): Promise<ContentFile>;
  open(content: ContentId): Promise<ContentFile>;
  /** fsync of the directory: names of new files survive power loss. */
  syncDirectory(): Promise<void>;
  remove(content: ContentId): Promise<void>;
  /** Gives back the disk below a range that has nothing but zeros, where the disk can do that; else nothing happens. */
  free(content: ContentId, range: ByteRange): Promise<void>;
  /** Whether all bytes of a content are here: parts of a file that did not fit have left, and are only in the vault. */
  isWhole(content: ContentId): boolean;
  /** Resolves when the removals under way have freed their space: `rm` on a full disk helps the next writer at once. */
  removalsDone(): Promise<void>;
}

/** Verified copies of archived contents; evicted when space is needed, never while acquired. */
export interface CachedContents {
  has(archive: ArchiveKey): boolean;
  /** Opens for reading and keeps it from eviction until closed. @throws FileSystemError "not-found" when it is not here. */
  open(archive: ArchiveKey): Promise<ContentFile>;
  /** The staging file of a content whose archive is confirmed becomes the cached copy, by rename. */
  adopt(content: ContentId, archive: ArchiveKey, sizeBytes: number): Promise<void>;
  evict(archive: ArchiveKey): Promise<"evicted" | "in-use" | "pinned" | "absent">;
  /** Forgets the copy of an archive that is deleted; an open one goes when it is closed. */
  drop(archive: ArchiveKey): Promise<void>;
  setPinned(archive: ArchiveKey, pinned: boolean): Promise<void>;
  isPinned(archive: ArchiveKey): boolean;
}

/** What is here of an archive that is not whole; closed by the last user. Offsets and lengths in bytes. */
export interface PartialContentFile {
  /** Whether it still is what was opened: "landed" is an ordinary cached content by now, the others read nothing. */
  readonly state: "here" | "landed" | "dropped" | "damaged";
  readonly landedBytes: number;
  /** What is not here of the MiBs around `range`, apart and in order. */
  missing(range: ByteRange): readonly ByteRange[];
  /** Of bytes that are here; as `ContentFile.read`. */
  read(offset: number, into: Uint8Array): Promise<number>;
  close(): Promise<void>;
}

/** Archives of which only windows are here. */
export interface PartialCopies {
  /** 0 also for an ordinary cached content. */
  landedBytes(archive: ArchiveKey): number;
  /** Nothing of it has to be here. It is kept from eviction until closed. */
  openPartial(archive: ColdArchive): PartialContentFile;
}

/** Where the bytes of a content version are on the local disk. */
export type LocalContent =
  | { readonly place: "staging"; readonly content: ContentId }
  | { readonly place: "cache"; readonly archive: ArchiveKey };

/** Where bytes of a content are written: from `start` up to, not including, `end`. */
export interface StagedRange {
  readonly start: number;
  readonly end: number;
}

export interface StagedUsage {
  readonly usedBytes: number;
  /** null: no limit but the disk. */
  readonly limitBytes: number | null;
}

/** How many bytes are staged, and how many may be. `cache/staging-budget.ts` says how they are counted. */
export interface StagedBytes {
  usage(): StagedUsage;
  /** Whether writing `range` would count for more than what the content has now. */
  grows(content: ContentId, range: StagedRange): boolean;
  /** Whether `take` would take it. */
  fits(content: ContentId, range: StagedRange): boolean;
  /** Before `range` is written: counts it. @returns false, counting nothing, when it would pass the limit. */
  take(content: ContentId, range: StagedRange): boolean;
  /** Whether the content could be written so, were nothing else staged. */
  couldFit(content: ContentId, range: StagedRange): boolean;
  /** Looks at the disk for what was counted too high: files with holes. */
  measure(): void;
  /** What the staging file of a content takes of the disk; 0 before its first write. */
  allocated(content: ContentId): number;
  /** What counted for `from` counts for `to`: room that was taken before the content had a number. */
  move(from: ContentId, to: ContentId): void;
  release(content: ContentId): void;
  /** Whether a content is being removed or becomes a cached copy at this moment. */
  readonly isLeaving: boolean;
  /** Called when `bytes` fewer are staged, and when a content has left, even one without any; must not wait. */
  onFreed(listener: (bytes: number) => void): void;
}

/** What the file system asks of `upload/`. */
export interface UploadRequests {
  /** A content was sealed; send it when `dueAt` has come. */
  enqueue(content: ContentId, dueAt: Instant): void;
  /** Send it now, whatever its settle time. */
  expedite(content: ContentId): void;
  /**
   * Resolves when the content is archived; rejects when it was dropped. An abort rejects with `signal.reason`.
   *
   * @param options.patienceMs How long failures that pass by themselves are borne; then, and at once for others, it
   *   rejects with the failure, and the upload is tried again all the same. null: for ever.
   */
  whenArchived(
    content: ContentId,
    options: { readonly signal?: AbortSignal | undefined; readonly patienceMs?: Milliseconds | null },
  ): Promise<void>;
  /** For `user.casfs.error`; undefined unless the last attempt has failed. */
  failure(content: ContentId): UploadFailure | undefined;
  /**
   * Somebody waits for room: until the returned function is called nothing rests that may be uploaded. What has a
   * temporary name goes only when there is nothing else and no room is coming. Ask again when what came was too little.
   */
  hurry(watcher: UploadWatcher): () => void;
  /** Contents that are sealed and not archived yet. */
  readonly size: number;
  /** For `user.casfs.state`: parts sent and parts in all; undefined when nothing is being sent. */
  progress(content: ContentId): { readonly partsSent: number; readonly parts: number } | undefined;
}

/** What the file system asks of `upload/` for files that are still written. */
export type StreamRequests = Pick<Streamer, "begin" | "end" | "hasOther" | "hasRoomComing" | "status" | "watch">;

/**
 * Who has a file open, as far as the system tells. The kernel tells of a close() of every copy of a descriptor, those
 * included that a child has inherited and never used, and does not say which is the last.
 */
export interface FileHolders {
  /** Whether one of those who wrote the file, or `closer`, or a parent of it, still has it open for writing. */
  isHeld(
    ino: InodeNumber,
    processes: { readonly closer: number; readonly writers: Iterable<number> },
  ): Promise<boolean>;
}

/** What the file system asks of `restore/`. */
export interface RecallRequests {
  /**
   * Starts a recall or joins the one that runs; resolves when the content is in the cache.
   *
   * @throws FileSystemError "over-budget" at once, before anything begins; never for `origin` "restore".
   */
  recall(
    archive: ColdArchive,
    options: {
      readonly tier: RetrievalTier;
      readonly origin?: RecallOrigin;
      /** Of who waits: when it fires before a job was ordered, and nobody else wants it, none is. */
      readonly signal?: AbortSignal | undefined;
    },
  ): Promise<void>;
  /** As `recall`, for a part that can be verified alone. */
  recallWindow(
    archive: ColdArchive,
    window: ArchiveWindow,
    options: Parameters<RecallRequests["recall"]>[1],
  ): Promise<void>;
  /** What has to be recalled so that `range` is here: what is under way, and what would be new. */
  windowsToRecall(
    archive: ColdArchive,
    range: ByteRange,
  ): { readonly running: readonly ArchiveWindow[]; readonly new: readonly ArchiveWindow[] };
  /** For extended attributes; undefined when no recall runs. */
  recallOf(archive: ArchiveKey): Pick<RecallStatus, "job" | "tier" | "expectedAt" | "trouble"> | undefined;
}

/** The local disk that holds staging and cache. */
export interface LocalDisk {
  /** Before staged bytes are written. @returns false when they would fill the disk: `reclaim` them first. */
  take(bytes: number): boolean;
  /** Makes room at the cost of cached copies. @returns false when that is not enough. */
  reclaim(bytes: number): Promise<boolean>;
  space(): { readonly blockSizeBytes: number; readonly blocks: number; readonly blocksFree: number };
}
