/**
 * Ranges of open files: copying one to another file, and finding data and holes.
 *
 * Relies on: reads and writes of `FileContents`, which alone decides what may be written and where there is room.
 */

import { MIB } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import type { Caller } from "./cold-opens.js";
import { findData, findHole } from "./content-ranges.js";
import type { FileContents } from "./file-contents.js";
import type { FileStreams } from "./file-streams.js";

/** A place in an open file, by the number of its handle. */
export interface FileOffset {
  readonly handle: number;
  readonly offset: number;
}

const copyPieceBytes = MIB;
const copiedAtOnceMax = 64 * MIB;

export class FileRanges {
  readonly #contents: FileContents;
  readonly #streams: Pick<FileStreams, "isSpilled">;

  constructor(contents: FileContents, streams: Pick<FileStreams, "isSpilled">) {
    this.#contents = contents;
    this.#streams = streams;
  }

  /**
   * copy_file_range(2): copies up to `length` bytes, and no more at a time than somebody waits for without impatience.
   *
   * @returns how many; fewer than asked also when something failed behind them.
   * @throws as `FileContents.write`.
   */
  async copy(from: FileOffset, to: FileOffset, length: number, caller: Caller): Promise<number> {
    const source = this.#contents.handles.handle(from.handle).open;
    const piece = Buffer.allocUnsafe(Math.min(length, copyPieceBytes));
    let done = 0;
    while (done < Math.min(length, copiedAtOnceMax) && !caller.signal.aborted) {
      const wanted = Math.min(piece.length, length - done, Math.max(0, source.sizeBytes - from.offset - done));
      const readBytes = await this.#contents.read(from.handle, from.offset + done, piece.subarray(0, wanted));
      if (readBytes === 0) break;
      try {
        await this.#contents.write(to.handle, to.offset + done, piece.subarray(0, readBytes), caller, false);
      } catch (error) {
        if (done === 0) throw error;
        break;
      }
      done += readBytes;
    }
    return done;
  }

  /**
   * The next data or hole from `offset` on (SEEK_DATA, SEEK_HOLE).
   *
   * @throws FileSystemError "out-of-range" behind the end, and for data when there is only a hole.
   */
  async seek(handle: number, offset: number, whence: "data" | "hole"): Promise<number> {
    const { open } = this.#contents.handles.handle(handle);
    const { file, sizeBytes } = open;
    if (file !== null && offset < sizeBytes) {
      // Nothing to look for when the disk holds as much as the file is long; what has left it is data, as in a cold file.
      if (file.allocatedBytes() >= sizeBytes || this.#streams.isSpilled(open))
        return whence === "data" ? offset : sizeBytes;
      const range = { start: offset, end: sizeBytes };
      // Through the handle, whose file may become another one meanwhile.
      const read = (at: number, into: Uint8Array) => this.#contents.read(handle, at, into);
      const found = await (whence === "data" ? findData(read, range) : findHole(read, range));
      if (found !== undefined) return found;
    }
    throw new FileSystemError("out-of-range", `There is no ${whence} after ${offset}`);
  }
}
