/** The upload journal. `upload/ports.ts` says what each step promises. */

import type BetterSqlite3 from "better-sqlite3";
import type { ByteCount } from "../domain/bytes.js";
import { CancelledError } from "../domain/errors.js";
import type { ArchiveKey, ContentId, InodeNumber, UploadId, VaultName } from "../domain/ids.js";
import type { Clock, Instant } from "../domain/time.js";
import { invariant } from "../lib/invariant.js";
import { formatDescription } from "../protocol/description.js";
import type { TreeHashHex } from "../protocol/service.js";
import type {
  ArchivedContent,
  PendingUpload,
  ReplacedArchive,
  UploadJournal,
  UploadProgress,
} from "../upload/ports.js";
import { nextUploadState, type UploadEvent } from "../upload/upload-state.js";
import type { ContentTable, StoredContent } from "./content-table.js";
import type { Database } from "./database.js";
import { LeftoverUploads } from "./leftover-uploads.js";
import { TwinTable } from "./twin-table.js";
import { type SentPart, UploadPartTable } from "./upload-part-table.js";
import type { VaultTable } from "./vault-table.js";

interface UploadRow {
  readonly content_id: number;
  readonly step: UploadProgress["step"];
  readonly upload_id: string | null;
  readonly part_size_bytes: number | null;
  readonly description: string | null;
  readonly tree_hash: string | null;
  readonly attempts: number;
  readonly error: string | null;
}

interface FileRow {
  readonly ino: number;
  readonly vault_id: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime_s: number;
  readonly mtime_ns: number;
  readonly file_id: string;
  readonly nlink: number;
  readonly content_id: number | null;
}

/** What the catalog does when a content is archived, dropped or can no longer be found; see `catalog.ts`. */
export interface ContentEvents {
  /** Inside `mutate`: removes a content that a confirmed successor has replaced. */
  removeSuperseded(content: ContentId): void;
  /** Inside `mutate`: the staging file has become the copy of `archive`. */
  archived(content: ContentId, archive: ArchiveKey, sizeBytes: number): void;
  /** Inside `mutate`: what there is of the content is kept, and will never be an archive. */
  cannotArchive(content: ContentId, why: string): void;
  /** Inside `mutate`: the file is gone; its archive is not wanted. */
  unwanted(archived: ArchivedContent): void;
}

export class UploadTable implements UploadJournal {
  /** What its uploads leave in the service. */
  readonly leftovers: LeftoverUploads;
  readonly #database: Database;
  readonly #vaults: VaultTable;
  readonly #contents: ContentTable;
  readonly #events: ContentEvents;
  readonly #clock: Clock;
  readonly #writerId: string;
  readonly #path: (ino: InodeNumber) => string[];
  readonly #find: BetterSqlite3.Statement<[number], UploadRow>;
  readonly #file: BetterSqlite3.Statement<[number], FileRow>;
  readonly #setStep: BetterSqlite3.Statement<
    [number, string, string | null, number | null, string | null, string | null]
  >;
  readonly #setCompleting: BetterSqlite3.Statement<[string, number]>;
  readonly #setFailed: BetterSqlite3.Statement<[number, string]>;
  readonly #remove: BetterSqlite3.Statement<[number]>;
  readonly #resetAttempts: BetterSqlite3.Statement<[number]>;
  readonly #parts: UploadPartTable;
  readonly #twins: TwinTable;
  readonly #replaced: BetterSqlite3.Statement<
    [number, number, number],
    { readonly key: number; readonly tree_hash: string }
  >;

  constructor(options: {
    readonly database: Database;
    readonly vaults: VaultTable;
    readonly contents: ContentTable;
    readonly events: ContentEvents;
    readonly clock: Clock;
    readonly writerId: string;
    readonly pathInVault: (ino: InodeNumber) => string[];
  }) {
    this.#database = options.database;
    this.#vaults = options.vaults;
    this.#contents = options.contents;
    this.#events = options.events;
    this.#clock = options.clock;
    this.#writerId = options.writerId;
    this.#path = options.pathInVault;
    const { sql } = options.database;
    this.#find = sql.prepare("SELECT * FROM upload WHERE content_id = ?");
    this.#file =
      sql.prepare(`SELECT i.ino, i.vault_id, i.mode, i.uid, i.gid, i.mtime_s, i.mtime_ns, i.file_id, i.nlink, i.content_id
      FROM content c JOIN inode i ON i.ino = c.ino WHERE c.id = ?`);
    this.#setStep = sql.prepare(`INSERT INTO upload
      (content_id, step, upload_id, part_size_bytes, description, tree_hash) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT (content_id) DO UPDATE SET step = excluded.step, upload_id = excluded.upload_id,
      part_size_bytes = excluded.part_size_bytes, description = excluded.description, tree_hash = excluded.tree_hash`);
    this.#setCompleting = sql.prepare("UPDATE upload SET step = 'completing', tree_hash = ? WHERE content_id = ?");
    this.#setFailed = sql.prepare(`INSERT INTO upload (content_id, step, attempts, error) VALUES (?, 'sealed', 1, ?)
      ON CONFLICT (content_id) DO UPDATE SET attempts = attempts + 1, error = excluded.error`);
    this.#remove = sql.prepare("DELETE FROM upload WHERE content_id = ?");
    this.#resetAttempts = sql.prepare("UPDATE upload SET attempts = 0, error = NULL WHERE content_id = ?");
    // Of the file itself, and of the file whose name it took. What an inventory lacked is not relied on.
    this.#replaced = sql.prepare(`SELECT a.key, a.tree_hash FROM content c JOIN archive a ON a.key = c.archive_key
      WHERE (c.ino = ? OR c.ino IN (SELECT ino FROM trash WHERE waits_for = ?)) AND a.size_bytes = ?
        AND a.missing_runs = 0 AND a.unreadable IS NULL AND NOT EXISTS
          (SELECT 1 FROM tombstone t WHERE t.vault_id = a.vault_id AND t.archive_id = a.archive_id)`);
    this.#parts = new UploadPartTable(sql);
    this.leftovers = new LeftoverUploads(sql, options.vaults);
    this.#twins = new TwinTable(sql, options.writerId);
  }

  pending(): PendingUpload[] {
    return this.#contents.unarchived().flatMap((content) => this.#toPending(content) ?? []);
  }

  find(content: ContentId): PendingUpload | undefined {
    const stored = this.#contents.find(content);
    return stored && this.#toPending(stored);
  }

  claim(content: ContentId): boolean {
    const pending = this.find(content);
    if (pending === undefined) return false;
    // Readers of the same turn see it at once; should the commit fail, then so will the journal's next step.
    this.#database.mutate(() => this.#contents.update(content, { phase: "claimed" })).catch(() => {});
    return true;
  }

  /** The vault of a content that is not gone. @throws CancelledError */
  vaultOf(content: ContentId): VaultName {
    const file = this.#file.get(content);
    if (file === undefined) throw deleted(content);
    return this.#vaults.nameOf(file.vault_id);
  }

  /** How far the journal knows the upload of a content to be. */
  stepOf(content: ContentId): UploadProgress["step"] {
    return this.#find.get(content)?.step ?? "sealed";
  }

  describe(content: ContentId, { provisional } = { provisional: false }): string {
    const file = this.#file.get(content);
    const stored = this.#contents.find(content);
    const segments = file === undefined || file.nlink === 0 ? [] : this.#path(file.ino as InodeNumber);
    if (file === undefined || stored === undefined || segments.length === 0) throw deleted(content);
    return formatDescription({
      segments,
      mode: file.mode & 0o7777,
      mtime: { seconds: file.mtime_s, nanoseconds: file.mtime_ns },
      uid: file.uid,
      gid: file.gid,
      fileId: file.file_id,
      version: stored.version,
      writer: this.#writerId,
      provisional,
    });
  }

  didSync(content: ContentId): Promise<void> {
    return this.#database.mutate(() => this.#contents.setDurable(content));
  }

  didNotSync(content: ContentId): Promise<void> {
    return this.#database.mutate(() => this.#contents.update(content, { interrupted: true }));
  }

  replacedArchives(content: ContentId): ReplacedArchive[] {
    const stored = this.#contents.find(content);
    if (stored === undefined) return [];
    const row = this.#find.get(content);
    // What was sent already, without an answer, and an inventory has brought meanwhile.
    const found = this.#twins.ofContent(content, stored.sizeBytes).map(({ key, treeHash }) => ({ key, treeHash }));
    if (row !== undefined && row.step !== "sealed") return found;
    const rows = this.#replaced.all(stored.ino, content, stored.sizeBytes);
    return [...found, ...rows.map((one) => ({ key: one.key as ArchiveKey, treeHash: one.tree_hash as TreeHashHex }))];
  }

  didMatch(content: ContentId, { key, treeHash }: ReplacedArchive): Promise<ArchivedContent | undefined> {
    return this.#database.mutate(() => {
      const stillThere = this.replacedArchives(content).some((archive) => archive.key === key);
      const isClaimed = this.#contents.find(content)?.phase === "claimed";
      const archive = this.#contents.archive(key);
      if (!stillThere || !isClaimed || archive === undefined) return undefined;
      const { vault, id: archiveId, sizeBytes } = archive;
      this.#rememberUnanswered(content);
      this.#confirm(content, key, sizeBytes);
      return { vault, archiveId, sizeBytes, treeHash, description: this.#contents.descriptionOf(key) };
    });
  }

  willSend(
    content: ContentId,
    intent: { readonly treeHash: TreeHashHex; readonly description: string },
  ): Promise<void> {
    return this.#step(content, "sending", { description: intent.description, treeHash: intent.treeHash });
  }

  willInitiate(
    content: ContentId,
    intent: { readonly partSizeBytes: ByteCount; readonly description: string },
  ): Promise<void> {
    return this.#step(content, "initiating", intent);
  }

  didInitiate(content: ContentId, upload: { readonly uploadId: UploadId; readonly vault: VaultName }): Promise<void> {
    return this.#database.mutate(() => {
      const row = this.#find.get(content);
      // The file was deleted while the request was on its way.
      if (row === undefined) return this.abandonId(upload.uploadId, upload.vault);
      this.#advance(content, "did-initiate");
      this.#parts.remove(content);
      this.#setStep.run(content, "parts", upload.uploadId, row.part_size_bytes, row.description, null);
      this.#resetAttempts.run(content);
    });
  }

  didSendPart(content: ContentId, part: SentPart): Promise<void> {
    return this.#database.mutate(() => {
      if (this.#find.get(content) === undefined) return;
      this.#parts.insert(content, part);
      this.#resetAttempts.run(content);
    });
  }

  sentParts(content: ContentId): SentPart[] {
    return this.#parts.sent(content);
  }

  droppedParts(content: ContentId): SentPart[] {
    return this.#parts.dropped(content);
  }

  didLoseParts(content: ContentId, why: string): Promise<void> {
    return this.#database.mutate(() => {
      if (this.#contents.find(content) !== undefined) this.#events.cannotArchive(content, why);
    });
  }

  willComplete(content: ContentId, treeHash: TreeHashHex): Promise<void> {
    return this.#database.mutate(() => {
      // The file was deleted: the answer is still waited for, see `abandon`.
      if (this.#find.get(content) === undefined) return;
      this.#advance(content, "will-complete");
      this.#setCompleting.run(treeHash, content);
    });
  }

  didArchive(content: ContentId, archived: ArchivedContent): Promise<void> {
    return this.#database.mutate(() => {
      const file = this.#file.get(content);
      if (file === undefined) return this.#events.unwanted(archived);
      this.#advance(content, "did-archive");
      // After a lost answer an inventory may have seen the archive first.
      const seen = this.#contents.archiveById(archived.vault, archived.archiveId)?.key;
      const key =
        seen ??
        this.#contents.insertArchive({
          vault: archived.vault,
          id: archived.archiveId,
          sizeBytes: archived.sizeBytes,
          treeHash: archived.treeHash,
          description: archived.description,
          createdAt: this.#vaults.notBefore(archived.vault, this.#clock.now()),
          fileId: file.file_id,
          version: this.#contents.find(content)?.version,
        });
      this.#confirm(content, key, archived.sizeBytes);
    });
  }

  didLoseUpload(content: ContentId): Promise<void> {
    return this.#database.mutate(() => {
      // The service may have made an archive of it and forgotten, after an hour, by which Complete.
      this.#rememberUnanswered(content);
      this.#forget(content);
    });
  }

  didFail(content: ContentId, failure: { readonly message: string; readonly retryAt: Instant }): Promise<void> {
    return this.#database.mutate(() => {
      const stored = this.#contents.find(content);
      if (stored === undefined || stored.phase === "archived") return;
      this.#setFailed.run(content, failure.message);
      this.#contents.update(content, { dueAt: failure.retryAt });
    });
  }

  abandoned(): { readonly vault: VaultName; readonly uploadId: UploadId }[] {
    return this.leftovers.abandoned();
  }

  didAbort(uploadId: UploadId): Promise<void> {
    return this.#database.mutate(() => this.leftovers.didAbort(uploadId));
  }

  flush(): Promise<void> {
    return this.#database.flush();
  }

  /**
   * Inside `mutate`: the content is going.
   *
   * @returns whether an answer may still say that it became an archive. Then the upload is to be left alone: `didArchive`
   *   will have the archive deleted. Otherwise the upload id is aborted in the service.
   */
  abandon(content: ContentId): boolean {
    const row = this.#find.get(content);
    const file = this.#file.get(content);
    const version = this.#contents.find(content)?.version;
    this.#forget(content);
    if (row === undefined || file === undefined || version === undefined) return false;
    const isUnanswered = row.step === "sending" || row.step === "completing";
    if (isUnanswered) this.leftovers.rememberUnanswered({ vaultId: file.vault_id, fileId: file.file_id, version });
    else if (row.upload_id !== null) this.leftovers.abandon(row.upload_id as UploadId, file.vault_id);
    return isUnanswered;
  }

  /** Inside `mutate`: the service has no parts for the upload of a content any more. What became of them is not known. */
  forgetUpload(content: ContentId): void {
    const row = this.#find.get(content);
    const file = this.#file.get(content);
    // Should it be there still, it is of no use.
    if (row?.upload_id != null && file !== undefined) this.leftovers.abandon(row.upload_id as UploadId, file.vault_id);
    this.#forget(content);
  }

  /** Inside `mutate`: nobody wants that upload. */
  abandonId(uploadId: UploadId, vault: VaultName): void {
    this.leftovers.abandon(uploadId, this.#vaults.idOf(vault));
  }

  /** The content is archived, and what it replaces is no longer wanted. */
  #confirm(content: ContentId, key: ArchiveKey, sizeBytes: number): void {
    const file = this.#file.get(content);
    this.#forget(content);
    this.#contents.setArchived(content, key);
    this.#events.archived(content, key, sizeBytes);
    this.#dropTwins(key);
    // What a recovered content replaces may be better than it; the next version that is confirmed takes both away.
    const isRecovered = this.#contents.find(content)?.recovered === true;
    if (file?.content_id === content && !isRecovered) this.#removePredecessors(file.ino as InodeNumber, content);
  }

  // An inventory was faster than the answer to what was sent again: it has shown the first of the two.
  #dropTwins(key: ArchiveKey): void {
    const kept = this.#contents.archive(key);
    if (kept === undefined) return;
    for (const { key: twin, archiveId, fileId, version, description } of this.#twins.ofArchive(key)) {
      if (!this.leftovers.isUnanswered(kept.vault, fileId, version)) continue;
      this.#contents.removeArchive(twin);
      this.#events.unwanted({ ...kept, archiveId, description });
    }
  }

  #forget(content: ContentId): void {
    this.#remove.run(content);
    this.#parts.remove(content);
  }

  #step(
    content: ContentId,
    step: "sending" | "initiating",
    intent: { readonly description: string; readonly treeHash?: TreeHashHex; readonly partSizeBytes?: ByteCount },
  ): Promise<void> {
    return this.#database.mutate(() => {
      const phase = this.#contents.find(content)?.phase;
      if (phase === undefined) throw deleted(content);
      invariant(phase === "claimed", `content ${content} is claimed before ${step}`);
      this.#advance(content, step === "sending" ? "will-send" : "will-initiate");
      this.#rememberUnanswered(content);
      this.#setStep.run(content, step, null, intent.partSizeBytes ?? null, intent.description, intent.treeHash ?? null);
    });
  }

  // Sent again because the answer was lost: one of the two archives will be a twin, which an inventory shows.
  #rememberUnanswered(content: ContentId): void {
    const file = this.#file.get(content);
    const version = this.#contents.find(content)?.version;
    const step = this.#find.get(content)?.step;
    if ((step !== "sending" && step !== "completing") || file === undefined || version === undefined) return;
    this.leftovers.rememberUnanswered({ vaultId: file.vault_id, fileId: file.file_id, version });
  }

  /** @throws Error for a step that cannot follow: the table of `upload-state.ts` is the law of this journal. */
  #advance(content: ContentId, event: UploadEvent): void {
    nextUploadState(this.#find.get(content)?.step ?? "sealed", event);
  }

  #removePredecessors(ino: InodeNumber, newest: ContentId): void {
    for (const content of this.#contents.ofInode(ino)) {
      if (content.id < newest) this.#events.removeSuperseded(content.id);
    }
  }

  #toPending(content: StoredContent): PendingUpload | undefined {
    const waits = content.phase === "sealed" || content.phase === "claimed";
    if (!waits || content.interrupted) return undefined;
    const file = this.#file.get(content.id);
    // A file without a name goes with its last handle.
    if (file === undefined || file.nlink === 0) return undefined;
    // Of several versions only the newest is sent; one whose upload has begun is finished.
    if (file.content_id !== content.id && content.phase === "sealed") return undefined;
    const row = this.#find.get(content.id);
    return {
      content: content.id,
      vault: this.#vaults.nameOf(file.vault_id),
      sizeBytes: content.sizeBytes,
      dueAt: content.dueAt,
      attempts: row?.attempts ?? 0,
      lastError: row?.error ?? undefined,
      progress: row === undefined ? { step: "sealed" } : toProgress(row),
    };
  }
}

function deleted(content: ContentId): CancelledError {
  return new CancelledError(`The upload of content ${content}, whose file was deleted,`);
}

function toProgress(row: UploadRow): UploadProgress {
  const description = row.description ?? "";
  const partSizeBytes = (row.part_size_bytes ?? 0) as ByteCount;
  const treeHash = row.tree_hash as TreeHashHex;
  const uploadId = row.upload_id as UploadId;
  switch (row.step) {
    case "sealed":
      return { step: "sealed" };
    case "sending":
      return { step: "sending", treeHash, description };
    case "initiating":
      return { step: "initiating", partSizeBytes, description };
    case "parts":
      return { step: "parts", uploadId, partSizeBytes, description };
    case "completing":
      return { step: "completing", uploadId, partSizeBytes, description, treeHash };
  }
}
