/**
 * Downloads the output of a finished job into a file: in parallel pieces, each verified, and resumable.
 *
 * The bytes collect in `<path>.casfs-part`, beside it a journal of the verified pieces; only the whole is renamed.
 * Never: replaces a file unless told to; shows an incomplete or unverified file under its final name.
 */

import { type ByteCount, type ByteRange, byteRange, rangeLength } from "../domain/bytes.js";
import { CorruptError } from "../domain/errors.js";
import type { CasfsEvent, Observer } from "../domain/events.js";
import type { JobId, VaultName } from "../domain/ids.js";
import { downloadPieceBytes } from "../protocol/limits.js";
import type { CasService, TreeHashHex } from "../protocol/service.js";
import { combineTreeHashes } from "../protocol/tree-hash.js";
import { downloadPieces, type OutputDownload } from "../restore/piece-download.js";
import { checkTarget } from "./download-target.js";
import { areCombinable, isSubtreeOfArchive, outputPieces, usablePieceBytes } from "./output-pieces.js";
import { PartFile } from "./part-file.js";
import { defaultParallel, type TransferDeps } from "./transfer-deps.js";
import { type WantedOutput, wantedOutput } from "./wanted-output.js";

export interface FileDownloadDeps extends TransferDeps {
  /** Bodies that break off are asked for again here; `describeJob` should repeat transient failures itself. */
  readonly service: Pick<CasService, "describeJob" | "getJobOutput">;
  /** Told of corrupted pieces and of retries. */
  readonly observer?: Observer | undefined;
}

export interface DownloadTransferProgress {
  /** Verified and on the disk, pieces of an earlier attempt included. */
  readonly doneBytes: number;
  /** Received and not verified yet; falls back when a piece was wrong. */
  readonly inFlightBytes: number;
  readonly totalBytes: number;
  readonly donePieces: number;
  readonly totalPieces: number;
}

export interface FileDownloadOptions {
  readonly vault: VaultName;
  /** A finished archive or inventory retrieval; who has to wait for it waits before. */
  readonly job: JobId;
  readonly path: string;
  /** Bytes of the job's output; all of it by default. Ends beyond the output are cut. */
  readonly range?: ByteRange | undefined;
  /** Pieces at a time; each holds about a MiB of memory. */
  readonly parallel?: number | undefined;
  /** Rounded down to a power of two MiB; 32 MiB by default. A resumed download keeps its size of pieces. */
  readonly pieceBytes?: number | undefined;
  /** Replace a file that is at `path`. */
  readonly overwrite?: boolean | undefined;
  readonly onProgress?: ((progress: DownloadTransferProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface DownloadedOutput {
  readonly sizeBytes: ByteCount;
  /** Of the file, verified; null when the service gives no hash to compare with, so that only the length was checked. */
  readonly treeHash: TreeHashHex | null;
}

/**
 * Downloads into `options.path`.
 *
 * @throws FileSystemError "exists" or "is-a-directory" for a target that is there, "busy" while another process
 * downloads to it, "no-space", "not-ready" for a job that is not finished, "invalid" for one that failed or has no output;
 * CorruptError when bytes stay wrong; ServiceError ("missing" when the output has expired). An abort rejects with
 * `signal.reason`. The pieces that were verified stay for the next call.
 */
export async function downloadJobOutput(
  deps: FileDownloadDeps,
  options: FileDownloadOptions,
): Promise<DownloadedOutput> {
  const { path, overwrite = false, signal } = options;
  await checkTarget(path, { overwrite });
  const job = await deps.service.describeJob(options.vault, options.job, { signal });
  const output = wantedOutput(job, options.vault, options.range);
  await using part = await PartFile.open({
    target: path,
    binding: { identity: output.identity, sizeBytes: rangeLength(output.range) },
    pieceBytes: usablePieceBytes(rangeLength(output.range), options.pieceBytes ?? downloadPieceBytes),
    hasher: deps.hasher,
    parallel: options.parallel ?? defaultParallel,
    signal,
  });
  const treeHash = await new FileDownload(deps, options, output, part).run();
  await part.publish({ overwrite });
  return { sizeBytes: rangeLength(output.range), treeHash };
}

/** Times that the whole may have another tree hash than the service said although its pieces seemed right. */
const wrongDownloadsMax = 2;

/** Offsets of pieces are those of the file: byte 0 is the first byte of the wanted range. */
class FileDownload {
  readonly #deps: FileDownloadDeps;
  readonly #options: FileDownloadOptions;
  readonly #output: WantedOutput;
  readonly #part: PartFile;
  readonly #pieces: readonly ByteRange[];
  #done = { bytes: 0, pieces: 0 };
  #inFlightBytes = 0;

  constructor(deps: FileDownloadDeps, options: FileDownloadOptions, output: WantedOutput, part: PartFile) {
    this.#deps = deps;
    this.#options = options;
    this.#output = output;
    this.#part = part;
    this.#pieces = outputPieces(byteRange(0, rangeLength(output.range)), part.pieceBytes, output.place);
  }

  /** @returns the verified tree hash of the file; null when there was nothing to compare it with. */
  async run(): Promise<TreeHashHex | null> {
    for (let wrong = 1; ; wrong += 1) {
      await this.#fetchMissing();
      const proof = await this.#proveWhole();
      if (proof !== "wrong") return proof;
      const { range, name, archiveId } = this.#output;
      if (archiveId !== undefined) this.#observe({ type: "piece-corrupt", archiveId, ...range });
      if (wrong === wrongDownloadsMax) {
        await this.#part.discard();
        throw new CorruptError(`Cannot download ${name}: it came with a wrong tree hash ${wrong} times`);
      }
      await this.#part.beginAnew();
    }
  }

  async #fetchMissing(): Promise<void> {
    const { parallel = defaultParallel, signal } = this.#options;
    const observer: Observer = (event) => this.#observe(event);
    const missing: ByteRange[] = [];
    this.#done = { bytes: 0, pieces: 0 };
    this.#inFlightBytes = 0;
    for (const piece of this.#pieces) {
      if (this.#part.proofOf(piece) === undefined) missing.push(piece);
      else this.#countDone(piece);
    }
    this.#report();
    await downloadPieces(
      { ...this.#deps, observer, service: this.#shiftedService() },
      this.#outputDownload(),
      missing,
      {
        concurrency: parallel,
        signal,
        onBytes: (count) => this.#countInFlight(count),
        onCorrupt: (piece) => this.#corrupt(piece),
      },
    );
  }

  #outputDownload(): OutputDownload {
    const { vault, job } = this.#options;
    const { name, place } = this.#output;
    const part = this.#part;
    return {
      vault,
      job,
      name,
      isSubtree: (piece) => place !== null && isSubtreeOfArchive(piece, place),
      sink: {
        write: (offset, data) => part.write(offset, data),
        hash: (piece) => part.hash(piece),
        pieceVerified: async (piece, proof) => {
          await part.pieceVerified(piece, proof);
          this.#countDone(piece);
          this.#countInFlight(-rangeLength(piece));
        },
      },
    };
  }

  /** Ranges of the file, asked for as ranges of the job's output. */
  #shiftedService(): Pick<CasService, "getJobOutput"> {
    const { start } = this.#output.range;
    return {
      getJobOutput: (vault, job, range, call) => {
        const shifted = range && byteRange(start + range.start, start + range.end);
        return this.#deps.service.getJobOutput(vault, job, shifted, call);
      },
    };
  }

  async #proveWhole(): Promise<TreeHashHex | null | "wrong"> {
    const { treeHash: expected } = this.#output;
    const proofs = this.#pieces.map((piece) => this.#part.proofOf(piece)!);
    if (expected === null && !proofs.every(({ checked }) => checked)) return null;
    const actual = areCombinable(this.#pieces)
      ? combineTreeHashes(proofs.map(({ treeHash }) => treeHash))
      : await this.#part.hash(byteRange(0, rangeLength(this.#output.range)));
    return expected === null || actual === expected ? actual : "wrong";
  }

  #corrupt(piece: ByteRange): void {
    const { archiveId, range } = this.#output;
    const [start, end] = [range.start + piece.start, range.start + piece.end];
    if (archiveId !== undefined) this.#observe({ type: "piece-corrupt", archiveId, start, end });
    this.#countInFlight(-rangeLength(piece));
  }

  #countDone(piece: ByteRange): void {
    this.#done.bytes += rangeLength(piece);
    this.#done.pieces += 1;
  }

  #countInFlight(bytes: number): void {
    this.#inFlightBytes += bytes;
    this.#report();
  }

  #report(): void {
    this.#options.onProgress?.({
      doneBytes: this.#done.bytes,
      inFlightBytes: this.#inFlightBytes,
      totalBytes: rangeLength(this.#output.range),
      donePieces: this.#done.pieces,
      totalPieces: this.#pieces.length,
    });
  }

  #observe(event: CasfsEvent): void {
    this.#deps.observer?.(event);
  }
}
