/** The recalls that go on, by archive: at most one of the whole, and windows. */

import type { ByteRange } from "../domain/bytes.js";
import type { ArchiveKey } from "../domain/ids.js";
import { isOfWhole, type Recall } from "./recall.js";

export class RunningRecalls implements Iterable<Recall> {
  /** Never an empty list: a hundred thousand archives may be recalled, nearly all of them whole. */
  readonly #byArchive = new Map<ArchiveKey, Recall[]>();

  add(recall: Recall): void {
    const running = this.#byArchive.get(recall.archive.key);
    if (running === undefined) this.#byArchive.set(recall.archive.key, [recall]);
    else running.push(recall);
  }

  delete(recall: Recall): void {
    const rest = this.of(recall.archive.key).filter((one) => one !== recall);
    if (rest.length > 0) this.#byArchive.set(recall.archive.key, rest);
    else this.#byArchive.delete(recall.archive.key);
  }

  of(archive: ArchiveKey): readonly Recall[] {
    return this.#byArchive.get(archive) ?? [];
  }

  whole(archive: ArchiveKey): Recall | undefined {
    return this.of(archive).find(isOfWhole);
  }

  /** One that brings all of `range`; the smallest of them. */
  covering(archive: ArchiveKey, range: ByteRange): Recall | undefined {
    let best: Recall | undefined;
    for (const recall of this.of(archive)) {
      if (recall.window.start > range.start || recall.window.end < range.end) continue;
      if (best === undefined || recall.window.end - recall.window.start < best.window.end - best.window.start) {
        best = recall;
      }
    }
    return best;
  }

  *[Symbol.iterator](): Iterator<Recall> {
    for (const recalls of this.#byArchive.values()) yield* recalls;
  }
}
