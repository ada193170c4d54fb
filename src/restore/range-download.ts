/** Fetches what a landing place misses of a recalled archive. */

import type { JobId } from "../domain/ids.js";
import { isTreeHashAligned } from "../protocol/tree-hash.js";
import { downloadPieces, type PieceDownloadOptions, type PieceDownloadParts } from "./piece-download.js";
import type { ColdArchive, Landing } from "./ports.js";
import { piecesOf } from "./retrieval-plan.js";

export interface RangeDownloadOptions extends Omit<PieceDownloadOptions, "onCorrupt"> {
  readonly pieceBytes: number;
}

export interface RangeDownload {
  readonly archive: ColdArchive;
  /** A finished retrieval of the whole archive. */
  readonly job: JobId;
  readonly landing: Landing;
}

/** @throws as `downloadPieces`. */
export async function downloadOutput(
  parts: PieceDownloadParts,
  { archive, job, landing }: RangeDownload,
  options: RangeDownloadOptions,
): Promise<void> {
  await downloadPieces(
    parts,
    {
      vault: archive.vault,
      job,
      name: `archive ${archive.id}`,
      isSubtree: (range) => isTreeHashAligned(range, archive.sizeBytes),
      sink: landing,
    },
    piecesOf(landing.missing(), options.pieceBytes),
    {
      ...options,
      onCorrupt: ({ start, end }) => parts.observer({ type: "piece-corrupt", archiveId: archive.id, start, end }),
    },
  );
}
