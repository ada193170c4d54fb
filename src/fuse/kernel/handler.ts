/** What one opcode's handler gets: the request, and everything it may need to answer it. */

import type { InodeNumber } from "../../domain/ids.js";
import type { FuseOperations } from "../driver.js";
import type { AttributeDemand } from "./attribute-demand.js";
import type { DeviceBuffer, TransferBuffers } from "./device-buffer.js";
import type { KernelRequest } from "./kernel-request.js";
import type { KnownInodes } from "./known-inodes.js";
import type { OpenHandles } from "./open-handles.js";
import type { Replies } from "./replies.js";
import type { RequestBytes } from "./wire-request.js";

/** Keeps the bytes of the request being dispatched beyond the handler's return. */
export interface RequestHolder {
  holdRequest(): DeviceBuffer;
  releaseRequest(buffer: DeviceBuffer): void;
}

export interface HandlerContext {
  readonly operations: FuseOperations;
  readonly replies: Replies;
  readonly inodes: KnownInodes;
  readonly handles: OpenHandles;
  readonly buffers: TransferBuffers;
  readonly requests: RequestHolder;
  readonly demand: AttributeDemand;
  /** The kernel's copy of the attributes of `ino` is no longer right. */
  attributesChanged(ino: InodeNumber): void;
  /** The listing that the kernel may have kept of `directory` is not what we would answer now. */
  listingChanged(directory: InodeNumber): void;
}

/**
 * Starts the operation before it returns, so that operations begin in the order of the kernel, and answers later.
 * What it throws is answered with its errno.
 */
export type Handler = (context: HandlerContext, request: KernelRequest, wire: RequestBytes) => void;

/** Handlers by opcode. */
export type HandlerTable = Readonly<Record<number, Handler>>;
