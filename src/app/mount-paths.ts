/** Paths that the command line names, resolved in the catalog. */

import type { Catalog } from "../catalog/catalog.js";
import { FileSystemError } from "../domain/errors.js";
import type { InodeNumber } from "../domain/ids.js";
import { rootIno } from "../domain/ids.js";
import { isDirectory, isRegular } from "../vfs/attributes.js";
import type { InodeRecord } from "../vfs/catalog-port.js";
import type { MountPath } from "./control-api.js";

export interface NamedFile {
  /** As the user would write it below the mountpoint. */
  readonly path: string;
  readonly record: InodeRecord;
}

/** Directory rows that are read at a time. */
const pageRows = 1000;

export class MountPaths {
  readonly #catalog: Catalog;
  readonly #root: InodeNumber;

  /** @param root The inode that the mount shows as its root. */
  constructor(catalog: Catalog, root: InodeNumber) {
    this.#catalog = catalog;
    this.#root = root;
  }

  /** @throws FileSystemError "not-found" for a path that is not there. */
  find(path: MountPath): NamedFile {
    let record = this.#catalog.inode(this.#root);
    for (const name of path) record = record && this.#catalog.lookup(record.ino, name);
    if (record !== undefined) return { path: path.join("/"), record };
    throw new FileSystemError("not-found", `${path.join("/")} is not there`);
  }

  /**
   * Every regular file that is named, and everything below every directory; the event loop is let go in between.
   *
   * Each file comes once, under the first name that is met, whether it has several names or two of the paths mean it:
   * it is one content, which is counted, paid for and waited for once.
   */
  async *files(paths: readonly MountPath[], { recursive } = { recursive: true }): AsyncGenerator<NamedFile> {
    const seen = new Set<InodeNumber>();
    for await (const file of this.#named(paths, recursive)) {
      const { ino, nlink } = file.record;
      if (seen.has(ino)) continue;
      if (paths.length > 1 || nlink > 1) seen.add(ino);
      yield file;
    }
  }

  async *#named(paths: readonly MountPath[], recursive: boolean): AsyncGenerator<NamedFile> {
    for (const path of paths) {
      const found = this.find(path);
      if (isRegular(found.record.mode)) yield found;
      else if (isDirectory(found.record.mode)) {
        if (!recursive)
          throw new FileSystemError("is-a-directory", `${found.path || "/"} is a directory`, {
            hint: "Give -r to mean everything below it",
          });
        yield* this.#below(found);
      }
    }
  }

  /** The first name of an inode, below the mount's root. */
  nameOf(ino: InodeNumber): string {
    const names = this.#catalog.pathInVault(ino);
    const vault = this.#catalog.inode(ino)?.vault;
    return (this.#root === rootIno && vault != null ? [vault, ...names] : names).join("/");
  }

  async *#below(directory: NamedFile): AsyncGenerator<NamedFile> {
    for (let cookie = 0; ; ) {
      const rows = this.#catalog.list(directory.record.ino, cookie, pageRows);
      for (const row of rows) {
        const named = { path: directory.path === "" ? row.name : `${directory.path}/${row.name}`, record: row.inode };
        if (isRegular(row.inode.mode)) yield named;
        else if (isDirectory(row.inode.mode)) yield* this.#below(named);
      }
      const last = rows.at(-1);
      if (last === undefined) return;
      cookie = last.cookie;
      await new Promise(setImmediate);
    }
  }
}
