/**
 * Inodes that were read or made lately, so that the requests about one open file do not read its rows again each time.
 *
 * Relies on: `InodeTable` and `ContentTable` alone write the rows that a record is made of, and tell of it here.
 * Never: outlives an undone change; whoever undoes one calls `clear`.
 */

import type { ContentId, InodeNumber } from "../domain/ids.js";
import type { InodeChanges, InodeRecord } from "../vfs/catalog-port.js";

/** A listing reads its rows by itself; here are open files, and the directories that they are made in. */
const recordsMax = 1024;

export class InodeRecords {
  /** The one that was put here first is the first to go. */
  readonly #records = new Map<InodeNumber, InodeRecord>();
  readonly #inodeOfContent = new Map<ContentId, InodeNumber>();

  get(ino: InodeNumber): InodeRecord | undefined {
    return this.#records.get(ino);
  }

  put(record: InodeRecord): void {
    this.forget(record.ino);
    if (this.#records.size >= recordsMax) this.forget(this.#records.keys().next().value!);
    if (record.content !== null) {
      // While a content moves from one file to another both have it.
      this.forgetContent(record.content.id);
      this.#inodeOfContent.set(record.content.id, record.ino);
    }
    this.#records.set(record.ino, record);
  }

  /** The row of an inode was changed in this way. */
  changed(ino: InodeNumber, { content, ...changes }: InodeChanges): void {
    const record = this.#records.get(ino);
    if (record === undefined) return;
    // Which phase another content is in its own row says.
    if (content !== undefined && content !== (record.content?.id ?? null)) this.forget(ino);
    else this.#records.set(ino, { ...record, ...changes });
  }

  forget(ino: InodeNumber): void {
    const content = this.#records.get(ino)?.content;
    if (content != null && this.#inodeOfContent.get(content.id) === ino) this.#inodeOfContent.delete(content.id);
    this.#records.delete(ino);
  }

  /** The row of a content was changed: the inode whose newest it is has to be read again. */
  forgetContent(content: ContentId): void {
    const ino = this.#inodeOfContent.get(content);
    if (ino !== undefined) this.forget(ino);
  }

  clear(): void {
    this.#records.clear();
    this.#inodeOfContent.clear();
  }
}
