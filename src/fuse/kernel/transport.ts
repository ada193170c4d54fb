/**
 * Reads requests from the FUSE device and writes replies to it.
 *
 * Relies on: libuv reads the device like a pipe, one request for each read, driven by epoll.
 * Never: blocks the event loop. Replies are synchronous because the kernel takes them at once; notifications may wait
 * for a page or directory that an unanswered request of ours holds, so they go through the thread pool.
 */

import { write, writeSync } from "node:fs";
import { Socket, type SocketConstructorOpts } from "node:net";
import { deferred } from "../../lib/deferred.js";
import { type DeviceBuffer, DeviceBufferPool, transferBytesMax } from "./device-buffer.js";
import type { PipeClass } from "./pipe-class.js";
import type { RequestBytes } from "./wire-request.js";

/** `PipeConstants.SOCKET`: a stream and not a server. */
const pipeTypeSocket = 0;

/** The kernel asks for this much room before it hands over a request. */
const requestBytesMax = transferBytesMax + 4096;
const freeRequestBuffersMax = 8;

export class Transport {
  /** Resolves when the kernel has ended the connection, rejects when reading fails otherwise. */
  readonly closed: Promise<void>;
  readonly #fileDescriptor: number;
  readonly #requestBuffers = new DeviceBufferPool({ sizeBytes: requestBytesMax, freeMax: freeRequestBuffersMax });
  #current: DeviceBuffer;
  readonly #socket: Socket;
  #currentIsHeld = false;
  #isOpen = true;
  #asyncWrites = 0;
  #whenDrained: (() => void) | undefined;

  /**
   * Owns `fileDescriptor` from here on and begins to read.
   *
   * @param onRequest Called for each request; the bytes are valid until it returns, or longer by `holdRequest`.
   */
  constructor(fileDescriptor: number, Pipe: PipeClass, onRequest: (request: RequestBytes) => void) {
    this.#fileDescriptor = fileDescriptor;
    this.#current = this.#requestBuffers.take();
    const handle = new Pipe(pipeTypeSocket);
    const failure = handle.open(fileDescriptor);
    if (failure) throw new Error(`Cannot read the FUSE device through libuv (${failure})`);
    const ended = deferred<void>();
    this.closed = ended.promise;
    const socket = new DeviceSocket(
      {
        handle,
        onread: {
          buffer: () => this.#nextBuffer(),
          callback: (length: number) => {
            onRequest({ bytes: this.#current.bytes, view: this.#current.view, length });
            return true;
          },
        },
      } as SocketConstructorOpts,
      () => this.#stop(),
    );
    let failed: NodeJS.ErrnoException | undefined;
    this.#socket = socket;
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (!endOfConnection.has(error.code ?? "")) failed = error;
    });
    socket.on("close", () => (failed === undefined ? ended.resolve() : ended.reject(failed)));
  }

  /** Whether replies still have somebody to read them. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Within `onRequest`: keeps the request's bytes until `releaseRequest`. */
  holdRequest(): DeviceBuffer {
    this.#currentIsHeld = true;
    return this.#current;
  }

  releaseRequest(buffer: DeviceBuffer): void {
    this.#requestBuffers.give(buffer);
  }

  #nextBuffer(): Uint8Array {
    if (this.#currentIsHeld) {
      this.#currentIsHeld = false;
      this.#current = this.#requestBuffers.take();
    }
    return this.#current.bytes;
  }

  /**
   * Writes the first `length` bytes as one reply.
   *
   * @returns false when the request is gone, and what the reply promised must be undone.
   */
  reply(bytes: Uint8Array, length: number): boolean {
    if (!this.#isOpen) return false;
    try {
      writeSync(this.#fileDescriptor, bytes, 0, length);
      return true;
    } catch (error) {
      if (requestIsGone.has((error as NodeJS.ErrnoException).code ?? "")) return false;
      throw error;
    }
  }

  /** Writes one notification on a thread. @returns false when the kernel has nothing to do with it, or is gone. */
  notify(bytes: Uint8Array): Promise<boolean> {
    if (!this.#isOpen) return Promise.resolve(false);
    this.#asyncWrites++;
    return new Promise((resolve) => {
      write(this.#fileDescriptor, bytes, (error) => {
        this.#asyncWrites--;
        if (this.#asyncWrites === 0) this.#whenDrained?.();
        // Failing means that the kernel does not know the inode or name (ENOENT) or is gone: nothing is stale then.
        resolve(error === null);
      });
    });
  }

  /** Gives the device up: the kernel fails every request from then on, with ENOTCONN. */
  end(): void {
    this.#socket.destroy();
  }

  /** No writes from now on; resolves when those on threads have ended, because the descriptor's number is used again. */
  #stop(): Promise<void> {
    this.#isOpen = false;
    if (this.#asyncWrites === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenDrained = resolve;
    });
  }
}

/**
 * ENODEV: unmounted or aborted. ECONNABORTED: aborted. ENOENT: aborted while a request was being copied; the next read
 * would say ENODEV. libuv repeats after EINTR and waits after EAGAIN by itself.
 */
const endOfConnection = new Set(["ENODEV", "ECONNABORTED", "ENOENT"]);

/** ENOENT: the request was given up. The others come from a connection that has just ended. */
const requestIsGone = new Set(["ENOENT", "ENODEV", "ECONNABORTED", "EPERM", "EBADF", "ENOTCONN"]);

/** A socket that closes its descriptor only after `beforeClose`. */
class DeviceSocket extends Socket {
  // Absent while the constructor of `Socket` runs, which may already find that the device cannot be read.
  readonly #beforeClose: { readonly run: () => Promise<void> } | undefined;

  constructor(options: SocketConstructorOpts, beforeClose: () => Promise<void>) {
    super(options);
    this.#beforeClose = { run: beforeClose };
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const before = #beforeClose in this ? this.#beforeClose?.run() : undefined;
    void (before ?? Promise.resolve()).then(() => super._destroy(error, callback));
  }
}
