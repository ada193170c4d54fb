/**
 * What the catalog is told of an open file: its size and times, what close() has promised, what a power loss cannot take
 * any more, and in the end that its content is sealed and waits for its upload.
 *
 * Relies on: who seals or takes a promise back holds the lock of the inode.
 */

import type { Observer } from "../domain/events.js";
import type { ContentId, InodeNumber } from "../domain/ids.js";
import { type Clock, type FileTime, laterTime } from "../domain/time.js";
import type { CatalogPort, ContentRecord } from "./catalog-port.js";
import type { FileStreams } from "./file-streams.js";
import type { OpenFile } from "./handle-table.js";
import type { UploadRequests } from "./ports.js";
import type { UploadSchedule } from "./upload-schedule.js";

export interface OpenFileJournalParts {
  readonly catalog: CatalogPort;
  readonly uploads: UploadRequests;
  readonly streams: FileStreams;
  readonly schedule: UploadSchedule;
  readonly clock: Clock;
  readonly observer: Observer;
}

/** Of all files: it keeps nothing of its own. */
export class OpenFileJournal {
  readonly #parts: OpenFileJournalParts;

  constructor(parts: OpenFileJournalParts) {
    this.#parts = parts;
  }

  /** Size and times, and with `promised` that a crash must not lose what was written so far. */
  async record(open: OpenFile, { promised } = { promised: true }): Promise<void> {
    const { catalog } = this.#parts;
    const { sizeBytes } = open;
    open.dirty = false;
    try {
      await catalog.mutate(() => {
        catalog.updateInode(open.ino, { sizeBytes, ...this.#timesOf(open) });
        const flushed = promised ? { flushed: true } : {};
        if (open.content?.phase !== "writing") return;
        catalog.updateContent(open.content.id, { sizeBytes, durable: open.synced, ...flushed });
      });
      if (promised) open.promised = true;
    } catch (error) {
      open.dirty = true;
      throw error;
    }
  }

  /**
   * A child that inherited the descriptor has closed its copy, and the writer goes on: a crash from here on must not take
   * a half-written content for a promised one.
   */
  async takeBackPromise(open: OpenFile): Promise<void> {
    const { content } = open;
    if (!open.promised || content?.phase !== "writing") return;
    const { catalog } = this.#parts;
    await catalog.mutate(() => catalog.updateContent(content.id, { flushed: false }));
    open.promised = false;
  }

  /** fsync of a file that was closed before: its content waits for the upload. */
  async markDurable(open: OpenFile): Promise<void> {
    const { catalog } = this.#parts;
    const content = catalog.inode(open.ino)?.content;
    if (content == null || content.id !== open.content?.id || content.phase === "archived") return;
    await catalog.mutate(() => catalog.updateContent(content.id, { durable: true }));
  }

  /**
   * Under the lock: what was written becomes a content that waits for its upload.
   *
   * @param options.soon Nobody waits: it is journaled with the next change that somebody waits for.
   * @returns undefined when there is nothing to upload.
   */
  async seal(open: OpenFile, { soon } = { soon: false }): Promise<ContentId | undefined> {
    const content = open.content;
    if (content?.phase !== "writing") return undefined;
    const { catalog, uploads, observer } = this.#parts;
    // A file without a name goes with its last handle.
    if ((catalog.inode(open.ino)?.nlink ?? 0) === 0) return undefined;
    if (open.sizeBytes === 0) {
      await this.#sealEmpty(open);
      return undefined;
    }
    const { streams, schedule, clock } = this.#parts;
    const stream = await streams.end(open);
    const { sizeBytes, synced: durable } = open;
    // What the disk may have lost is kept for a person to judge.
    const interrupted = open.syncFailure !== undefined;
    if (stream.lost || (interrupted && !stream.isWhole)) {
      await this.#keepInterrupted(open, content);
      return undefined;
    }
    // An upload that has begun lives for a day.
    const dueAt = stream.isWhole ? schedule.dueAt(open.ino) : clock.now();
    open.content = { ...content, phase: "sealed" };
    open.dirty = false;
    try {
      // A write that failed half-way may have left bytes behind the end, and one that goes on now will.
      if (!open.endsExactly || open.isBeingWritten) await open.file?.truncate(sizeBytes);
      const change = () => {
        catalog.updateInode(open.ino, { sizeBytes, ...this.#timesOf(open) });
        stream.journal();
        catalog.updateContent(content.id, {
          phase: "sealed",
          sizeBytes,
          flushed: true,
          recovered: false,
          interrupted,
          durable,
          dueAt,
        });
        if (content.version > 1 && !interrupted) this.#dropSealedVersions(open.ino, content.id);
      };
      await (soon ? catalog.mutateSoon(change) : catalog.mutate(change));
    } catch (error) {
      open.content = content;
      open.dirty = true;
      throw error;
    }
    observer({ type: "content-sealed", content: content.id, sizeBytes });
    if (interrupted) return undefined;
    uploads.enqueue(content.id, dueAt);
    return content.id;
  }

  /** Under the lock: parts of it are nowhere any more. */
  async #keepInterrupted(open: OpenFile, content: ContentRecord): Promise<void> {
    const { catalog, observer } = this.#parts;
    const path = catalog.pathInVault(open.ino).join("/");
    open.content = { ...content, phase: "sealed", interrupted: true };
    open.dirty = false;
    const kept = await catalog.mutate(() => catalog.keepInterrupted(content.id, open.sizeBytes));
    observer({ type: "warning", message: `${path} cannot be archived, its upload was forgotten: ${kept}` });
  }

  /** Inside `mutate`: of several versions that are not on their way yet only the newest is uploaded. */
  #dropSealedVersions(ino: InodeNumber, newest: ContentId): void {
    const { catalog } = this.#parts;
    for (const { id, phase } of catalog.contentsOf(ino)) {
      if (id < newest && phase === "sealed") catalog.removeContent(id);
    }
  }

  // There are no zero-byte archives: an empty file has no content, and what it had before is no longer wanted.
  async #sealEmpty(open: OpenFile): Promise<void> {
    const { catalog } = this.#parts;
    const { content, file } = open;
    // At once, so that a write through another handle makes a content of its own.
    open.content = null;
    open.file = null;
    open.dirty = false;
    try {
      await catalog.mutate(() => {
        catalog.updateInode(open.ino, { sizeBytes: 0, ...this.#timesOf(open), content: null });
        for (const one of catalog.contentsOf(open.ino)) catalog.removeContent(one.id);
      });
    } catch (error) {
      open.content = content;
      open.file = file;
      open.dirty = true;
      throw error;
    }
    await file?.close();
  }

  /** Inside `mutate`: the last write, unless a chmod or rename was later. */
  #timesOf({ ino, mtime, ctime }: OpenFile): { readonly mtime: FileTime; readonly ctime: FileTime } {
    return { mtime, ctime: laterTime(ctime, this.#parts.catalog.inode(ino)?.ctime ?? ctime) };
  }
}
