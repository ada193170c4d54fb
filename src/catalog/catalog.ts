/**
 * The catalog: what the file system knows without asking the service.
 *
 * Puts the tables together behind the ports of the rings below. Rules that span tables are here: what follows when a
 * content is removed or archived.
 */

import { existsSync } from "node:fs";
import type { FileSystemError } from "../domain/errors.js";
import {
  type ArchiveId,
  type ArchiveKey,
  type ContentId,
  type InodeNumber,
  rootIno,
  type VaultName,
} from "../domain/ids.js";
import { type Clock, type FileTime, fileTime, hours, type Instant } from "../domain/time.js";
import { type OtherWriter, writtenByAnother } from "../domain/vault-writers.js";
import { remainingByteDays } from "../protocol/prices.js";
import type { ColdArchive, RecallFailure } from "../restore/ports.js";
import type { DeleteJournal } from "../upload/ports.js";
import { isRegular, typeDirectory } from "../vfs/attributes.js";
import type {
  CatalogPort,
  ContentChanges,
  ContentRecord,
  DirectoryRow,
  InodeChanges,
  InodeRecord,
  NameVisitor,
  NewInode,
  VaultRecord,
  VaultVisibility,
} from "../vfs/catalog-port.js";
import { CachedTable } from "./cached-table.js";
import { CatalogCheck } from "./catalog-check.js";
import type { CatalogListener } from "./catalog-listener.js";
import { ContentTable } from "./content-table.js";
import { Database } from "./database.js";
import { InodeRecords } from "./inode-records.js";
import { type EntryPlace, InodeTable } from "./inode-table.js";
import { InterruptedContents } from "./interrupted-contents.js";
import { InventoryTable } from "./inventory-table.js";
import { LedgerTable } from "./ledger-table.js";
import { type Binding, MetaTable } from "./meta-table.js";
import { MissingTable } from "./missing-table.js";
import { NumberMint } from "./number-mint.js";
import { PartialTable } from "./partial-table.js";
import { RandomIds } from "./random-ids.js";
import { RecallFailureTable } from "./recall-failure-table.js";
import { RecallTable } from "./recall-table.js";
import { RecallUseTable } from "./recall-use-table.js";
import { StreamTable } from "./stream-table.js";
import { TombstoneTable } from "./tombstone-table.js";
import { Trash } from "./trash.js";
import { TrashTable } from "./trash-table.js";
import { TreeBuilder, type TreeDefaults } from "./tree-builder.js";
import { UnwantedArchives } from "./unwanted-archives.js";
import { UploadTable } from "./upload-table.js";
import { VaultTable } from "./vault-table.js";
import { XattrTable } from "./xattr-table.js";

export interface CatalogOptions {
  /** File of the catalog. */
  readonly path: string;
  /** null: whatever it is bound to; nobody is going to talk to the service. */
  readonly binding: Binding | null;
  /** Kernel's boot id: tells whether the power may have failed since a content was written. */
  readonly bootId: string;
  readonly clock: Clock;
  readonly treeDefaults: TreeDefaults;
  /** Whether archives that are deleted or overwritten stay in the trash while they cost nothing. */
  readonly trash: boolean;
  /** For so many days the service bills every archive. */
  readonly minimumStorageDays: number;
}

export class Catalog implements CatalogPort {
  readonly vaultTable: VaultTable;
  readonly contents: ContentTable;
  readonly uploads: UploadTable;
  readonly streams: StreamTable;
  readonly interrupted: InterruptedContents;
  readonly recalls: RecallTable;
  readonly recallFailures: RecallFailureTable;
  readonly recallUse: RecallUseTable;
  readonly ledger: LedgerTable;
  readonly inventories: InventoryTable;
  readonly cached: CachedTable;
  readonly partial: PartialTable;
  readonly missing: MissingTable;
  readonly trashTable: TrashTable;
  readonly deletes: DeleteJournal & Pick<TombstoneTable, "pending">;
  /** Where the catalog was made by this call: all vaults found in the service wait for their inventory. */
  readonly isNew: boolean;
  /** The archive service that it belongs to, in words that begin with the endpoint. */
  readonly boundTo: string;
  readonly writerId: string;
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #inodes: InodeTable;
  readonly #records: InodeRecords;
  readonly #fileIds = new RandomIds();
  readonly #tombstones: TombstoneTable;
  readonly #xattrs: XattrTable;
  readonly #trash: Trash;
  readonly #unwanted: UnwantedArchives;
  readonly #minimumStorageDays: number;
  #listener: CatalogListener | undefined;

  /** @throws UsageError when it is in use, damaged, or bound to another archive. */
  static async open(options: CatalogOptions): Promise<Catalog> {
    const isNew = !existsSync(options.path);
    const database = await Database.open(options.path);
    try {
      return new Catalog(database, options, isNew);
    } catch (error) {
      await database.close();
      throw error;
    }
  }

  private constructor(database: Database, options: CatalogOptions, isNew: boolean) {
    const { sql } = database;
    this.isNew = isNew;
    this.#database = database;
    this.#clock = options.clock;
    const meta = new MetaTable(sql);
    if (options.binding !== null) meta.bind(options.binding);
    this.boundTo = meta.boundTo;
    const writerId = meta.writerId();
    this.writerId = writerId;
    this.vaultTable = new VaultTable(sql);
    const numbers = {
      inodes: new NumberMint(sql, "inode", { first: rootIno }),
      entries: new NumberMint(sql, "entry", { first: 1 }),
      contents: new NumberMint(sql, "content", { first: 1 }),
      archives: new NumberMint(sql, "archive", { first: 1 }),
    };
    this.#records = new InodeRecords();
    const { vaultTable: vaults } = this;
    const records = this.#records;
    database.onRollback(() => {
      vaults.reload();
      records.clear();
      this.#inodes.forgetPaths();
      for (const mint of Object.values(numbers)) mint.forgetReservation();
    });
    this.#inodes = new InodeTable(sql, vaults, numbers, records);
    this.contents = new ContentTable(sql, { vaults, numbers, bootId: options.bootId, records });
    this.#tombstones = new TombstoneTable(sql, this.vaultTable);
    this.#xattrs = new XattrTable(sql);
    this.trashTable = new TrashTable(sql);
    this.#minimumStorageDays = options.minimumStorageDays;
    const nameChanged = (parent: InodeNumber, name: string) =>
      this.#tell((listener) => listener.nameAppeared(parent, name));
    const tree = new TreeBuilder(this.#inodes, options.treeDefaults, nameChanged);
    this.#trash = new Trash({
      freeMs: hours(24 * options.minimumStorageDays),
      table: this.trashTable,
      inodes: this.#inodes,
      contents: this.contents,
      vaults: this.vaultTable,
      xattrs: this.#xattrs,
      tree,
      onNameGone: nameChanged,
    });
    this.ledger = new LedgerTable(database, options.clock);
    this.recallFailures = new RecallFailureTable(database);
    this.recalls = new RecallTable({
      failures: this.recallFailures,
      database,
      contents: this.contents,
      ledger: this.ledger,
      clock: options.clock,
      onLanded: (archive) => this.#tell((listener) => listener.contentLanded(archive)),
    });
    this.recallUse = new RecallUseTable(database);
    this.cached = new CachedTable(database);
    this.partial = new PartialTable(database);
    this.uploads = new UploadTable({
      database,
      vaults: this.vaultTable,
      contents: this.contents,
      clock: options.clock,
      writerId,
      pathInVault: (ino) => this.#inodes.pathInVault(ino),
      events: {
        removeSuperseded: (content) => this.removeContent(content),
        archived: (content, archive, sizeBytes) => {
          const ino = this.contents.find(content)!.ino;
          this.#unwanted.forgetTrashOf(content, archive);
          // For a recovered content nothing is deleted.
          if (this.contents.find(content)?.recovered !== true) this.#unwanted.passOn(content, null);
          const { vault, id } = this.contents.archive(archive)!;
          this.#tombstones.revoke(vault, id);
          // With the archive, or a crash before the rename into the cache would make a local file cold.
          const now = this.#clock.now();
          const copy = { sizeBytes, lastUsedAt: now, landedAt: now, pinned: false, readSinceLanding: true };
          // Of an archive that had these bytes before there may be a copy, pinned perhaps.
          if (!this.streams.hasDropped(content) && !this.cached.has(archive, sizeBytes))
            this.cached.insert({ key: archive, ...copy });
          this.#tell((listener) => listener.contentArchived(content, archive, sizeBytes, ino));
        },
        cannotArchive: (content, why) => this.#loseContent(content, why),
        unwanted: ({ vault, archiveId, sizeBytes }) =>
          this.#unwanted.bury(vault, archiveId, null, { sizeBytes, createdAt: this.#clock.now() }),
      },
    });
    this.missing = new MissingTable(sql);
    const onAbandoned = () => this.#tell((listener) => listener.uploadsAbandoned());
    const { contents, uploads } = this;
    const heldBecause = (vault: VaultName) => this.heldBecause(vault);
    this.streams = new StreamTable({ database, contents, uploads, heldBecause, onAbandoned });
    this.#unwanted = new UnwantedArchives({
      contents,
      uploads,
      inodes: this.#inodes,
      vaults: this.vaultTable,
      streams: this.streams,
      recalls: this.recalls,
      tombstones: this.#tombstones,
      trash: this.#trash,
      trashTable: this.trashTable,
      keepsTrash: options.trash,
      clock: options.clock,
      tell: (call) => this.#tell(call),
    });
    this.interrupted = new InterruptedContents({
      contents,
      uploads,
      inodes: this.#inodes,
      fileIds: this.#fileIds,
      removeContent: (content) => this.removeContent(content),
      onName: nameChanged,
      onAbandoned,
    });
    this.inventories = new InventoryTable({
      database,
      vaults: this.vaultTable,
      contents: this.contents,
      tombstones: this.#tombstones,
      leftovers: this.uploads.leftovers,
      bury: (vault, archive, facts) => this.#unwanted.bury(vault, archive, null, facts),
      missing: this.missing,
      onMissing: (copies) => this.#tell((listener) => listener.lastCopies(copies)),
      writerId,
      clock: options.clock,
      tree,
    });
    this.deletes = deleteJournal({
      database,
      tombstones: this.#tombstones,
      clock: options.clock,
      isHeld: (vault) => this.heldBecause(vault) !== undefined,
    });
    // With the number that is minted for it, or a crash in between would give the root another one.
    if (this.#inodes.find(rootIno) === undefined) sql.transaction(() => this.#insertRoot(options.treeDefaults))();
  }

  /** The one listener; set before anything changes. */
  setListener(listener: CatalogListener): void {
    this.#listener = listener;
  }

  /** For `casfs fsck`. */
  check(): CatalogCheck {
    return new CatalogCheck(this.#database);
  }

  close(): Promise<void> {
    this.ledger.close();
    return this.#database.close();
  }

  mutate<T>(change: () => T): Promise<T> {
    return this.#database.mutate(change);
  }

  mutateSoon<T>(change: () => T): Promise<T> {
    return this.#database.mutateSoon(change);
  }

  runSoon(): void {
    this.#database.runSoon();
  }

  flush(): Promise<void> {
    return this.#database.flush();
  }

  inode(ino: InodeNumber): InodeRecord | undefined {
    return this.#inodes.find(ino);
  }

  lookup(parent: InodeNumber, name: string): InodeRecord | undefined {
    return this.#inodes.lookup(parent, name);
  }

  /** Regular files with set-user-id or set-group-id. */
  privilegedModes(): (readonly [InodeNumber, number])[] {
    return this.#inodes.privilegedModes();
  }

  list(parent: InodeNumber, cookie: number, limit: number): DirectoryRow[] {
    return this.#inodes.list(parent, cookie, limit);
  }

  listNames(parent: InodeNumber, cookie: number, limit: number, each: NameVisitor): void {
    this.#inodes.listNames(parent, cookie, limit, each);
  }

  listAfter(ino: InodeNumber, limit: number): DirectoryRow[] {
    return this.#inodes.listAfter(ino, limit);
  }

  isEmpty(directory: InodeNumber): boolean {
    return this.#inodes.isEmpty(directory);
  }

  linkTarget(ino: InodeNumber): string | undefined {
    return this.#inodes.linkTarget(ino);
  }

  pathInVault(ino: InodeNumber): string[] {
    return this.#inodes.pathInVault(ino);
  }

  inodesAtMost(): number {
    return this.#inodes.countAtMost();
  }

  orphans(): InodeNumber[] {
    return this.#inodes.orphans();
  }

  insertInode(inode: NewInode): InodeNumber {
    return this.#inodes.insert(inode, isRegular(inode.mode) ? this.#fileIds.next() : null);
  }

  insertOpenFile(inode: NewInode): InodeRecord {
    const id = this.contents.nextNumber();
    const ino = this.#inodes.insert(inode, this.#fileIds.next(), id);
    this.contents.insertFirst(ino, id);
    const { vault, mode, nlink, uid, gid, time } = inode;
    const content: ContentRecord = { id, version: 1, phase: "writing", archive: null, interrupted: false };
    const times = { atime: time, mtime: time, ctime: time };
    const made = { ino, vault, mode, nlink, uid, gid, rdev: 0, sizeBytes: 0, ...times, parent: null, content };
    this.#records.put(made);
    return made;
  }

  updateInode(ino: InodeNumber, changes: InodeChanges): void {
    this.#inodes.update(ino, changes);
  }

  forsakeArchives(ino: InodeNumber, successor: ContentId | null, place: EntryPlace): void {
    this.#unwanted.forsakeArchives(ino, successor, place);
  }

  isTrash(ino: InodeNumber): boolean {
    return this.trashTable.isFile(ino) || this.trashTable.isDirectory(ino);
  }

  takeFromTrash(ino: InodeNumber): void {
    this.#trash.takeOut(ino);
  }

  pruneTrash(): void {
    for (const directory of this.#trash.prune()) this.#inodes.remove(directory);
  }

  nextPurgeAt(): Instant | undefined {
    return this.trashTable.nextPurgeAt();
  }

  purgeTrash(limit: number): Promise<number> {
    return this.mutate(() => {
      const count = this.#unwanted.purge(limit);
      this.pruneTrash();
      return count;
    });
  }

  removeInode(ino: InodeNumber, successor: ContentId | null): void {
    this.#unwanted.removeInode(ino, successor);
  }

  insertEntry(parent: InodeNumber, name: string, ino: InodeNumber): void {
    this.#inodes.insertEntry(parent, name, ino);
  }

  removeEntry(parent: InodeNumber, name: string): void {
    this.#inodes.removeEntry(parent, name);
  }

  renameEntry(
    from: { readonly parent: InodeNumber; readonly name: string },
    to: { readonly parent: InodeNumber; readonly name: string },
  ): void {
    const moved = this.#inodes.lookup(from.parent, from.name);
    if (moved === undefined) return;
    this.#inodes.removeEntry(from.parent, from.name);
    // A name that is there keeps its place: a listing that has passed it would show it once more.
    if (this.#inodes.lookup(to.parent, to.name) === undefined) {
      this.#inodes.insertEntry(to.parent, to.name, moved.ino);
    } else this.#inodes.setEntry(to.parent, to.name, moved.ino);
  }

  exchangeEntries(
    one: { readonly parent: InodeNumber; readonly name: string },
    other: { readonly parent: InodeNumber; readonly name: string },
  ): void {
    const first = this.#inodes.lookup(one.parent, one.name);
    const second = this.#inodes.lookup(other.parent, other.name);
    if (first === undefined || second === undefined) return;
    this.#inodes.setEntry(one.parent, one.name, second.ino);
    this.#inodes.setEntry(other.parent, other.name, first.ino);
  }

  insertContent(ino: InodeNumber, options: { readonly newest: boolean }): ContentRecord {
    return this.contents.insert(ino, options);
  }

  updateContent(content: ContentId, changes: ContentChanges): void {
    this.contents.update(content, changes);
  }

  restartUpload(content: ContentId): void {
    this.uploads.abandon(content);
    this.#tell((listener) => listener.uploadsAbandoned());
  }

  keepInterrupted(content: ContentId, sizeBytes: number): string {
    return this.interrupted.keep(content, sizeBytes);
  }

  contentsOf(ino: InodeNumber): readonly ContentRecord[] {
    return this.contents.ofInode(ino);
  }

  dueAt(content: ContentId): Instant | undefined {
    return this.contents.find(content)?.dueAt;
  }

  lastArchivedAt(ino: InodeNumber): Instant | undefined {
    return this.contents.lastArchivedAt(ino);
  }

  removeContent(content: ContentId, successor: ContentId | null = null): void {
    this.#unwanted.removeContent(content, successor);
  }

  archive(key: ArchiveKey): ColdArchive | undefined {
    return this.contents.archive(key);
  }

  recallFailure(archive: ArchiveKey): RecallFailure | undefined {
    return this.recallFailures.find(archive);
  }

  isMissing(key: ArchiveKey): boolean {
    return this.missing.has(key);
  }

  unreadableReason(key: ArchiveKey): string | null {
    return this.contents.unreadableReason(key);
  }

  vaults(): VaultRecord[] {
    return this.vaultTable.all();
  }

  vault(name: VaultName): VaultRecord | undefined {
    return this.vaultTable.find(name);
  }

  /** Why nothing may be written to a vault; undefined when it may. */
  heldBecause(name: VaultName): FileSystemError | undefined {
    const other = this.vaultTable.find(name)?.otherWriter;
    return other == null ? undefined : writtenByAnother(name, this.writerId, other);
  }

  requireWritable(name: VaultName | null): void {
    const reason = name === null ? undefined : this.heldBecause(name);
    if (reason !== undefined) throw reason;
  }

  /**
   * This state directory is the one that writes to the vault from now on.
   *
   * @returns the writer that was seen there.
   */
  takeOver(name: VaultName): Promise<OtherWriter | null> {
    return this.mutate(() => {
      const other = this.vaultTable.find(name)?.otherWriter ?? null;
      this.vaultTable.takeOver(name);
      this.#tell((listener) => listener.deletesPending());
      return other;
    });
  }

  insertVault(name: VaultName, visibility: VaultVisibility, time: FileTime): InodeNumber {
    const root = this.#inodes.find(rootIno)!;
    const { uid, gid, mode } = root;
    const ino = this.#inodes.insert({ vault: null, mode, nlink: 2, uid, gid, time, parent: rootIno }, null);
    const id = this.vaultTable.insert(name, ino, visibility);
    this.#inodes.setVault(ino, id);
    this.#inodes.insertEntry(rootIno, name, ino);
    this.#inodes.update(rootIno, { nlink: root.nlink + 1, mtime: time, ctime: time });
    return ino;
  }

  removeVault(name: VaultName): void {
    const vault = this.vaultTable.find(name);
    const root = this.#inodes.find(rootIno)!;
    if (vault === undefined) return;
    this.#inodes.removeEntry(rootIno, name);
    this.pruneTrash();
    // What has lost its name and is still open, and the vault's directory itself.
    for (const ino of this.#inodes.inVault(this.vaultTable.idOf(name))) this.removeInode(ino, null);
    this.contents.removeArchives(name);
    this.#inodes.update(rootIno, { nlink: root.nlink - 1 });
    this.#tombstones.removeVault(name);
    this.uploads.leftovers.removeVault(name);
    this.vaultTable.remove(name);
  }

  /** The service has deleted an archive: what of its minimum time is left is billed now. */
  noteDeleted(vault: VaultName, archive: ArchiveId): void {
    const facts = this.vaultTable.find(vault) && this.#tombstones.factsOf(vault, archive);
    const byteDays = facts && remainingByteDays(facts, this.#clock.now(), this.#minimumStorageDays);
    this.ledger.note("delete", { bytes: facts?.sizeBytes ?? 0, byteDays: byteDays ?? 0 });
  }

  hasPendingDeletes(name: VaultName): boolean {
    return this.#tombstones.hasPending(name);
  }

  extendedAttribute(ino: InodeNumber, name: string): Uint8Array | undefined {
    return this.#xattrs.get(ino, name);
  }

  extendedAttributes(ino: InodeNumber): string[] {
    return this.#xattrs.names(ino);
  }

  setExtendedAttribute(ino: InodeNumber, name: string, value: Uint8Array): void {
    this.#xattrs.set(ino, name, value);
  }

  removeExtendedAttribute(ino: InodeNumber, name: string): void {
    this.#xattrs.remove(ino, name);
  }

  #insertRoot({ directoryMode, uid, gid }: TreeDefaults): void {
    const time = fileTime(this.#clock.now());
    // The first number that is minted is 1, which FUSE wants for the root.
    this.#inodes.insert(
      { vault: null, mode: typeDirectory | directoryMode, nlink: 2, uid, gid, time, parent: rootIno },
      null,
    );
  }

  #loseContent(content: ContentId, why: string): void {
    const stored = this.contents.find(content)!;
    const path = this.#inodes.pathInVault(stored.ino).join("/");
    // Its Complete may have made an archive, which then is the only copy: not one that an inventory is to clear away.
    this.uploads.forgetUpload(content);
    const kept = this.interrupted.keep(content, stored.sizeBytes);
    this.#tell((listener) => listener.contentLost(stored.ino, `${path} cannot be archived: ${why}; ${kept}`));
  }

  #tell(call: (listener: CatalogListener) => void): void {
    this.#database.afterCommit(() => {
      if (this.#listener !== undefined) call(this.#listener);
    });
  }
}

function deleteJournal({
  database,
  tombstones,
  clock,
  isHeld,
}: {
  readonly database: Database;
  readonly tombstones: TombstoneTable;
  readonly clock: Clock;
  readonly isHeld: (vault: VaultName) => boolean;
}): DeleteJournal & Pick<TombstoneTable, "pending"> {
  return {
    pending: () => tombstones.pending(),
    pendingDeletes: () => tombstones.pending().filter(({ vault }) => !isHeld(vault)),
    isHeld,
    didDelete: (archive, vault) => database.mutate(() => tombstones.setDeleted(vault, archive, clock.now())),
    didFailDelete: (archive, vault, { message, retryAt }) =>
      database.mutate(() => tombstones.setFailed(vault, archive, retryAt, message)),
    flush: () => database.flush(),
  };
}
