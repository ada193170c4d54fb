/**
 * What of an archive is on this machine: the whole of it, or windows; and so what has to be recalled still.
 *
 * Never: calls an archive whole before all of it was verified together.
 */

import { type ByteRange, byteRange, overlaps } from "../domain/bytes.js";
import { CorruptError, describeError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import { IntervalSet } from "../lib/interval-set.js";
import { type ArchiveWindow, mebibytesAround, wholeArchive, windowsAround } from "../protocol/archive-window.js";
import type { ColdArchive, ContentSink, RecalledBytes, WindowSink } from "./ports.js";
import { isOfWhole } from "./recall.js";

interface LocalBytesParts {
  readonly sink: Pick<ContentSink, "has">;
  readonly windows: Pick<WindowSink, "missing" | "complete">;
  readonly observer: Observer;
}

/** Windows of one archive that do not overlap. */
export interface WindowsToRecall {
  /** What recalls that go on bring already; a recall of the whole archive is one window. */
  readonly running: readonly ArchiveWindow[];
  /** Those for which a job would be ordered. */
  readonly new: readonly ArchiveWindow[];
}

export class LocalBytes {
  readonly #parts: LocalBytesParts;

  constructor(parts: LocalBytesParts) {
    this.#parts = parts;
  }

  has(bytes: RecalledBytes): boolean {
    const { archive, window } = bytes;
    if (this.#parts.sink.has(archive.key)) return true;
    return !isOfWhole(bytes) && this.#parts.windows.missing(archive, window).length === 0;
  }

  /** As `has`, after what a crash has left undone: windows that were all here make the archive whole first. */
  async hasAfterAll(bytes: RecalledBytes): Promise<boolean> {
    try {
      await this.completeWindows(bytes.archive);
    } catch (error) {
      if (!(error instanceof CorruptError)) throw error;
      // Its windows are gone, so a job has to bring them.
      this.#parts.observer({ type: "warning", message: describeError(error) });
    }
    return this.has(bytes);
  }

  /** The last window makes the archive whole, and only then can all of it be verified. @throws CorruptError. */
  async completeWindows(archive: ColdArchive): Promise<void> {
    const { sink, windows } = this.#parts;
    if (sink.has(archive.key) || windows.missing(archive, wholeArchive(archive.sizeBytes)).length > 0) return;
    await windows.complete(archive);
  }

  /**
   * What has to be recalled so that the MiBs around `range` are here.
   *
   * @param options.running Recalls of this archive.
   * @param options.bytesMax Of one new window; at least a MiB.
   */
  windowsToRecall(
    archive: ColdArchive,
    range: ByteRange,
    { running, bytesMax }: { readonly running: readonly RecalledBytes[]; readonly bytesMax: number | undefined },
  ): WindowsToRecall {
    if (this.#parts.sink.has(archive.key)) return { running: [], new: [] };
    const wanted = mebibytesAround(range, archive.sizeBytes);
    const underWay = running.filter(({ window }) => overlaps(window, wanted));
    const gaps = new IntervalSet(this.#parts.windows.missing(archive, wanted));
    for (const { window } of underWay) gaps.remove(window);
    const missing = [...gaps].flatMap(({ start, end }) => [
      ...windowsAround(byteRange(start, end), archive.sizeBytes, bytesMax),
    ]);
    return { running: underWay.map(({ window }) => window), new: missing };
  }
}
