/** What has to happen at the very moment of a commit, outside the catalog. */

import type { ArchiveKey, ContentId, InodeNumber } from "../domain/ids.js";

/** Told right after the commit, before any reply of the turn; must not throw. */
export interface CatalogListener {
  /**
   * Its staging file and upload are no longer wanted.
   *
   * @param archive Nor is that archive's cached copy.
   * @param answerPending The service may be making an archive of it: its answer must be waited for.
   */
  contentRemoved(content: ContentId, archive: ArchiveKey | null, answerPending: boolean): void;
  /** Its staging file is now the copy of `archive`. */
  contentArchived(content: ContentId, archive: ArchiveKey, sizeBytes: number, ino: InodeNumber): void;
  /** The bytes of a cold archive are in the cache. */
  contentLanded(archive: ArchiveKey): void;
  /** The service does not have these archives any more: the cached copies are the last. */
  lastCopies(archives: readonly ArchiveKey[]): void;
  /** An inventory brought a name. */
  nameAppeared(parent: InodeNumber, name: string): void;
  /** Archives wait for their deletion in the service. */
  deletesPending(): void;
  /** Uploads wait to be aborted in the service. */
  uploadsAbandoned(): void;
  /** What was written of a file can never become an archive: it is kept, and the file is what it was before. */
  contentLost(ino: InodeNumber, message: string): void;
  /** The trash has another file, or one whose time may have come. */
  trashChanged(): void;
}
