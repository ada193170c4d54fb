/**
 * Contents that were cut off while they were written: the file is what it was before, and what was written of it gets a
 * name of its own, for a person to judge.
 */

import type { ContentId, InodeNumber } from "../domain/ids.js";
import type { ContentTable, StoredContent } from "./content-table.js";
import type { InodeTable } from "./inode-table.js";
import type { RandomIds } from "./random-ids.js";
import { freeSuffixedName } from "./suffixed-name.js";
import type { UploadTable } from "./upload-table.js";

export interface InterruptedContentsParts {
  readonly contents: ContentTable;
  readonly inodes: InodeTable;
  readonly uploads: UploadTable;
  readonly fileIds: RandomIds;
  readonly removeContent: (content: ContentId) => void;
  /** A name was made. */
  readonly onName: (parent: InodeNumber, name: string) => void;
  /** An upload is to be aborted in the service. */
  readonly onAbandoned: () => void;
}

export class InterruptedContents {
  readonly #parts: InterruptedContentsParts;

  constructor(parts: InterruptedContentsParts) {
    this.#parts = parts;
  }

  /**
   * Inside `mutate`: keeps `sizeBytes` of a content, which is not uploaded by itself from now on.
   *
   * @returns what became of the file, in words.
   */
  keep(content: ContentId, sizeBytes: number): string {
    const { contents, inodes, uploads, onAbandoned } = this.#parts;
    if (sizeBytes === 0 && this.revert(content)) return "nothing of it is left, so it is what it was before";
    const stored = contents.find(content);
    const isNewest = stored !== undefined && inodes.find(stored.ino)?.content?.id === content;
    // An upload that had begun was of other bytes, or cannot be completed.
    uploads.abandon(content);
    onAbandoned();
    contents.update(content, { phase: "sealed", sizeBytes, interrupted: true });
    const name = this.#setAside(content);
    if (name !== undefined) return `it is what it was before, and what was written is ${name}, not uploaded by itself`;
    if (isNewest) inodes.update(stored.ino, { sizeBytes });
    return "it is kept as it is and not uploaded by itself";
  }

  /** Inside `mutate`: a content without bytes simply goes, where there is one before it. @returns whether it did. */
  revert(content: ContentId): boolean {
    const former = this.#formerOf(content);
    if (former === undefined) return false;
    this.#parts.inodes.update(former.ino, { content: former.id, sizeBytes: former.sizeBytes });
    this.#parts.removeContent(content);
    return true;
  }

  /**
   * The newest content of a file gets a name of its own, `NAME (interrupted)`.
   *
   * @returns the name; undefined when there is nothing before it, or no name, and nothing was changed.
   */
  #setAside(content: ContentId): string | undefined {
    const { contents, inodes, fileIds } = this.#parts;
    const former = this.#formerOf(content);
    const stored = contents.find(content);
    const place = stored && inodes.placeOf(stored.ino);
    if (former === undefined || stored === undefined || place === undefined) return undefined;
    const { vault, mode, uid, gid, mtime: time } = inodes.find(stored.ino)!;
    const { sizeBytes } = stored;
    const beside = inodes.insert({ vault, mode, uid, gid, time, sizeBytes, nlink: 1 }, fileIds.next());
    const isTaken = (name: string) => inodes.lookup(place.parent, name) !== undefined;
    const name = freeSuffixedName(place.name, interruptedSuffixes(), isTaken);
    inodes.insertEntry(place.parent, name, beside);
    this.#parts.onName(place.parent, name);
    contents.moveTo(content, beside);
    inodes.update(stored.ino, { content: former.id, sizeBytes: former.sizeBytes });
    return name;
  }

  // What a file had before its newest content.
  #formerOf(content: ContentId): StoredContent | undefined {
    const { contents, inodes } = this.#parts;
    const stored = contents.find(content);
    if (stored === undefined || inodes.find(stored.ino)?.content?.id !== content) return undefined;
    return contents.ofInode(stored.ino).findLast((one) => one.id < content);
  }
}

function* interruptedSuffixes(): Generator<string> {
  yield "interrupted";
  for (let attempt = 2; ; attempt += 1) yield `interrupted ${attempt}`;
}
