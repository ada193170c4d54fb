/** CasService -> CasService: a bounded number of calls at a time, and of calls in a second. */

import { type Clock, type Milliseconds, ms } from "../domain/time.js";
import { deferred } from "../lib/deferred.js";
import { Semaphore } from "../lib/semaphore.js";
import type { CallOptions, CasService, JobOutput } from "../protocol/service.js";
import { aroundEachCall, type CasOperation } from "./wrapped-service.js";

export interface ThrottleLimits {
  /** Uploads and downloads at a time; a download counts until its body has ended. */
  readonly transfersMax: number;
  /** All other calls at a time. Apart from the transfers, so that creating a vault does not wait for gigabytes. */
  readonly callsMax: number;
  /** Calls of any kind in a second, on average; unlimited when absent. */
  readonly callsPerSecond?: number | undefined;
}

const transfers: ReadonlySet<CasOperation> = new Set(["uploadArchive", "uploadPart", "getJobOutput"]);

export function throttledService(
  service: CasService,
  { limits, clock }: { readonly limits: ThrottleLimits; readonly clock: Clock },
): CasService {
  const transferSlots = new Semaphore(limits.transfersMax);
  const callSlots = new Semaphore(limits.callsMax);
  const pace = limits.callsPerSecond === undefined ? undefined : new Pace(limits.callsPerSecond, clock);
  const throttled = aroundEachCall(service, (operation, options, call) => {
    const slots = transfers.has(operation) ? transferSlots : callSlots;
    return slots.run(options?.signal, async () => {
      await pace?.turn(options);
      return await call();
    });
  });
  return {
    ...throttled,
    getJobOutput: (vault, job, range, options) =>
      untilBodyEnds(transferSlots, options, async () => {
        await pace?.turn(options);
        return await service.getJobOutput(vault, job, range, options);
      }),
  };
}

/** Spreads calls evenly; those of one second may come at once after a pause. */
class Pace {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #burstMs = 1000;
  #nextAt = Number.NEGATIVE_INFINITY;

  constructor(callsPerSecond: number, clock: Clock) {
    this.#intervalMs = 1000 / callsPerSecond;
    this.#clock = clock;
  }

  async turn(options: CallOptions | undefined): Promise<void> {
    const now = this.#clock.now();
    const at = Math.max(this.#nextAt, now - this.#burstMs + this.#intervalMs);
    this.#nextAt = at + this.#intervalMs;
    if (at > now) await this.#clock.sleep(ms(Math.ceil(at - now)) as Milliseconds, { signal: options?.signal });
  }
}

/** Holds a slot from the call until its body has ended, one way or another. */
function untilBodyEnds(
  slots: Semaphore,
  options: CallOptions | undefined,
  call: () => Promise<JobOutput>,
): Promise<JobOutput> {
  const result = deferred<JobOutput>();
  slots
    .run(options?.signal, async () => {
      const output = await call();
      const ended = deferred<void>();
      result.resolve({ ...output, body: notifyingEnd(output.body, () => ended.resolve()) });
      await ended.promise;
    })
    .catch((error: unknown) => result.reject(error));
  return result.promise;
}

/** Not a generator: the `finally` of one that never started does not run, and the slot would be lost. */
function notifyingEnd(body: AsyncIterable<Uint8Array>, onEnd: () => void): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = body[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            const step = await iterator.next();
            if (step.done) onEnd();
            return step;
          } catch (error) {
            onEnd();
            throw error;
          }
        },
        async return() {
          onEnd();
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
