/**
 * Which pieces of a landing are verified, in a small text file beside it: one line of header, one line per piece. There
 * is none before the first piece, and none when that is the whole: a thousand small archives would make as many files.
 *
 * It survives kill -9, so that a landing goes on where it was. It is not synced: after a power loss it may name pieces
 * whose bytes never reached the disk. That is why the whole is hashed from disk before it is published.
 */

import { type FileHandle, open, readFile } from "node:fs/promises";
import { type ByteRange, byteRange } from "../domain/bytes.js";
import { removeIfPresent } from "../lib/durable-file.js";
import type { ColdArchive } from "../restore/ports.js";

interface LandingPiecesParts {
  readonly path: string;
  readonly header: string;
  readonly sizeBytes: number;
  readonly file: FileHandle | undefined;
  readonly verified: ByteRange[];
}

export class LandingPieces {
  readonly #parts: LandingPiecesParts;
  /** undefined while there is no such file. */
  #file: Promise<FileHandle> | undefined;
  /** Apart and in order. */
  #verified: ByteRange[];

  private constructor(parts: LandingPiecesParts) {
    this.#parts = parts;
    this.#file = parts.file === undefined ? undefined : Promise.resolve(parts.file);
    this.#verified = parts.verified;
  }

  /** Goes on with the file at `path` when it is about the same bytes, else begins anew. */
  static async open(path: string, { sizeBytes, treeHash }: ColdArchive): Promise<LandingPieces> {
    const header = `casfs-landing 1 ${sizeBytes} ${treeHash}\n`;
    const text = await readFile(path, "latin1").catch(() => undefined);
    if (!text?.startsWith(header)) {
      if (text !== undefined) await removeIfPresent(path);
      return new LandingPieces({ path, header, sizeBytes, file: undefined, verified: [] });
    }
    // The last line may be torn; what follows must begin on a line of its own.
    const file = await open(path, "a", 0o600);
    await file.appendFile("\n");
    const verified = mergeRanges(parsePieces(text, sizeBytes));
    return new LandingPieces({ path, header, sizeBytes, file, verified });
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
    if (reached < this.#parts.sizeBytes) gaps.push(byteRange(reached, this.#parts.sizeBytes));
    return gaps;
  }

  async add(range: ByteRange): Promise<void> {
    const isWhole = range.start === 0 && range.end === this.#parts.sizeBytes;
    if (this.#file !== undefined || !isWhole) {
      // Pieces come side by side, and the first of them makes the file.
      this.#file ??= this.#begin();
      await (await this.#file).appendFile(`${range.start} ${range.end}\n`);
    }
    this.#verified = mergeRanges([...this.#verified, range]);
  }

  async close(): Promise<void> {
    await (await this.#file)?.close();
  }

  async remove(): Promise<void> {
    if (this.#file !== undefined) await removeIfPresent(this.#parts.path);
  }

  async #begin(): Promise<FileHandle> {
    const file = await open(this.#parts.path, "w", 0o600);
    await file.appendFile(this.#parts.header);
    return file;
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
