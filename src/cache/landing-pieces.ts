/**
 * Which pieces of a landing are verified, in a small text file beside it: one line of header, one line per piece.
 *
 * It survives kill -9, so that a landing goes on where it was. It is not synced: after a power loss it may name pieces
 * whose bytes never reached the disk. That is why the whole is hashed from disk before it is published.
 */

import { type FileHandle, open, readFile } from "node:fs/promises";
import { type ByteRange, byteRange } from "../domain/bytes.js";
import { removeIfPresent } from "../lib/durable-file.js";
import type { ColdArchive } from "../restore/ports.js";

export class LandingPieces {
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #sizeBytes: number;
  /** Apart and in order. */
  #verified: ByteRange[];

  private constructor(path: string, file: FileHandle, sizeBytes: number, verified: ByteRange[]) {
    this.#path = path;
    this.#file = file;
    this.#sizeBytes = sizeBytes;
    this.#verified = verified;
  }

  /** Goes on with the file at `path` when it is about the same bytes, else begins it anew. */
  static async open(path: string, archive: ColdArchive): Promise<LandingPieces> {
    const header = `casfs-landing 1 ${archive.sizeBytes} ${archive.treeHash}\n`;
    const text = await readFile(path, "latin1").catch(() => "");
    if (!text.startsWith(header)) return LandingPieces.#begin(path, header, archive.sizeBytes);
    // The last line may be torn; what follows must begin on a line of its own.
    const file = await open(path, "a", 0o600);
    await file.appendFile("\n");
    return new LandingPieces(path, file, archive.sizeBytes, mergeRanges(parsePieces(text, archive.sizeBytes)));
  }

  static async #begin(path: string, header: string, sizeBytes: number): Promise<LandingPieces> {
    const file = await open(path, "w", 0o600);
    await file.appendFile(header);
    return new LandingPieces(path, file, sizeBytes, []);
  }

  get verified(): readonly ByteRange[] {
    return this.#verified;
  }

  get missing(): ByteRange[] {
    const gaps: ByteRange[] = [];
    let reached = 0;
    for (const { start, end } of this.#verified) {
      if (start > reached) gaps.push(byteRange(reached, start));
      reached = end;
    }
    if (reached < this.#sizeBytes) gaps.push(byteRange(reached, this.#sizeBytes));
    return gaps;
  }

  async add(range: ByteRange): Promise<void> {
    await this.#file.appendFile(`${range.start} ${range.end}\n`);
    this.#verified = mergeRanges([...this.#verified, range]);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async remove(): Promise<void> {
    await removeIfPresent(this.#path);
  }
}

function parsePieces(text: string, sizeBytes: number): ByteRange[] {
  const pieces: ByteRange[] = [];
  for (const [, start, end] of text.matchAll(/^(\d{1,15}) (\d{1,15})\n/gm)) {
    if (Number(start) < Number(end) && Number(end) <= sizeBytes) pieces.push(byteRange(Number(start), Number(end)));
  }
  return pieces;
}

/** The same bytes in as few ranges as possible, in order. */
export function mergeRanges(ranges: readonly ByteRange[]): ByteRange[] {
  const merged: ByteRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last === undefined || range.start > last.end) merged.push(range);
    else if (range.end > last.end) merged[merged.length - 1] = { start: last.start, end: range.end };
  }
  return merged;
}
