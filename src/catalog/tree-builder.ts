/**
 * Makes the names of archives that an inventory brought: directories on the way, then the file.
 *
 * Relies on: `protocol/description.ts` lets no hostile segment through. Runs inside `mutate`.
 */

import { randomUUID } from "node:crypto";
import type { ArchiveId, InodeNumber, VaultName } from "../domain/ids.js";
import type { FileTime } from "../domain/time.js";
import { isDirectory, permissionMask, typeDirectory, typeRegular } from "../vfs/attributes.js";
import { trashName } from "../vfs/names.js";
import type { InodeTable } from "./inode-table.js";
import { freeSuffixedName, suffixedName } from "./suffixed-name.js";

/** Where a file goes below its vault's directory. */
export interface TreePlace {
  readonly directories: readonly string[];
  readonly name: string;
}

export interface DirectoryAttributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface PlacedFile extends TreePlace {
  /** Of the directory of this number on the way, if it has to be made; the defaults where it gives none. */
  readonly directoryAttributes?: (index: number) => DirectoryAttributes | undefined;
  readonly onDirectory?: (made: InodeNumber) => void;
  readonly archiveId: ArchiveId;
  readonly sizeBytes: number;
  readonly fileId: string | null;
  /** Permission bits; the default of `TreeDefaults` when the description does not tell. */
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly mtime: FileTime;
}

/** For what a description does not tell. */
export interface TreeDefaults {
  readonly fileMode: number;
  readonly directoryMode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Directories and name of a path; an empty path becomes the archive id. What claims to be trash is an ordinary file. */
export function treePlace(path: readonly string[], archive: ArchiveId): TreePlace {
  const [first, ...rest] = path;
  const safe = first === trashName ? [suffixedName(trashName, "archived"), ...rest] : path;
  const name = safe.at(-1);
  return name === undefined ? { directories: [], name: archive } : { directories: safe.slice(0, -1), name };
}

export class TreeBuilder {
  readonly #inodes: InodeTable;
  readonly #defaults: TreeDefaults;
  readonly #onName: (parent: InodeNumber, name: string) => void;

  /** @param onName Told of every name made, so that the kernel forgets that it was not there. */
  constructor(inodes: InodeTable, defaults: TreeDefaults, onName: (parent: InodeNumber, name: string) => void) {
    this.#inodes = inodes;
    this.#defaults = defaults;
    this.#onName = onName;
  }

  /** Makes the file's inode and name; a name that is taken gets ` (<first 8 of the archive id>)`. */
  placeFile(vault: VaultName, root: InodeNumber, file: PlacedFile): InodeNumber {
    const parent = this.#makeDirectories(vault, root, file);
    const ino = this.#inodes.insert(
      {
        vault,
        mode: typeRegular | (file.mode ?? this.#defaults.fileMode),
        nlink: 1,
        uid: file.uid ?? this.#defaults.uid,
        gid: file.gid ?? this.#defaults.gid,
        sizeBytes: file.sizeBytes,
        time: file.mtime,
      },
      file.fileId ?? randomUUID(),
    );
    this.name(parent, this.#freeName(parent, file.name, file.archiveId), ino);
    return ino;
  }

  /** Gives an inode a name, and tells the kernel of it. */
  name(parent: InodeNumber, name: string, ino: InodeNumber): void {
    this.#inodes.insertEntry(parent, name, ino);
    this.#onName(parent, name);
  }

  #makeDirectories(vault: VaultName, root: InodeNumber, file: PlacedFile): InodeNumber {
    let parent = root;
    for (const [index, name] of file.directories.entries()) {
      const found = this.#inodes.lookup(parent, name);
      if (found !== undefined && isDirectory(found.mode)) {
        parent = found.ino;
        continue;
      }
      const free = found === undefined ? name : this.#directoryBeside(parent, name, file.archiveId);
      if (typeof free !== "string") {
        parent = free;
        continue;
      }
      parent = this.#makeDirectory(vault, { parent, name: free }, file.mtime, file.directoryAttributes?.(index));
      file.onDirectory?.(parent);
    }
    return parent;
  }

  // A file has the directory's name: the directory gets the suffix, and is found again by it.
  #directoryBeside(parent: InodeNumber, name: string, archive: ArchiveId): string | InodeNumber {
    const beside = this.#inodes.lookup(parent, suffixedName(name, "directory"));
    if (beside !== undefined && isDirectory(beside.mode)) return beside.ino;
    return beside === undefined ? suffixedName(name, "directory") : this.#freeName(parent, name, archive);
  }

  #makeDirectory(
    vault: VaultName,
    { parent, name }: { readonly parent: InodeNumber; readonly name: string },
    time: FileTime,
    attributes: DirectoryAttributes = { ...this.#defaults, mode: this.#defaults.directoryMode },
  ): InodeNumber {
    const { uid, gid } = attributes;
    const mode = typeDirectory | (attributes.mode & permissionMask);
    const ino = this.#inodes.insert({ vault, mode, nlink: 2, uid, gid, time, parent }, null);
    const above = this.#inodes.find(parent);
    if (above !== undefined) this.#inodes.update(parent, { nlink: above.nlink + 1 });
    this.name(parent, name, ino);
    return ino;
  }

  #freeName(parent: InodeNumber, name: string, archive: ArchiveId): string {
    const isTaken = (candidate: string) => this.#inodes.lookup(parent, candidate) !== undefined;
    return isTaken(name) ? freeSuffixedName(name, archiveSuffixes(archive), isTaken) : name;
  }
}

/** The first 8 characters of the id, 16 … all, and then numbered: others may have described archives to take them all. */
function* archiveSuffixes(archive: ArchiveId): Generator<string> {
  for (let length = 8; length < archive.length + 8; length += 8) yield archive.slice(0, length);
  for (let attempt = 2; ; attempt += 1) yield `${archive} ${attempt}`;
}
