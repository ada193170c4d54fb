/** How far an upload is: what the service has acknowledged, and what is on its way. */

import { type ByteRange, rangeLength } from "../domain/bytes.js";
import type { UploadTransferProgress } from "./file-upload.js";

export interface UploadMeterOptions {
  /** Asked at every report: those of a stream grow. */
  readonly totals: () => { readonly totalBytes: number; readonly totalParts: number };
  readonly onProgress: ((progress: UploadTransferProgress) => void) | undefined;
}

export class UploadMeter {
  readonly #options: UploadMeterOptions;
  /** By the start of their part. */
  readonly #inFlight = new Map<number, number>();
  #inFlightBytes = 0;
  #sentBytes = 0;
  #sentParts = 0;

  constructor(options: UploadMeterOptions) {
    this.#options = options;
  }

  /** `body` of one attempt to send `range`, counted while it is read. An earlier attempt no longer counts. */
  async *watch(range: ByteRange, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    this.#setInFlight(range, 0);
    for await (const piece of body) {
      yield piece;
      this.#setInFlight(range, (this.#inFlight.get(range.start) ?? 0) + piece.length);
      this.#report();
    }
  }

  acknowledge(range: ByteRange): void {
    this.#setInFlight(range, 0);
    this.#inFlight.delete(range.start);
    this.#sentBytes += rangeLength(range);
    this.#sentParts += 1;
    this.#report();
  }

  #setInFlight({ start }: ByteRange, bytes: number): void {
    this.#inFlightBytes += bytes - (this.#inFlight.get(start) ?? 0);
    this.#inFlight.set(start, bytes);
  }

  #report(): void {
    const { totals, onProgress } = this.#options;
    const [sentBytes, inFlightBytes, sentParts] = [this.#sentBytes, this.#inFlightBytes, this.#sentParts];
    onProgress?.({ sentBytes, inFlightBytes, sentParts, ...totals() });
  }
}
