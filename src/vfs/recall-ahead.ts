/**
 * `--recall-ahead`: who opens a cold file will open the next ones too, so their recalls begin at once.
 *
 * Files that are read one after the other, as `cp -r` does, then wait for one retrieval together and not for one each.
 * Never: recalls for an open that recalls nothing itself, nor more than the budget allows.
 */

import type { ColdArchive } from "../restore/ports.js";
import { isRegular } from "./attributes.js";
import type { CatalogPort, InodeRecord } from "./catalog-port.js";
import type { CachedContents, RecallRequests } from "./ports.js";
import type { FileSystemSettings } from "./settings.js";

interface Dependencies {
  readonly catalog: CatalogPort;
  readonly cache: CachedContents;
  readonly recalls: RecallRequests;
  readonly settings: FileSystemSettings;
}

export class RecallAhead {
  readonly #parts: Dependencies;

  constructor(parts: Dependencies) {
    this.#parts = parts;
  }

  /** Begins the recalls of the next files of the directory; those that are here already count among them. */
  after(record: InodeRecord): void {
    const { catalog, recalls, settings } = this.#parts;
    if (settings.recallAhead === 0) return;
    for (const { inode } of catalog.listAfter(record.ino, settings.recallAhead)) {
      const archive = this.#coldArchive(inode);
      if (archive === undefined) continue;
      try {
        // A failure is reported where it happens, and told again to whoever opens the file.
        recalls.recall(archive, { tier: settings.tier, origin: "ahead" }).catch(() => {});
      } catch {
        return; // Over the budget: then so is whatever follows.
      }
    }
  }

  #coldArchive({ mode, content }: InodeRecord): ColdArchive | undefined {
    const { catalog, cache } = this.#parts;
    const archive = content?.archive;
    if (!isRegular(mode) || archive == null || cache.has(archive)) return undefined;
    return catalog.unreadableReason(archive) === null ? catalog.archive(archive) : undefined;
  }
}
