/** The uploads of files that are still open, of which several share what may be sent at a time. */

import { CancelledError } from "../domain/errors.js";
import type { ContentId } from "../domain/ids.js";
import { AbortScope } from "../lib/abort-scope.js";
import { Semaphore } from "../lib/semaphore.js";
import type { StreamPlan } from "./part-plan.js";
import {
  type StreamedFile,
  type StreamStatus,
  type StreamWatcher,
  UploadStream,
  type UploadStreamParts,
} from "./upload-stream.js";

export interface StreamerOptions {
  /** Parts of all streams that are hashed or sent at a time. */
  readonly partConcurrency: number;
}

export class Streamer {
  readonly #parts: UploadStreamParts;
  readonly #options: StreamerOptions;
  readonly #slots: Semaphore;
  readonly #closing = new AbortScope();
  readonly #streams = new Map<ContentId, UploadStream>();
  /** What is left of streams that were ended, by content. */
  readonly #endings = new Map<ContentId, Promise<void>>();
  #watcher: StreamWatcher = { progressed() {}, left() {} };

  constructor(parts: UploadStreamParts, options: StreamerOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#slots = new Semaphore(options.partConcurrency);
  }

  /** The one whom to tell how the streams go on. */
  watch(watcher: StreamWatcher): void {
    this.#watcher = watcher;
  }

  /** Sends what is whole of `file`, from now on until `end`. */
  begin(content: ContentId, file: StreamedFile, plan: StreamPlan): UploadStream {
    const stream = new UploadStream(content, {
      parts: this.#parts,
      around: {
        slots: this.#slots,
        partConcurrency: this.#options.partConcurrency,
        closing: this.#closing.signal,
        watcher: { progressed: () => this.#watcher.progressed(), left: () => this.#watcher.left() },
      },
      file,
      plan,
      after: this.#endings.get(content) ?? Promise.resolve(),
    });
    this.#streams.set(content, stream);
    return stream;
  }

  /** Resolves when nothing more of it is sent; what the journal says of it then is final. */
  async end(stream: UploadStream): Promise<void> {
    if (this.#streams.get(stream.content) === stream) {
      this.#streams.delete(stream.content);
      const ending = stream.ended().finally(() => {
        if (this.#endings.get(stream.content) === ending) this.#endings.delete(stream.content);
      });
      this.#endings.set(stream.content, ending);
      ending.catch(() => {});
    }
    await stream.stop();
  }

  /** Whether parts that will be confirmed leave the disk then. */
  get hasRoomComing(): boolean {
    return [...this.#streams.values()].some((stream) => stream.hasRoomComing);
  }

  /** Whether another file is being streamed: its writer goes on, and needs room itself then, or closes it. */
  hasOther(content: ContentId): boolean {
    return this.#streams.size > (this.#streams.has(content) ? 1 : 0);
  }

  status(content: ContentId): StreamStatus | undefined {
    return this.#streams.get(content)?.status();
  }

  snapshot(): StreamStatus[] {
    return [...this.#streams.values()].map((stream) => stream.status());
  }

  /** Aborts what is in flight and waits for it. */
  async close(): Promise<void> {
    this.#closing.abort(new CancelledError("Uploading files that are still open"));
    const ended = [...this.#streams.values()].map((stream) => stream.ended());
    await Promise.allSettled([...ended, ...this.#endings.values()]);
  }
}
