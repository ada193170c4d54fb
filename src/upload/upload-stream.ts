/**
 * Uploads one file while it is still written: part after part, as they become whole.
 *
 * Relies on: `StreamParts`, which knows what may be sent and dropped. A file that fits into staging loses nothing by it:
 * all its bytes stay. Of one that does not (`spill`), the parts that the service has confirmed leave the disk; from then
 * on the upload id must not be lost, and is kept alive.
 * Never: completes the upload (a closed file is `uploader.ts`'s), nor drops a part whose hash is not journaled.
 */

import type { ByteCount, ByteRange } from "../domain/bytes.js";
import {
  CancelledError,
  type CasfsError,
  describeError,
  FileSystemError,
  isMissing,
  isTransient,
} from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ContentId, UploadId, VaultName } from "../domain/ids.js";
import { type Clock, hours, type Instant, minutes, ms } from "../domain/time.js";
import { AbortScope, abortable } from "../lib/abort-scope.js";
import { type BackoffLimits, backoffDelayMs } from "../lib/backoff.js";
import { type Deferred, deferred } from "../lib/deferred.js";
import type { Semaphore } from "../lib/semaphore.js";
import { SharedRun } from "../lib/shared-run.js";
import type { CasService } from "../protocol/service.js";
import type { StreamPlan } from "./part-plan.js";
import type { DroppableFiles, StagedFiles, StreamJournal, UploadWatcher } from "./ports.js";
import { type PartSnapshot, StreamParts, type WrittenBytes } from "./stream-parts.js";

/** A file that is open for writing, as it is at the moment of the question. */
export interface StreamedFile extends WrittenBytes {
  readonly sizeBytes: number;
}

export interface UploadStreamParts {
  readonly service: Pick<CasService, "initiateMultipartUpload" | "uploadPart">;
  readonly journal: StreamJournal;
  readonly files: StagedFiles & DroppableFiles;
  readonly clock: Clock;
  /** Numbers from 0 to 1, as `Math.random`. */
  readonly random: () => number;
  readonly observer: Observer;
  /** Why nothing may be begun in a vault now; undefined when it may. See `held-uploads.ts`. */
  readonly heldBecause: (vault: VaultName) => CasfsError | undefined;
}

interface RunningUpload {
  readonly vault: VaultName;
  readonly uploadId: UploadId;
}

interface Surroundings {
  /** Shared by all streams: parts that are hashed or sent at a time. */
  readonly slots: Semaphore;
  readonly partConcurrency: number;
  readonly closing: AbortSignal;
  readonly watcher: StreamWatcher;
}

/** "left": what was hoped for from a stream has come, or will not come. */
export type StreamWatcher = Pick<UploadWatcher, "progressed" | "left">;

export interface StreamStatus {
  readonly content: ContentId;
  readonly sizeBytes: number;
  readonly partSizeBytes: number;
  readonly sentParts: number;
  readonly totalParts: number;
  readonly droppedParts: number;
  readonly attempts: number;
  readonly lastError: string | undefined;
  readonly nextAttemptAt: Instant | null;
}

const retry: BackoffLimits = { delayMsMin: 1_000, delayMsMax: 300_000 };
const slowRetry: BackoffLimits = { delayMsMin: 60_000, delayMsMax: 300_000 };
// The service forgets an upload for which nothing came for 24 hours (cas-api section 10.7).
const keepAliveMs = hours(12);
const keepAliveLookMs = minutes(1);

export class UploadStream {
  readonly content: ContentId;
  readonly #parts: UploadStreamParts;
  readonly #around: Surroundings;
  readonly #file: StreamedFile;
  readonly #plan: StreamPlan;
  readonly #scope: AbortScope;
  readonly #state: StreamParts;
  #upload: RunningUpload | undefined;
  #initiating: Promise<void> | undefined;
  readonly #sends = new Set<Promise<void>>();
  readonly #taken = new Map<number, number>();
  readonly #dropping = new SharedRun(() => this.#dropSent());
  #dropCount = 0;
  #isSpilled = false;
  /** Somebody waits for room: then the last part goes as well. */
  #isPressed = false;
  #cannotDrop = false;
  #stopped = false;
  #lost: FileSystemError | undefined;
  #attempts = 0;
  #lastError: unknown;
  #pause: { readonly until: Instant; readonly scope: AbortScope } | undefined;
  readonly #waiters = new Set<Deferred<void>>();
  #activeAt: Instant;
  #keepingAlive: Promise<void> | undefined;

  /** @param after The end of a former stream of the same content. */
  constructor(
    content: ContentId,
    {
      parts,
      around,
      file,
      plan,
      after,
    }: {
      readonly parts: UploadStreamParts;
      readonly around: Surroundings;
      readonly file: StreamedFile;
      readonly plan: StreamPlan;
      readonly after: Promise<void>;
    },
  ) {
    this.content = content;
    this.#parts = parts;
    this.#around = around;
    this.#file = file;
    this.#plan = plan;
    this.#scope = new AbortScope(around.closing);
    this.#activeAt = parts.clock.now();
    this.#state = new StreamParts(plan.partSizeBytes, file.sizeBytes);
    this.#initiating = after.finally(() => {
      this.#initiating = undefined;
      this.#pump();
    });
  }

  /** Whether parts of the file are only in the service. */
  get hasDropped(): boolean {
    return this.#state.droppedCount > 0;
  }

  /** Whether sent parts leave the disk. */
  get isSpilled(): boolean {
    return this.#isSpilled;
  }

  /** Why the file can never become an archive; undefined while it can. */
  get lost(): FileSystemError | undefined {
    return this.#lost;
  }

  /** Where the last part ends that was sent, or is on its way: a file cut below that cannot be completed under this upload. */
  get sentEndBytes(): number {
    return this.#state.sentEndBytes;
  }

  /** Whether bytes will leave the disk without anybody's doing. */
  get hasRoomComing(): boolean {
    const { isSending } = this.#state;
    const canDrop = this.#isSpilled && !this.#cannotDrop && !this.#stopped && this.#lost === undefined;
    return canDrop && (this.#dropCount > 0 || isSending || this.#hasDroppable || this.#state.hasNext(this.#file));
  }

  /** Not a last part that stays until something follows it. */
  get #hasDroppable(): boolean {
    return this.#state.keptCount > 0 && this.#state.droppable(this.#droppableEndBytes).length > 0;
  }

  get #droppableEndBytes(): number {
    return this.#isPressed ? this.#file.sizeBytes : this.#file.sizeBytes - 1;
  }

  /** Before `range` is written. `endWrite` has to follow. @throws FileSystemError "corrupt", "too-large". */
  beginWrite(range: ByteRange): void {
    this.requireWritable(range);
    this.#isPressed = false;
    this.#state.beginWrite(range);
  }

  endWrite(range: ByteRange): void {
    this.#state.endWrite(range);
    // A last part that was kept has got a follower: nothing else would tell that it may go.
    if (this.#isSpilled && this.#dropCount === 0 && this.#hasDroppable) this.#drop();
    this.#pump();
  }

  /** @throws FileSystemError "corrupt" when the file is lost or `range` has left, "too-large" behind the largest end. */
  requireWritable(range: ByteRange): void {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#state.hasDropped(range)) {
      throw new FileSystemError("corrupt", `Cannot write at ${range.start}: that part of the file has left the disk`);
    }
    const { end } = range;
    const { sizeBytesMax } = this.#plan;
    if (!this.#isSpilled || end <= sizeBytesMax) return;
    throw new FileSystemError("too-large", `Cannot write up to ${end}: the file was begun for ${sizeBytesMax} bytes`, {
      hint: "Raise --stream-max-size, or --staging-size so that the file fits, and write it again",
    });
  }

  /** Nobody else can make room for this file: from now on confirmed parts leave the disk. @returns whether that helps. */
  spill(): boolean {
    if (this.#stopped || this.#file.sizeBytes > this.#plan.sizeBytesMax) return false;
    if (!this.#isSpilled && this.#state.keptCount === 0 && !this.#state.isSending && !this.#state.hasNext(this.#file))
      return false;
    this.#isSpilled = true;
    this.#isPressed = true;
    if (this.#state.keptCount > 0) this.#drop();
    this.#pump();
    return this.hasRoomComing;
  }

  /**
   * Resolves when every whole part is confirmed. Parts that failed before are tried again at once.
   *
   * @throws what a part fails with meanwhile; an abort rejects with `signal.reason`.
   */
  async settled(signal: AbortSignal | undefined): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#isSettled) return;
    const waiter = deferred<void>();
    this.#waiters.add(waiter);
    this.#pause?.scope.abort();
    this.#pump();
    try {
      await abortable(waiter.promise, signal);
    } finally {
      this.#waiters.delete(waiter);
    }
  }

  /** Sends nothing more. Resolves when nothing is on its way but, perhaps, the answer to Initiate: see `ended`. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#scope.abort(new CancelledError(`The upload of content ${this.content} while it is written`));
    for (const waiter of this.#waiters) waiter.resolve();
    await Promise.all(this.#sends);
    await this.#dropping.request();
    await this.#keepingAlive;
  }

  /** Resolves when nothing at all is on its way. */
  async ended(): Promise<void> {
    await this.stop();
    await this.#initiating;
    this.#scope[Symbol.dispose]();
  }

  status(): StreamStatus {
    const { sizeBytes } = this.#file;
    const { partSizeBytes } = this.#plan;
    return {
      content: this.content,
      sizeBytes,
      partSizeBytes,
      sentParts: this.#state.sentCount,
      totalParts: Math.ceil(sizeBytes / partSizeBytes),
      droppedParts: this.#state.droppedCount,
      attempts: this.#attempts,
      lastError: this.#lastError === undefined ? undefined : describeError(this.#lastError),
      nextAttemptAt: this.#pause?.until ?? null,
    };
  }

  get #isSettled(): boolean {
    return !this.#state.isSending && this.#dropCount === 0 && !this.#state.hasNext(this.#file);
  }

  #pump(): void {
    if (this.#stopped || this.#scope.signal.aborted || this.#lost !== undefined) return;
    if (this.#isSettled) for (const waiter of this.#waiters) waiter.resolve();
    if (this.#initiating !== undefined || this.#pause !== undefined) return;
    if (this.#upload === undefined) {
      if (this.#state.hasNext(this.#file)) this.#begin();
      return;
    }
    while (this.#sends.size < this.#around.partConcurrency) {
      const part = this.#state.next(this.#file);
      if (part === undefined) return;
      this.#track(this.#sendWhole(this.#upload, part));
    }
  }

  #begin(): void {
    this.#initiating = this.#initiate()
      .catch((error: unknown) => this.#failed(error, undefined))
      .finally(() => {
        this.#initiating = undefined;
        this.#pump();
      });
  }

  // Without the signal of `stop`: an id whose answer nobody waited for would stay behind in the service.
  async #initiate(): Promise<void> {
    const { journal, service, heldBecause } = this.#parts;
    const { content } = this;
    const partSizeBytes = this.#plan.partSizeBytes as ByteCount;
    const { vault, description } = journal.describeOpen(content);
    const held = heldBecause(vault);
    if (held !== undefined) throw held;
    await journal.willInitiateOpen(content, { partSizeBytes, description });
    const intent = { partSizeBytes, description };
    const uploadId = await service.initiateMultipartUpload(vault, intent, { signal: this.#around.closing });
    if (!(await journal.didInitiateOpen(content, { uploadId, vault }))) return;
    this.#upload = { vault, uploadId };
    this.#active();
    this.#parts.observer({ type: "upload-streaming", content, vault, partSizeBytes });
  }

  #track(send: Promise<void>): void {
    const tracked = send.finally(() => {
      this.#sends.delete(tracked);
      this.#pump();
    });
    this.#sends.add(tracked);
  }

  /** Never rejects. */
  async #sendWhole(upload: RunningUpload, part: PartSnapshot): Promise<void> {
    try {
      await this.#send(upload, part);
    } catch (error) {
      this.#state.didFail(part);
      if (!this.#state.isOutdated(part)) await this.#failed(error, upload);
      return;
    }
    if (this.#upload !== upload) return this.#state.didFail(part);
    this.#state.didSend(part);
    this.#attempts = 0;
    this.#lastError = undefined;
    this.#taken.delete(part.index);
    this.#around.watcher.progressed();
    if (this.#isSpilled) this.#drop();
  }

  async #send({ vault, uploadId }: RunningUpload, { index, range }: PartSnapshot): Promise<void> {
    const { service, journal, files } = this.#parts;
    const { signal } = this.#scope;
    await this.#around.slots.run(signal, async () => {
      await using file = await files.openStaged(this.content);
      const { sha256, treeHash } = await file.hash(range);
      signal.throwIfAborted();
      const body = () => this.#counted(index, file.read(range));
      await service.uploadPart(vault, uploadId, { range, sha256, treeHash, body }, { signal });
      this.#active();
      await journal.didSendPart(this.content, { range, treeHash });
    });
  }

  // Bytes count once, as in `upload-queue.ts`: a service that takes everything and confirms nothing is no progress.
  async *#counted(index: number, pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let takenBytes = 0;
    for await (const piece of pieces) {
      const { length } = piece;
      yield piece;
      takenBytes += length;
      if (takenBytes <= (this.#taken.get(index) ?? 0)) continue;
      this.#taken.set(index, takenBytes);
      this.#around.watcher.progressed();
    }
  }

  /** @param upload Of the request that failed; undefined when it was Initiate. */
  async #failed(error: unknown, upload: RunningUpload | undefined): Promise<void> {
    if (this.#stopped || this.#scope.signal.aborted || upload !== this.#upload) return;
    if (isMissing(error) && upload !== undefined) return this.#expired(error);
    const { clock, observer, random } = this.#parts;
    this.#lastError = error;
    for (const waiter of this.#waiters) waiter.reject(error);
    if (this.#pause !== undefined) return;
    this.#attempts += 1;
    const delayMs = backoffDelayMs(this.#attempts, isTransient(error) ? retry : slowRetry, random);
    observer({ type: "upload-failed", content: this.content, retryInMs: delayMs, message: describeError(error) });
    const scope = new AbortScope(this.#scope.signal);
    this.#pause = { until: (clock.now() + delayMs) as Instant, scope };
    const goOn = () => {
      scope[Symbol.dispose]();
      this.#pause = undefined;
      this.#pump();
    };
    clock.sleep(ms(delayMs), { signal: scope.signal }).then(goOn, goOn);
  }

  /** The service does not know the upload any more. Where every byte is here that costs only time. */
  async #expired(error: unknown): Promise<void> {
    const { journal, observer } = this.#parts;
    this.#upload = undefined;
    if (!this.hasDropped) {
      this.#state.forgetSent();
      return journal.didLoseUpload(this.content);
    }
    this.#lastError = error;
    const message = `Content ${this.content} is lost: the service has forgotten its upload, and parts were only there`;
    this.#lost = new FileSystemError("corrupt", message, { cause: error, hint: "Write the file again" });
    observer({ type: "warning", message: describeError(this.#lost) });
    for (const waiter of this.#waiters) waiter.reject(this.#lost);
    this.#around.watcher.left();
  }

  #drop(): void {
    this.#dropCount += 1;
    this.#dropping
      .request()
      .catch((error: unknown) => {
        this.#cannotDrop = true;
        const message = `Cannot free the disk of sent parts of content ${this.content}: ${describeError(error)}`;
        this.#parts.observer({ type: "warning", message });
      })
      .finally(() => {
        this.#dropCount -= 1;
        this.#around.watcher.left();
        this.#pump();
      });
  }

  // The last part stays until something follows it: it is what can be sent again to keep the upload alive.
  async #dropSent(): Promise<void> {
    if (!this.#isSpilled || this.#cannotDrop || this.#lost !== undefined || this.#stopped) return;
    const { journal, files } = this.#parts;
    if (this.#state.keptCount === 0) return;
    await files.requireDropping();
    // The file may have been cut meanwhile: then what was sent is not the file's any more.
    if (this.#stopped) return;
    for (const range of this.#takeDroppable()) {
      // What a crash must not forget before it happens, nor a power loss: whoever reads a hole must be told.
      await journal.willDrop(this.content, range);
      await journal.flush();
      await files.drop(this.content, range);
      this.#keepingAlive ??= this.#keepAlive();
    }
  }

  /** Marks them at once, so that no read or write slips in; neighbours together. */
  #takeDroppable(): ByteRange[] {
    const ranges: ByteRange[] = [];
    for (const part of this.#state.droppable(this.#droppableEndBytes)) {
      if (!this.#state.drop(part)) continue;
      this.#parts.files.markDropped(this.content, part.range);
      const last = ranges.at(-1);
      if (last?.end === part.range.start) ranges[ranges.length - 1] = { start: last.start, end: part.range.end };
      else ranges.push(part.range);
    }
    return ranges;
  }

  #active(): void {
    this.#activeAt = this.#parts.clock.now();
  }

  /** A slow writer: what there is of the last part is sent, and sent again when it is whole. */
  async #keepAlive(): Promise<void> {
    const { clock } = this.#parts;
    try {
      for (;;) {
        await clock.sleep(ms(Math.max(keepAliveLookMs, this.#activeAt + keepAliveMs - clock.now())), {
          signal: this.#scope.signal,
        });
        if (this.#lost !== undefined) return;
        if (clock.now() < this.#activeAt + keepAliveMs) continue;
        const tail = this.#state.tail(this.#file.sizeBytes);
        if (tail === undefined) continue;
        if (this.#upload === undefined) this.#state.didFail(tail);
        else await this.#sendTail(this.#upload, tail);
      }
    } catch {
      // Stopped.
    }
  }

  async #sendTail(upload: RunningUpload, tail: PartSnapshot): Promise<void> {
    try {
      await this.#send(upload, tail);
      this.#state.didSendTail(tail);
    } catch (error) {
      this.#state.didFail(tail);
      if (!this.#state.isOutdated(tail)) await this.#failed(error, upload);
    }
    this.#pump();
  }
}
