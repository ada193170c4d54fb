/**
 * Who still wants a recall. As long as no job is ordered, one that nobody wants costs nothing when it is taken back.
 *
 * Who waits wants it until its signal fires: a reader that was killed, or whose Ctrl-C has ended its open. Who cannot
 * wait, or was told to come again, wants it for good.
 */

import type { RetrievalTier } from "../protocol/service.js";
import type { RecallOrigin } from "./ports.js";
import type { Recall } from "./recall.js";

/** What somebody asks for, beside the bytes. */
export interface RecallWish {
  readonly tier: RetrievalTier;
  /** "open" when absent. A recall that goes on takes the more urgent of two. */
  readonly origin?: RecallOrigin;
  /** Order another job when the one that runs, whoever ordered it, has a slower tier: somebody has agreed to pay for it. */
  readonly faster?: boolean;
  /**
   * Of who waits: when it fires before a job was ordered, and nobody else wants the bytes, the recall is taken back and
   * rejects with a CancelledError. Absent: they are wanted, whoever waits.
   */
  readonly signal?: AbortSignal | undefined;
}

interface Listener {
  /** Nobody wants `recall` any more, and no job is ordered for it. */
  unwanted(recall: Recall): void;
  /** Somebody wants it now who does not wait, and no job is ordered for it: the next process has to know. */
  kept(recall: Recall): void;
}

export class RecallWishes {
  readonly #listener: Listener;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  /** @param signal Of who waits, and has not given up; undefined for who does not wait. */
  add(recall: Recall, signal: AbortSignal | undefined): void {
    if (signal !== undefined) this.#wait(recall, signal);
    else if (!recall.isKept) {
      recall.isKept = true;
      if (!recall.isOrdered) this.#listener.kept(recall);
    }
  }

  isWanted({ isKept, waiters }: Recall): boolean {
    return isKept || waiters > 0;
  }

  /** Tells of a recall for which no job is ordered, or none any more. */
  review(recall: Recall): void {
    if (!recall.isOrdered && !this.isWanted(recall)) this.#listener.unwanted(recall);
  }

  #wait(recall: Recall, signal: AbortSignal): void {
    recall.waiters += 1;
    const onGone = () => {
      recall.waiters -= 1;
      this.review(recall);
    };
    signal.addEventListener("abort", onGone, { once: true });
    const letGo = () => signal.removeEventListener("abort", onGone);
    recall.landed.promise.then(letGo, letGo);
  }
}
