/**
 * One connection with the kernel: INIT, dispatch, lookup counts, interrupts, notifications, and an orderly end.
 *
 * Relies on: requests arrive in the order in which the kernel sends them, each in a call of `receive`.
 * Never: awaits between reading a request and starting its operation, so operations begin in that order.
 */

import { constants } from "node:os";
import { FileSystemError } from "../../domain/errors.js";
import type { InodeNumber } from "../../domain/ids.js";
import { deferred } from "../../lib/deferred.js";
import { unreachable } from "../../lib/invariant.js";
import type { FormerService, FuseOperations } from "../driver.js";
import { AttributeDemand } from "./attribute-demand.js";
import { attributeHandlers } from "./attribute-handlers.js";
import { TransferBuffers } from "./device-buffer.js";
import { directoryHandlers } from "./directory-handlers.js";
import { fileHandlers } from "./file-handlers.js";
import type { Handler, HandlerContext, RequestHolder } from "./handler.js";
import { negotiate } from "./init.js";
import { KernelRequest, PendingRequests } from "./kernel-request.js";
import { KnownInodes } from "./known-inodes.js";
import { nameHandlers } from "./name-handlers.js";
import { Notifications } from "./notifications.js";
import { OpenHandles } from "./open-handles.js";
import { leftToKernel, opcode, operationName, protocolMajor, rootNode } from "./protocol.js";
import { type OperationErrorHandler, Replies, type ReplyTarget } from "./replies.js";
import { hasHeader, isWhole } from "./request-shape.js";
import { directoriesOf, mayBeDone, namesIn } from "./resent-request.js";
import { resendNotification } from "./wire-reply.js";
import {
  forEachForget,
  type InitRequest,
  type RequestBytes,
  readForgetCount,
  readInit,
  readInterrupt,
} from "./wire-request.js";

/** What the session needs of the device; `Transport` is the real one. */
export interface SessionTransport extends ReplyTarget, RequestHolder {
  notify(bytes: Uint8Array): Promise<boolean>;
}

const handlers: readonly (Handler | undefined)[] = Object.assign(
  [],
  nameHandlers,
  attributeHandlers,
  fileHandlers,
  directoryHandlers,
);

export class KernelSession {
  readonly #operations: FuseOperations;
  readonly #pending = new PendingRequests();
  readonly #inodes = new KnownInodes();
  readonly #handles = new OpenHandles();
  readonly #transport: SessionTransport;
  readonly #replies: Replies;
  readonly #notifications: Notifications;
  readonly #context: HandlerContext;
  readonly #initialised = deferred<void>();
  readonly #onError: OperationErrorHandler;
  readonly #unknownOpcodes = new Set<number>();
  #isSuccessor = false;

  constructor(transport: SessionTransport, operations: FuseOperations, onError: OperationErrorHandler) {
    this.#transport = transport;
    this.#operations = operations;
    this.#onError = onError;
    this.#replies = new Replies({
      target: transport,
      operations,
      pending: this.#pending,
      inodes: this.#inodes,
      handles: this.#handles,
      onError,
    });
    this.#notifications = new Notifications((bytes) => transport.notify(bytes));
    this.#context = {
      operations,
      replies: this.#replies,
      inodes: this.#inodes,
      handles: this.#handles,
      buffers: new TransferBuffers(),
      requests: transport,
      demand: new AttributeDemand(),
      attributesChanged: (ino) => this.invalidateInode(ino, false),
      listingChanged: (directory) => this.invalidateInode(directory, true),
    };
    // Whoever waits for INIT hears of a failure; without a waiter it must not end the process.
    this.#initialised.promise.catch(() => undefined);
  }

  /** Resolves when INIT has been answered. @throws FileSystemError "not-supported" for a kernel that is too old. */
  get initialised(): Promise<void> {
    return this.#initialised.promise;
  }

  /** How many inodes the kernel has references to, the root aside. */
  get knownInodeCount(): number {
    return this.#inodes.size;
  }

  /** Takes one request of the kernel. Never throws. */
  receive(wire: RequestBytes): void {
    if (!hasHeader(wire)) {
      this.#reportTruncated(wire);
      return;
    }
    const request = new KernelRequest(wire.view);
    const handle = handlers[request.opcode];
    this.#pending.add(request);
    if (!isWhole(wire)) this.#replies.errno(request, constants.errno.EINVAL);
    else if (this.#isSuccessor && request.isResent && mayBeDone(request.opcode)) this.#refuseResent(request, wire);
    else if (handle !== undefined) this.#replies.attempt(request, () => handle(this.#context, request, wire));
    else this.#replies.attempt(request, () => this.#control(request, wire));
  }

  /**
   * Goes on where a process has ended that served this mount before: there is no INIT any more.
   *
   * @throws FileSystemError "not-supported" before Linux 6.9, which cannot send again what that process had read.
   */
  async succeed({ privilegedModes }: FormerService): Promise<void> {
    this.#isSuccessor = true;
    this.#inodes.inherit(privilegedModes);
    this.#initialised.resolve();
    if (await this.#transport.notify(resendNotification())) return;
    throw new FileSystemError("not-supported", "This kernel cannot send again what an ended process had read", {
      hint: "From Linux 6.9 on a mount survives the end of its process",
    });
  }

  /** Whether it was done before its answer got lost nobody knows: the caller hears of it, the kernel looks again. */
  #refuseResent(request: KernelRequest, wire: RequestBytes): void {
    for (const directory of directoriesOf(request, wire)) {
      for (const name of namesIn(wire)) this.#notifications.entryChanged(directory, name);
      this.#notifications.inodeChanged(directory, true);
    }
    this.#replies.errno(request, constants.errno.EIO);
  }

  /** Drops what the kernel caches of `ino`; nothing to do when it knows nothing of it. */
  invalidateInode(ino: InodeNumber, data: boolean): void {
    if (this.#inodes.isKnown(ino)) this.#notifications.inodeChanged(ino, data);
  }

  invalidateEntry(parent: InodeNumber, name: string): void {
    if (this.#inodes.isKnown(parent)) this.#notifications.entryChanged(parent, name);
  }

  /** The connection is gone: cancels what waits, then gives up every handle and inode that the kernel held. */
  async end(): Promise<void> {
    this.#initialised.reject(new FileSystemError("unavailable", "The FUSE connection ended before it was set up"));
    await this.#pending.cancelAll();
    const { files, directories } = this.#handles.drain();
    await Promise.all([
      ...files.map(([handle, ino]) =>
        this.#replies.settle("release", ino, () => this.#operations.release(ino, handle)),
      ),
      ...directories.map(([handle, ino]) =>
        this.#replies.settle("releasedir", ino, () => this.#operations.releaseDirectory(ino, handle)),
      ),
    ]);
    for (const ino of this.#inodes.drain()) this.#operations.forget(ino);
  }

  /** Requests about the connection itself. */
  #control(request: KernelRequest, wire: RequestBytes): void {
    switch (request.opcode) {
      case opcode.forget:
        this.#pending.remove(request);
        this.#forget(request.node, readForgetCount(wire));
        break;
      case opcode.batchForget:
        this.#pending.remove(request);
        forEachForget(wire, (node, lookups) => this.#forget(node as InodeNumber, lookups));
        break;
      case opcode.interrupt:
        this.#interrupt(request, wire);
        break;
      case opcode.init:
        this.#init(request, wire);
        break;
      case opcode.destroy:
        this.#replies.empty(request);
        break;
      case opcode.notifyReply:
        this.#pending.remove(request);
        break;
      case opcode.ioctl:
        this.#replies.errno(request, constants.errno.ENOTTY);
        break;
      default:
        // Told once, the kernel does without it.
        if (!leftToKernel.has(request.opcode)) this.#reportUnknown(request);
        this.#replies.errno(request, constants.errno.ENOSYS);
    }
  }

  #reportUnknown({ opcode: code, node }: KernelRequest): void {
    if (this.#unknownOpcodes.has(code)) return;
    this.#unknownOpcodes.add(code);
    this.#onError(
      operationName(code),
      node,
      new Error(`The kernel asks for opcode ${code}, which casfs does not know`),
    );
  }

  /** Nobody can be answered. */
  #reportTruncated({ length }: RequestBytes): void {
    this.#onError("read", rootNode as InodeNumber, new Error(`A request of ${length} bytes has no header`));
  }

  #forget(ino: InodeNumber, lookups: number): void {
    if (this.#inodes.forget(ino, lookups)) this.#operations.forget(ino);
  }

  #interrupt(request: KernelRequest, wire: RequestBytes): void {
    const { uniqueLow, uniqueHigh } = readInterrupt(wire);
    const target = this.#pending.find(uniqueLow, uniqueHigh);
    if (target === undefined) {
      // EAGAIN: the kernel sends it again as long as the request that it names has no answer.
      this.#replies.errno(request, constants.errno.EAGAIN);
      return;
    }
    this.#pending.remove(request);
    target.interrupt();
  }

  #init(request: KernelRequest, wire: RequestBytes): void {
    const offer = readInit(wire);
    const negotiation = negotiate(offer);
    switch (negotiation.outcome) {
      case "agreed":
        this.#replies.init(request, protocolMajor, negotiation.reply);
        this.#initialised.resolve();
        break;
      case "again":
        this.#replies.initAgain(request, protocolMajor);
        break;
      case "refused":
        this.#replies.errno(request, constants.errno.EPROTO);
        this.#initialised.reject(tooOld(offer));
        break;
      default:
        unreachable(negotiation);
    }
  }
}

function tooOld({ major, minor }: InitRequest): FileSystemError {
  return new FileSystemError("not-supported", `Cannot speak FUSE ${major}.${minor} with this kernel`, {
    hint: "A kernel of at least version 3.15 is needed",
  });
}
