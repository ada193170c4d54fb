/** The output of a finished job into a file or to standard output, with a bar for who looks. */

import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { systemClock } from "../../app/system-clock.js";
import { HashPool } from "../../cache/hash-pool.js";
import { type ByteRange, rangeLength } from "../../domain/bytes.js";
import { CorruptError, FileSystemError } from "../../domain/errors.js";
import type { JobId, VaultName } from "../../domain/ids.js";
import type { JobDescription } from "../../protocol/service.js";
import { LeafHasher } from "../../protocol/tree-hash.js";
import { downloadJobOutput } from "../../transfer/file-download.js";
import { TransferProgress } from "../progress.js";
import { ReaderGone, type ServiceSession } from "../service-session.js";

export interface OutputDownload {
  readonly vault: VaultName;
  readonly job: JobId;
  /** `-` is standard output. */
  readonly file: string;
  readonly range?: ByteRange | undefined;
  /** What the service says of the whole output; for standard output, where the answer alone would be trusted. */
  readonly whole: { readonly sizeBytes: number; readonly treeHash: string | null };
  readonly overwrite: boolean;
}

export interface DownloadResult {
  readonly path: string;
  readonly sizeInBytes: number;
  /** Verified; null where the service gives none. */
  readonly treeHash: string | null;
}

/** What a finished job has to offer. @throws FileSystemError for a job without output. */
export function wholeOutput(job: JobDescription): OutputDownload["whole"] {
  if (job.action === "retrieve-inventory") return { sizeBytes: job.inventorySizeBytes, treeHash: null };
  if (job.action === "retrieve-archive") return { sizeBytes: rangeLength(job.range), treeHash: job.rangeTreeHash };
  throw new FileSystemError("invalid", `Cannot fetch the output of the job ${job.id}: it has none`);
}

/** @throws CasfsError; what was downloaded and verified stays for the next call. */
export async function downloadTo(session: ServiceSession, download: OutputDownload): Promise<DownloadResult> {
  if (download.file === "-") return downloadToOutput(session, download);
  const { service, observer, signal, config, terminal } = session;
  const { vault, job, range, overwrite } = download;
  const path = resolve(download.file);
  session.onInterrupt = "What was downloaded is kept; the same command goes on from there";
  await using hasher = new HashPool({ workers: availableParallelism() });
  using progress = new TransferProgress(terminal, download.file);
  const { sizeBytes, treeHash } = await downloadJobOutput(
    { service, hasher, clock: systemClock, random: Math.random, observer },
    {
      vault,
      job,
      path,
      range,
      overwrite,
      parallel: config.parallel,
      onProgress: ({ doneBytes, inFlightBytes, totalBytes }) => progress.update(doneBytes + inFlightBytes, totalBytes),
      signal,
    },
  );
  return { path, sizeInBytes: sizeBytes, treeHash };
}

/** What has been printed cannot be taken back, so damage is told at the end. */
async function downloadToOutput(session: ServiceSession, { vault, job, range, whole }: OutputDownload) {
  const { service, signal, terminal } = session;
  const output = await service.getJobOutput(vault, job, range, { signal });
  const hasher = new LeafHasher();
  for await (const piece of output.body) {
    if (terminal.isOutputGone) throw new ReaderGone();
    hasher.update(piece);
    await terminal.write(piece);
  }
  const { treeHash, sizeBytes } = hasher.digest();
  const expected = output.treeHash ?? (range === undefined ? whole.treeHash : null);
  const expectedBytes = range === undefined ? whole.sizeBytes : rangeLength(range);
  if (sizeBytes !== expectedBytes || (expected !== null && treeHash !== expected)) {
    throw new CorruptError(`Cannot vouch for the output of the job ${job}: other bytes came than the service has`);
  }
  return { path: "-", sizeInBytes: sizeBytes, treeHash: expected };
}
