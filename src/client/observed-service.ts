/** CasService -> CasService: every call is reported to the Observer when it ends. */

import { describeError, ServiceError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { Clock } from "../domain/time.js";
import type { CasService } from "../protocol/service.js";
import { aroundEachCall } from "./wrapped-service.js";

/** Of `getJobOutput` the time until the body begins is reported, not that of the body. */
export function observedService(
  service: CasService,
  { observer, clock }: { readonly observer: Observer; readonly clock: Clock },
): CasService {
  return aroundEachCall(service, async (operation, options, call) => {
    const startedAt = clock.now();
    const report = (outcome: string, message?: string) =>
      observer({
        type: "service-call",
        operation,
        durationMs: clock.now() - startedAt,
        outcome,
        ...(message === undefined ? {} : { message }),
      });
    try {
      const result = await call();
      report("ok");
      return result;
    } catch (error) {
      report(outcomeOf(error, options?.signal), describeError(error));
      throw error;
    }
  });
}

function outcomeOf(error: unknown, signal: AbortSignal | undefined): string {
  if (error instanceof ServiceError) return error.fault;
  return signal?.aborted ? "cancelled" : "failed";
}
