/**
 * What becomes of the archives of files that are removed, overwritten or written anew: they go into the trash, or are
 * deleted in the service, and neither before what replaces them is archived.
 *
 * Relies on: everything here is called inside `mutate`.
 * Never: deletes in the service; that is `upload/archive-deleter.ts`, after the commit.
 */

import type { ArchiveId, ArchiveKey, ContentId, InodeNumber, VaultName } from "../domain/ids.js";
import type { Clock } from "../domain/time.js";
import type { StoredArchive } from "../protocol/prices.js";
import type { CatalogListener } from "./catalog-listener.js";
import type { ContentTable, StoredContent } from "./content-table.js";
import type { EntryPlace, InodeTable } from "./inode-table.js";
import type { RecallTable } from "./recall-table.js";
import type { StreamTable } from "./stream-table.js";
import type { TombstoneTable } from "./tombstone-table.js";
import type { Trash } from "./trash.js";
import type { TrashTable } from "./trash-table.js";
import type { UploadTable } from "./upload-table.js";
import type { VaultTable } from "./vault-table.js";

export interface UnwantedArchivesParts {
  readonly contents: ContentTable;
  readonly uploads: Pick<UploadTable, "abandon">;
  readonly inodes: InodeTable;
  readonly vaults: VaultTable;
  readonly streams: Pick<StreamTable, "forgetDropped">;
  readonly recalls: Pick<RecallTable, "remove">;
  readonly tombstones: TombstoneTable;
  readonly trash: Trash;
  readonly trashTable: TrashTable;
  /** Whether archives that are deleted or overwritten stay in the trash while they cost nothing. */
  readonly keepsTrash: boolean;
  readonly clock: Clock;
  /** Tells the catalog's listener after the commit. */
  readonly tell: (call: (listener: CatalogListener) => void) => void;
}

/** Of the whole catalog: it keeps nothing of its own. */
export class UnwantedArchives {
  readonly #parts: UnwantedArchivesParts;

  constructor(parts: UnwantedArchivesParts) {
    this.#parts = parts;
  }

  /** What the file has had is not wanted any more: it lost its last name, at `place`, or `successor` takes it. */
  forsakeArchives(ino: InodeNumber, successor: ContentId | null, place: EntryPlace): void {
    const { contents, keepsTrash, trash, trashTable, vaults } = this.#parts;
    const isTrash = trashTable.isFile(ino);
    // Who empties the trash before the upload of what replaced a file still has one archive of it.
    const waitsFor = isTrash ? trashTable.waitsFor(ino) : successor;
    const isTrashDirectory = trashTable.isDirectory(ino);
    if (isTrashDirectory) vaults.forgetTrash(ino);
    if (isTrash || isTrashDirectory) trash.lostName();
    trashTable.remove(ino);
    for (const content of contents.ofInode(ino)) {
      // While a handle keeps the inode, what it replaced itself waits for the successor: a crash must not forget that.
      const next = this.#stillWaitedFor(successor);
      if (next !== null) this.passOn(content.id, next);
      const archive = content.archive === null ? undefined : contents.archive(content.archive);
      if (archive === undefined || contents.referencesTo(archive.key) > 1) continue;
      if (keepsTrash && !isTrash) this.#keepInTrash(content, place, successor);
      else this.bury(archive.vault, archive.id, waitsFor);
    }
  }

  /** The content, its upload, and its archive where no other content has it. */
  removeContent(content: ContentId, successor: ContentId | null): void {
    const { contents, inodes, streams, tell, uploads } = this.#parts;
    const stored = contents.find(content);
    if (stored === undefined) return;
    const answerPending = uploads.abandon(content);
    this.passOn(content, this.#stillWaitedFor(successor) ?? this.#unarchivedSuccessor(stored));
    if (stored.archive !== null && this.#isWorthKeeping(stored)) {
      this.#keepInTrash(stored, inodes.placeOf(stored.ino)!, successor);
    }
    contents.remove(content);
    streams.forgetDropped(content);
    const isLast = stored.archive !== null && contents.referencesTo(stored.archive) === 0;
    if (isLast) this.#removeArchive(stored.archive!, successor);
    tell((listener) => listener.contentRemoved(content, isLast ? stored.archive : null, answerPending));
  }

  /** The file with all its contents. */
  removeInode(ino: InodeNumber, successor: ContentId | null): void {
    const { contents, inodes } = this.#parts;
    for (const content of contents.ofInode(ino)) this.removeContent(content.id, successor);
    inodes.remove(ino);
  }

  /** Deletes what is due in the trash, for good. @returns how many files. */
  purge(limit: number): number {
    const { clock, trash, trashTable } = this.#parts;
    const due = trashTable.due(clock.now(), limit);
    for (const ino of due) {
      trash.removeNames(ino);
      this.removeInode(ino, null);
    }
    return due.length;
  }

  /** Of the files in the trash that `content` replaces, one may have the very archive that `content` has now. */
  forgetTrashOf(content: ContentId, archive: ArchiveKey): void {
    const { inodes, trash, trashTable } = this.#parts;
    for (const ino of trashTable.replacedBy(content)) {
      if (inodes.find(ino)?.content?.archive !== archive) continue;
      trash.removeNames(ino);
      this.removeInode(ino, null);
    }
  }

  /** What waits for `content` waits for `next` from now on; with null it goes. */
  passOn(content: ContentId, next: ContentId | null): void {
    const { tell, tombstones, trashTable } = this.#parts;
    const isFree = tombstones.passOn(content, next) && next === null;
    if (isFree) tell((listener) => listener.deletesPending());
    if (trashTable.passOn(content, next) && next === null) tell((listener) => listener.trashChanged());
  }

  /**
   * The archive is to be deleted in the service, when `waitsFor` is archived.
   *
   * @param facts Of an archive that is not in the catalog.
   */
  bury(vault: VaultName, archive: ArchiveId, waitsFor: ContentId | null, facts?: StoredArchive): void {
    const { clock, tell, tombstones } = this.#parts;
    tombstones.insert(vault, archive, {
      dueAt: clock.now(),
      waitsFor: this.#stillWaitedFor(waitsFor),
      facts,
    });
    tell((listener) => listener.deletesPending());
  }

  #unarchivedSuccessor(content: StoredContent): ContentId | null {
    const newest = this.#parts.inodes.find(content.ino)?.content;
    return newest && newest.id !== content.id && newest.phase !== "archived" ? newest.id : null;
  }

  /** An archived content is not waited for, and one that is gone would be waited for for ever. */
  #stillWaitedFor(successor: ContentId | null): ContentId | null {
    if (successor === null) return null;
    const stored = this.#parts.contents.find(successor);
    return stored === undefined || stored.phase === "archived" ? null : successor;
  }

  /** An overwritten version of a file; one without a name went into the trash when it lost it. */
  #isWorthKeeping(content: StoredContent): boolean {
    const { contents, inodes, keepsTrash, trashTable } = this.#parts;
    const isTrash = trashTable.isFile(content.ino);
    const hasName = inodes.placeOf(content.ino) !== undefined;
    return keepsTrash && hasName && !isTrash && contents.referencesTo(content.archive!) === 1;
  }

  #keepInTrash(content: StoredContent, place: EntryPlace, successor: ContentId | null): void {
    const { clock, tell, trash } = this.#parts;
    trash.keep(content, place, this.#stillWaitedFor(successor), clock.now());
    tell((listener) => listener.trashChanged());
  }

  #removeArchive(key: ArchiveKey, successor: ContentId | null): void {
    const { contents, recalls } = this.#parts;
    const archive = contents.archive(key);
    if (archive === undefined) return;
    this.bury(archive.vault, archive.id, successor);
    recalls.remove(key);
    contents.removeArchive(key);
  }
}
