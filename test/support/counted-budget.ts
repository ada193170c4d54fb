/** A recall budget without limits that remembers what was taken from it. */

import type { RecallAllowance, RecallCharge, RecallRequest } from "../../src/restore/recall-budget.js";

export class CountedBudget implements RecallAllowance {
  readonly taken: RecallRequest[] = [];
  readonly refunded: RecallRequest[] = [];
  /** Thrown instead of the next charge. */
  refusal: unknown;

  take(request: RecallRequest): RecallCharge {
    if (this.refusal !== undefined) throw this.refusal;
    this.taken.push(request);
    return { refund: () => void this.refunded.push(request), spend: () => undefined };
  }
}
