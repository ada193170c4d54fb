/**
 * `--recall-ahead`: who opens a cold file will open the next ones too, so their recalls begin at once.
 *
 * Files that are read one after the other, as `cp -r` does, then wait for one retrieval together and not for one each.
 * The open of a file that was recalled so begins the next one: as long as reading the files of the window takes longer
 * than a retrieval, nobody waits again.
 * Never: recalls for an open that recalls nothing itself, more than the window beyond what somebody has opened, nor
 * more than the budget allows.
 */

import type { ArchiveKey } from "../domain/ids.js";
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

/** Files that nobody opens are forgotten: a person who looked into many directories has opened one file of each. */
const expectedMax = 100_000;

export class RecallAhead {
  readonly #parts: Dependencies;
  /** What was recalled ahead and not opened yet, oldest first. */
  readonly #expected = new Set<ArchiveKey>();

  constructor(parts: Dependencies) {
    this.#parts = parts;
  }

  /**
   * Begins the recalls of the next files of the directory; those that are here already count among them.
   *
   * @param signal Of the open: when it fires before their jobs are ordered, nobody will come for them.
   */
  after(record: InodeRecord, signal?: AbortSignal): void {
    const { catalog, recalls, settings } = this.#parts;
    if (settings.recallAhead === 0) return;
    if (record.content?.archive != null) this.#expected.delete(record.content.archive);
    for (const { inode } of catalog.listAfter(record.ino, settings.recallAhead)) {
      const archive = this.#coldArchive(inode);
      if (archive === undefined) continue;
      this.#expect(archive.key);
      try {
        // A failure is reported where it happens, and told again to whoever opens the file.
        recalls.recall(archive, { tier: settings.tier, origin: "ahead", signal }).catch(() => {});
      } catch {
        return; // Over the budget: then so is whatever follows.
      }
    }
  }

  /** Whether the file was recalled ahead, and nobody has opened it yet. */
  expects({ content }: InodeRecord): boolean {
    return content?.archive != null && this.#expected.has(content.archive);
  }

  #expect(archive: ArchiveKey): void {
    this.#expected.add(archive);
    if (this.#expected.size <= expectedMax) return;
    for (const oldest of this.#expected) {
      this.#expected.delete(oldest);
      return;
    }
  }

  #coldArchive({ mode, content }: InodeRecord): ColdArchive | undefined {
    const { catalog, cache } = this.#parts;
    const archive = content?.archive;
    if (!isRegular(mode) || archive == null || cache.has(archive)) return undefined;
    return catalog.unreadableReason(archive) === null ? catalog.archive(archive) : undefined;
  }
}
