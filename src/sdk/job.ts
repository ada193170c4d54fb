/** A job as an object, and its output (CAS SDK documentation, "Job"; cas-api section 17.7). */

import type { Writable } from "node:stream";
import { byteCount, splitRange } from "../domain/bytes.js";
import { ServiceError } from "../domain/errors.js";
import { jobId, vaultName } from "../domain/ids.js";
import { ms } from "../domain/time.js";
import { AnsweredServiceError } from "../protocol/error-wire.js";
import { downloadPartSize } from "../protocol/part-size.js";
import type { CallOptions } from "../protocol/service.js";
import { type DownloadTransferProgress, downloadJobOutput } from "../transfer/file-download.js";
import { type ByteSpan, type ByteSpanLike, toByteRange } from "./byte-span.js";
import type { JobOutputStream } from "./cas-api.js";
import { clientPartsOf } from "./cas-client.js";
import { CASClientError, DownloadArchiveError, sdkErrorOf } from "./cas-errors.js";
import { type InventoryEntry, inventoryEntries } from "./inventory.js";
import type { RetrievalTier } from "./job-parameters.js";
import type { JobAction, JobProperties, JobStatusCode } from "./job-properties.js";
import { type DownloadedRange, writeOutput } from "./output-writer.js";
import type { Vault } from "./vault.js";

export interface WaitOptions extends CallOptions {
  /** Pause between two questions in ms, or what gives it each time; at random 6,000-9,000. */
  readonly pollMs?: number | (() => number) | undefined;
}

export interface OutputOptions extends WaitOptions {
  /** Whether to wait for a job that is not finished; true. With false it is a DownloadArchiveError "Job not ready". */
  readonly block?: boolean | undefined;
}

/** How an output is downloaded. All sizes in bytes. */
export interface DownloadOptions extends OutputOptions {
  /** Called as bytes arrive and are verified. */
  readonly onProgress?: ((progress: DownloadTransferProgress) => void) | undefined;
  /** Pieces at a time; 4. */
  readonly parallel?: number | undefined;
  /** Rounded down to 1 MiB times a power of two; 32 MiB. */
  readonly pieceBytes?: number | undefined;
  /** Whether a file that is there is replaced, once the new one is complete; true. */
  readonly overwrite?: boolean | undefined;
}

/** A range of the output, and its hash if it was downloaded with one. */
export interface OutputPart extends ByteSpan {
  readonly treeHash: string | null;
}

const pollMsMin = 6000;
const pollMsMax = 9000;

/** The attributes are those of the last time the job was described; `update()` describes it again. */
export class Job {
  /** Everything the service said of the job the last time. */
  properties: JobProperties;
  #sizeCompleted = 0;

  constructor(
    readonly vault: Vault,
    properties: JobProperties,
  ) {
    this.properties = properties;
  }

  /** The size of the pieces of an output of `sizeTotal` bytes: 32 MiB, more above 10,000 pieces (cas-api section 13.4). */
  static calcPartSize(sizeTotal: number): number {
    return downloadPartSize(sizeTotal);
  }

  get id(): string {
    return this.properties.jobId;
  }

  get action(): JobAction {
    return this.properties.action;
  }

  get archiveId(): string | null {
    return this.properties.archiveId;
  }

  /** Of the whole archive; 0 for jobs without one. */
  get archiveSize(): number {
    return this.properties.archiveSizeInBytes ?? 0;
  }

  /** Tree hash of the whole archive. */
  get archiveEtag(): string | null {
    return this.properties.archiveSha256TreeHash;
  }

  /** Tree hash of the retrieved range, if it has one. */
  get retrievalEtag(): string | null {
    return this.properties.sha256TreeHash;
  }

  get description(): string {
    return this.properties.jobDescription;
  }

  /** The retrieved range of the archive, `end` excluded. */
  get jobRange(): ByteSpan | null {
    return this.properties.retrievalByteRange;
  }

  get creationDate(): Date {
    return this.properties.creationDate;
  }

  /** True for failed jobs too. */
  get completed(): boolean {
    return this.properties.completed;
  }

  get completionDate(): Date | null {
    return this.properties.completionDate;
  }

  get statusCode(): JobStatusCode {
    return this.properties.statusCode;
  }

  get statusMessage(): string {
    return this.properties.statusMessage;
  }

  get tier(): RetrievalTier | null {
    return this.properties.tier;
  }

  /** Bytes of the output of a finished inventory job, otherwise 0. */
  get inventorySize(): number {
    return this.properties.inventorySizeInBytes;
  }

  /** Bytes of the output; 0 for an inventory that is not finished and for COS jobs. */
  get outputSize(): number {
    if (this.action === "InventoryRetrieval") return this.inventorySize;
    if (this.action !== "ArchiveRetrieval") return 0;
    return this.jobRange === null ? this.archiveSize : this.jobRange.end - this.jobRange.start;
  }

  /** The output in pieces of `calcPartSize`; the hash is known of an output that is one piece. */
  get parts(): readonly OutputPart[] {
    const size = this.outputSize;
    const pieces = splitRange({ start: byteCount(0), end: byteCount(size) }, Job.calcPartSize(size));
    return pieces.map(({ start, end }) => ({ start, end, treeHash: pieces.length === 1 ? this.retrievalEtag : null }));
  }

  /** Bytes that `downloadToFile` has verified. */
  get sizeCompleted(): number {
    return this.#sizeCompleted;
  }

  /** Describes the job again. */
  async update(options?: CallOptions): Promise<this> {
    this.properties = (await this.vault.api.describeJob(this.vault.name, this.id, options)).data;
    return this;
  }

  /** The name of `update` in the CAS SDK documentation. */
  updateStatus(options?: CallOptions): Promise<this> {
    return this.update(options);
  }

  /** Resolves when the job is completed, whether it succeeded or failed: `statusCode` says. Takes minutes to half a day. */
  async wait({ pollMs, signal }: WaitOptions = {}): Promise<this> {
    const { clock, random } = clientPartsOf(this.vault.api.client);
    const pause = () => pollMsMin + random() * (pollMsMax - pollMsMin);
    for (;;) {
      if (this.completed || (await this.update({ signal })).completed) return this;
      const pauseMs = typeof pollMs === "function" ? pollMs() : (pollMs ?? pause());
      await clock.sleep(ms(pauseMs), { signal });
    }
  }

  /**
   * The output, or `range` of it in bytes of the output, as a stream. Its bytes are not compared with a hash.
   *
   * @throws DownloadArchiveError "Job process failed", or "Job not ready" for a job without output, and with
   * `block: false` for an unfinished one.
   */
  async output(options: OutputOptions & { readonly range?: ByteSpanLike | undefined } = {}): Promise<JobOutputStream> {
    await this.#ready(options);
    const { range, signal } = options;
    return (await this.vault.api.getJobOutput(this.vault.name, this.id, { range }, { signal })).data;
  }

  /**
   * Downloads a range of the output into a file, or writes it to a stream (which is not ended).
   *
   * A connection that breaks is taken up again where it broke. What comes with a hash is compared with it; the CAS SDK for
   * Python does not. A stream has the bytes before the comparison.
   *
   * @param range Of the output: `"first-last"`, or with `end` excluded. Ends beyond the output are cut.
   * @throws DownloadArchiveError when not all came, and as `output`; HashDoesNotMatchError.
   */
  async downloadByRange(
    range: ByteSpanLike,
    destination: string | Writable,
    options: DownloadOptions = {},
  ): Promise<DownloadedRange> {
    const span = toByteRange(range);
    await this.#ready(options);
    if (typeof destination === "string") return this.#downloadFile(destination, options, span);
    return writeOutput(clientPartsOf(this.vault.api.client), this, span, destination, options);
  }

  /**
   * Downloads the whole output into a file: in parallel pieces, each verified, then the whole; the file appears when it is
   * complete. After a failure the same call goes on with the pieces that are missing; the CAS SDK for Python truncates.
   *
   * @throws DownloadArchiveError when not all came, and as `output`; HashDoesNotMatchError.
   */
  async downloadToFile(path: string, options: DownloadOptions = {}): Promise<DownloadedRange> {
    await this.#ready(options);
    return this.#downloadFile(path, options);
  }

  /**
   * The archives that this inventory job lists, read as they arrive.
   *
   * @throws CASClientError for another kind of job, or an output that is no complete inventory; otherwise as `output`.
   */
  async *inventory(options: OutputOptions = {}): AsyncGenerator<InventoryEntry> {
    if (this.action !== "InventoryRetrieval") throw new CASClientError(`Job ${this.id} lists no archives`);
    const { body } = await this.output(options);
    yield* inventoryEntries(body, this.properties.inventoryRetrievalParameters?.format ?? "JSON");
  }

  async #ready(options: OutputOptions): Promise<void> {
    if (options.block ?? true) await this.wait(options);
    else if (!this.completed) await this.update(options);
    if (!this.completed) throw new DownloadArchiveError("Job not ready");
    if (this.statusCode === "Failed") throw new DownloadArchiveError("Job process failed");
    const hasOutput = this.action === "ArchiveRetrieval" || this.action === "InventoryRetrieval";
    if (!hasOutput) throw new DownloadArchiveError(`Job not ready: ${this.action} has no output`);
  }

  async #downloadFile(
    path: string,
    { parallel, pieceBytes, overwrite = true, onProgress, signal }: DownloadOptions,
    range?: ReturnType<typeof toByteRange>,
  ): Promise<DownloadedRange> {
    let totalBytes = range === undefined ? this.outputSize : range.end - range.start;
    this.#sizeCompleted = 0;
    const progressed = (progress: DownloadTransferProgress) => {
      this.#sizeCompleted = progress.doneBytes;
      totalBytes = progress.totalBytes;
      onProgress?.(progress);
    };
    const place = { vault: vaultName(this.vault.name), job: jobId(this.id), path, range };
    const how = { parallel, pieceBytes, overwrite, onProgress: progressed, signal };
    try {
      const done = await downloadJobOutput(clientPartsOf(this.vault.api.client), { ...place, ...how });
      return { size: done.sizeBytes, treeHash: done.treeHash };
    } catch (error) {
      const failure = sdkErrorOf(error);
      const isBroken = error instanceof ServiceError && !(error instanceof AnsweredServiceError);
      if (!isBroken || signal?.aborted || error.fault === "digest") throw failure;
      throw DownloadArchiveError.incomplete({ doneBytes: this.#sizeCompleted, totalBytes }, { cause: failure });
    }
  }
}
