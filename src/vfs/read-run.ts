/**
 * Which windows one reader is going to need: those it asks for, and while it reads on, more and more at a time. Pure.
 *
 * A retrieval takes hours, so that who reads from the front to the end must not wait for one at each MiB; who jumps
 * about pays for no more than the MiBs that are asked for.
 */

import { type ByteRange, rangeLength } from "../domain/bytes.js";
import { type ArchiveWindow, windowFrom, windowsAround } from "../protocol/archive-window.js";

export interface RunLimits {
  readonly archiveSizeBytes: number;
  /** Of one window, and of what is wanted at a time; at least a MiB. */
  readonly bytesMax: number;
}

/** By this factor a reader that goes on wants more than the last time. */
const growth = 4;

export class ReadRun {
  /** Where the last read ended. */
  #next: number | undefined;
  #wantedBytes = 0;

  /** `range` was read. */
  didRead({ end }: ByteRange): void {
    this.#next = end;
  }

  /** @param missing What is missing of the MiBs around `read`, the first of it. @returns windows from there on, in order. */
  windowsFor(read: ByteRange, missing: ByteRange, limits: RunLimits): ArchiveWindow[] {
    const { archiveSizeBytes, bytesMax } = limits;
    if (read.start !== this.#next) {
      this.#wantedBytes = rangeLength(missing);
      return [...windowsAround(missing, archiveSizeBytes, bytesMax)];
    }
    this.#wantedBytes = Math.min(bytesMax, Math.max(rangeLength(missing), growth * this.#wantedBytes));
    const windows: ArchiveWindow[] = [];
    let position: number = missing.start;
    while (position < archiveSizeBytes && position - missing.start < this.#wantedBytes) {
      const window = windowFrom(position, { archiveSizeBytes, end: archiveSizeBytes, bytesMax: this.#wantedBytes });
      windows.push(window);
      position = window.end;
    }
    return windows;
  }
}
