/**
 * The catalog as the file system sees it: inodes, names, content versions, vaults, extended attributes.
 *
 * Reads are synchronous and see what the present turn of the event loop has changed. Changes happen inside
 * `mutate`, several requests of one turn in one transaction; a request's reply waits for the promise.
 */

import type { ArchiveKey, ContentId, InodeNumber, VaultName } from "../domain/ids.js";
import type { FileTime, Instant } from "../domain/time.js";
import type { OtherWriter } from "../domain/vault-writers.js";
import type { ColdArchive, RecallFailure } from "../restore/ports.js";

/**
 * - `writing`: a handle may still write it, or the daemon died while one did;
 * - `sealed`: closed, waits for its upload; opening it for writing makes it `writing` again;
 * - `claimed`: its upload has begun, so it is immutable;
 * - `archived`: the service confirmed it.
 */
export type ContentPhase = "writing" | "sealed" | "claimed" | "archived";

export interface ContentRecord {
  readonly id: ContentId;
  readonly version: number;
  readonly phase: ContentPhase;
  /** Present when, and only when, `phase` is `archived`. */
  readonly archive: ArchiveKey | null;
  /** The daemon died before any FLUSH of this content: it is kept, and not uploaded by itself. */
  readonly interrupted: boolean;
}

export interface InodeRecord {
  readonly ino: InodeNumber;
  /** null for the root of the mount. */
  readonly vault: VaultName | null;
  /** File type and permission bits. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly sizeBytes: number;
  readonly atime: FileTime;
  readonly mtime: FileTime;
  readonly ctime: FileTime;
  /** Directories only: the inode of `..`. */
  readonly parent: InodeNumber | null;
  /** The newest content version; null for an empty file and for everything that is not a regular file. */
  readonly content: ContentRecord | null;
}

export interface DirectoryRow {
  /** Grows with every name that is made; a listing goes on after it. */
  readonly cookie: number;
  readonly name: string;
  readonly inode: InodeRecord;
}

/** Gets one entry of a directory; returns false when it wants no more. */
export type NameVisitor = (name: string, cookie: number, ino: InodeNumber, mode: number) => boolean;

export interface NewInode {
  readonly vault: VaultName | null;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev?: number;
  readonly sizeBytes?: number;
  readonly time: FileTime;
  readonly parent?: InodeNumber;
  /** Symbolic links only. */
  readonly target?: string;
}

export interface InodeChanges {
  readonly mode?: number;
  readonly nlink?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly sizeBytes?: number;
  readonly atime?: FileTime;
  readonly mtime?: FileTime;
  readonly ctime?: FileTime;
  readonly parent?: InodeNumber;
  readonly content?: ContentId | null;
}

export interface ContentChanges {
  readonly phase?: ContentPhase;
  readonly sizeBytes?: number;
  /** A FLUSH has promised the bytes written so far. */
  readonly flushed?: boolean;
  readonly interrupted?: boolean;
  /** Sealed after a crash, without a RELEASE: nobody knows that its writer was done. */
  readonly recovered?: boolean;
  /** The bytes have been fdatasynced and not been written since: they survive power loss. */
  readonly durable?: boolean;
  readonly dueAt?: Instant;
}

/** `awaiting-inventory`: nothing below it may be shown yet, or `rsync --delete` would wipe the other side. */
export type VaultVisibility = "visible" | "awaiting-inventory";

export interface VaultRecord {
  readonly name: VaultName;
  readonly ino: InodeNumber;
  readonly visibility: VaultVisibility;
  /** Another state directory writes to the vault: until `takeOver` nothing here does. */
  readonly otherWriter: OtherWriter | null;
}

export interface CatalogPort {
  /** Of this state directory, in the description of every archive that it makes. */
  readonly writerId: string;
  /**
   * Runs `change` as a savepoint of this turn's transaction: when it throws, nothing of it stays. Resolves with its
   * result when the turn is committed; rejects when the commit failed, and then nothing of the turn has happened.
   */
  mutate<T>(change: () => T): Promise<T>;
  /** As `mutate`, for a change that no reply waits for: it may wait some milliseconds for a transaction to join. */
  mutateSoon<T>(change: () => T): Promise<T>;
  /** Runs at once what `mutateSoon` holds back. */
  runSoon(): void;
  /** All that was committed so far survives power loss. */
  flush(): Promise<void>;

  inode(ino: InodeNumber): InodeRecord | undefined;
  lookup(parent: InodeNumber, name: string): InodeRecord | undefined;
  /** Rows after `cookie` in the order of their cookies. */
  list(parent: InodeNumber, cookie: number, limit: number): DirectoryRow[];
  /** The same rows for who needs no attributes: several times as fast. */
  listNames(parent: InodeNumber, cookie: number, limit: number, each: NameVisitor): void;
  /** The rows that follow the first name of `ino` in a listing of its directory. */
  listAfter(ino: InodeNumber, limit: number): DirectoryRow[];
  isEmpty(directory: InodeNumber): boolean;
  linkTarget(ino: InodeNumber): string | undefined;
  /** Names from the vault's directory down to `ino`; the first name of a file with several. Empty for the vault itself. */
  pathInVault(ino: InodeNumber): string[];
  /** No fewer than there are; for statfs, which must not count. */
  inodesAtMost(): number;

  insertInode(inode: NewInode): InodeNumber;
  /** A regular file with its first content, in phase `writing`. */
  insertOpenFile(inode: NewInode): InodeRecord;
  updateInode(ino: InodeNumber, changes: InodeChanges): void;
  /**
   * The inode, its attributes and contents are gone.
   *
   * @param successor A content that took the file's name and is not archived yet: the archives of the removed file
   *   are deleted in the vault only after that has been.
   */
  removeInode(ino: InodeNumber, successor: ContentId | null): void;
  /**
   * The file lost its last name, but may still be open: from now on its archives are to be deleted in the vault. Its
   * contents stay until `removeContent`. Where there is a trash they are kept there first.
   *
   * @param successor As for `removeInode`.
   * @param place The name that it lost.
   */
  forsakeArchives(
    ino: InodeNumber,
    successor: ContentId | null,
    place: { readonly parent: InodeNumber; readonly name: string },
  ): void;
  /** Whether a file or directory is in the trash of its vault. */
  isTrash(ino: InodeNumber): boolean;
  /** Inside `mutate`: a file, or a directory with all below it, was moved out of the trash. */
  takeFromTrash(ino: InodeNumber): void;
  /** Inside `mutate`: removes directories of the trash that hold nothing. */
  pruneTrash(): void;
  /** Inodes without a name that a crash left behind. */
  orphans(): InodeNumber[];
  insertEntry(parent: InodeNumber, name: string, ino: InodeNumber): void;
  removeEntry(parent: InodeNumber, name: string): void;
  renameEntry(
    from: { readonly parent: InodeNumber; readonly name: string },
    to: { readonly parent: InodeNumber; readonly name: string },
  ): void;
  /** The two names change their inodes. */
  exchangeEntries(
    one: { readonly parent: InodeNumber; readonly name: string },
    other: { readonly parent: InodeNumber; readonly name: string },
  ): void;

  /**
   * The next version of a file, in phase `writing`.
   *
   * @param options.newest Readers see it from now on. A copy of the former version becomes the newest by
   *   `updateInode` once its bytes are there.
   */
  insertContent(ino: InodeNumber, options: { readonly newest: boolean }): ContentRecord;
  updateContent(content: ContentId, changes: ContentChanges): void;
  /** Inside `mutate`: the upload of a content that was still written is aborted in the service, and begins anew. */
  restartUpload(content: ContentId): void;
  /**
   * Inside `mutate`: what there is of a content is kept and not uploaded; the file is what it was before.
   *
   * @returns what became of the file, in words.
   */
  keepInterrupted(content: ContentId, sizeBytes: number): string;
  /** When a content that is sealed is to be uploaded; undefined when it is gone. */
  dueAt(content: ContentId): Instant | undefined;
  /** When the newest archive of a file was made; undefined when it has none. */
  lastArchivedAt(ino: InodeNumber): Instant | undefined;
  /** Every content version of a file, oldest first. */
  contentsOf(ino: InodeNumber): readonly ContentRecord[];
  /**
   * A content that nobody needs any more. Its unfinished upload becomes abandoned; its archive, if any, gets a
   * tombstone and is deleted in the vault.
   *
   * @param successor As for `removeInode`.
   */
  removeContent(content: ContentId, successor?: ContentId | null): void;
  archive(key: ArchiveKey): ColdArchive | undefined;
  /** Why the archive could not be recalled; undefined when nobody has tried since it landed last. */
  recallFailure(archive: ArchiveKey): RecallFailure | undefined;
  /** Whether the service does not have an archive any more that it had confirmed. */
  isMissing(key: ArchiveKey): boolean;
  /** Why the bytes of an archive must not be handed out: a newer casfs packed or encrypted them. */
  unreadableReason(key: ArchiveKey): string | null;

  vaults(): VaultRecord[];
  vault(name: VaultName): VaultRecord | undefined;
  /** @throws FileSystemError "read-only" while another state directory writes to the vault. `null`: the root. */
  requireWritable(vault: VaultName | null): void;
  insertVault(name: VaultName, visibility: VaultVisibility, time: FileTime): InodeNumber;
  removeVault(name: VaultName): void;
  /** Whether archives of the vault still wait for their deletion in the service. */
  hasPendingDeletes(name: VaultName): boolean;

  extendedAttribute(ino: InodeNumber, name: string): Uint8Array | undefined;
  extendedAttributes(ino: InodeNumber): string[];
  setExtendedAttribute(ino: InodeNumber, name: string, value: Uint8Array): void;
  removeExtendedAttribute(ino: InodeNumber, name: string): void;
}
