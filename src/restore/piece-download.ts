/**
 * Fetches pieces of a job's output, in parallel, each verified, each gone on with where a connection broke; shared by
 * the mount and the SDK.
 *
 * Relies on: the service's tree hash of a piece that is a subtree of the archive (cas-api section 11.4).
 * Never: decides that the whole is right; that takes a hash of the whole.
 */

import { type ByteRange, byteRange, MIB, rangeLength } from "../domain/bytes.js";
import { CorruptError, describeError, isTransient, ServiceError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { JobId, VaultName } from "../domain/ids.js";
import { type Clock, type Instant, ms } from "../domain/time.js";
import { type BackoffLimits, backoffDelayMs } from "../lib/backoff.js";
import { forEachConcurrently } from "../lib/concurrency.js";
import type { CasService, TreeHashHex } from "../protocol/service.js";
import type { RecallTrouble } from "./retry-pause.js";

export interface PieceDownloadParts {
  readonly service: Pick<CasService, "getJobOutput">;
  readonly clock: Clock;
  readonly random: () => number;
  readonly observer: Observer;
}

/** Where pieces go; offsets are those of the output, or of what it is a part of. */
export interface PieceSink {
  /** Several buffers one behind the other. They count only after `pieceVerified` of their range. */
  write(offset: number, data: readonly Uint8Array[]): Promise<void>;
  /** Tree hash of the bytes of `range` as they were stored. */
  hash(range: ByteRange): Promise<TreeHashHex>;
  pieceVerified(range: ByteRange, proof: PieceProof): Promise<void>;
}

/** `checked`: the service gave a hash of this piece, and it was equal. */
export interface PieceProof {
  readonly treeHash: TreeHashHex;
  readonly checked: boolean;
}

export interface OutputDownload {
  readonly vault: VaultName;
  /** A finished retrieval. */
  readonly job: JobId;
  /** What people know the bytes as, to go after "of": "archive abc". */
  readonly name: string;
  /** Where the output begins, in the offsets of the pieces; 0 when absent. */
  readonly outputStart?: number;
  /** Whether a hash that the service gives with `range` of the output is that of exactly these bytes. */
  readonly isSubtree: (range: ByteRange) => boolean;
  readonly sink: PieceSink;
}

export interface PieceDownloadOptions {
  /** Pieces that are fetched at a time; each holds about a MiB of memory. */
  readonly concurrency: number;
  readonly signal: AbortSignal | undefined;
  /** Called with the number of bytes that were just written. */
  readonly onBytes?: ((count: number) => void) | undefined;
  /** Called when all bytes of a piece were written and are not what the service says; it is fetched again. */
  readonly onCorrupt?: ((piece: ByteRange) => void) | undefined;
  /** Called when an attempt has failed and another one follows. */
  readonly onTrouble?: ((trouble: RecallTrouble) => void) | undefined;
}

// Written at once: a system call for every 64 KiB of a socket would cost more than the copy.
const writeBytes = MIB;
/** Attempts in a row that bring no byte further. */
const attemptsMax = 6;
/** Times a piece may come with another hash than the service announced. */
const corruptMax = 3;
const retry: BackoffLimits = { delayMsMin: 200, delayMsMax: 30_000 };

/**
 * Fetches `pieces` into the sink.
 *
 * @throws CorruptError when a piece is wrong again and again; ServiceError "missing" when the output has expired, or
 * what else did not pass after some attempts. The pieces that were verified stay.
 */
export async function downloadPieces(
  parts: PieceDownloadParts,
  download: OutputDownload,
  pieces: Iterable<ByteRange>,
  options: PieceDownloadOptions,
): Promise<void> {
  const { concurrency, signal } = options;
  await forEachConcurrently(pieces, { concurrency, signal }, async (piece, pieceSignal) => {
    await new PieceDownload(parts, download, piece, { ...options, signal: pieceSignal }).run();
  });
}

class PieceDownload {
  readonly #parts: PieceDownloadParts;
  readonly #download: OutputDownload;
  readonly #piece: ByteRange;
  readonly #options: PieceDownloadOptions & { readonly signal: AbortSignal };
  /** What the service said of the whole piece, before its first byte. */
  #expected: TreeHashHex | null = null;
  #received = 0;
  #failures = 0;

  constructor(
    parts: PieceDownloadParts,
    download: OutputDownload,
    piece: ByteRange,
    options: PieceDownloadOptions & { readonly signal: AbortSignal },
  ) {
    this.#parts = parts;
    this.#download = download;
    this.#piece = piece;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { sink, name } = this.#download;
    for (let corrupt = 1; ; corrupt += 1) {
      await this.#fetch();
      const proof = await this.#prove();
      if (proof !== "wrong") return sink.pieceVerified(this.#piece, proof);
      this.#options.onCorrupt?.(this.#piece);
      if (corrupt === corruptMax) throw corruptPiece(name, this.#piece);
      this.#received = 0;
    }
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
    const { vault, job, name, sink } = this.#download;
    const { signal, onBytes } = this.#options;
    const { outputStart = 0 } = this.#download;
    const rest = byteRange(this.#piece.start + this.#received, this.#piece.end);
    const asked = byteRange(rest.start - outputStart, rest.end - outputStart);
    const output = await service.getJobOutput(vault, job, asked, { signal });
    if (output.sizeBytes !== rangeLength(rest)) {
      await output.body[Symbol.asyncIterator]().return?.(); // Unread, it would keep its connection.
      throw wrongLength(name, rest, output.sizeBytes);
    }
    if (this.#received === 0) this.#expected = output.treeHash;

    for await (const chunks of gathered(output.body, writeBytes)) {
      const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      if (this.#received + length > rangeLength(this.#piece)) throw wrongLength(name, rest, rangeLength(rest) + 1);
      await sink.write(this.#piece.start + this.#received, chunks);
      this.#received += length;
      onBytes?.(length);
    }
    if (this.#received < rangeLength(this.#piece)) {
      throw new ServiceError("connection", `The output of job ${job} broke off at ${rest.start + this.#received}`);
    }
  }

  /** Hashes what was stored, not what was in memory: that is what readers will get. */
  async #prove(): Promise<PieceProof | "wrong"> {
    const { sink, isSubtree } = this.#download;
    // A piece without a hash of the service is hashed with it in any case: the whole is combined from these later.
    const treeHash = await sink.hash(this.#piece);
    if (this.#expected === null || !isSubtree(this.#piece)) return { treeHash, checked: false };
    return treeHash === this.#expected ? { treeHash, checked: true } : "wrong";
  }

  async #pause(error: unknown): Promise<void> {
    const { clock, random, observer } = this.#parts;
    const delayMs = ms(backoffDelayMs(this.#failures, retry, random));
    const { start, end } = this.#piece;
    const message = `Cannot fetch bytes ${start}-${end} of ${this.#download.name} yet: ${describeError(error)}`;
    observer({ type: "warning", message });
    this.#options.onTrouble?.({ message, nextAttemptAt: (clock.now() + delayMs) as Instant });
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

function wrongLength(name: string, range: ByteRange, length: number): ServiceError {
  const asked = `${range.start}-${range.end}`;
  return new ServiceError("connection", `The service answered ${length} bytes for ${asked} of ${name}`);
}

function corruptPiece(name: string, { start, end }: ByteRange): CorruptError {
  return new CorruptError(`Cannot fetch all of ${name}: bytes ${start}-${end} came wrong ${corruptMax} times`);
}
