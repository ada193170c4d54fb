/**
 * How much opens may have recalled in a period, in bytes and in money: no surprise on the bill.
 *
 * A recall is charged before it is journaled and gets its charge back when it turns out to cost nothing: a job was
 * there to join, or none was started. What a person has confirmed (`casfs restore`) is neither bound nor counted.
 * Relies on: the store, by which a restart forgets nothing. Never: waits.
 */

import type { ByteCount } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import { type Clock, hours, type Instant, type Milliseconds, ms } from "../domain/time.js";
import { formatDuration, formatSize } from "../lib/amount-text.js";
import { type PriceTable, retrievalPrice } from "../protocol/prices.js";
import type { RetrievalTier } from "../protocol/service.js";
import { type MinuteOfUse, minuteOf, type Use, type UseMeasure, UseWindow } from "./use-window.js";

/** At most so much, bytes or money, in any period of this length. */
export interface RecallLimit {
  readonly max: number;
  readonly periodMs: Milliseconds;
}

export interface RecallLimits {
  readonly bytes: RecallLimit | null;
  readonly cost: RecallLimit | null;
}

/** Where use is kept from one process to the next. */
export interface RecallUseStore {
  load(): readonly MinuteOfUse[];
  /** Adds to the minute's use; negative amounts take back. Committed with the turn's other changes. */
  add(use: MinuteOfUse): void;
  /** Drops the minutes before. */
  forgetBefore(minute: Instant): void;
}

export interface RecallRequest {
  readonly sizeBytes: ByteCount;
  readonly tier: RetrievalTier;
  /** The recalled archive, for the message of a refusal. */
  readonly name: string;
}

/** What a recall has taken off the budget; settled once, the second time does nothing. */
export interface RecallCharge {
  /** By which `resume` of a later process finds it. */
  readonly chargedAt: Instant;
  /** It costs nothing after all. */
  refund(): void;
  /** Its job has started: the period counts from here, however long the recall was queued. */
  spend(): void;
}

/** What whoever starts recalls needs of the budget. */
export interface RecallAllowance {
  /** @throws FileSystemError "over-budget", saying when there is room again or what to do instead. */
  take(request: RecallRequest): RecallCharge;
  /** What an earlier process took at `chargedAt` for a job that is still not ordered: until it is, it grows no older. */
  resume(request: RecallRequest, chargedAt: Instant): RecallCharge;
}

export interface LimitState extends RecallLimit {
  readonly used: number;
  /** When the next part of `used` is free again; null when nothing is used. */
  readonly freesAt: Instant | null;
}

interface BudgetParts {
  readonly limits: RecallLimits;
  readonly prices: PriceTable;
  /** Whether the service costs nothing: then only bytes are limited. */
  readonly isFree: boolean;
  readonly store: RecallUseStore;
  readonly clock: Pick<Clock, "now">;
}

const measures = ["bytes", "cost"] as const satisfies readonly UseMeasure[];
/** Kept in any case, so that a longer period of the next start finds something. */
const keptMsMin = hours(31 * 24);
const restoreHint = "Run `casfs restore` on it: it says the price, asks, and is not bound by the limit";

export class RecallBudget implements RecallAllowance {
  readonly #parts: BudgetParts;
  readonly #window = new UseWindow();
  /** Charges of recalls whose jobs are not started yet: they do not grow old. */
  readonly #open = new Set<Use>();
  readonly #keptMs: Milliseconds;

  constructor(parts: BudgetParts) {
    this.#parts = parts;
    const periods = measures.map((measure) => parts.limits[measure]?.periodMs ?? 0);
    this.#keptMs = ms(Math.max(keptMsMin, ...periods));
    this.#window.load(parts.store.load(), parts.clock.now());
  }

  take(request: RecallRequest): RecallCharge {
    const use = this.#useOf(request);
    for (const measure of measures) this.#refuseTooMuch(measure, use[measure], request);
    return this.#opened(use, this.#store(use, this.#now));
  }

  resume(request: RecallRequest, chargedAt: Instant): RecallCharge {
    const use = this.#useOf(request);
    this.#window.takeBack(chargedAt, use, this.#now);
    return this.#opened(use, chargedAt);
  }

  /** null: there is no such limit. */
  state(measure: UseMeasure): LimitState | null {
    const limit = this.#parts.limits[measure];
    if (limit === null) return null;
    const used = this.#used(measure, limit.periodMs);
    return { ...limit, used, freesAt: this.#window.nextEnd(limit.periodMs, this.#now) ?? null };
  }

  #opened(use: Use, minute: Instant): RecallCharge {
    this.#open.add(use);
    return {
      chargedAt: minute,
      refund: () => {
        if (this.#open.delete(use)) this.#unstore(use, minute);
      },
      spend: () => {
        if (!this.#open.delete(use)) return;
        this.#window.add(this.#now, use);
        if (minuteOf(this.#now) === minute) return;
        this.#unstore(use, minute);
        this.#store(use, this.#now);
      },
    };
  }

  get #now(): Instant {
    return this.#parts.clock.now();
  }

  #used(measure: UseMeasure, periodMs: Milliseconds): number {
    return this.#window.used(measure, periodMs, this.#now) + this.#openSum(measure);
  }

  #openSum(measure: UseMeasure): number {
    let sum = 0;
    for (const use of this.#open) sum += use[measure];
    return sum;
  }

  #store(use: Use, now: Instant): Instant {
    const { store } = this.#parts;
    const minute = minuteOf(now);
    store.add({ minute, ...use, recalls: 1 });
    store.forgetBefore(this.#window.prune(this.#keptMs, now));
    return minute;
  }

  #unstore({ bytes, cost }: Use, minute: Instant): void {
    this.#parts.store.add({ minute, bytes: -bytes, cost: -cost, recalls: -1 });
  }

  #useOf({ sizeBytes, tier }: RecallRequest): Use {
    const { prices, isFree } = this.#parts;
    return { bytes: sizeBytes, cost: isFree ? 0 : retrievalPrice(prices, sizeBytes, 1, tier) };
  }

  #refuseTooMuch(measure: UseMeasure, wanted: number, { name }: RecallRequest): void {
    const limit = this.#parts.limits[measure];
    if (limit === null) return;
    const used = this.#used(measure, limit.periodMs);
    if (used + wanted <= limit.max) return;
    const amount = (value: number) => this.#amountText(measure, value);
    const rule = `${optionOf[measure]} ${amount(limit.max)}/${periodText(limit.periodMs)}`;
    if (wanted > limit.max) {
      const message = `Cannot recall ${name}: its ${amount(wanted)} are more than ${rule} ever allows`;
      throw new FileSystemError("over-budget", message, { hint: restoreHint });
    }
    const allowed = limit.max - wanted - this.#openSum(measure);
    const at = this.#window.whenAtMost(measure, allowed, limit.periodMs, this.#now);
    const state = `${amount(used)} of ${rule} are used, and it takes ${amount(wanted)}`;
    // Recalls that are queued hold what they will take until their jobs start.
    const when = at === undefined ? "when those that are queued have had their time" : `at ${timeText(at)}`;
    throw new FileSystemError("over-budget", `Cannot recall ${name}: ${state}; there is room ${when}`, {
      hint: restoreHint,
    });
  }

  #amountText(measure: UseMeasure, value: number): string {
    return measure === "bytes" ? formatSize(value) : `${value.toFixed(2)} ${this.#parts.prices.currency}`;
  }
}

const optionOf: Record<UseMeasure, string> = { bytes: "--recall-limit", cost: "--recall-cost-limit" };

/** The periods that have a name. A month is 30 days: the window moves, it does not begin on a first. */
export const namedPeriods: Readonly<Record<string, Milliseconds>> = {
  hour: hours(1),
  day: hours(24),
  week: hours(7 * 24),
  month: hours(30 * 24),
};

/** `day`, `12h`. */
export function periodText(periodMs: Milliseconds): string {
  const named = Object.entries(namedPeriods).find(([, length]) => length === periodMs);
  return named?.[0] ?? formatDuration(periodMs);
}

function timeText(at: Instant): string {
  return new Date(at).toISOString().replace(/\.\d+Z$/, "Z");
}
