/**
 * How much was used within the last hour, day or month: a window that moves with the time. Pure.
 *
 * What was used is kept by the minute, and counts until its whole minute has left the window: in no period, wherever
 * it begins, is more used than its limit. Never: more entries than a period has minutes.
 */

import type { ByteCount } from "../domain/bytes.js";
import { type Instant, type Milliseconds, minutes } from "../domain/time.js";

/** What one minute's recalls took. */
export interface MinuteOfUse {
  /** When the minute began. */
  readonly minute: Instant;
  readonly bytes: number;
  /** In the currency of the price table. */
  readonly cost: number;
  readonly recalls: number;
}

export interface Use {
  readonly bytes: ByteCount;
  readonly cost: number;
}

/** What a limit counts. */
export type UseMeasure = "bytes" | "cost";

const minuteMs = minutes(1);

export function minuteOf(now: Instant): Instant {
  return (now - (now % minuteMs)) as Instant;
}

export class UseWindow {
  readonly #minutes = new Map<Instant, { bytes: number; cost: number; recalls: number }>();

  add(now: Instant, { bytes, cost }: Use): void {
    this.#change(minuteOf(now), { bytes, cost, recalls: 1 });
  }

  /** What an earlier process has used. A minute of the future is one of a clock that was ahead: it counts as now. */
  load(uses: Iterable<MinuteOfUse>, now: Instant): void {
    for (const { minute, ...use } of uses) this.#change(Math.min(minute, minuteOf(now)) as Instant, use);
  }

  /** Of what `load` has brought. */
  takeBack(minute: Instant, { bytes, cost }: Use, now: Instant): void {
    const at = Math.min(minute, minuteOf(now)) as Instant;
    if (this.#minutes.has(at)) this.#change(at, { bytes: -bytes, cost: -cost, recalls: -1 });
  }

  used(measure: UseMeasure, periodMs: Milliseconds, now: Instant): number {
    let sum = 0;
    for (const [minute, use] of this.#minutes) if (endOf(minute, periodMs) > now) sum += use[measure];
    return Math.max(0, sum);
  }

  /** When the next minute leaves the window; undefined when it is empty. */
  nextEnd(periodMs: Milliseconds, now: Instant): Instant | undefined {
    const ends = [...this.#minutes.keys()].map((minute) => endOf(minute, periodMs)).filter((end) => end > now);
    return ends.length === 0 ? undefined : ends.reduce((first, end) => (end < first ? end : first));
  }

  /** When so little is left of what is used that it is at most `allowed`; undefined when that holds now, or never. */
  whenAtMost(measure: UseMeasure, allowed: number, periodMs: Milliseconds, now: Instant): Instant | undefined {
    let left = this.used(measure, periodMs, now);
    if (left <= allowed || allowed < 0) return undefined;
    const present = [...this.#minutes].filter(([minute]) => endOf(minute, periodMs) > now);
    for (const [minute, use] of present.sort(([one], [other]) => one - other)) {
      left -= use[measure];
      if (left <= allowed) return endOf(minute, periodMs);
    }
    return undefined;
  }

  /** Drops what no period of `periodMs` or less can hold any more. @returns the minute from which on it is kept. */
  prune(periodMs: Milliseconds, now: Instant): Instant {
    for (const minute of this.#minutes.keys()) if (endOf(minute, periodMs) <= now) this.#minutes.delete(minute);
    return minuteOf((now - periodMs - minuteMs) as Instant);
  }

  #change(minute: Instant, by: { readonly bytes: number; readonly cost: number; readonly recalls: number }): void {
    const use = this.#minutes.get(minute) ?? { bytes: 0, cost: 0, recalls: 0 };
    use.bytes += by.bytes;
    use.cost += by.cost;
    use.recalls += by.recalls;
    if (use.recalls <= 0 && use.bytes <= 0) this.#minutes.delete(minute);
    else this.#minutes.set(minute, use);
  }
}

function endOf(minute: Instant, periodMs: Milliseconds): Instant {
  return (minute + minuteMs + periodMs) as Instant;
}
