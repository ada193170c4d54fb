/**
 * What was refused to whom, for the log and for `casfs status`.
 *
 * Never: a line for each refusal. An indexer opens every file there is, and its refusals must not fill the disk: of
 * one command and one reason there is a line at once, and then one a minute at most, which counts the others.
 */

import type { Observer } from "../domain/events.js";
import { type Clock, type Instant, minutes } from "../domain/time.js";

/** "denied": its name or user may recall nothing. "over-budget": the period's recalls are used up. */
export type RefusalReason = "denied" | "over-budget";

export interface Refusal {
  readonly reason: RefusalReason;
  /** 0 or less, and null for the command: the driver cannot tell. */
  readonly pid: number;
  readonly command: string | null;
  readonly path: string;
  readonly sizeBytes: number;
  /** Why, and what to do. */
  readonly message: string;
}

/** The last refusal of one command for one reason, and how many there were. */
export interface RefusalCount extends Refusal {
  readonly at: Instant;
  readonly count: number;
}

interface Known extends RefusalCount {
  readonly toldAt: Instant;
  readonly untold: number;
}

const quietMs = minutes(1);
/** Commands that are remembered; more come only from programs that make up names. */
const commandsMax = 32;

export class RecallRefusals {
  readonly #clock: Pick<Clock, "now">;
  readonly #observer: Observer;
  readonly #known = new Map<string, Known>();
  readonly #totals: Record<RefusalReason, number> = { denied: 0, "over-budget": 0 };

  constructor({ clock, observer }: { readonly clock: Pick<Clock, "now">; readonly observer: Observer }) {
    this.#clock = clock;
    this.#observer = observer;
  }

  note(refusal: Refusal): void {
    const now = this.#clock.now();
    const key = `${refusal.reason} ${refusal.command}`;
    const before = this.#known.get(key);
    this.#totals[refusal.reason] += 1;
    const isTold = before === undefined || now - before.toldAt >= quietMs;
    const untold = isTold ? 0 : before.untold + 1;
    if (isTold) this.#observer({ type: "recall-refused", ...refusal, repeats: before?.untold ?? 0 });
    // Last in the map is what came last.
    this.#known.delete(key);
    this.#known.set(key, {
      ...refusal,
      at: now,
      count: (before?.count ?? 0) + 1,
      toldAt: isTold ? now : before.toldAt,
      untold,
    });
    if (this.#known.size > commandsMax) this.#known.delete(this.#known.keys().next().value!);
  }

  get totals(): Readonly<Record<RefusalReason, number>> {
    return this.#totals;
  }

  /** By command and reason, the latest first. */
  recent(): RefusalCount[] {
    return [...this.#known.values()].reverse();
  }
}
