/**
 * What each operation on a path, an open file or a directory means. Knows nothing of FUSE.
 *
 * Puts the parts together: names (`namespace`), vaults (`vault-directories`), bytes (`file-contents`), waiting for
 * cold ones (`cold-opens`). What is stated here is what holds across them: attributes that overlay the catalog with
 * open files, and nameless inodes that live until the kernel forgets them.
 */

import { FileSystemError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { InodeNumber, VaultName } from "../domain/ids.js";
import { rootIno } from "../domain/ids.js";
import { type Clock, type FileTime, fileTime } from "../domain/time.js";
import type { CasService } from "../protocol/service.js";
import { type Attributes, isDirectory, isRegular, permissionMask, typeRegular } from "./attributes.js";
import type { CatalogPort, InodeChanges, InodeRecord, NameVisitor } from "./catalog-port.js";
import { type Caller, ColdOpens } from "./cold-opens.js";
import { ExtendedAttributes } from "./extended-attributes.js";
import { FileContents } from "./file-contents.js";
import { FileRanges } from "./file-ranges.js";
import { FileStreams } from "./file-streams.js";
import { HandleTable, type OpenIntent } from "./handle-table.js";
import { Namespace, type Place } from "./namespace.js";
import { PartialReads } from "./partial-reads.js";
import type {
  CachedContents,
  FileHolders,
  LocalDisk,
  PartialCopies,
  RecallRequests,
  StagedBytes,
  StagingArea,
  StreamRequests,
  UploadRequests,
} from "./ports.js";
import { type ProcessTable, RecallGovernor } from "./recall-governor.js";
import { RecallRefusals } from "./recall-refusals.js";
import type { FileSystemSettings } from "./settings.js";
import { StagingRoom } from "./staging-room.js";
import { type Rescheduled, UploadSchedule } from "./upload-schedule.js";
import { VaultDirectories } from "./vault-directories.js";

export interface FileSystemParts {
  readonly catalog: CatalogPort;
  readonly staging: StagingArea;
  readonly cache: CachedContents;
  readonly partial: PartialCopies;
  readonly uploads: UploadRequests;
  /** For files that are still written. */
  readonly streams: StreamRequests;
  readonly recalls: RecallRequests;
  readonly service: Pick<CasService, "createVault" | "describeVault" | "deleteVault">;
  readonly disk: LocalDisk;
  readonly processes: ProcessTable;
  readonly holders: FileHolders;
  readonly budget: StagedBytes;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly settings: FileSystemSettings;
  /** How far the inventory of a vault is, for `user.casfs.state` of its directory. */
  readonly inventoryState: (vault: VaultName) => string;
  /** A vault was found in the service that the catalog did not know. */
  readonly onVaultFound: (vault: VaultName) => void;
}

/** Fields that `setattr` changes; `"now"` is the time of the request. */
export interface RequestedAttributes {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly sizeBytes?: number;
  readonly atime?: FileTime | "now";
  readonly mtime?: FileTime | "now";
}

export interface ListedEntry {
  readonly name: string;
  readonly cookie: number;
  readonly attributes: Attributes;
}

/** The unit of st_blocks. */
const blockBytes = 512;
const groupExecute = 0o010;
const setgid = 0o2000;

export class FileSystem {
  readonly coldOpens: ColdOpens;
  readonly partialReads: PartialReads;
  readonly refusals: RecallRefusals;
  readonly contents: FileContents;
  readonly ranges: FileRanges;
  readonly extendedAttributes: ExtendedAttributes;
  readonly schedule: UploadSchedule;
  readonly room: StagingRoom;
  readonly #partial: PartialCopies;
  readonly #uploads: UploadRequests;
  readonly #budget: StagedBytes;
  readonly #catalog: CatalogPort;
  readonly #clock: Clock;
  readonly #staging: StagingArea;
  readonly #names: Namespace;
  readonly #vaults: VaultDirectories;
  /** Inodes without a name that the kernel may still use, with the content that took their name. */
  readonly #nameless = new Map<InodeNumber, Successor>();
  /** Those of them that never had one, and may be given one. */
  readonly #neverNamed = new Set<InodeNumber>();

  constructor(parts: FileSystemParts) {
    const { catalog, clock, settings } = parts;
    this.#catalog = catalog;
    this.#clock = clock;
    this.#staging = parts.staging;
    this.refusals = new RecallRefusals(parts);
    const governor = new RecallGovernor({ ...parts, refusals: this.refusals });
    this.coldOpens = new ColdOpens({ ...parts, governor });
    this.partialReads = new PartialReads({ ...parts, governor, coldOpens: this.coldOpens });
    this.#partial = parts.partial;
    this.schedule = new UploadSchedule(parts);
    this.#uploads = parts.uploads;
    this.#budget = parts.budget;
    const { coldOpens, partialReads, schedule } = this;
    const handles = new HandleTable();
    const streams = new FileStreams({ ...parts, handles, schedule, plan: settings.stream });
    this.room = new StagingRoom({ ...parts, streams, sealNow: () => catalog.runSoon() });
    const { room } = this;
    parts.streams.watch(room.watcher);
    this.contents = new FileContents({ ...parts, handles, coldOpens, partialReads, schedule, room, streams });
    this.ranges = new FileRanges(this.contents, streams);
    this.#names = new Namespace({ catalog, clock, schedule: this.schedule, settings });
    this.#vaults = new VaultDirectories({
      catalog,
      clock,
      service: parts.service,
      timeoutMs: settings.vaultTimeoutMs,
      onFound: parts.onVaultFound,
    });
    this.extendedAttributes = new ExtendedAttributes({
      ...parts,
      coldOpens: this.coldOpens,
      vaultState: (record) =>
        record.vault !== null && catalog.vault(record.vault)?.ino === record.ino
          ? parts.inventoryState(record.vault)
          : undefined,
    });
  }

  lookup(parent: InodeNumber, name: string): Attributes | undefined {
    const record = this.#names.lookup(parent, name);
    return record && this.#attributesOf(record);
  }

  attributes(ino: InodeNumber): Attributes {
    return this.#attributesOf(this.#names.inode(ino));
  }

  record(ino: InodeNumber): InodeRecord {
    return this.#names.inode(ino);
  }

  async setAttributes(ino: InodeNumber, wanted: RequestedAttributes): Promise<Attributes> {
    const record = this.#names.inode(ino);
    this.#catalog.requireWritable(record.vault);
    if (wanted.sizeBytes !== undefined) {
      this.#requireOutOfTrash(ino);
      await this.contents.truncate(ino, wanted.sizeBytes);
    }
    const changes = this.#changes(record, wanted);
    if (changes.mtime !== undefined) this.contents.setTime(ino, changes.mtime);
    await this.#catalog.mutate(() => this.#catalog.updateInode(ino, changes));
    return this.attributes(ino);
  }

  readLink(ino: InodeNumber): string {
    const target = this.#catalog.linkTarget(ino);
    if (target === undefined) throw new FileSystemError("invalid", `Inode ${ino} is no symbolic link`);
    return target;
  }

  async symlink(place: Place, target: string, caller: Caller): Promise<Attributes> {
    return this.#attributesOf(await this.#names.symlink(place, target, caller));
  }

  async makeNode(place: Place, mode: number, rdev: number, caller: Caller): Promise<Attributes> {
    return this.#attributesOf(await this.#names.makeNode(place, mode, caller, rdev));
  }

  async makeDirectory(place: Place, mode: number, caller: Caller): Promise<Attributes> {
    if (place.parent === rootIno) return this.attributes(await this.#vaults.create(place.name));
    return this.#attributesOf(await this.#names.makeDirectory(place, mode, caller));
  }

  async unlink(place: Place): Promise<void> {
    const { unlinked, rescheduled } = await this.#names.unlink(place);
    this.#reschedule(rescheduled);
    await this.#lostName(unlinked, null);
  }

  async removeDirectory(place: Place): Promise<void> {
    if (place.parent === rootIno) {
      await this.#vaults.remove(place.name);
      return;
    }
    this.#nameless.set((await this.#names.removeDirectory(place)).ino, null);
  }

  async rename(from: Place, to: Place, mode: "replace" | "no-replace" | "exchange"): Promise<void> {
    const { replaced, successor, rescheduled } = await this.#names.rename(from, to, mode);
    this.#reschedule(rescheduled);
    if (replaced !== undefined) await this.#lostName(replaced, successor);
  }

  async link(ino: InodeNumber, place: Place): Promise<Attributes> {
    const isNameless = this.#neverNamed.has(ino);
    const record = await this.#names.link(ino, place, { isNameless });
    if (this.#neverNamed.delete(ino)) this.#nameless.delete(ino);
    return this.#attributesOf(record);
  }

  /** Opens a file; a cold one as the settings say. @returns the number of the handle. */
  async open(ino: InodeNumber, intent: OpenIntent, caller: Caller): Promise<number> {
    if (intent.write || intent.truncate) {
      this.#catalog.requireWritable(this.#names.inode(ino).vault);
      this.#requireOutOfTrash(ino);
    }
    return this.contents.open(ino, intent, caller);
  }

  async create(
    place: Place,
    mode: number,
    intent: OpenIntent,
    caller: Caller,
  ): Promise<{ readonly attributes: Attributes; readonly handle: number }> {
    const record = await this.#names.createFile(place, typeRegular | (mode & permissionMask), caller);
    return { attributes: this.#attributesOf(record), handle: this.contents.openNew(record, intent) };
  }

  /** A file without a name, as O_TMPFILE makes it; `link` gives it one, or it goes with its last handle. */
  async createNameless(
    parent: InodeNumber,
    mode: number,
    intent: OpenIntent,
    caller: Caller,
  ): Promise<{ readonly attributes: Attributes; readonly handle: number }> {
    const record = await this.#names.createNamelessFile(parent, typeRegular | (mode & permissionMask), caller);
    this.#nameless.set(record.ino, null);
    this.#neverNamed.add(record.ino);
    return { attributes: this.#attributesOf(record), handle: this.contents.openNew(record, intent) };
  }

  async release(handle: number): Promise<void> {
    const closed = await this.contents.release(handle);
    const successor = closed === undefined ? undefined : this.#nameless.get(closed);
    if (closed !== undefined && successor !== undefined) await this.#removeContents(closed, successor);
  }

  /** The kernel holds no reference to the inode any more. */
  async forget(ino: InodeNumber): Promise<void> {
    this.#neverNamed.delete(ino);
    if (!this.#nameless.delete(ino)) return;
    await this.#catalog.mutate(() => this.#catalog.removeInode(ino, null));
  }

  /** Entries after `cookie`; at most `limit`, fewer only at the end. */
  list(directory: InodeNumber, cookie: number, limit: number): ListedEntry[] {
    const rows = this.#catalog.list(this.#names.listable(directory).ino, cookie, limit);
    return rows.map((row) => ({ name: row.name, cookie: row.cookie, attributes: this.#attributesOf(row.inode) }));
  }

  /** As `list`, of each entry only what a name says. */
  listNames(directory: InodeNumber, cookie: number, limit: number, each: NameVisitor): void {
    this.#catalog.listNames(this.#names.listable(directory).ino, cookie, limit, each);
  }

  /** @throws FileSystemError "not-ready" below a vault whose inventory has not landed. */
  requireListable(directory: InodeNumber): InodeRecord {
    return this.#names.listable(directory);
  }

  parentOf(directory: InodeNumber): InodeNumber {
    return this.#names.directory(directory).parent ?? rootIno;
  }

  async syncDirectory(): Promise<void> {
    await this.#staging.syncDirectory();
    await this.#catalog.flush();
  }

  /** syncfs: what all open files have written, and the catalog, survive power loss. */
  async syncAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const number of this.contents.handles.numbers()) {
      await this.contents.fsync(number).catch((error: unknown) => {
        // Closed meanwhile: its bytes were journaled, and the flush below covers them.
        if (!(error instanceof FileSystemError && error.kind === "bad-handle")) failures.push(error);
      });
    }
    // One file that the disk does not take must not keep the others from it.
    await this.syncDirectory();
    if (failures.length > 0) throw failures[0];
  }

  space(): ReturnType<StagingRoom["space"]> & { readonly inodes: number } {
    return { ...this.room.space(), inodes: this.#catalog.inodesAtMost() };
  }

  /** Stops what goes on by itself. */
  close(): void {
    this.room.close();
  }

  /** Removes what a crash left without a name; before anything is mounted. */
  async removeOrphans(): Promise<void> {
    const orphans = this.#catalog.orphans();
    if (orphans.length === 0) return;
    await this.#catalog.mutate(() => {
      for (const ino of orphans) this.#catalog.removeInode(ino, null);
    });
    await this.#staging.removalsDone();
  }

  #attributesOf(record: InodeRecord): Attributes {
    const { sizeBytes, mtime, ctime } = this.contents.overlay(record);
    return {
      ino: record.ino,
      mode: record.mode,
      nlink: record.nlink,
      uid: record.uid,
      gid: record.gid,
      rdev: record.rdev,
      sizeBytes,
      blocks: this.#blocks(record, sizeBytes),
      atime: record.atime,
      mtime,
      ctime,
    };
  }

  #blocks(record: InodeRecord, sizeBytes: number): number {
    if (!isRegular(record.mode) || sizeBytes === 0) return 0;
    const { content } = record;
    // Never 0 for a non-empty file: GNU tar -S would store it as one hole.
    if (this.coldOpens.isCold(content)) {
      return Math.max(1, Math.ceil(this.#partial.landedBytes(content!.archive!) / blockBytes));
    }
    if (content === null || content.phase === "archived") return Math.ceil(sizeBytes / blockBytes);
    return Math.max(1, Math.ceil(this.#budget.allocated(content.id) / blockBytes));
  }

  #changes(record: InodeRecord, wanted: RequestedAttributes): InodeChanges {
    const now = fileTime(this.#clock.now());
    const at = (time: FileTime | "now") => (time === "now" ? now : time);
    const { mode, uid, gid, atime, mtime } = wanted;
    const ownerChanges = uid !== undefined || gid !== undefined;
    const kept = ownerChanges && !isDirectory(record.mode) ? withoutSetIds(record.mode) : record.mode;
    return {
      ctime: now,
      ...(mode !== undefined && { mode: (record.mode & ~permissionMask) | (mode & permissionMask) }),
      ...(mode === undefined && kept !== record.mode && { mode: kept }),
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
      ...(atime !== undefined && { atime: at(atime) }),
      ...(mtime !== undefined && { mtime: at(mtime) }),
    };
  }

  #requireOutOfTrash(ino: InodeNumber): void {
    if (!this.#catalog.isTrash(ino)) return;
    throw new FileSystemError("not-permitted", `Inode ${ino} is in the trash: move it out of it before it is written`);
  }

  #reschedule(rescheduled: readonly Rescheduled[]): void {
    for (const { content, dueAt } of rescheduled) this.#uploads.enqueue(content, dueAt);
  }

  // The bytes go at once, unless a handle still reads them; the inode itself when the kernel forgets it.
  async #lostName(record: InodeRecord, successor: Successor): Promise<void> {
    if (record.nlink > 0) return;
    this.#nameless.set(record.ino, successor);
    if (this.contents.handles.file(record.ino) === undefined) await this.#removeContents(record.ino, successor);
    // What nobody can name is not uploaded; who has it open goes on with what is here.
    else await this.contents.forsakeUpload(record.ino);
  }

  async #removeContents(ino: InodeNumber, successor: Successor): Promise<void> {
    await this.#catalog.mutate(() => {
      for (const content of this.#catalog.contentsOf(ino)) this.#catalog.removeContent(content.id, successor);
      if (this.#catalog.inode(ino) !== undefined) this.#catalog.updateInode(ino, { content: null });
    });
    await this.#staging.removalsDone();
  }
}

type Successor = Parameters<CatalogPort["removeInode"]>[1];

function withoutSetIds(mode: number): number {
  const dropped = mode & ~0o4000;
  // Set-group-id without group execute marks mandatory locking, not privilege.
  return (mode & groupExecute) === 0 ? dropped : dropped & ~setgid;
}
