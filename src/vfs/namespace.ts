/**
 * Names below a vault: look up, make, remove, rename, link.
 *
 * Relies on: permissions, name lookup of `.` and `..`, and loops of directories are checked by the kernel
 * (default_permissions). Each change is one savepoint of the catalog; its promise waits for the commit.
 * Never: an upload. A new name for a file is a catalog change only.
 */

import { FileSystemError } from "../domain/errors.js";
import { type ContentId, type InodeNumber, rootIno, type VaultName } from "../domain/ids.js";
import { type Clock, type FileTime, fileTime } from "../domain/time.js";
import { isDirectory, permissionMask, typeDirectory, typeSymlink } from "./attributes.js";
import type { CatalogPort, InodeRecord, NewInode } from "./catalog-port.js";
import { checkName, trashName } from "./names.js";
import type { FileSystemSettings } from "./settings.js";
import type { Rescheduled, UploadSchedule } from "./upload-schedule.js";

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface Renamed {
  /** The inode that lost its name to the moved one, if there was one. */
  readonly replaced: InodeRecord | undefined;
  /** The content that is to be archived before the archives of `replaced` are deleted. */
  readonly successor: ContentId | null;
  readonly rescheduled: readonly Rescheduled[];
}

export interface Place {
  readonly parent: InodeNumber;
  readonly name: string;
}

const linksMax = 65_000;
const targetBytesMax = 4095;
const setgid = 0o2000;

export class Namespace {
  readonly #catalog: CatalogPort;
  readonly #clock: Clock;
  readonly #schedule: UploadSchedule;
  readonly #partialTree: boolean;

  constructor(parts: {
    readonly catalog: CatalogPort;
    readonly clock: Clock;
    readonly schedule: UploadSchedule;
    readonly settings: Pick<FileSystemSettings, "partialTree">;
  }) {
    this.#catalog = parts.catalog;
    this.#clock = parts.clock;
    this.#schedule = parts.schedule;
    this.#partialTree = parts.settings.partialTree;
  }

  /** @throws FileSystemError "not-ready" below a vault whose inventory has not landed. */
  lookup(parent: InodeNumber, name: string): InodeRecord | undefined {
    if (Buffer.byteLength(name) > 255) checkName(name);
    this.#requireVisible(this.directory(parent));
    return this.#catalog.lookup(parent, name);
  }

  /** @throws FileSystemError "stale" or "not-a-directory". */
  directory(ino: InodeNumber): InodeRecord {
    const record = this.inode(ino);
    if (!isDirectory(record.mode)) throw new FileSystemError("not-a-directory", `Inode ${ino} is no directory`);
    return record;
  }

  /** @throws FileSystemError "stale" when the inode is gone. */
  inode(ino: InodeNumber): InodeRecord {
    const record = this.#catalog.inode(ino);
    if (record === undefined) throw new FileSystemError("stale", `Inode ${ino} is gone`);
    return record;
  }

  /** A directory whose entries may be listed. */
  listable(ino: InodeNumber): InodeRecord {
    const record = this.directory(ino);
    this.#requireVisible(record);
    return record;
  }

  /** A regular file that is open from the start: with its first content, in phase `writing`. */
  createFile(place: Place, mode: number, owner: Owner): Promise<InodeRecord> {
    return this.#make(place, (parent, time) => this.#catalog.insertOpenFile(newFile(parent, time, mode, owner)));
  }

  /** An empty file that nobody has open, a FIFO, a socket or a device. */
  makeNode(place: Place, mode: number, owner: Owner, rdev: number): Promise<InodeRecord> {
    return this.#make(place, (parent, time) =>
      this.#catalog.insertInode({ ...newFile(parent, time, mode, owner), rdev }),
    );
  }

  /** A regular file that is open, and has no name before `link` gives it one. */
  createNamelessFile(parent: InodeNumber, mode: number, owner: Owner): Promise<InodeRecord> {
    return this.#catalog.mutate(() => {
      const directory = this.#changeable(parent);
      this.#requireOutOfTrash(parent);
      return this.#catalog.insertOpenFile({ ...newFile(directory, this.#now(), mode, owner), nlink: 0 });
    });
  }

  makeDirectory(place: Place, mode: number, owner: Owner): Promise<InodeRecord> {
    return this.#make(place, (parent, time) => {
      const inherited = parent.mode & setgid;
      const ino = this.#catalog.insertInode({
        vault: parent.vault,
        mode: typeDirectory | (mode & permissionMask) | inherited,
        nlink: 2,
        time,
        uid: owner.uid,
        gid: groupBelow(parent, owner),
        parent: parent.ino,
      });
      this.#catalog.updateInode(parent.ino, { nlink: parent.nlink + 1 });
      return ino;
    });
  }

  symlink(place: Place, target: string, owner: Owner): Promise<InodeRecord> {
    const length = Buffer.byteLength(target);
    if (length > targetBytesMax) throw new FileSystemError("name-too-long", `Cannot link to a path of ${length} bytes`);
    return this.#make(place, (parent, time) =>
      this.#catalog.insertInode({
        vault: parent.vault,
        mode: typeSymlink | 0o777,
        nlink: 1,
        time,
        uid: owner.uid,
        gid: groupBelow(parent, owner),
        sizeBytes: length,
        target,
      }),
    );
  }

  /** @param options.isNameless The file was made without a name, and may get one. */
  link(ino: InodeNumber, place: Place, { isNameless }: { readonly isNameless: boolean }): Promise<InodeRecord> {
    const record = this.inode(ino);
    if (isDirectory(record.mode)) throw new FileSystemError("not-permitted", "Cannot hard-link a directory");
    if (record.nlink === 0 && !isNameless) {
      throw new FileSystemError("not-found", `Inode ${ino} has no name any more`);
    }
    this.#requireOutOfTrash(ino);
    if (record.nlink >= linksMax) throw new FileSystemError("too-many-links", `Inode ${ino} has ${record.nlink} links`);
    this.#requireSameVault(record.vault, this.directory(place.parent).vault);
    return this.#make(place, (_parent, time) => {
      this.#catalog.updateInode(ino, { nlink: record.nlink + 1, ctime: time });
      return ino;
    });
  }

  /** @returns the inode, which now has one name less. */
  unlink(place: Place): Promise<{ readonly unlinked: InodeRecord; readonly rescheduled: readonly Rescheduled[] }> {
    return this.#catalog.mutate(() => {
      const parent = this.#changeable(place.parent);
      const record = this.#existing(place);
      if (isDirectory(record.mode)) throw new FileSystemError("is-a-directory", `${place.name} is a directory`);
      const wasTemporary = record.nlink > 1 && this.#isTemporary(record);
      this.#catalog.removeEntry(place.parent, place.name);
      this.#dropName(record, null, place);
      this.#touch(parent);
      const rescheduled = record.nlink > 1 ? this.#rescheduled(record, wasTemporary) : [];
      return { unlinked: this.inode(record.ino), rescheduled };
    });
  }

  removeDirectory(place: Place): Promise<InodeRecord> {
    return this.#catalog.mutate(() => {
      const parent = this.#changeable(place.parent);
      const record = this.#existing(place);
      if (!isDirectory(record.mode)) throw new FileSystemError("not-a-directory", `${place.name} is no directory`);
      this.#requireEmpty(record, place.name);
      this.#catalog.removeEntry(place.parent, place.name);
      this.#dropName(record, null, place);
      // The trash of a vault is not counted, as it is not listed.
      this.#touch(parent, isReserved(parent, place.name) ? 0 : -1);
      return this.inode(record.ino);
    });
  }

  async rename(from: Place, to: Place, mode: "replace" | "no-replace" | "exchange"): Promise<Renamed> {
    checkName(to.name);
    return this.#catalog.mutate(() => {
      const source = this.#changeable(from.parent);
      const target = this.#changeable(to.parent);
      this.#requireSameVault(source.vault, target.vault);
      const moved = this.#existing(from);
      const present = this.#catalog.lookup(to.parent, to.name);
      const wasTrash = this.#catalog.isTrash(from.parent);
      if (this.#catalog.isTrash(to.parent) || (mode === "exchange" && wasTrash)) throw trashIsFixed();
      if (isReserved(source, from.name) || isReserved(target, to.name)) throw trashIsFixed();
      if (mode === "exchange") return this.#exchange(from, to, moved, present);
      if (present?.ino === moved.ino) return { replaced: undefined, successor: null, rescheduled: [] };
      const wasTemporary = this.#isTemporary(moved);
      const successor = present === undefined ? null : this.#replace(moved, present, to, mode);
      this.#catalog.renameEntry(from, to);
      if (wasTrash) this.#catalog.takeFromTrash(moved.ino);
      if (isDirectory(moved.mode)) this.#moveDirectory(moved, from.parent, to.parent);
      this.#touch(this.inode(from.parent));
      if (from.parent !== to.parent) this.#touch(this.inode(to.parent));
      this.#catalog.updateInode(moved.ino, { ctime: this.#now() });
      const replaced = present && this.inode(present.ino);
      const rescheduled = this.#rescheduled(moved, wasTemporary, present);
      return { replaced, successor, rescheduled };
    });
  }

  #make(
    place: Place,
    insert: (parent: InodeRecord, time: FileTime) => InodeNumber | InodeRecord,
  ): Promise<InodeRecord> {
    checkName(place.name);
    return this.#catalog.mutate(() => {
      const parent = this.#changeable(place.parent);
      if (this.#catalog.lookup(place.parent, place.name) !== undefined) {
        throw new FileSystemError("exists", `${place.name} exists`);
      }
      if (isReserved(parent, place.name)) throw trashIsFixed();
      this.#requireOutOfTrash(place.parent);
      const time = this.#now();
      const made = insert(parent, time);
      const ino = typeof made === "number" ? made : made.ino;
      this.#catalog.insertEntry(place.parent, place.name, ino);
      this.#catalog.updateInode(place.parent, { mtime: time, ctime: time });
      return typeof made === "number" ? this.inode(ino) : made;
    });
  }

  /** @returns the content that is to be archived before the archives of `present` are deleted. */
  #replace(moved: InodeRecord, present: InodeRecord, to: Place, mode: "replace" | "no-replace"): ContentId | null {
    if (mode === "no-replace") throw new FileSystemError("exists", `${to.name} exists`);
    if (isDirectory(moved.mode) && !isDirectory(present.mode)) {
      throw new FileSystemError("not-a-directory", `${to.name} is no directory`);
    }
    if (!isDirectory(moved.mode) && isDirectory(present.mode)) {
      throw new FileSystemError("is-a-directory", `${to.name} is a directory`);
    }
    if (isDirectory(present.mode)) {
      this.#requireEmpty(present, to.name);
      this.#catalog.updateInode(to.parent, { nlink: this.inode(to.parent).nlink - 1 });
    }
    const unarchived = moved.content !== null && moved.content.phase !== "archived";
    const successor = unarchived ? moved.content.id : null;
    this.#dropName(present, successor, to);
    return successor;
  }

  #exchange(from: Place, to: Place, moved: InodeRecord, present: InodeRecord | undefined): Renamed {
    if (present === undefined) throw new FileSystemError("not-found", `${to.name} is not there`);
    const wereTemporary = [this.#isTemporary(moved), this.#isTemporary(present)] as const;
    this.#catalog.exchangeEntries(from, to);
    if (isDirectory(moved.mode)) this.#moveDirectory(moved, from.parent, to.parent);
    if (isDirectory(present.mode)) this.#moveDirectory(present, to.parent, from.parent);
    this.#touch(this.inode(from.parent));
    if (from.parent !== to.parent) this.#touch(this.inode(to.parent));
    const ctime = this.#now();
    this.#catalog.updateInode(moved.ino, { ctime });
    this.#catalog.updateInode(present.ino, { ctime });
    const rescheduled = [
      ...this.#rescheduled(moved, wereTemporary[0]),
      ...this.#rescheduled(present, wereTemporary[1]),
    ];
    return { replaced: undefined, successor: null, rescheduled };
  }

  #isTemporary({ ino, content }: InodeRecord): boolean {
    return content?.phase === "sealed" && this.#schedule.isTemporary(ino);
  }

  #rescheduled(file: InodeRecord, wasTemporary: boolean, replaced?: InodeRecord): Rescheduled[] {
    const rescheduled = this.#schedule.renamed(file, wasTemporary, replaced);
    return rescheduled === undefined ? [] : [rescheduled];
  }

  #moveDirectory(directory: InodeRecord, from: InodeNumber, to: InodeNumber): void {
    if (from === to) return;
    this.#catalog.updateInode(directory.ino, { parent: to });
    this.#catalog.updateInode(from, { nlink: this.inode(from).nlink - 1 });
    this.#catalog.updateInode(to, { nlink: this.inode(to).nlink + 1 });
  }

  // The inode stays, nameless, until the kernel forgets it: open handles and working directories still use it.
  // What is to happen to its archives is decided here: a crash must not forget what their deletion waits for.
  #dropName(record: InodeRecord, successor: ContentId | null, place: Place): void {
    const nlink = isDirectory(record.mode) ? 0 : record.nlink - 1;
    this.#catalog.updateInode(record.ino, { nlink, ctime: this.#now() });
    if (nlink === 0) this.#catalog.forsakeArchives(record.ino, successor, place);
  }

  #touch(directory: InodeRecord, links = 0): void {
    const time = this.#now();
    this.#catalog.updateInode(directory.ino, { mtime: time, ctime: time, nlink: directory.nlink + links });
  }

  #existing({ parent, name }: Place): InodeRecord {
    const record = this.#catalog.lookup(parent, name);
    if (record === undefined) throw new FileSystemError("not-found", `${name} is not there`);
    return record;
  }

  // Files live in vaults: nothing is made, moved or removed in the root but vaults, and those not here.
  #changeable(ino: InodeNumber): InodeRecord {
    const record = this.directory(ino);
    if (ino === rootIno) throw new FileSystemError("not-permitted", "Only vaults are in the root of the mount");
    if (record.nlink === 0) throw new FileSystemError("not-found", `Directory ${ino} was removed`);
    this.#requireVisible(record);
    this.#catalog.requireWritable(record.vault);
    return record;
  }

  #requireVisible(directory: InodeRecord): void {
    if (directory.vault === null || this.#partialTree) return;
    const vault = this.#catalog.vault(directory.vault);
    if (vault === undefined || vault.visibility === "visible") return;
    throw new FileSystemError("not-ready", `Vault ${directory.vault} is not shown before its inventory has landed`, {
      hint: `Run \`casfs inventory refresh ${directory.vault} --wait\`, or look again later`,
    });
  }

  #requireOutOfTrash(ino: InodeNumber): void {
    if (this.#catalog.isTrash(ino)) throw trashIsFixed();
  }

  #requireSameVault(one: VaultName | null, other: VaultName | null): void {
    if (one !== other) throw new FileSystemError("cross-vault", `Cannot move between vaults ${one} and ${other}`);
  }

  #requireEmpty(directory: InodeRecord, name: string): void {
    if (!this.#catalog.isEmpty(directory.ino)) throw new FileSystemError("not-empty", `${name} is not empty`);
  }

  #now(): FileTime {
    return fileTime(this.#clock.now());
  }
}

/** A name in a vault's directory that only the trash may have. */
function isReserved(directory: InodeRecord, name: string): boolean {
  return name === trashName && directory.parent === rootIno;
}

function trashIsFixed(): FileSystemError {
  return new FileSystemError("not-permitted", "What is in the trash can only be moved out of it or deleted");
}

function newFile(parent: InodeRecord, time: FileTime, mode: number, owner: Owner): NewInode {
  return { vault: parent.vault, mode, nlink: 1, time, uid: owner.uid, gid: groupBelow(parent, owner) };
}

// A set-group-id directory gives its group to what is made in it.
function groupBelow(parent: InodeRecord, owner: Owner): number {
  return (parent.mode & setgid) === 0 ? owner.gid : parent.gid;
}
