/**
 * Hashes of staging files, made while they are written: each complete MiB once, on a thread of its own, from the page cache.
 *
 * Relies on: hearing of every change to a staging file, through `WrittenFile`. Never: slows a writer (what cannot be hashed
 * in time is left to the upload), remembers anything across a restart, nor gives a hash twice: should bytes on the disk
 * have changed by themselves, the service refuses the first upload, and the second hashes what is there.
 */

import { Worker } from "node:worker_threads";
import { type ByteRange, MIB } from "../domain/bytes.js";
import type { ContentId } from "../domain/ids.js";
import { type Deferred, deferred } from "../lib/deferred.js";
import { workerEntry } from "../lib/worker-entry.js";
import type { Sha256Hex, TreeHashHex } from "../protocol/service.js";
import { treeHashOfLeafBytes } from "../protocol/tree-hash.js";
import type { FileChanges } from "./content-file.js";
import type { HashPool, RangeHash } from "./hash-pool.js";
import type { LeafSpan } from "./leaf-store.js";
import type { RunningReply, RunningRequest } from "./running-hash-worker.js";
import { type Change, WrittenContent, type WrittenContentOptions } from "./written-content.js";

/** Files that are written or wait for their upload; of more, the oldest are hashed by their upload. */
const filesMax = 256;
/** Of all files together: 8 MiB of memory. */
const leavesMax = 256 * 1024;

/** One staging file, for those who write it. */
export interface WrittenFile extends FileChanges {
  /** The file was opened once more. */
  opened(): void;
  /** As often as it was opened. */
  closed(): void;
}

type Answer = Exclude<RunningReply, { readonly error: string }> | undefined;

export class WrittenHashes implements AsyncDisposable {
  readonly #pool: HashPool;
  readonly #options: WrittenContentOptions;
  readonly #files = new Map<ContentId, TrackedFile>();
  readonly #ready = new Set<TrackedFile>();
  readonly #thread = new RunningHashThread();
  #filesMade = 0;
  #isPumping = false;

  constructor(pool: HashPool, options: WrittenContentOptions) {
    this.#pool = pool;
    this.#options = options;
  }

  /** A staging file that was just made empty at `path`. */
  begin(content: ContentId, path: string): WrittenFile {
    this.forget(content);
    if (this.#files.size >= filesMax) this.#dropOldestClosed();
    const file = new TrackedFile(this.#filesMade++, path, this.#options, {
      grew: () => this.#grew(file),
      unused: () => this.#drop(content, file),
    });
    if (this.#files.size < filesMax) this.#files.set(content, file);
    else file.isTracked = false;
    return file;
  }

  /** Undefined for a file that was not followed from its beginning on. */
  find(content: ContentId): WrittenFile | undefined {
    return this.#files.get(content);
  }

  /** The file is gone, or will be. */
  forget(content: ContentId): void {
    const file = this.#files.get(content);
    if (file !== undefined) this.#drop(content, file);
  }

  /** Hashes `range` of a content's file at `path`, as far as that has not been done. @throws as `HashPool.hash`. */
  async hash(content: ContentId, path: string, range: ByteRange): Promise<RangeHash> {
    const file = this.#files.get(content);
    const span = wholeLeaves(range);
    if (file === undefined || span === undefined) return this.#pool.hash(path, range);
    const { hashes } = file;
    const sha256 = hashes.partHash(range);
    const finished = sha256 === undefined ? await this.#finish(file, range) : undefined;
    const known = hashes.leaves.copy(span);
    this.#spend(content, file, range);
    if (sha256 !== undefined) return { sha256, treeHash: treeHashOfLeafBytes(known.leaves), leaves: known.leaves };
    return finished ?? this.#pool.hash(path, range, known);
  }

  /** The tree hash alone; what is known stays known. @throws as `HashPool.hash`. */
  async treeHash(content: ContentId, path: string, range: ByteRange): Promise<TreeHashHex> {
    const file = this.#files.get(content);
    const span = wholeLeaves(range);
    if (file === undefined || span === undefined) return this.#pool.treeHash(path, range);
    const leaves = file.hashes.leaves.copy(span);
    const isComplete = span.end * MIB === range.end && file.hashes.leaves.has(span);
    return isComplete ? treeHashOfLeafBytes(leaves.leaves) : this.#pool.treeHash(path, range, leaves);
  }

  /** Files that are followed, and leaves of them that are known. */
  usage(): { readonly files: number; readonly leaves: number } {
    let leaves = 0;
    for (const { hashes } of this.#files.values()) leaves += hashes.leaves.count;
    return { files: this.#files.size, leaves };
  }

  /** Whether nothing is being hashed, nor could be now. */
  isIdle(): boolean {
    return !this.#isPumping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [content, file] of this.#files) this.#drop(content, file);
    await this.#thread.close();
  }

  /** Goes on with a running hash up to the end of `range`, where that is possible. */
  async #finish(file: TrackedFile, range: ByteRange): Promise<RangeHash | undefined> {
    const { hashes } = file;
    // Not longer than a step takes; who waits goes on before the next one is given out.
    if (hashes.isHashing) await file.stepDone;
    const end = hashes.nextEnd(range);
    if (end === undefined) return undefined;
    const answer = await this.#thread.ask({ kind: "end", file: file.number, path: file.path, ...end }, { first: true });
    const isRight = hashes.didHashEnd(range);
    if (answer?.linear === undefined || !isRight) return undefined;
    const before = hashes.leaves.copy({ first: range.start / MIB, end: end.first });
    const leaves = Buffer.concat([before.leaves, answer.leaves]);
    return { sha256: answer.linear as Sha256Hex, treeHash: treeHashOfLeafBytes(leaves), leaves };
  }

  /** What was given for `range` is not given again, and nobody hashes it while its upload does. */
  #spend(content: ContentId, file: TrackedFile, range: ByteRange): void {
    const { hashes } = file;
    hashes.leaves.forget(wholeLeaves(range)!);
    if (range.start <= hashes.position * MIB) hashes.skipTo(Math.ceil(range.end / MIB));
    if (hashes.isSpent && !file.isOpen) this.#drop(content, file);
  }

  #grew(file: TrackedFile): void {
    this.#ready.add(file);
    if (!this.#isPumping) void this.#pump();
  }

  /** One step of each file in turn, as long as there are any. */
  async #pump(): Promise<void> {
    this.#isPumping = true;
    for (const file of this.#ready) {
      this.#ready.delete(file);
      const went = await this.#step(file);
      if (went && file.isTracked && file.hashes.mayContinue) this.#ready.add(file);
    }
    this.#isPumping = false;
  }

  /** @returns whether there was something to hash. */
  async #step(file: TrackedFile): Promise<boolean> {
    if (!file.isTracked || this.#leavesHeld() >= leavesMax) return false;
    const step = file.hashes.nextStep();
    if (step === undefined) return false;
    const partLeaves = this.#options.partBytes / MIB;
    const done = deferred<void>();
    file.stepDone = done.promise;
    const answer = await this.#thread.ask({ kind: "step", file: file.number, path: file.path, partLeaves, ...step });
    if (answer === undefined) file.hashes.didNotHash();
    else file.hashes.didHash(answer.leaves, answer.linear as Sha256Hex | undefined);
    done.resolve();
    return true;
  }

  #leavesHeld(): number {
    let held = 0;
    for (const { hashes } of this.#files.values()) held += hashes.position;
    return held;
  }

  #dropOldestClosed(): void {
    for (const [content, file] of this.#files) {
      if (file.isOpen) continue;
      this.#drop(content, file);
      return;
    }
  }

  #drop(content: ContentId, file: TrackedFile): void {
    file.isTracked = false;
    this.#ready.delete(file);
    if (this.#files.get(content) === file) this.#files.delete(content);
    if (file.hashes.position > 0) this.#thread.forget(file.number);
  }
}

interface FileEvents {
  /** A MiB has become complete. */
  readonly grew: () => void;
  /** Nobody has it open, and nothing is known of it. */
  readonly unused: () => void;
}

class TrackedFile implements WrittenFile {
  readonly hashes: WrittenContent;
  readonly number: number;
  readonly path: string;
  /** Whether what is known of it may still be used. */
  isTracked = true;
  /** Resolves when the step under way, or the last one, is over. */
  stepDone: Promise<void> = Promise.resolve();
  readonly #on: FileEvents;
  #openings = 0;

  constructor(number: number, path: string, options: WrittenContentOptions, on: FileEvents) {
    this.number = number;
    this.path = path;
    this.hashes = new WrittenContent(options);
    this.#on = on;
  }

  get isOpen(): boolean {
    return this.#openings > 0;
  }

  opened(): void {
    this.#openings += 1;
  }

  closed(): void {
    this.#openings -= 1;
    if (this.#openings === 0 && this.hashes.isSpent) this.#on.unused();
  }

  willWrite(start: number, end: number): Change {
    return this.hashes.willWrite(start, end);
  }

  didWrite(change: Change): void {
    this.hashes.didWrite(change);
    if (this.isTracked && this.hashes.mayContinue) this.#on.grew();
  }

  didFail(change: Change): void {
    this.hashes.didFail(change);
  }

  didCut(sizeBytes: number): void {
    this.hashes.didCut(sizeBytes);
  }
}

/** The leaves that lie wholly in `range`; undefined when it does not begin with one. */
function wholeLeaves(range: ByteRange): LeafSpan | undefined {
  return range.start % MIB === 0 ? { first: range.start / MIB, end: Math.floor(range.end / MIB) } : undefined;
}

interface Order {
  readonly request: RunningRequest;
  readonly answer: Deferred<Answer>;
}

/** One worker with one order at a time; started by the first. An order that fails is answered with undefined. */
class RunningHashThread {
  #worker: Worker | undefined;
  #running: Order | undefined;
  readonly #waiting: Order[] = [];
  #closed = false;

  ask(request: RunningRequest, { first = false } = {}): Promise<Answer> {
    const order: Order = { request, answer: deferred() };
    if (this.#closed) return Promise.resolve(undefined);
    if (first) this.#waiting.unshift(order);
    else this.#waiting.push(order);
    this.#next();
    return order.answer.promise;
  }

  forget(file: number): void {
    this.#worker?.postMessage({ kind: "forget", file } satisfies RunningRequest);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const order of this.#waiting.splice(0)) order.answer.resolve(undefined);
    this.#running?.answer.resolve(undefined);
    await this.#worker?.terminate();
  }

  #next(): void {
    if (this.#running !== undefined || this.#closed) return;
    this.#running = this.#waiting.shift();
    if (this.#running === undefined) return void this.#worker?.unref();
    this.#worker ??= this.#start();
    this.#worker.ref();
    this.#worker.postMessage(this.#running.request);
  }

  #start(): Worker {
    const worker = new Worker(workerEntry(import.meta.url, "./running-hash-worker.js"));
    worker.on("message", (reply: RunningReply) => this.#answer("error" in reply ? undefined : reply));
    worker.on("error", () => this.#lose(worker));
    worker.on("exit", () => this.#lose(worker));
    return worker;
  }

  #answer(answer: Answer): void {
    const order = this.#running;
    this.#running = undefined;
    order?.answer.resolve(answer);
    this.#next();
  }

  /** What it remembered is gone; the next order starts another. */
  #lose(worker: Worker): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    this.#answer(undefined);
  }
}
