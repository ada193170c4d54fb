/** A recall budget without limits that remembers what was taken from it. */

import type { Instant } from "../../src/domain/time.js";
import type { RecallAllowance, RecallCharge, RecallRequest } from "../../src/restore/recall-budget.js";

export class CountedBudget implements RecallAllowance {
  readonly taken: RecallRequest[] = [];
  readonly refunded: RecallRequest[] = [];
  /** Thrown instead of the next charge. */
  refusal: unknown;

  take(request: RecallRequest): RecallCharge {
    if (this.refusal !== undefined) throw this.refusal;
    this.taken.push(request);
    return this.#charge(request);
  }

  resume(request: RecallRequest): RecallCharge {
    return this.#charge(request);
  }

  #charge(request: RecallRequest): RecallCharge {
    return { chargedAt: 0 as Instant, refund: () => void this.refunded.push(request), spend: () => undefined };
  }
}
