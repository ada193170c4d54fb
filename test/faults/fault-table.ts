/** The faults of `fault-plan.ts`, sorted by what a caller can know afterwards. */

import { faults, type NamedFault, type Rule } from "../support/fault-plan.js";

/** The service said that it did nothing, and that it may do so later. */
export const passingRefusals: readonly NamedFault[] = [
  faults.throttled(),
  faults.requestTimeout(),
  faults.serviceFailed(),
  faults.noCapacity(),
  faults.badGateway(),
];

/** No answer came; the server never saw the request, which the client cannot know. */
export const neverArrived: readonly NamedFault[] = [faults.garbage(), faults.resetBeforeRequest(), faults.silence()];

/** Only a request with a body can meet these; the server has refused what it got. */
export const brokenRequests: readonly NamedFault[] = [faults.resetInRequestBody(), faults.corruptedRequest()];

/** The request was carried out, and the client does not know. */
export const lostAnswers: readonly NamedFault[] = [faults.lostAnswer(), faults.silentEffect()];

/** Nothing is wrong; it only takes longer. */
export const delays: readonly NamedFault[] = [faults.delayedRequest(50), faults.delayedAnswer(50)];

/** Only an answer with a body can meet these. */
export const brokenAnswers: readonly NamedFault[] = [
  faults.truncatedAnswer(),
  faults.stalledAnswer(),
  faults.truncatedAnswer(0),
];

/** Faults of any request that do not make the server do it. */
export const withoutEffect: readonly NamedFault[] = [...passingRefusals, ...neverArrived];

/**
 * Whether rules made at random let some requests through for ever. Two that go on without end could share out all
 * requests between them, which is an outage that never ends; one leaves at least every other request alone.
 */
export function letSomeThrough(rules: readonly Rule[]): boolean {
  return rules.filter(({ occurrence }) => "every" in occurrence || "from" in occurrence).length <= 1;
}
