/**
 * Which pieces of a download are on the disk, in a small text file beside it: a line of header, a line per piece.
 *
 * Relies on: a piece being synced before it is added. Never: vouches for the bytes; they are hashed again when a
 * download goes on, against the hash that stands here.
 */

import { type FileHandle, open, readFile } from "node:fs/promises";
import { type ByteRange, byteRange } from "../domain/bytes.js";
import { removeIfPresent } from "../lib/durable-file.js";
import type { TreeHashHex } from "../protocol/service.js";
import type { PieceProof } from "../restore/piece-download.js";

export interface JournaledPiece extends PieceProof {
  /** Of the file. */
  readonly range: ByteRange;
}

/** What a download is about: only one of the same bytes may go on with its pieces. */
export interface DownloadBinding {
  /** One word: the archive and its range, or the job. */
  readonly identity: string;
  readonly sizeBytes: number;
}

/** What an earlier attempt left. */
export interface JournaledDownload {
  readonly pieceBytes: number;
  readonly pieces: readonly JournaledPiece[];
}

export class DownloadJournal implements AsyncDisposable {
  readonly #path: string;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** @returns undefined when there is no journal of this download. */
  static async read(path: string, binding: DownloadBinding): Promise<JournaledDownload | undefined> {
    const text = await readFile(path, "latin1").catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
      return "";
    });
    const header = /^casfs-download 1 (\S+) (\d{1,15}) (\d{1,15})\n/.exec(text);
    if (header?.[1] !== binding.identity || Number(header[2]) !== binding.sizeBytes) return undefined;
    const pieceBytes = Number(header[3]);
    return pieceBytes > 0 ? { pieceBytes, pieces: parsePieces(text, binding.sizeBytes) } : undefined;
  }

  /** Begins the journal at `path` anew. */
  static async begin(path: string, { identity, sizeBytes }: DownloadBinding, pieceBytes: number) {
    const file = await open(path, "w", 0o600);
    await file.appendFile(`casfs-download 1 ${identity} ${sizeBytes} ${pieceBytes}\n`);
    return new DownloadJournal(path, file);
  }

  /** Goes on with what `read` has read. */
  static async goOn(path: string): Promise<DownloadJournal> {
    const file = await open(path, "a", 0o600);
    await file.appendFile("\n"); // The last line may be torn; what follows must begin on a line of its own.
    return new DownloadJournal(path, file);
  }

  /** The bytes of `range` must be synced. A later line about the same range counts. */
  async add(range: ByteRange, { treeHash, checked }: PieceProof): Promise<void> {
    await this.#file.appendFile(`${range.start} ${range.end} ${treeHash} ${checked ? "checked" : "unchecked"}\n`);
  }

  async remove(): Promise<void> {
    await removeIfPresent(this.#path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

function parsePieces(text: string, sizeBytes: number): JournaledPiece[] {
  const pieces = new Map<number, JournaledPiece>();
  for (const line of text.matchAll(/^(\d{1,15}) (\d{1,15}) ([0-9a-f]{64}) (checked|unchecked)\n/gm)) {
    const [start, end] = [Number(line[1]), Number(line[2])];
    if (start >= end || end > sizeBytes) continue;
    const proof = { treeHash: line[3] as TreeHashHex, checked: line[4] === "checked" };
    pieces.set(start, { range: byteRange(start, end), ...proof });
  }
  return [...pieces.values()];
}
