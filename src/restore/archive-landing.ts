/**
 * A finished job's output becomes a verified content in the cache, or a verified window of one.
 *
 * Relies on: being called once at a time for the same bytes. The retrieval is paid for, so neither an outage of hours nor
 * a disk that is full for a minute loses it.
 */

import { rangeLength, totalLength } from "../domain/bytes.js";
import { CasfsError, CorruptError } from "../domain/errors.js";
import { type Instant, type Milliseconds, minutes, ms, seconds } from "../domain/time.js";
import type { BackoffLimits } from "../lib/backoff.js";
import { Semaphore } from "../lib/semaphore.js";
import type { CasService } from "../protocol/service.js";
import type { LineRate } from "./line-rate.js";
import type { ContentSink, Landing, WindowLanding, WindowSink } from "./ports.js";
import { downloadOutput } from "./range-download.js";
import { isOfWhole, type Recall, troubleOf } from "./recall.js";
import type { ArchiveJob } from "./retrieval-plan.js";
import { pauseOrThrow, type RetryPauseParts } from "./retry-pause.js";

export interface ArchiveLandingParts extends Omit<RetryPauseParts, "signal" | "onTrouble"> {
  readonly service: Pick<CasService, "getJobOutput">;
  readonly sink: Pick<ContentSink, "begin">;
  readonly windows: Pick<WindowSink, "begin">;
  readonly rate: LineRate;
}

export interface ArchiveLandingOptions {
  readonly pieceBytes: number;
  /** Pieces of one content that are fetched at a time. */
  readonly downloadConcurrency: number;
  /** Contents of more than one piece that land at a time. */
  readonly landingConcurrency: number;
  readonly outputLifetimeMs: Milliseconds;
}

const landingRetry: BackoffLimits = { delayMsMin: 1_000, delayMsMax: 300_000 };
const attemptsMax = 20;
/** Contents of one piece mostly wait for answers and syncs, so more of them land at a time. */
const smallPerLarge = 4;
/** Downloads whose whole tree hash may be wrong, though their pieces were right. */
const wrongDownloadsMax = 2;
/** How long a full disk may stay full. */
const roomWaitMs = minutes(1);
const roomLookMs = seconds(2);

export class ArchiveLanding {
  readonly #parts: ArchiveLandingParts;
  readonly #options: ArchiveLandingOptions;
  readonly #large: Semaphore;
  readonly #small: Semaphore;

  constructor(parts: ArchiveLandingParts, options: ArchiveLandingOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#large = new Semaphore(options.landingConcurrency);
    this.#small = new Semaphore(options.landingConcurrency * smallPerLarge);
  }

  /**
   * @throws ServiceError "missing" when the output has expired; CorruptError when the bytes stay wrong;
   *   FileSystemError "no-space" when the disk stays full.
   */
  land(recall: Recall, job: ArchiveJob): Promise<void> {
    const slots = rangeLength(recall.window) <= this.#options.pieceBytes ? this.#small : this.#large;
    const { signal } = recall.scope;
    return slots.run(signal, async () => {
      // Longer than any output lives: the service says itself when this one is gone, and another job takes its place.
      const patience = { attemptsMax, until: this.#later(ms(3 * this.#options.outputLifetimeMs)) };
      let roomBy: Instant | undefined;
      for (let attempt = 1; ; attempt += 1) {
        const before = recall.landedBytes;
        try {
          return await (isOfWhole(recall) ? this.#landWhole(recall, job) : this.#landWindow(recall, job));
        } catch (error) {
          if (recall.landedBytes > before) attempt = 1;
          if (isFull(error)) {
            // A disk that somebody else has filled, or a cache whose files are all open, may have room in a moment.
            roomBy ??= this.#later(roomWaitMs);
            await this.#waitForRoom(error, roomBy, signal);
          } else {
            const parts = { ...this.#parts, signal, onTrouble: troubleOf(recall) };
            await pauseOrThrow(parts, error, attempt, patience, landingRetry);
          }
        }
      }
    });
  }

  async #waitForRoom(error: CasfsError, until: Instant, signal: AbortSignal): Promise<void> {
    const { clock, observer } = this.#parts;
    if (signal.aborted || clock.now() >= until) throw error;
    if (until - clock.now() === roomWaitMs)
      observer({ type: "warning", message: `${error.message}; waiting for room` });
    await clock.sleep(roomLookMs, { signal });
  }

  #later(byMs: Milliseconds): Instant {
    return (this.#parts.clock.now() + byMs) as Instant;
  }

  async #landWhole(recall: Recall, job: ArchiveJob): Promise<void> {
    const { archive } = recall;
    for (let wrong = 1; ; wrong += 1) {
      await using landing = await this.#parts.sink.begin(archive);
      await this.#download(recall, job, landing);
      if ((await landing.treeHash()) === archive.treeHash) return await landing.commit();
      await this.#discard(recall, landing, wrong);
    }
  }

  /** Each piece was verified by a hash of its own; that of the window is what the job's description says. */
  async #landWindow(recall: Recall, job: ArchiveJob): Promise<void> {
    const { archive, window } = recall;
    for (let wrong = 1; ; wrong += 1) {
      await using landing = await this.#parts.windows.begin(archive, window);
      await this.#download(recall, job, landing);
      const isSame = job.range.start === window.start && job.range.end === window.end;
      const expected = isSame ? job.rangeTreeHash : null;
      if (expected === null || landing.treeHash() === expected) return;
      await this.#discard(recall, landing, wrong);
    }
  }

  async #discard({ archive, window }: Recall, landing: Landing | WindowLanding, wrong: number): Promise<void> {
    await landing.discard();
    const { start, end } = window;
    this.#parts.observer({ type: "piece-corrupt", archiveId: archive.id, start, end });
    if (wrong < wrongDownloadsMax) return;
    throw new CorruptError(`Cannot recall archive ${archive.id}: its bytes came with a wrong tree hash ${wrong} times`);
  }

  async #download(recall: Recall, job: ArchiveJob, landing: Landing | WindowLanding): Promise<void> {
    const { archive, window } = recall;
    const { clock, rate } = this.#parts;
    const missingBytes = totalLength(landing.missing());
    recall.landedBytes = rangeLength(window) - missingBytes;
    recall.landingSince = { at: clock.now(), bytes: recall.landedBytes };
    using _fetching = rate.fetching();
    await downloadOutput(
      this.#parts,
      { archive, job, landing, aligned: !isOfWhole(recall) },
      {
        pieceBytes: this.#options.pieceBytes,
        concurrency: this.#options.downloadConcurrency,
        signal: recall.scope.signal,
        onTrouble: troubleOf(recall),
        // A piece that is fetched again counts again; a status may say a little too much, never more than the whole.
        onBytes: (count) => {
          rate.received(count);
          recall.trouble = null;
          recall.landedBytes = Math.min(rangeLength(window), recall.landedBytes + count);
        },
      },
    );
  }
}

function isFull(error: unknown): error is CasfsError {
  return error instanceof CasfsError && error.kind === "no-space";
}
