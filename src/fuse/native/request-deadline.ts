/**
 * How long a request of libfuse may wait, and how many of them.
 *
 * libfuse 2.9 does not tell that a caller has given up: until it is answered the caller cannot even be killed, and its
 * thread keeps a record that is never freed. So every wait has an end, and only so many wait at a time; the operation
 * hears of it like of an interrupt.
 */

import { CancelledError } from "../../domain/errors.js";
import type { Milliseconds } from "../../domain/time.js";
import type { FuseCaller } from "../driver.js";

/** Requests that wait at a time; each occupies a thread of libfuse. */
const waitingMax = 64;

export class RequestDeadlines {
  readonly #deadlineMs: Milliseconds;
  #waiting = 0;

  constructor(deadlineMs: Milliseconds) {
    this.#deadlineMs = deadlineMs;
  }

  /** Runs `work` for a caller whose signal fires when it has waited long enough, at once when too many wait. */
  async run<T>(work: (caller: FuseCaller) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const giveUp = () => controller.abort(new CancelledError("The request has reached its deadline"));
    if (this.#waiting >= waitingMax) giveUp();
    const timer = setTimeout(giveUp, this.#deadlineMs);
    this.#waiting += 1;
    try {
      return await work(callerWith(controller.signal));
    } finally {
      this.#waiting -= 1;
      clearTimeout(timer);
    }
  }
}

const nobody = new AbortController().signal;

/** libfuse's binding does not say who calls: everything is done in the name of whoever mounted. */
function callerWith(signal: AbortSignal): FuseCaller {
  return { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, pid: -1, signal };
}

/** For what never waits. */
export const callerWithoutDeadline: FuseCaller = callerWith(nobody);
