/**
 * Fetches the output of a retrieval job into a landing place: in parallel pieces, each verified, each resumed.
 *
 * Relies on: the service's tree hash of a piece that is a subtree of the archive (cas-api section 11.4).
 * Never: decides that the whole is right; that takes the archive's own tree hash.
 */

import { type ByteRange, byteRange, MIB, rangeLength } from "../domain/bytes.js";
import { CorruptError, describeError, isTransient, ServiceError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { JobId } from "../domain/ids.js";
import { type Clock, ms } from "../domain/time.js";
import { type BackoffLimits, backoffDelayMs } from "../lib/backoff.js";
import { forEachConcurrently } from "../lib/concurrency.js";
import type { CasService, TreeHashHex } from "../protocol/service.js";
import { isTreeHashAligned } from "../protocol/tree-hash.js";
import type { ColdArchive, Landing } from "./ports.js";
import { piecesOf } from "./retrieval-plan.js";

export interface RangeDownloadParts {
  readonly service: Pick<CasService, "getJobOutput">;
  readonly clock: Clock;
  readonly random: () => number;
  readonly observer: Observer;
}

export interface RangeDownloadOptions {
  readonly pieceBytes: number;
  /** Pieces that are fetched at a time; each holds about a MiB of memory. */
  readonly concurrency: number;
  readonly signal: AbortSignal;
  /** Called with the number of bytes that were just written. */
  readonly onBytes?: ((count: number) => void) | undefined;
}

export interface RangeDownload {
  readonly archive: ColdArchive;
  /** A finished retrieval of the whole archive. */
  readonly job: JobId;
  readonly landing: Landing;
}

// Written at once: a system call for every 64 KiB of a socket would cost more than the copy.
const writeBytes = MIB;
/** Attempts in a row that bring no byte further. */
const attemptsMax = 6;
/** Times a piece may come with another hash than the service announced. */
const corruptMax = 3;
const retry: BackoffLimits = { delayMsMin: 200, delayMsMax: 30_000 };

/**
 * Fetches what `landing` misses.
 *
 * @throws CorruptError when a piece is wrong again and again; ServiceError "missing" when the output has expired, or
 * what else did not pass after some attempts. The pieces that were verified stay.
 */
export async function downloadOutput(
  parts: RangeDownloadParts,
  download: RangeDownload,
  options: RangeDownloadOptions,
): Promise<void> {
  const { pieceBytes, concurrency, signal } = options;
  const pieces = piecesOf(download.landing.missing(), pieceBytes);
  await forEachConcurrently(pieces, { concurrency, signal }, async (piece, pieceSignal) => {
    await new PieceDownload(parts, download, piece, { ...options, signal: pieceSignal }).run();
  });
}

class PieceDownload {
  readonly #parts: RangeDownloadParts;
  readonly #download: RangeDownload;
  readonly #piece: ByteRange;
  readonly #options: RangeDownloadOptions;
  /** What the service said of the whole piece, before its first byte. */
  #expected: TreeHashHex | null = null;
  #received = 0;
  #failures = 0;

  constructor(parts: RangeDownloadParts, download: RangeDownload, piece: ByteRange, options: RangeDownloadOptions) {
    this.#parts = parts;
    this.#download = download;
    this.#piece = piece;
    this.#options = options;
  }

  async run(): Promise<void> {
    for (let corrupt = 1; ; corrupt += 1) {
      await this.#fetch();
      if (await this.#isRight()) break;
      const { archive } = this.#download;
      const { start, end } = this.#piece;
      this.#parts.observer({ type: "piece-corrupt", archiveId: archive.id, start, end });
      if (corrupt === corruptMax) throw corruptPiece(archive, this.#piece);
      this.#received = 0;
    }
    await this.#download.landing.pieceVerified(this.#piece);
  }

  /** Goes on where the connection broke, until the piece is complete. */
  async #fetch(): Promise<void> {
    while (this.#received < rangeLength(this.#piece)) {
      const before = this.#received;
      try {
        await this.#fetchRest();
      } catch (error) {
        this.#options.signal.throwIfAborted();
        if (this.#received > before) this.#failures = 0;
        this.#failures += 1;
        if (!isTransient(error) || this.#failures === attemptsMax) throw error;
        await this.#pause(error);
      }
    }
  }

  async #fetchRest(): Promise<void> {
    const { service } = this.#parts;
    const { archive, job, landing } = this.#download;
    const { signal, onBytes } = this.#options;
    const rest = byteRange(this.#piece.start + this.#received, this.#piece.end);
    const output = await service.getJobOutput(archive.vault, job, rest, { signal });
    if (output.sizeBytes !== rangeLength(rest)) throw wrongLength(archive, rest, output.sizeBytes);
    if (this.#received === 0) this.#expected = output.treeHash;

    for await (const chunks of gathered(output.body, writeBytes)) {
      const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      if (this.#received + length > rangeLength(this.#piece)) throw wrongLength(archive, rest, rangeLength(rest) + 1);
      await landing.write(this.#piece.start + this.#received, chunks);
      this.#received += length;
      onBytes?.(length);
    }
    if (this.#received < rangeLength(this.#piece)) {
      throw new ServiceError("connection", `The output of job ${job} broke off at ${rest.start + this.#received}`);
    }
  }

  /** Hashes what is on disk, not what was in memory: that is what readers will get. */
  async #isRight(): Promise<boolean> {
    const { archive, landing } = this.#download;
    // The end of the piece is hashed with it in any case: the whole is combined from these hashes later.
    const actual = await landing.hash(this.#piece);
    if (this.#expected === null || !isTreeHashAligned(this.#piece, archive.sizeBytes)) return true;
    return actual === this.#expected;
  }

  async #pause(error: unknown): Promise<void> {
    const { clock, random, observer } = this.#parts;
    const { archive } = this.#download;
    const delayMs = ms(backoffDelayMs(this.#failures, retry, random));
    const { start, end } = this.#piece;
    const message = `Cannot fetch bytes ${start}-${end} of archive ${archive.id} yet: ${describeError(error)}`;
    observer({ type: "warning", message });
    await clock.sleep(delayMs, { signal: this.#options.signal });
  }
}

/** The chunks of `body` in groups of at least `bytes`, the last one of what is left; also when `body` breaks off. */
async function* gathered(body: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array[]> {
  let group: Uint8Array[] = [];
  let length = 0;
  let failure: { readonly reason: unknown } | undefined;
  const iterator = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await iterator.next().catch((reason: unknown) => {
        failure = { reason };
        return { done: true as const, value: undefined };
      });
      if (next.done) break;
      group.push(next.value);
      length += next.value.length;
      if (length < bytes) continue;
      yield group;
      group = [];
      length = 0;
    }
    if (group.length > 0) yield group;
  } finally {
    await iterator.return?.();
  }
  if (failure !== undefined) throw failure.reason;
}

function wrongLength(archive: ColdArchive, range: ByteRange, length: number): ServiceError {
  const asked = `${range.start}-${range.end}`;
  return new ServiceError("connection", `The service answered ${length} bytes for ${asked} of archive ${archive.id}`);
}

function corruptPiece(archive: ColdArchive, { start, end }: ByteRange): CorruptError {
  return new CorruptError(`Cannot recall archive ${archive.id}: bytes ${start}-${end} came wrong ${corruptMax} times`);
}
