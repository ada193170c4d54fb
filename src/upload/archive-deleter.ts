/**
 * Deletes in the service the archives that nobody wants any more.
 *
 * Relies on: the journal, which only names an archive whose successor is confirmed, or whose file is removed.
 * Never: deletes before that decision survives a power loss; a deletion cannot be undone.
 */

import { describeError, isMissing, isTransient } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import { type Clock, type Instant, ms } from "../domain/time.js";
import { type BackoffLimits, backoffDelayMs } from "../lib/backoff.js";
import { forEachConcurrently } from "../lib/concurrency.js";
import { WakeableLoop } from "../lib/wakeable-loop.js";
import type { CasService } from "../protocol/service.js";
import type { DeleteJournal, PendingDelete } from "./ports.js";

export interface ArchiveDeleterParts {
  readonly service: Pick<CasService, "deleteArchive">;
  readonly journal: DeleteJournal;
  readonly clock: Clock;
  readonly random: () => number;
  readonly observer: Observer;
}

const concurrency = 4;
const retry: BackoffLimits = { delayMsMin: 1_000, delayMsMax: 300_000 };
const slowRetry: BackoffLimits = { delayMsMin: 60_000, delayMsMax: 3_600_000 };

export class ArchiveDeleter {
  readonly #parts: ArchiveDeleterParts;
  readonly #loop: WakeableLoop;

  constructor(parts: ArchiveDeleterParts) {
    this.#parts = parts;
    this.#loop = new WakeableLoop({
      step: (signal) => this.#deleteWhatIsDue(signal),
      sleep: (durationMs, signal) => parts.clock.sleep(ms(durationMs), { signal }),
    });
  }

  /** There may be something to delete: at start, and whenever the journal has taken a deletion. */
  wake(): void {
    this.#loop.wake();
  }

  /** Aborts what is in flight and waits for it. */
  async close(): Promise<void> {
    await this.#loop.close();
  }

  /** @returns in how many milliseconds the next one is due; undefined when none is left. */
  async #deleteWhatIsDue(signal: AbortSignal): Promise<number | undefined> {
    const { journal, clock, observer } = this.#parts;
    try {
      const due = journal.pendingDeletes().filter(({ dueAt }) => isDue(dueAt, clock.now()));
      if (due.length > 0) await journal.flush();
      await forEachConcurrently(due, { concurrency, signal }, (pending) => this.#delete(pending, signal));
      const next = earliest(journal.pendingDeletes().map(({ dueAt }) => dueAt));
      return next === undefined ? undefined : Math.min(slowRetry.delayMsMax, next - clock.now());
    } catch (error) {
      if (!signal.aborted) observer({ type: "warning", message: `Cannot delete archives: ${describeError(error)}` });
      // Without a pause a journal that fails would be asked again at once.
      return retry.delayMsMax;
    }
  }

  async #delete(pending: PendingDelete, signal: AbortSignal): Promise<void> {
    const { service, journal, observer } = this.#parts;
    const { archiveId, vault } = pending;
    // An inventory may have shown another writer since this step began.
    if (journal.isHeld(vault)) return;
    try {
      await service.deleteArchive(vault, archiveId, { signal });
    } catch (error) {
      signal.throwIfAborted();
      if (!isMissing(error)) return this.#fail(pending, error);
    }
    await journal.didDelete(archiveId, vault);
    observer({ type: "archive-deleted", vault, archiveId });
  }

  async #fail({ archiveId, vault, attempts }: PendingDelete, error: unknown): Promise<void> {
    const { journal, clock, random, observer } = this.#parts;
    const message = describeError(error);
    const delayMs = backoffDelayMs(attempts + 1, isTransient(error) ? retry : slowRetry, random);
    observer({ type: "warning", message: `Cannot delete archive ${archiveId} of vault ${vault} yet: ${message}` });
    await journal.didFailDelete(archiveId, vault, { message, retryAt: (clock.now() + delayMs) as Instant });
  }
}

/** Nothing waits longer than the longest pause: a clock that was ahead, and was set right, said when it is due. */
function isDue(dueAt: Instant, now: Instant): boolean {
  return dueAt <= now || dueAt > now + slowRetry.delayMsMax;
}

function earliest(instants: readonly Instant[]): Instant | undefined {
  if (instants.length === 0) return undefined;
  return instants.reduce((first, instant) => (instant < first ? instant : first));
}
