/**
 * Hashing of file ranges off the main thread: SHA-256 and tree hash in one pass.
 *
 * Relies on: `hash-worker.js` being compiled. Never: keeps the process alive for an idle worker.
 */

import { Worker } from "node:worker_threads";
import { type ByteRange, KIB, rangeLength } from "../domain/bytes.js";
import { CancelledError, type CasfsError, FileSystemError } from "../domain/errors.js";
import { type Deferred, deferred } from "../lib/deferred.js";
import { invariant } from "../lib/invariant.js";
import { workerEntry } from "../lib/worker-entry.js";
import type { Sha256Hex, TreeHashHex } from "../protocol/service.js";
import { digestOf } from "../protocol/tree-hash.js";
import { ContentFileHandle } from "./content-file.js";
import type { HashReply, HashRequest } from "./hash-worker.js";
import type { KnownLeaves } from "./leaf-store.js";

/** `leaves` are the SHA-256 sums of the range's MiBs, 32 bytes each, concatenated. */
export interface RangeHash {
  readonly sha256: Sha256Hex;
  readonly treeHash: TreeHashHex;
  readonly leaves: Uint8Array;
}

interface Task {
  readonly request: HashRequest;
  readonly answer: Deferred<RangeHash>;
}

// Below this the hop to a worker and back costs more than the hash itself; the event loop waits for no longer hash.
const inlineBytesMax = 128 * KIB;

/** A fixed number of worker threads, started when there is first something to do. */
export class HashPool implements AsyncDisposable {
  readonly #workerCount: number;
  readonly #queue: Task[] = [];
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Task>();
  #closed = false;

  constructor({ workers }: { readonly workers: number }) {
    invariant(workers > 0, "a hash pool has a worker");
    this.#workerCount = workers;
  }

  /**
   * Hashes `range` of the file at `path`; leaves that are known, from the beginning of the range on, are not hashed again.
   *
   * @throws CasfsError "corrupt" when the file is shorter, "not-found" when it is not there; otherwise the system's
   * error, with its code.
   */
  hash(path: string, range: ByteRange, known?: KnownLeaves): Promise<RangeHash> {
    return this.#hash(path, range, { withLinear: true, known });
  }

  /** The tree hash alone, which takes half the time, or less where leaves are known. @throws as `hash`. */
  async treeHash(path: string, range: ByteRange, known?: KnownLeaves): Promise<TreeHashHex> {
    return (await this.#hash(path, range, { withLinear: false, known })).treeHash;
  }

  /** Ends the workers; what is still being hashed is rejected as cancelled. */
  async close(): Promise<void> {
    this.#closed = true;
    const workers = [...this.#idle.splice(0), ...this.#busy.keys()];
    for (const task of [...this.#queue.splice(0), ...this.#busy.values()]) {
      task.answer.reject(new CancelledError(`Hashing ${task.request.path}`));
    }
    this.#busy.clear();
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #hash(
    path: string,
    range: ByteRange,
    { withLinear, known }: Pick<HashRequest, "withLinear" | "known">,
  ): Promise<RangeHash> {
    invariant(range.end > range.start, "a hashed range has bytes");
    if (this.#closed) throw new CancelledError(`Hashing ${path}`);
    if (rangeLength(range) <= inlineBytesMax) return hashInline(path, range);
    const task: Task = { request: { path, start: range.start, end: range.end, withLinear, known }, answer: deferred() };
    this.#queue.push(task);
    this.#dispatch();
    return task.answer.promise;
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const worker = this.#idle.pop() ?? this.#startWorker();
      if (worker === undefined) return;
      const task = this.#queue.shift()!;
      this.#busy.set(worker, task);
      worker.ref(); // Somebody awaits this answer; only idle workers must not hold the process.
      worker.postMessage(task.request);
    }
  }

  #startWorker(): Worker | undefined {
    if (this.#busy.size + this.#idle.length >= this.#workerCount) return undefined;
    const worker = new Worker(workerEntry(import.meta.url, "./hash-worker.js"));
    worker.on("message", (reply: HashReply) => this.#finish(worker, reply));
    worker.on("error", (error) => this.#lose(worker, error));
    worker.on("exit", () => this.#lose(worker, new Error("The hash worker ended")));
    return worker;
  }

  #finish(worker: Worker, reply: HashReply): void {
    const task = this.#busy.get(worker);
    if (task === undefined) return;
    this.#busy.delete(worker);
    worker.unref();
    this.#idle.push(worker);
    if ("error" in reply) task.answer.reject(hashFailure(task.request, reply.error));
    else task.answer.resolve(reply as RangeHash);
    this.#dispatch();
  }

  /** A worker died: its task fails, and the next task gets a new worker. */
  #lose(worker: Worker, reason: Error): void {
    const task = this.#busy.get(worker);
    this.#busy.delete(worker);
    const position = this.#idle.indexOf(worker);
    if (position >= 0) this.#idle.splice(position, 1);
    task?.answer.reject(new Error(`Cannot hash ${task.request.path}`, { cause: reason }));
    if (!this.#closed) this.#dispatch();
  }
}

async function hashInline(path: string, range: ByteRange): Promise<RangeHash> {
  const file = await ContentFileHandle.open(path, "r");
  try {
    const bytes = Buffer.allocUnsafe(rangeLength(range));
    const length = await file.read(range.start, bytes);
    if (length < bytes.length) throw shortFile(path, range, range.start + length);
    const { sha256, treeHash, leaves } = digestOf(bytes);
    return { sha256, treeHash, leaves: Buffer.concat(leaves) };
  } finally {
    await file.close();
  }
}

function shortFile(path: string, range: ByteRange, endsAt: number): CasfsError {
  return new FileSystemError("corrupt", `Cannot hash ${path} up to ${range.end}: it ends at ${endsAt}`);
}

function hashFailure(request: HashRequest, { message, code }: { message: string; code: string | undefined }): Error {
  if (code === undefined) return new FileSystemError("corrupt", message);
  if (code === "ENOENT") return new FileSystemError("not-found", `Cannot hash ${request.path}: it is not there`);
  return Object.assign(new Error(`Cannot hash ${request.path}: ${message}`), { code });
}
