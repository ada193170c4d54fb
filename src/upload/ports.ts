/**
 * What uploading needs besides `CasService`: the journal, and the staged bytes.
 *
 * Intent, effect, outcome: every `will…` is journaled before its request is sent, every `did…` after its answer.
 * Promises of the journal resolve when the change is committed (it then survives kill -9), and `flush` when all that
 * was committed also survives power loss.
 */

import type { ByteCount, ByteRange } from "../domain/bytes.js";
import type { ArchiveId, ArchiveKey, ContentId, UploadId, VaultName } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import type { Sha256Hex, TreeHashHex } from "../protocol/service.js";

/** How far the journal knows an upload to be. */
export type UploadProgress =
  | { readonly step: "sealed" }
  /** Upload Archive was or is about to be sent; its answer is not journaled. */
  | { readonly step: "sending"; readonly treeHash: TreeHashHex; readonly description: string }
  /** Initiate was or is about to be sent; its answer is not journaled. */
  | { readonly step: "initiating"; readonly partSizeBytes: ByteCount; readonly description: string }
  | {
      readonly step: "parts";
      readonly uploadId: UploadId;
      readonly partSizeBytes: ByteCount;
      readonly description: string;
    }
  /** Complete was or is about to be sent; its answer is not journaled. */
  | {
      readonly step: "completing";
      readonly uploadId: UploadId;
      readonly partSizeBytes: ByteCount;
      readonly description: string;
      readonly treeHash: TreeHashHex;
    };

/** A sealed content version that is not archived yet. */
export interface PendingUpload {
  readonly content: ContentId;
  readonly vault: VaultName;
  readonly sizeBytes: ByteCount;
  /** Not before this moment: the settle time, or the pause after a failure. */
  readonly dueAt: Instant;
  /** Failed attempts since the last success of any step. */
  readonly attempts: number;
  /** What the last of them failed with. */
  readonly lastError?: string | undefined;
  readonly progress: UploadProgress;
}

/** A content whose last attempt has failed. */
export interface UploadFailure {
  readonly message: string;
  /** Failed since the last success of any step. */
  readonly attempts: number;
  /** Null while the next one runs already. */
  readonly nextAttemptAt: Instant | null;
}

export interface ArchivedContent {
  /** Also when the content's file is gone meanwhile, and nothing else names its vault. */
  readonly vault: VaultName;
  readonly archiveId: ArchiveId;
  readonly sizeBytes: ByteCount;
  readonly treeHash: TreeHashHex;
  readonly description: string;
}

export interface ReplacedArchive {
  readonly key: ArchiveKey;
  readonly treeHash: TreeHashHex;
}

export interface UploadJournal {
  /** All sealed contents that are not archived and not superseded, oldest first; asked once, at start. */
  pending(): readonly PendingUpload[];
  /** The present state; undefined when the content was un-sealed, superseded by a sealed successor, or deleted. */
  find(content: ContentId): PendingUpload | undefined;
  /**
   * From now on the content is immutable: a writer gets a copy. Synchronous, so that no write slips in between.
   *
   * @returns false when it may not be uploaded now (un-sealed, superseded, deleted).
   */
  claim(content: ContentId): boolean;
  /** The archive description for the content's present name and attributes. */
  describe(content: ContentId): string;
  /** The bytes have been fdatasynced: they survive power loss. */
  didSync(content: ContentId): Promise<void>;
  /** The disk did not take them, and says so once: the content is kept, marked, and not uploaded by itself. */
  didNotSync(content: ContentId): Promise<void>;
  /**
   * Archives of the same size whose bytes may be the content's: those that it replaces, unless it may have been sent
   * already, and those that were made of it when the answer was lost.
   */
  replacedArchives(content: ContentId): readonly ReplacedArchive[];
  /**
   * The content has the bytes of an archive that it replaces: it is archived without being sent.
   *
   * @returns undefined when that archive is not wanted any more, or cannot be relied on: then it has to be sent.
   */
  didMatch(content: ContentId, archive: ReplacedArchive): Promise<ArchivedContent | undefined>;
  willSend(content: ContentId, intent: { readonly treeHash: TreeHashHex; readonly description: string }): Promise<void>;
  willInitiate(
    content: ContentId,
    intent: { readonly partSizeBytes: ByteCount; readonly description: string },
  ): Promise<void>;
  didInitiate(content: ContentId, upload: { readonly uploadId: UploadId; readonly vault: VaultName }): Promise<void>;
  didSendPart(content: ContentId, part: { readonly range: ByteRange; readonly treeHash: TreeHashHex }): Promise<void>;
  /** Parts that `didSendPart` recorded for the current upload id. */
  sentParts(content: ContentId): readonly { readonly range: ByteRange; readonly treeHash: TreeHashHex }[];
  willComplete(content: ContentId, treeHash: TreeHashHex): Promise<void>;
  /** The service confirmed id and tree hash: the content is archived, its staging file is the cached copy. */
  didArchive(content: ContentId, archived: ArchivedContent): Promise<void>;
  /** The service has forgotten the upload id: back to "sealed". */
  didLoseUpload(content: ContentId): Promise<void>;
  didFail(content: ContentId, failure: { readonly message: string; readonly retryAt: Instant }): Promise<void>;

  /** Parts whose bytes have left the disk while the file was written, with what the service confirmed of them. */
  droppedParts(content: ContentId): readonly { readonly range: ByteRange; readonly treeHash: TreeHashHex }[];
  /**
   * The content can never become an archive: parts of it were only in the service, which does not have them. It is kept
   * as interrupted, and the file is what it was before.
   */
  didLoseParts(content: ContentId, why: string): Promise<void>;

  /** Uploads whose content is gone: their ids must be aborted in the service. */
  abandoned(): readonly { readonly vault: VaultName; readonly uploadId: UploadId }[];
  didAbort(uploadId: UploadId): Promise<void>;

  /** All that was committed so far survives power loss. Before every irreversible request. */
  flush(): Promise<void>;
}

/** The journal of an upload that begins while its file is still written. What is sealed then is `UploadJournal`'s. */
export interface StreamJournal {
  /**
   * Vault, and a description that may not be the last one.
   *
   * @throws CancelledError for a file without a name, and the reason why nothing may be sent to the vault now.
   */
  describeOpen(content: ContentId): { readonly vault: VaultName; readonly description: string };
  willInitiateOpen(
    content: ContentId,
    intent: { readonly partSizeBytes: ByteCount; readonly description: string },
  ): Promise<void>;
  /** @returns false when nobody wants that upload any more; it is abandoned then. */
  didInitiateOpen(
    content: ContentId,
    upload: { readonly uploadId: UploadId; readonly vault: VaultName },
  ): Promise<boolean>;
  didSendPart: UploadJournal["didSendPart"];
  didLoseUpload: UploadJournal["didLoseUpload"];
  /** The bytes of `range`, whose parts are confirmed and journaled, are about to leave the disk. */
  willDrop(content: ContentId, range: ByteRange): Promise<void>;
  flush: UploadJournal["flush"];
}

/** Staging files of which parts can leave the disk. */
export interface DroppableFiles {
  /** @throws the system's error when this disk, or this machine, cannot free a part of a file. */
  requireDropping(): Promise<void>;
  /** From now on `range` cannot be read or written; synchronous, so that no request slips in between. */
  markDropped(content: ContentId, range: ByteRange): void;
  /** Frees the disk of a range that was marked. */
  drop(content: ContentId, range: ByteRange): Promise<void>;
}

/** The bytes of one sealed content in staging. */
export interface StagedFile extends AsyncDisposable {
  readonly sizeBytes: ByteCount;
  /** fdatasync of the bytes and fsync of the directory entry. */
  sync(): Promise<void>;
  /** Reads `range` in pieces of at most 1 MiB; each is the caller's until the next one is asked for. */
  read(range: ByteRange): AsyncIterable<Uint8Array>;
  /** Hashes `range` off the main thread; `leaves` are the SHA-256 sums of its MiBs, 32 bytes each, concatenated. */
  hash(
    range: ByteRange,
  ): Promise<{ readonly sha256: Sha256Hex; readonly treeHash: TreeHashHex; readonly leaves: Uint8Array }>;
  /** The tree hash alone, which takes less time, or none where the bytes were hashed while they were written. */
  treeHash(range: ByteRange): Promise<TreeHashHex>;
}

export interface StagedFiles {
  /** @throws CasfsError "not-found" when the staging file is gone. */
  openStaged(content: ContentId): Promise<StagedFile>;
}

/** An archive that is no longer wanted, and not deleted in the service yet. */
export interface PendingDelete {
  readonly vault: VaultName;
  readonly archiveId: ArchiveId;
  readonly dueAt: Instant;
  readonly attempts: number;
}

export interface DeleteJournal {
  /** Without those of vaults in which nothing may be deleted now. */
  pendingDeletes(): readonly PendingDelete[];
  /** Whether nothing may be deleted in the vault: somebody else writes to it. */
  isHeld(vault: VaultName): boolean;
  didDelete(archiveId: ArchiveId, vault: VaultName): Promise<void>;
  didFailDelete(
    archiveId: ArchiveId,
    vault: VaultName,
    failure: { readonly message: string; readonly retryAt: Instant },
  ): Promise<void>;
  flush(): Promise<void>;
}

/** Hears how uploads go on. Called synchronously; must not throw and must not wait. */
export interface UploadWatcher {
  /** The service has something that it did not have before: a part, an archive, or bytes never sent so far. */
  progressed(): void;
  /** A content is not in the queue any more, whatever became of it. */
  left(): void;
  /** Whether room is on its way already: then nothing goes that would better stay. */
  hasRoomComing(): boolean;
}
