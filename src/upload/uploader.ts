/**
 * Brings one sealed content into its vault: sync, hash, send, confirm.
 *
 * Relies on: a claimed content being immutable, so that it can be hashed and read again at any time.
 * Never: retries by itself what the service did not do (that is `upload-queue.ts`), nor calls an archive confirmed
 * whose tree hash the service has not accepted.
 */

import { type ByteRange, byteRange, MIB, rangeLength } from "../domain/bytes.js";
import { CorruptError, describeError, isMissing, ServiceError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ArchiveId, ContentId } from "../domain/ids.js";
import type { Clock } from "../domain/time.js";
import { invariant } from "../lib/invariant.js";
import type { CasService, TreeHashHex } from "../protocol/service.js";
import { combineTreeHashes } from "../protocol/tree-hash.js";
import { type PartPlanOptions, partCount, partRanges, planParts } from "./part-plan.js";
import { LostPartError, listPresentParts, PresentParts, sendMissingParts } from "./part-sender.js";
import type {
  ArchivedContent,
  PendingUpload,
  StagedFile,
  StagedFiles,
  UploadJournal,
  UploadProgress,
} from "./ports.js";
import { resumePoint } from "./recovery.js";

export interface UploaderParts {
  readonly service: Pick<
    CasService,
    | "uploadArchive"
    | "initiateMultipartUpload"
    | "uploadPart"
    | "listParts"
    | "completeMultipartUpload"
    | "abortMultipartUpload"
  >;
  readonly journal: UploadJournal;
  readonly files: StagedFiles;
  readonly clock: Clock;
  readonly observer: Observer;
}

export interface UploaderOptions extends PartPlanOptions {
  /** Parts of one content that are hashed or sent at a time. A part in flight holds about two MiB of memory. */
  readonly partConcurrency: number;
}

export interface UploadProgressReport {
  readonly sentBytes: number;
  /** In the service by now, those included that it had from an earlier attempt. */
  readonly sentParts: number;
  /** Sent by this attempt: real progress. */
  readonly newParts: number;
  readonly totalParts: number;
}

/** "dropped": the content was un-sealed, superseded or deleted; there is nothing to upload. */
export type UploadOutcome =
  | { readonly kind: "archived"; readonly archived: ArchivedContent }
  | { readonly kind: "dropped" };

export interface UploadCallOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: ((report: UploadProgressReport) => void) | undefined;
  /** So many more bytes were handed to the connection; the service has not confirmed them, and they may go again. */
  readonly onTaken?: ((bytes: number) => void) | undefined;
}

type PartsUpload = Extract<UploadProgress, { readonly step: "parts" }>;

export class Uploader {
  readonly #parts: UploaderParts;
  readonly #options: UploaderOptions;

  constructor(parts: UploaderParts, options: UploaderOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /**
   * One attempt, from where the journal says.
   *
   * @throws ServiceError, CorruptError when the staging file is not what was sealed, or the system's error; an abort
   * rejects with `signal.reason`. The journal then says where the next attempt goes on.
   */
  async upload(content: ContentId, options: UploadCallOptions): Promise<UploadOutcome> {
    const { journal, files, clock, observer } = this.#parts;
    const pending = journal.find(content);
    if (pending === undefined || !journal.claim(content)) return { kind: "dropped" };
    const startedAt = clock.now();
    await using file = await files.openStaged(content);
    if (file.sizeBytes !== pending.sizeBytes) throw wrongSize(pending, file);
    try {
      await file.sync();
    } catch (error) {
      await journal.didNotSync(content);
      throw notOnDisk(pending, error);
    }
    await journal.didSync(content);

    const attempt = new Attempt(this.#parts, this.#options, pending, file, options);
    const matching = await attempt.findIdentical();
    if (matching !== undefined) {
      const { archiveId, sizeBytes } = matching;
      observer({ type: "upload-unneeded", content, archiveId, sizeBytes });
      return { kind: "archived", archived: matching };
    }
    const archived = await attempt.run();
    const { archiveId, sizeBytes } = archived;
    await journal.didArchive(content, archived);
    observer({ type: "upload-confirmed", content, archiveId, sizeBytes, durationMs: clock.now() - startedAt });
    return { kind: "archived", archived };
  }
}

function notOnDisk({ vault }: PendingUpload, cause: unknown): CorruptError {
  return new CorruptError(`Cannot upload to vault ${vault}: the disk did not take all staged bytes`, {
    cause,
    hint: "The file is kept and not uploaded by itself; look at the disk, and write the file again",
  });
}

/** A power of two, as the hashes of pieces must combine to that of the whole. */
const hashedPieceBytes = 64 * MIB;

/** What one attempt knows; it ends with the archive's id or with an error. */
class Attempt {
  readonly #parts: UploaderParts;
  readonly #options: UploaderOptions;
  readonly #pending: PendingUpload;
  readonly #file: StagedFile;
  readonly #call: UploadCallOptions;

  constructor(
    parts: UploaderParts,
    options: UploaderOptions,
    pending: PendingUpload,
    file: StagedFile,
    call: UploadCallOptions,
  ) {
    this.#parts = parts;
    this.#options = options;
    this.#pending = pending;
    this.#file = file;
    this.#call = call;
  }

  /** An archive that the content replaces and that has the same bytes already: sending them would only be billed. */
  async findIdentical(): Promise<ArchivedContent | undefined> {
    const { content, progress } = this.#pending;
    // With an upload id there is something to go on with; without one, an inventory may have shown what was sent before.
    if (progress.step === "parts" || progress.step === "completing") return undefined;
    const replaced = this.#parts.journal.replacedArchives(content);
    if (replaced.length === 0) return undefined;
    const treeHash = await this.#hashWhole();
    const identical = replaced.find((archive) => archive.treeHash === treeHash);
    return identical && this.#parts.journal.didMatch(content, identical);
  }

  async run(): Promise<ArchivedContent> {
    try {
      return await this.#resume();
    } catch (error) {
      if (error instanceof LostPartError) return this.#lose(error);
      // Only an upload id can be forgotten; when the vault is missing, starting anew says so.
      if (!isMissing(error) || !this.#hasUploadId()) throw error;
      if (this.#hasDropped) return this.#lose(error);
      await this.#parts.journal.didLoseUpload(this.#pending.content);
      return this.#start();
    }
  }

  /** Parts were only with the service, and it has forgotten them. @throws CorruptError, always. */
  async #lose(error: unknown): Promise<never> {
    const { content } = this.#pending;
    const why = `the service has forgotten its upload, or parts of it: ${describeError(error)}`;
    await this.#parts.journal.didLoseParts(content, why);
    throw new CorruptError(`Content ${content} is lost: parts of it were only in the vault`, { cause: error });
  }

  get #hasDropped(): boolean {
    return this.#parts.journal.droppedParts(this.#pending.content).length > 0;
  }

  async #resume(): Promise<ArchivedContent> {
    const point = resumePoint(this.#pending.progress);
    switch (point.from) {
      case "start":
        return this.#start();
      case "parts":
        return this.#sendParts(point.upload, { resumed: true });
      case "complete":
        return this.#completeAgain(point.upload);
    }
  }

  #start(): Promise<ArchivedContent> {
    const { content, vault, sizeBytes } = this.#pending;
    const plan = planParts(sizeBytes, this.#options);
    const parts = plan.kind === "single" ? 1 : plan.partCount;
    this.#parts.observer({ type: "upload-started", content, vault, sizeBytes, parts });
    return plan.kind === "single" ? this.#sendWhole() : this.#initiate(plan.partSizeBytes);
  }

  async #sendWhole(): Promise<ArchivedContent> {
    const { service, journal } = this.#parts;
    const { content, vault, sizeBytes } = this.#pending;
    const whole = byteRange(0, sizeBytes);
    const { sha256, treeHash } = await this.#file.hash(whole);
    const description = journal.describe(content);
    await journal.willSend(content, { treeHash, description });
    this.#call.signal.throwIfAborted();
    const body = () => this.#read(whole);
    const archive = { body, sizeBytes, sha256, treeHash, description };
    const archiveId = await service.uploadArchive(vault, archive, { signal: this.#call.signal });
    this.#call.onProgress?.({ sentBytes: sizeBytes, sentParts: 1, newParts: 1, totalParts: 1 });
    return { vault, archiveId, sizeBytes, treeHash, description };
  }

  async #initiate(partSizeBytes: PartsUpload["partSizeBytes"]): Promise<ArchivedContent> {
    const { service, journal } = this.#parts;
    const { content, vault } = this.#pending;
    const intent = { partSizeBytes, description: journal.describe(content) };
    await journal.willInitiate(content, intent);
    this.#call.signal.throwIfAborted();
    const uploadId = await service.initiateMultipartUpload(vault, intent, { signal: this.#call.signal });
    await journal.didInitiate(content, { uploadId, vault });
    return this.#sendParts({ step: "parts", uploadId, ...intent }, { resumed: false });
  }

  /** Sends what the service does not have, then completes. */
  async #sendParts(upload: PartsUpload, { resumed }: { readonly resumed: boolean }): Promise<ArchivedContent> {
    const treeHash = await this.#sendMissingParts(upload, resumed ? await this.#listParts(upload) : new PresentParts());
    await this.#parts.journal.willComplete(this.#pending.content, treeHash);
    // The upload is gone with it: after a power loss the journal must say what to ask for.
    await this.#parts.journal.flush();
    return this.#complete(upload, treeHash);
  }

  /** @returns the tree hash of the whole. */
  async #sendMissingParts({ uploadId, partSizeBytes }: PartsUpload, present: PresentParts): Promise<TreeHashHex> {
    const { service, journal, observer } = this.#parts;
    const { content, vault, sizeBytes } = this.#pending;
    const dropped = new PresentParts();
    for (const part of journal.droppedParts(content)) dropped.add(part.range, part.treeHash);
    const report = { sentBytes: 0, sentParts: 0, newParts: 0, totalParts: partCount(sizeBytes, partSizeBytes) };
    const treeHash = await sendMissingParts(
      { service, source: { hash: (range) => this.#file.hash(range), read: (range) => this.#read(range) } },
      { vault, uploadId, sizeBytes, partSizeBytes, present, dropped },
      {
        concurrency: this.#options.partConcurrency,
        signal: this.#call.signal,
        onPart: async ({ range, treeHash: partHash, kept }) => {
          if (!kept) await journal.didSendPart(content, { range, treeHash: partHash });
          report.sentBytes += rangeLength(range);
          report.sentParts += 1;
          if (!kept) report.newParts += 1;
          this.#call.onProgress?.({ ...report });
        },
      },
    );
    const partsKept = report.sentParts - report.newParts;
    if (partsKept > 0) observer({ type: "upload-resumed", content, uploadId, partsKept });
    return treeHash;
  }

  async #listParts({ uploadId, partSizeBytes }: PartsUpload): Promise<PresentParts> {
    const { vault } = this.#pending;
    const { upload, present } = await listPresentParts(this.#parts.service, { vault, uploadId }, this.#call.signal);
    invariant(upload.partSizeBytes === partSizeBytes, "the service and the journal agree on the part size");
    return present;
  }

  async #complete(upload: PartsUpload, treeHash: TreeHashHex): Promise<ArchivedContent> {
    const { sizeBytes, vault } = this.#pending;
    const { uploadId, description } = upload;
    const archiveId: ArchiveId = await this.#parts.service.completeMultipartUpload(
      vault,
      uploadId,
      { sizeBytes, treeHash },
      { signal: this.#call.signal },
    );
    return { vault, archiveId, sizeBytes, treeHash, description };
  }

  /**
   * The answer to Complete was lost: it is repeated. A refusal leaves the upload as it was (cas-api section 10.3), so
   * the parts are compared and mended once; when that is refused too, the upload is given up and starts anew.
   */
  async #completeAgain(upload: Extract<UploadProgress, { readonly step: "completing" }>): Promise<ArchivedContent> {
    const parts: PartsUpload = { ...upload, step: "parts" };
    try {
      return await this.#complete(parts, upload.treeHash);
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
    try {
      return await this.#sendParts(parts, { resumed: true });
    } catch (error) {
      if (isRefusal(error)) await this.#giveUp(parts, error);
      throw error;
    }
  }

  async #giveUp({ uploadId }: PartsUpload, error: unknown): Promise<void> {
    // Its upload is aborted with it.
    if (this.#hasDropped) return this.#lose(error);
    await this.#parts.service.abortMultipartUpload(this.#pending.vault, uploadId, { signal: this.#call.signal });
    await this.#parts.journal.didLoseUpload(this.#pending.content);
  }

  /** Piece by piece, so that an abort is noticed. */
  async #hashWhole(): Promise<TreeHashHex> {
    const hashes: TreeHashHex[] = [];
    for (const range of partRanges(this.#pending.sizeBytes, hashedPieceBytes)) {
      this.#call.signal.throwIfAborted();
      hashes.push(await this.#file.treeHash(range));
    }
    return combineTreeHashes(hashes);
  }

  async *#read(range: ByteRange): AsyncGenerator<Uint8Array> {
    for await (const piece of this.#file.read(range)) {
      const { length } = piece;
      yield piece;
      this.#call.onTaken?.(length);
    }
  }

  #hasUploadId(): boolean {
    const step = this.#parts.journal.find(this.#pending.content)?.progress.step;
    return step === "parts" || step === "completing";
  }
}

/** The service has judged what it received, and does not take it. */
function isRefusal(error: unknown): boolean {
  return error instanceof ServiceError && (error.fault === "refused" || error.fault === "digest");
}

function wrongSize({ content, sizeBytes }: PendingUpload, file: StagedFile): CorruptError {
  return new CorruptError(
    `Cannot upload content ${content}: it was sealed with ${sizeBytes} bytes and has ${file.sizeBytes}`,
  );
}
