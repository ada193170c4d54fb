/** Receives a stream into a file: batches of about one MiB are written while their hashes are computed. */

import type { FileHandle } from "node:fs/promises";
import { type Readable, Writable } from "node:stream";
import { MIB } from "../domain/bytes.js";
import { type ContentDigest, TreeHasher } from "../protocol/tree-hash.js";

/** What is received, until `signal` says that nothing more will come. */
export interface ByteSource {
  readonly stream: Readable;
  readonly signal: AbortSignal;
}

/**
 * Writes all of `source` to `handle`, from its beginning.
 *
 * On a failure of the file the stream is left readable, so that the rest of a request can still be discarded.
 * @throws the error of the stream (a connection that ends early) or of the file (a full disk), or the signal's reason.
 */
export function receiveInto(handle: FileHandle, { stream, signal }: ByteSource): Promise<ContentDigest> {
  const sink = new HashingSink(handle);
  return new Promise((resolve, reject) => {
    const letGo = () => {
      stream.unpipe(sink);
      stream.off("error", fail).off("close", onClose);
      signal.removeEventListener("abort", onAbort);
    };
    const fail = (error: Error) => {
      letGo();
      sink.abandon().then(() => reject(error));
    };
    const onClose = () => {
      if (!stream.readableEnded) fail(new Error("The connection was closed before the end of the body"));
    };
    const onAbort = () => fail(signal.reason);
    if (stream.destroyed) return onClose();
    if (signal.aborted) return onAbort();
    stream.on("error", fail).on("close", onClose);
    signal.addEventListener("abort", onAbort, { once: true });
    sink.on("error", fail);
    sink.once("finish", () => {
      letGo();
      resolve(sink.digest());
    });
    stream.pipe(sink);
  });
}

// The disk works while the body arrives, so that the sync at its end has little left to do.
const earlySyncBytes = 32 * MIB;

interface Chunk {
  readonly chunk: Buffer;
}

class HashingSink extends Writable {
  readonly #handle: FileHandle;
  readonly #hasher = new TreeHasher();
  #position = 0;
  #writing: Promise<void> = Promise.resolve();
  #earlySync: Promise<void> | undefined;
  #syncFailure: Error | null = null;
  #unsyncedBytes = 0;

  constructor(handle: FileHandle) {
    super({ highWaterMark: MIB, decodeStrings: false });
    this.#handle = handle;
  }

  digest(): ContentDigest {
    return this.#hasher.digest();
  }

  /** Resolves when the file is not being written any more. */
  async abandon(): Promise<void> {
    this.destroy();
    await this.#writing.catch(() => undefined);
    await this.#earlySync;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this._writev([{ chunk }], done);
  }

  override _writev(chunks: readonly Chunk[], done: (error?: Error | null) => void): void {
    const buffers = chunks.map(({ chunk }) => chunk);
    // The write goes on in another thread while this one hashes the same bytes.
    this.#writing = writeAll(this.#handle, buffers, this.#position);
    for (const buffer of buffers) {
      this.#hasher.update(buffer);
      this.#position += buffer.length;
      this.#unsyncedBytes += buffer.length;
    }
    this.#syncEarly();
    this.#writing.then(
      () => done(),
      (error: Error) => done(error),
    );
  }

  override _final(done: (error?: Error | null) => void): void {
    // A failed early sync must not be forgotten: the kernel reports an error of the disk only once.
    (this.#earlySync ?? Promise.resolve()).then(() => done(this.#syncFailure));
  }

  #syncEarly(): void {
    if (this.#earlySync !== undefined || this.#unsyncedBytes < earlySyncBytes) return;
    this.#unsyncedBytes = 0;
    this.#earlySync = this.#handle
      .datasync()
      .catch((error: Error) => {
        this.#syncFailure ??= error;
      })
      .finally(() => {
        this.#earlySync = undefined;
      });
  }
}

/** A short write is not an error of writev; the next attempt tells why. */
async function writeAll(handle: FileHandle, buffers: readonly Buffer[], position: number): Promise<void> {
  let left = buffers;
  let at = position;
  while (left.length > 0) {
    const { bytesWritten } = await handle.writev([...left], at);
    at += bytesWritten;
    left = without(left, bytesWritten);
  }
}

function without(buffers: readonly Buffer[], bytes: number): Buffer[] {
  let skip = bytes;
  const left: Buffer[] = [];
  for (const buffer of buffers) {
    if (skip < buffer.length) left.push(buffer.subarray(skip));
    skip = Math.max(0, skip - buffer.length);
  }
  return left;
}
