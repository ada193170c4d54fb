/**
 * One request of the kernel on its way to an answer, and the table by which INTERRUPT finds it.
 *
 * Uniques have 64 bits, and a resent request has bit 63 set: they are kept as two halves and never become one number.
 */

import { CancelledError } from "../../domain/errors.js";
import type { InodeNumber } from "../../domain/ids.js";
import type { FuseCaller } from "../driver.js";
import { uint64 } from "./wire-request.js";

const unsignedMask = 0x7fff_ffff;

export class KernelRequest implements FuseCaller {
  readonly opcode: number;
  readonly uniqueLow: number;
  readonly uniqueHigh: number;
  readonly node: InodeNumber;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** The next one in its bucket of `PendingRequests`, which alone writes it. */
  next: KernelRequest | undefined = undefined;
  #controller: AbortController | undefined = undefined;
  #interrupted = false;

  /** @param view Begins with the header of a request. */
  constructor(view: DataView) {
    this.opcode = view.getUint32(4, true);
    this.uniqueLow = view.getUint32(8, true);
    this.uniqueHigh = view.getUint32(12, true);
    this.node = uint64(view, 16) as InodeNumber;
    this.uid = view.getUint32(24, true);
    this.gid = view.getUint32(28, true);
    this.pid = view.getUint32(32, true);
  }

  /** Whether an earlier process has read it, too. */
  get isResent(): boolean {
    return this.uniqueHigh >>> 31 === 1;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#interrupted) this.#abort();
    }
    return this.#controller.signal;
  }

  /** The caller gives up. Idempotent. */
  interrupt(): void {
    this.#interrupted = true;
    if (this.#controller?.signal.aborted === false) this.#abort();
  }

  #abort(): void {
    this.#controller?.abort(new CancelledError("The request"));
  }

  matches(uniqueLow: number, uniqueHigh: number): boolean {
    return this.uniqueLow === uniqueLow && (this.uniqueHigh & unsignedMask) === (uniqueHigh & unsignedMask);
  }
}

/** Requests that have no answer yet. */
export class PendingRequests {
  /** By the low half; requests that share it form a list. */
  readonly #byUniqueLow = new Map<number, KernelRequest>();

  #whenEmpty: (() => void) | undefined;
  #count = 0;

  add(request: KernelRequest): void {
    this.#count++;
    request.next = this.#byUniqueLow.get(request.uniqueLow);
    this.#byUniqueLow.set(request.uniqueLow, request);
  }

  /** A request that is not in the table is fine. */
  remove(request: KernelRequest): void {
    if (!this.#unlink(request)) return;
    this.#count--;
    if (this.#count === 0) this.#whenEmpty?.();
  }

  #unlink(request: KernelRequest): boolean {
    const first = this.#byUniqueLow.get(request.uniqueLow);
    if (first === request) {
      if (request.next === undefined) this.#byUniqueLow.delete(request.uniqueLow);
      else this.#byUniqueLow.set(request.uniqueLow, request.next);
      return true;
    }
    for (let other = first; other !== undefined; other = other.next) {
      if (other.next !== request) continue;
      other.next = request.next;
      return true;
    }
    return false;
  }

  find(uniqueLow: number, uniqueHigh: number): KernelRequest | undefined {
    let request = this.#byUniqueLow.get(uniqueLow);
    while (request !== undefined && !request.matches(uniqueLow, uniqueHigh)) request = request.next;
    return request;
  }

  /** Tells everybody that nobody waits any more, and resolves when all have come to an end. */
  async cancelAll(): Promise<void> {
    this.#interruptAll();
    if (this.#count === 0) return;
    await new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
    });
  }

  #interruptAll(): void {
    for (const first of this.#byUniqueLow.values()) {
      for (let request: KernelRequest | undefined = first; request !== undefined; request = request.next) {
        request.interrupt();
      }
    }
  }
}
