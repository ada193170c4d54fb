/**
 * Memory of buffers that is given back when they are done with, instead of when the garbage collector finds them.
 *
 * Relies on: a transfer to a closed port taking the memory from the buffer and freeing it, as the web's standard says.
 * Never: is needed for anything but speed. Buffers of a gigabyte that passes through make the collector look at the whole
 * heap some forty times, which takes more processor time than hashing the bytes once.
 */

import { MessageChannel, type MessagePort } from "node:worker_threads";

export class GivenMemory {
  readonly #nowhere: MessagePort;

  constructor() {
    this.#nowhere = new MessageChannel().port1;
    this.#nowhere.close();
  }

  /** Frees `buffers`, which have no bytes from then on; those that are part of a larger one are left as they are. */
  free(buffers: readonly Buffer[]): void {
    const whole = buffers.filter(({ byteLength, buffer }) => byteLength === buffer.byteLength);
    this.#nowhere.postMessage(
      undefined,
      whole.map(({ buffer }) => buffer as ArrayBuffer),
    );
  }
}
