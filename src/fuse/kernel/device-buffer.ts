/**
 * Buffers for one request or one large reply each, kept in a small pool.
 *
 * The pool remembers a bounded number of free buffers and hands out the one used last, whose memory is still in the
 * processor's cache.
 */

import { MIB } from "../../domain/bytes.js";

/** One piece of memory with both ways of looking at it. */
export interface DeviceBuffer {
  readonly bytes: Buffer;
  readonly view: DataView;
}

/** Largest data of one READ or WRITE. */
export const transferBytesMax = MIB;

/** Room for the header in front of the data. */
const headroomBytes = 4096;

export function deviceBuffer(sizeBytes: number): DeviceBuffer {
  // Slow: an allocation of its own, so that offset 0 is aligned and the shared slab is not pinned.
  const bytes = Buffer.allocUnsafeSlow(sizeBytes);
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}

export class DeviceBufferPool {
  readonly #free: DeviceBuffer[] = [];
  readonly #sizeBytes: number;
  readonly #freeMax: number;

  constructor(options: { readonly sizeBytes: number; readonly freeMax: number }) {
    this.#sizeBytes = options.sizeBytes;
    this.#freeMax = options.freeMax;
  }

  take(): DeviceBuffer {
    return this.#free.pop() ?? deviceBuffer(this.#sizeBytes);
  }

  /** Returns a buffer that nobody looks at any more. */
  give(buffer: DeviceBuffer): void {
    if (this.#free.length < this.#freeMax) this.#free.push(buffer);
  }
}

const smallTransferBytes = 32 * 1024;

/** Pools by size: most replies are small, and a parked small read should not hold a large buffer. */
export class TransferBuffers {
  readonly #small = new DeviceBufferPool({ sizeBytes: smallTransferBytes + headroomBytes, freeMax: 64 });
  readonly #large = new DeviceBufferPool({ sizeBytes: transferBytesMax + headroomBytes, freeMax: 8 });

  /** A buffer for `dataBytes` (at most 1 MiB) and the headers. */
  take(dataBytes: number): DeviceBuffer {
    return (dataBytes <= smallTransferBytes ? this.#small : this.#large).take();
  }

  give(buffer: DeviceBuffer): void {
    (buffer.bytes.length <= smallTransferBytes + headroomBytes ? this.#small : this.#large).give(buffer);
  }
}
