/**
 * CasService -> CasService: repeats calls that failed for a passing reason.
 *
 * Never repeats a call whose effect is unknown when the effect is billed or leaves something behind; `rules` says which
 * those are. The body of a job's output is not covered: who reads it knows how far it got.
 */

import { describeError, isTransient, ServiceError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import { type Clock, ms } from "../domain/time.js";
import { type BackoffLimits, backoffDelayMs } from "../lib/backoff.js";
import type { CasService } from "../protocol/service.js";
import { aroundEachCall, type CasOperation } from "./wrapped-service.js";

/**
 * What a second call does when the first one was carried out and only its answer was lost.
 *
 * - "same": the same as one call, so it is repeated whatever happened;
 * - "gone": it finds nothing left to do and says "missing", which then is a success;
 * - "twice": it does the work a second time, so it is repeated only when the first is known to have done nothing.
 */
type Repetition = "same" | "gone" | "twice";

const rules: Readonly<Record<CasOperation, Repetition>> = {
  createVault: "same", // section 6.1: creating a vault that exists changes nothing
  describeVault: "same",
  deleteVault: "gone", // section 6.3: an unknown vault is 404
  vaultCallback: "same",
  setVaultCallback: "same", // section 8.1: the same configuration replaces itself
  listVaults: "same",
  uploadArchive: "twice", // a twin, billed for 90 days; the upload journal decides and looks for it
  deleteArchive: "same", // section 9.2: deleting a deleted archive is 204
  initiateMultipartUpload: "same", // a stray upload id without parts costs nothing and vanishes in a day
  uploadPart: "same", // section 10.2: a part sent again replaces the former
  completeMultipartUpload: "same", // section 10.3: repeating gives the same archive id for an hour
  abortMultipartUpload: "gone", // section 10.6: 204 again for a short time, then 404
  listParts: "same",
  listMultipartUploads: "same",
  initiateJob: "twice", // every call starts, and bills, a job of its own
  describeJob: "same",
  listJobs: "same",
  getJobOutput: "same",
};

export interface RetryOptions extends BackoffLimits {
  /** Calls in all, the first included. */
  readonly attemptsMax: number;
}

/** Gives up after about half a minute; what must not give up (uploads, recalls) has its own, longer patience above. */
const defaultRetry: RetryOptions = { attemptsMax: 6, delayMsMin: 100, delayMsMax: 15_000 };

export interface RetryingServiceParts {
  readonly clock: Clock;
  /** From 0 (included) to 1 (excluded). */
  readonly random: () => number;
  readonly observer?: Observer | undefined;
  readonly retry?: Partial<RetryOptions> | undefined;
}

export function retryingService(service: CasService, parts: RetryingServiceParts): CasService {
  const retry = { ...defaultRetry, ...parts.retry };
  return aroundEachCall(service, async (operation, options, call) => {
    const history = new AttemptHistory(operation, retry.attemptsMax);
    for (;;) {
      try {
        return await call();
      } catch (error) {
        options?.signal?.throwIfAborted();
        const verdict = history.judge(error);
        // The wrapped calls that end in "gone" resolve to nothing, so nothing is what they get.
        if (verdict === "done") return undefined as Awaited<ReturnType<typeof call>>;
        if (verdict === "give-up") throw error;
        const delayMs = verdict === "now" ? 0 : backoffDelayMs(history.failures, retry, parts.random);
        const message = describeError(error);
        parts.observer?.({ type: "service-retry", operation, attempt: history.failures, delayMs, message });
        await parts.clock.sleep(ms(delayMs), { signal: options?.signal });
      }
    }
  });
}

type Verdict = "later" | "now" | "give-up" | "done";

/** What has happened in one call so far, and what follows from the next failure. */
class AttemptHistory {
  readonly #repetition: Repetition;
  readonly #attemptsMax: number;
  #failures = 0;
  #signedAgain = false;
  #mayBeDone = false;

  constructor(operation: CasOperation, attemptsMax: number) {
    this.#repetition = rules[operation];
    this.#attemptsMax = attemptsMax;
  }

  get failures(): number {
    return this.#failures;
  }

  judge(error: unknown): Verdict {
    this.#failures += 1;
    if (!(error instanceof ServiceError)) return "give-up";
    if (error.fault === "missing" && this.#mayBeDone && this.#repetition === "gone") return "done";
    if (error.effect === "unknown") {
      this.#mayBeDone = true;
      if (this.#repetition === "twice") return "give-up";
    }
    if (this.#failures >= this.#attemptsMax) return "give-up";
    if (error.fault === "expired" && !this.#signedAgain) {
      this.#signedAgain = true;
      return "now";
    }
    return isTransient(error) ? "later" : "give-up";
  }
}
