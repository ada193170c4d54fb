/** Receives a stream into a file: each batch of a MiB is written while the next one arrives and is hashed. */

import type { Readable } from "node:stream";
import { MIB } from "../../domain/bytes.js";
import type { GivenMemory } from "../../lib/given-memory.js";
import { writeAllAt } from "../../lib/positioned-write.js";
import { type ContentDigest, TreeHasher } from "../../protocol/tree-hash.js";
import type { BodyFile } from "./body-file.js";

/** What is received, until `signal` says that nothing more will come. */
export interface ByteSource {
  readonly stream: Readable;
  readonly signal: AbortSignal;
  /** Whether the stream makes a new buffer for each piece and forgets it: its memory can then be given back at once. */
  readonly givesPieces?: boolean;
}

type SinkFile = Pick<BodyFile, "writev" | "datasync">;

/**
 * Writes all of `source` to `file`, from its beginning.
 *
 * `memory` takes the pieces that the source gives away, once they are written.
 * On a failure of the file the stream is left readable, so that the rest of a request can still be discarded.
 * @throws the error of the stream (a connection that ends early) or of the file (a full disk), or the signal's reason.
 */
export async function receiveInto(file: SinkFile, source: ByteSource, memory?: GivenMemory): Promise<ContentDigest> {
  const sink = new HashingSink(file, source.givesPieces === true ? memory : undefined);
  try {
    await consume(source, sink);
    return await sink.finish();
  } catch (error) {
    await sink.abandon();
    throw error;
  }
}

// Not by `pipe` into a Writable: for a small body that costs more than all the rest that happens here.
function consume({ stream, signal }: ByteSource, sink: HashingSink): Promise<void> {
  return new Promise((resolve, reject) => {
    const letGo = () => {
      stream.off("data", onData).off("end", onEnd).off("error", fail).off("close", onClose);
      signal.removeEventListener("abort", onAbort);
    };
    const fail = (error: unknown) => {
      letGo();
      stream.pause();
      reject(error);
    };
    const onData = (chunk: Buffer) => {
      const written = sink.take(chunk);
      if (written === undefined) return;
      stream.pause();
      written.then(() => stream.resume(), fail);
    };
    const onEnd = () => {
      letGo();
      resolve();
    };
    const onClose = () => {
      if (!stream.readableEnded) fail(new Error("The connection was closed before the end of the body"));
    };
    const onAbort = () => fail(signal.reason);
    if (stream.readableEnded) return resolve();
    if (stream.destroyed) return onClose();
    if (signal.aborted) return onAbort();
    stream.on("error", fail).on("close", onClose).on("end", onEnd).on("data", onData);
    signal.addEventListener("abort", onAbort, { once: true });
    stream.resume();
  });
}

// A body arrives in pieces of 64 KiB; a hop to another thread for each of them costs more than the write itself.
const batchBytes = MIB;
// The disk works while the body arrives, so that the sync at its end has little left to do.
const earlySyncBytes = 32 * MIB;

/** Holds two batches at most: one that is being written and one that is being filled. */
class HashingSink {
  readonly #file: SinkFile;
  readonly #memory: GivenMemory | undefined;
  readonly #hasher = new TreeHasher();
  #batch: Buffer[] = [];
  #batchBytes = 0;
  /** Where the batch belongs in the file. */
  #position = 0;
  #writing: Promise<void> = Promise.resolve();
  #earlySync: Promise<void> | undefined;
  #syncFailure: { readonly reason: unknown } | undefined;
  #unsyncedBytes = 0;
  #isAbandoned = false;

  constructor(file: SinkFile, memory: GivenMemory | undefined) {
    this.#file = file;
    this.#memory = memory;
  }

  /** @returns when it takes the next bytes; undefined for at once. */
  take(chunk: Buffer): Promise<void> | undefined {
    this.#hasher.update(chunk);
    this.#batch.push(chunk);
    this.#batchBytes += chunk.length;
    return this.#batchBytes < batchBytes ? undefined : this.#flush();
  }

  /** Resolves when all is written. @throws what a write or an early sync failed with. */
  async finish(): Promise<ContentDigest> {
    if (this.#batchBytes > 0) await this.#flush();
    await this.#writing;
    await this.#earlySync;
    // A failed early sync must not be forgotten: the kernel reports an error of the disk only once.
    if (this.#syncFailure !== undefined) throw this.#syncFailure.reason;
    return this.#hasher.digest();
  }

  /** Resolves when the file is not being written any more, and will not be. */
  async abandon(): Promise<void> {
    this.#isAbandoned = true;
    await this.#writing.catch(() => undefined);
    await this.#earlySync;
  }

  /** Begins to write the batch, once the one before is written. */
  async #flush(): Promise<void> {
    await this.#writing;
    // The file is closed next, and its descriptor is another file's then.
    if (this.#isAbandoned) return;
    this.#writing = this.#write(this.#batch, this.#position);
    // Its failure is seen by whoever waits for it next; until then it must not count as unhandled.
    this.#writing.catch(() => undefined);
    this.#position += this.#batchBytes;
    this.#unsyncedBytes += this.#batchBytes;
    this.#batch = [];
    this.#batchBytes = 0;
    this.#syncEarly();
  }

  async #write(batch: readonly Buffer[], position: number): Promise<void> {
    await writeAllAt(this.#file, batch, position);
    this.#memory?.free(batch);
  }

  #syncEarly(): void {
    if (this.#earlySync !== undefined || this.#unsyncedBytes < earlySyncBytes) return;
    this.#unsyncedBytes = 0;
    this.#earlySync = this.#file
      .datasync()
      .catch((reason: unknown) => {
        this.#syncFailure ??= { reason };
      })
      .finally(() => {
        this.#earlySync = undefined;
      });
  }
}
