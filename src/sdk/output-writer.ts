/** Writes a range of a job's output to a stream, one piece after the other, taking up broken connections. */

import { once } from "node:events";
import type { Writable } from "node:stream";
import { type Clock, ms } from "../domain/time.js";
import { AbortScope } from "../lib/abort-scope.js";
import { type BackoffLimits, backoffDelayMs } from "../lib/backoff.js";
import { LeafHasher } from "../protocol/tree-hash.js";
import type { ByteSpan } from "./byte-span.js";
import type { JobOutputStream } from "./cas-api.js";
import { CASClientError, DownloadArchiveError, HashDoesNotMatchError } from "./cas-errors.js";
import type { DownloadOptions, Job } from "./job.js";

export interface DownloadedRange {
  /** In bytes. */
  readonly size: number;
  /** Verified; null when the service gives no hash of these bytes, so that only their number was checked. */
  readonly treeHash: string | null;
}

/** In a row, without a byte between them (cas-api section 17.1). */
const attemptsMax = 3;
const retry: BackoffLimits = { delayMsMin: 200, delayMsMax: 5000 };

/**
 * Writes the bytes of `span` to `destination` and leaves it open.
 *
 * @throws DownloadArchiveError after three attempts without a byte; HashDoesNotMatchError when all have been written.
 */
export async function writeOutput(
  { clock, random }: { readonly clock: Clock; readonly random: () => number },
  job: Job,
  span: ByteSpan,
  destination: Writable,
  { onProgress, signal }: DownloadOptions,
): Promise<DownloadedRange> {
  const hasher = new LeafHasher();
  const end = Math.min(span.end, job.outputSize);
  if (span.start >= end) throw new RangeError(`The output of job ${job.id} has no bytes ${span.start}-${span.end - 1}`);
  const isWhole = span.start === 0 && end === job.outputSize;
  let position = span.start;
  let expected: string | null = null;
  let failures = 0;
  while (position < end) {
    const before = position;
    try {
      const output = await job.output({ range: { start: position, end }, block: false, signal });
      await refuseOthers(output, { start: position, end });
      if (position === span.start) expected = output.treeHash ?? (isWhole ? job.retrievalEtag : null);
      for await (const piece of output.body) {
        if (piece.length > end - position) throw new CASClientError("More bytes came than were asked for");
        hasher.update(piece);
        position += piece.length;
        await write(destination, piece, signal);
        const doneBytes = position - span.start;
        onProgress?.({ doneBytes, inFlightBytes: 0, totalBytes: end - span.start, donePieces: 0, totalPieces: 1 });
      }
      // Without a Content-Length an answer may end anywhere.
      if (position < end) throw new CASClientError(`The output of job ${job.id} broke off at ${position}`);
    } catch (cause) {
      if (!(cause instanceof CASClientError) || destination.destroyed || signal?.aborted) throw cause;
      failures = position > before ? 1 : failures + 1;
      if (failures === attemptsMax) throw incomplete(position, span.start, end, cause);
      await clock.sleep(ms(backoffDelayMs(failures, retry, random)), { signal });
    }
  }
  const { sizeBytes, treeHash } = hasher.digest();
  if (expected !== null && expected !== treeHash) {
    throw new HashDoesNotMatchError(`The bytes ${span.start}-${end - 1} of job ${job.id} came with another hash`);
  }
  return { size: sizeBytes, treeHash: expected };
}

/** Bytes of another place, or fewer, must not pass for those that were asked for. */
async function refuseOthers({ range, size, discard }: JobOutputStream, asked: ByteSpan): Promise<void> {
  const length = asked.end - asked.start;
  // Some services answer without a range when it is all there is.
  const isAsked = range === null ? asked.start === 0 && size === length : range.start === asked.start;
  if (isAsked && (range === null || range.end === asked.end) && (size ?? length) === length) return;
  await discard();
  throw new CASClientError(`The service answered other bytes than ${asked.start}-${asked.end - 1}`);
}

function incomplete(position: number, start: number, end: number, cause?: unknown): DownloadArchiveError {
  return DownloadArchiveError.incomplete({ doneBytes: position - start, totalBytes: end - start }, { cause });
}

/** Waits while the destination has enough to do. @throws what the destination fails with, or CASClientError once closed. */
async function write(destination: Writable, piece: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
  if (destination.errored) throw destination.errored;
  if (destination.destroyed) throw closedEarly();
  if (destination.write(piece)) return;
  using scope = new AbortScope(signal);
  try {
    const drained = once(destination, "drain", { signal: scope.signal });
    const closed = once(destination, "close", { signal: scope.signal }).then(() => {
      throw closedEarly();
    });
    await Promise.race([drained, closed]);
  } catch (error) {
    // Events tell an abort in their own words; callers are promised the signal's reason.
    signal?.throwIfAborted();
    throw error;
  } finally {
    scope.abort();
  }
}

function closedEarly(): CASClientError {
  return new CASClientError("Cannot write the output: the stream was closed before all of it was there");
}
