/**
 * Which bytes of staging files have left the disk. Their place is a hole, which the system reads as zeros.
 *
 * The one rule that keeps zeros from being taken for bytes is here: every read asks before it begins, and again when
 * it has ended, because a hole may have been made meanwhile; a range is marked before it becomes a hole.
 */

import { FileSystemError } from "../domain/errors.js";
import type { ContentId } from "../domain/ids.js";
import { type Interval, IntervalSet } from "../lib/interval-set.js";

export class DroppedRanges {
  readonly #ranges = new Map<ContentId, IntervalSet>();

  /** Of a content that is dropped from now on, for good: numbers of contents are never used again. */
  mark(content: ContentId, range: Interval): void {
    const ranges = this.#ranges.get(content);
    if (ranges === undefined) this.#ranges.set(content, new IntervalSet([range]));
    else ranges.add(range);
  }

  has(content: ContentId): boolean {
    return this.#ranges.has(content);
  }

  touches(content: ContentId, range: Interval): boolean {
    return this.#ranges.get(content)?.touches(range) === true;
  }

  /** @throws FileSystemError "corrupt" when some of `range` is not on the disk any more. */
  require(content: ContentId, range: Interval): void {
    if (!this.touches(content, range)) return;
    throw new FileSystemError(
      "corrupt",
      `Bytes ${range.start} to ${range.end} of content ${content} have been sent and left the disk`,
      { hint: "The file did not fit into staging; close it, and read it from the vault" },
    );
  }
}
