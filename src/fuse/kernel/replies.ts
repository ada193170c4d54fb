/**
 * Answers requests: encodes the reply, writes it, and undoes what it promised when the request is gone.
 *
 * A request is gone (ENOENT) when its caller was killed or the connection has ended: a handle that was opened for it is
 * released and a lookup is not counted. Every path through here ends with the request answered exactly once.
 */

import { constants } from "node:os";
import { CasfsError } from "../../domain/errors.js";
import type { InodeNumber } from "../../domain/ids.js";
import type {
  AttributesReply,
  EntryReply,
  FuseOperations,
  NegativeEntryReply,
  OpenReply,
  StatfsReply,
} from "../driver.js";
import { toErrno } from "../errno.js";
import { type DeviceBuffer, deviceBuffer } from "./device-buffer.js";
import type { KernelRequest, PendingRequests } from "./kernel-request.js";
import type { KnownInodes } from "./known-inodes.js";
import type { OpenHandles } from "./open-handles.js";
import { operationName, wireBytes } from "./protocol.js";
import {
  type InitReply,
  putAttributesReply,
  putEntry,
  putInit,
  putInt64,
  putOpen,
  putReplyHeader,
  putSize,
  putStatfs,
  zero,
} from "./wire-reply.js";

/** Told of every failure of an operation that is not a `CasfsError`: a bug, or a local disk that fails. */
export type OperationErrorHandler = (operation: string, ino: InodeNumber, error: unknown) => void;

/** Takes the first `length` bytes as one reply; false means that the request is gone. */
export interface ReplyTarget {
  reply(bytes: Uint8Array, length: number): boolean;
}

export interface RepliesOptions {
  readonly target: ReplyTarget;
  readonly operations: Pick<FuseOperations, "forget" | "release" | "releaseDirectory">;
  readonly pending: PendingRequests;
  readonly inodes: KnownInodes;
  readonly handles: OpenHandles;
  readonly onError: OperationErrorHandler;
}

const header = wireBytes.replyHeader;
/** The largest fixed reply is that of CREATE: header, entry and open. */
const scratchBytes = 256;

export class Replies {
  readonly #target: ReplyTarget;
  readonly #operations: RepliesOptions["operations"];
  readonly #pending: PendingRequests;
  readonly #inodes: KnownInodes;
  readonly #handles: OpenHandles;
  readonly #onError: OperationErrorHandler;
  // One is enough: the kernel has copied a reply when the write returns.
  readonly #scratch: DeviceBuffer = deviceBuffer(scratchBytes);

  constructor(options: RepliesOptions) {
    this.#target = options.target;
    this.#operations = options.operations;
    this.#pending = options.pending;
    this.#inodes = options.inodes;
    this.#handles = options.handles;
    this.#onError = options.onError;
  }

  /** Answers by `reply` when `outcome` has resolved, else with its errno; then calls `after`. */
  when<T>(request: KernelRequest, outcome: Promise<T>, reply: (value: T) => void, after?: () => void): void {
    outcome.then(
      (value) => {
        this.attempt(request, () => reply(value));
        after?.();
      },
      (error: unknown) => {
        this.failure(request, error);
        after?.();
      },
    );
  }

  /** Runs `work`, and answers with the errno of what it throws. */
  attempt(request: KernelRequest, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.failure(request, error);
    }
  }

  empty(request: KernelRequest): void {
    this.#send(request, 0);
  }

  errno(request: KernelRequest, errno: number): void {
    this.#pending.remove(request);
    this.#write(request, this.#scratch, 0, errno);
  }

  /** Answers with the errno of anything thrown; reports it when it was not meant for the caller. */
  failure(request: KernelRequest, error: unknown): void {
    this.report(operationName(request.opcode), request.node, error);
    this.errno(request, toErrno(error));
  }

  report(operation: string, ino: InodeNumber, error: unknown): void {
    if (!(error instanceof CasfsError)) this.#onError(operation, ino, error);
  }

  /** Awaits what no application waits for; a failure is reported. */
  async settle(operation: string, ino: InodeNumber, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.report(operation, ino, error);
    }
  }

  entry(request: KernelRequest, entry: EntryReply | NegativeEntryReply): void {
    putEntry(this.#scratch.view, header, entry);
    this.#expectEntry(entry);
    if (!this.#send(request, wireBytes.entry)) this.#undoEntry(entry);
  }

  created(request: KernelRequest, entry: EntryReply, open: OpenReply): void {
    putEntry(this.#scratch.view, header, entry);
    putOpen(this.#scratch.view, header + wireBytes.entry, open);
    this.#expectEntry(entry);
    this.#handles.opened(entry.attributes.ino, open.handle);
    if (this.#send(request, wireBytes.entry + wireBytes.open)) return;
    this.#release(entry.attributes.ino, open);
    this.#undoEntry(entry);
  }

  opened(request: KernelRequest, open: OpenReply): void {
    putOpen(this.#scratch.view, header, open);
    this.#handles.opened(request.node, open.handle);
    if (!this.#send(request, wireBytes.open)) this.#release(request.node, open);
  }

  openedDirectory(request: KernelRequest, open: OpenReply): void {
    // The flags of files mean other things on directories.
    const { handle, cacheListing = false } = open;
    putOpen(this.#scratch.view, header, { handle, cacheListing });
    this.#handles.openedDirectory(request.node, open.handle);
    if (this.#send(request, wireBytes.open)) return;
    this.#handles.releasedDirectory(open.handle);
    void this.settle("releasedir", request.node, () => this.#operations.releaseDirectory(request.node, open.handle));
  }

  attributes(request: KernelRequest, reply: AttributesReply): void {
    putAttributesReply(this.#scratch.view, header, reply);
    this.#inodes.sawMode(reply.attributes.ino, reply.attributes.mode);
    this.#send(request, wireBytes.attributes);
  }

  statfs(request: KernelRequest, reply: StatfsReply): void {
    putStatfs(this.#scratch.view, header, reply);
    this.#send(request, wireBytes.statfs);
  }

  /** WRITE, and the size queries of GETXATTR and LISTXATTR. */
  size(request: KernelRequest, sizeBytes: number): void {
    putSize(this.#scratch.view, header, sizeBytes);
    this.#send(request, 8);
  }

  offset(request: KernelRequest, offset: number): void {
    putInt64(this.#scratch.view, header, offset);
    this.#send(request, 8);
  }

  init(request: KernelRequest, major: number, reply: InitReply): void {
    putInit(this.#scratch.view, header, major, reply);
    this.#send(request, wireBytes.initReply);
  }

  /** The kernel is newer than major version 7: it will send INIT again in ours. */
  initAgain(request: KernelRequest, major: number): void {
    zero(this.#scratch.view, header, wireBytes.initReply);
    this.#scratch.view.setUint32(header, major, true);
    this.#send(request, wireBytes.initReply);
  }

  /** Bytes of their own: a link's target, an attribute's value. */
  bytes(request: KernelRequest, bytes: Uint8Array): void {
    const whole = deviceBuffer(header + bytes.length);
    whole.bytes.set(bytes, header);
    this.lent(request, whole, bytes.length);
  }

  /** `dataBytes` that lie behind room for the header, so that one write sends both; false when the request is gone. */
  lent(request: KernelRequest, buffer: DeviceBuffer, dataBytes: number): boolean {
    this.#pending.remove(request);
    return this.#write(request, buffer, dataBytes, 0);
  }

  #expectEntry(entry: EntryReply | NegativeEntryReply): void {
    if (entry.attributes === null) return;
    this.#inodes.sawMode(entry.attributes.ino, entry.attributes.mode);
    this.#inodes.count(entry.attributes.ino);
  }

  #undoEntry(entry: EntryReply | NegativeEntryReply): void {
    if (entry.attributes === null) return;
    if (this.#inodes.forget(entry.attributes.ino, 1)) this.#operations.forget(entry.attributes.ino);
  }

  #release(ino: InodeNumber, open: OpenReply): void {
    this.#handles.released(open.handle);
    void this.settle("release", ino, () => this.#operations.release(ino, open.handle));
  }

  #send(request: KernelRequest, bodyBytes: number): boolean {
    this.#pending.remove(request);
    return this.#write(request, this.#scratch, bodyBytes, 0);
  }

  #write(request: KernelRequest, buffer: DeviceBuffer, bodyBytes: number, errno: number): boolean {
    const { uniqueLow, uniqueHigh } = request;
    const length = header + bodyBytes;
    putReplyHeader(buffer.view, 0, length, errno, uniqueLow, uniqueHigh);
    try {
      return this.#target.reply(buffer.bytes, length);
    } catch (error) {
      this.#onError("reply", request.node, error);
      // The kernel refused the reply itself: without another one the caller would wait for ever.
      if (errno === 0) this.#write(request, buffer, 0, constants.errno.EIO);
      return false;
    }
  }
}
