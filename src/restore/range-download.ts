/** Fetches what a landing place misses of a recalled archive, or of a window of it. */

import type { ByteRange } from "../domain/bytes.js";
import { isTreeHashAligned } from "../protocol/tree-hash.js";
import {
  downloadPieces,
  type PieceDownloadOptions,
  type PieceDownloadParts,
  type PieceSink,
} from "./piece-download.js";
import type { ColdArchive } from "./ports.js";
import { type ArchiveJob, piecesOf, windowPiecesOf } from "./retrieval-plan.js";

export interface RangeDownloadOptions extends Omit<PieceDownloadOptions, "onCorrupt"> {
  readonly pieceBytes: number;
}

export interface RangeDownload {
  readonly archive: ColdArchive;
  /** A finished retrieval of what is missing, and perhaps of more. */
  readonly job: ArchiveJob;
  readonly landing: PieceSink & { missing(): readonly ByteRange[] };
  /** Whether every piece must be one that can be verified alone. */
  readonly aligned: boolean;
}

/** @throws as `downloadPieces`. */
export async function downloadOutput(
  parts: PieceDownloadParts,
  { archive, job, landing, aligned }: RangeDownload,
  options: RangeDownloadOptions,
): Promise<void> {
  const missing = landing.missing();
  const { pieceBytes } = options;
  const pieces = aligned ? windowPiecesOf(missing, archive.sizeBytes, pieceBytes) : piecesOf(missing, pieceBytes);
  await downloadPieces(
    parts,
    {
      vault: archive.vault,
      job: job.id,
      outputStart: job.range.start,
      name: `archive ${archive.id}`,
      isSubtree: (range) => isTreeHashAligned(range, archive.sizeBytes),
      sink: landing,
    },
    pieces,
    {
      ...options,
      onCorrupt: ({ start, end }) => parts.observer({ type: "piece-corrupt", archiveId: archive.id, start, end }),
    },
  );
}
