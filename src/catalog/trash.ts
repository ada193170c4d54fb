/**
 * The trash of a vault: archives that are deleted or overwritten, and stay as long as they cost nothing.
 *
 * CAS bills 90 days for every archive, so a younger one may as well stay (cas-api section 14.3). It becomes a file of its
 * own below `.trash/<date>/` of its vault, which a listing of the vault does not show: `rsync --delete` would empty it.
 * Runs inside `mutate`. Never: keeps what another file still has, nor what only another archive's deletion waits for.
 */

import { randomUUID } from "node:crypto";
import type { ArchiveKey, ContentId, InodeNumber, VaultName } from "../domain/ids.js";
import { fileTime, hours, type Instant, type Milliseconds } from "../domain/time.js";
import { invariant } from "../lib/invariant.js";
import { typeDirectory } from "../vfs/attributes.js";
import { trashName } from "../vfs/names.js";
import type { ContentTable, StoredContent } from "./content-table.js";
import type { EntryPlace, InodeTable } from "./inode-table.js";
import { freeSuffixedName } from "./suffixed-name.js";
import type { TrashTable } from "./trash-table.js";
import type { DirectoryAttributes, TreeBuilder } from "./tree-builder.js";
import type { VaultTable } from "./vault-table.js";
import type { XattrTable } from "./xattr-table.js";

export interface TrashParts {
  readonly table: TrashTable;
  /** For so long the service bills an archive anyway. */
  readonly freeMs: Milliseconds;
  readonly inodes: InodeTable;
  readonly contents: ContentTable;
  readonly vaults: VaultTable;
  readonly xattrs: XattrTable;
  readonly tree: TreeBuilder;
  /** A name went without the kernel's doing. */
  readonly onNameGone: (parent: InodeNumber, name: string) => void;
}

/** An archive that is older than what CAS bills anyway still stays for a day, for who has slipped. */
const graceMs = hours(24);

export class Trash {
  readonly #parts: TrashParts;
  /** Whether a directory may have become empty since that was looked for, which reads all of them. */
  #mayHaveEmpty = true;

  constructor(parts: TrashParts) {
    this.#parts = parts;
  }

  /**
   * Makes a file in the trash of an archived content that is about to go.
   *
   * @param content With the last reference to its archive, beside that of the new file.
   * @param place The name it had, which may be gone already.
   * @param waitsFor The content that replaces it.
   */
  keep(content: StoredContent, place: EntryPlace, waitsFor: ContentId | null, now: Instant): void {
    const { table, inodes, contents, tree, xattrs } = this.#parts;
    const file = inodes.find(content.ino);
    const vault = file?.vault;
    invariant(file !== undefined && vault != null && content.archive !== null, "an archived file is in a vault");
    const { directories, attributes } = this.#wayTo(place.parent);
    const ino = tree.placeFile(vault, this.#root(vault, now), {
      directories: [dateOf(now), ...directories],
      directoryAttributes: (index) => attributes[index - 1],
      onDirectory: (made) => table.addDirectory(made),
      name: place.name,
      archiveId: contents.archive(content.archive)!.id,
      sizeBytes: content.sizeBytes,
      fileId: randomUUID(),
      mode: file.mode & 0o7777,
      uid: file.uid,
      gid: file.gid,
      mtime: file.mtime,
    });
    contents.insertArchived(ino, content.version, content.archive, content.sizeBytes);
    xattrs.copyAll(content.ino, ino);
    table.add(ino, this.#purgeAt(content.archive, now), waitsFor);
  }

  /** A name in the trash was removed by who uses the file system. */
  lostName(): void {
    this.#mayHaveEmpty = true;
  }

  /** A file or directory was moved out of the trash: with all below it, it is an ordinary one again. */
  takeOut(ino: InodeNumber): void {
    const { table } = this.#parts;
    for (const one of table.below(ino)) table.remove(one);
    this.#mayHaveEmpty = true;
  }

  /** The names of a file in the trash go; the caller removes its inode. */
  removeNames(ino: InodeNumber): void {
    const { table, inodes, onNameGone } = this.#parts;
    const place = inodes.placeOf(ino);
    table.remove(ino);
    this.#mayHaveEmpty = true;
    if (place === undefined) return;
    inodes.removeEntry(place.parent, place.name);
    onNameGone(place.parent, place.name);
  }

  /** Removes directories that hold nothing any more. @returns their inodes, without names. */
  prune(): InodeNumber[] {
    const removed: InodeNumber[] = [];
    if (!this.#mayHaveEmpty) return removed;
    const { table, inodes, vaults } = this.#parts;
    for (let empty = table.emptyDirectories(); empty.length > 0; empty = table.emptyDirectories()) {
      for (const ino of empty) {
        const parent = inodes.placeOf(ino)?.parent;
        const above = parent === undefined ? undefined : inodes.find(parent);
        this.removeNames(ino);
        if (above !== undefined && table.isDirectory(above.ino)) inodes.update(above.ino, { nlink: above.nlink - 1 });
        vaults.forgetTrash(ino);
        removed.push(ino);
      }
    }
    this.#mayHaveEmpty = false;
    return removed;
  }

  #purgeAt(archive: ArchiveKey, now: Instant): Instant {
    return Math.max(this.#parts.contents.archivedAt(archive) + this.#parts.freeMs, now + graceMs) as Instant;
  }

  /** Names from the vault's directory down to `directory`, and what those directories look like. */
  #wayTo(directory: InodeNumber): {
    readonly directories: readonly string[];
    readonly attributes: readonly DirectoryAttributes[];
  } {
    const { inodes } = this.#parts;
    const directories = inodes.pathInVault(directory);
    const attributes: DirectoryAttributes[] = [];
    for (let ino = directory; attributes.length < directories.length; ino = inodes.find(ino)!.parent!) {
      attributes.unshift(inodes.find(ino)!);
    }
    return { directories, attributes };
  }

  #root(vault: VaultName, now: Instant): InodeNumber {
    const { table, inodes, vaults, tree } = this.#parts;
    const known = vaults.trashOf(vault);
    if (known !== undefined) return known;
    const above = vaults.find(vault)!.ino;
    this.#makeWay(above);
    const { mode, uid, gid } = inodes.find(above)!;
    // Not counted among the links of the vault's directory, as it is not listed either.
    const time = fileTime(now);
    const permissions = mode & 0o7777;
    const ino = inodes.insert(
      { vault, mode: typeDirectory | permissions, nlink: 2, uid, gid, time, parent: above },
      null,
    );
    tree.name(above, trashName, ino);
    table.addDirectory(ino);
    vaults.setTrash(vault, ino);
    return ino;
  }

  /** What an earlier casfs let somebody call so gets another name, as it does when an inventory brings it. */
  #makeWay(directory: InodeNumber): void {
    const { inodes, tree, onNameGone } = this.#parts;
    const present = inodes.lookup(directory, trashName);
    if (present === undefined) return;
    const isTaken = (name: string) => inodes.lookup(directory, name) !== undefined;
    inodes.removeEntry(directory, trashName);
    onNameGone(directory, trashName);
    tree.name(directory, freeSuffixedName(trashName, olderSuffixes(), isTaken), present.ino);
  }
}

function* olderSuffixes(): Generator<string> {
  yield "archived";
  for (let attempt = 2; ; attempt += 1) yield `archived ${attempt}`;
}

function dateOf(now: Instant): string {
  return new Date(now).toISOString().slice(0, 10);
}
