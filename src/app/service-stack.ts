/** The archive service of a mount: where it is, and the wrappers around it in their one order. */

import { httpCasService } from "../client/http-cas-service.js";
import { meteredService, type ServiceMeter } from "../client/metered-service.js";
import { observedService } from "../client/observed-service.js";
import { retryingService } from "../client/retrying-service.js";
import { throttledService } from "../client/throttled-service.js";
import type { ServiceChoice } from "../config/config.js";
import type { Credentials } from "../config/credentials.js";
import type { Observer } from "../domain/events.js";
import type { CasService } from "../protocol/service.js";
import { MovingService } from "./moving-service.js";
import { ownServicePlace, type ServicePlace } from "./service-place.js";
import { systemClock } from "./system-clock.js";

export interface ServiceStack extends AsyncDisposable {
  /** With retries: for all that may take its time. */
  readonly service: CasService;
  /** Without: for the first question, whose failure the user should see at once. */
  readonly impatient: CasService;
  readonly endpoint: string;
  /** Of an embedded service; null for one somewhere else. */
  readonly dataDirectory: string | null;
  /** What a state directory is bound to. An embedded service changes its port at every start. */
  readonly binding: { readonly endpoint: string; readonly appId: string; readonly region: string };
  /** For those who talk to the service in their own way. */
  readonly credentials: Credentials;
  /** From now on `meter` hears of every request. */
  meter(meter: ServiceMeter): void;
  /** Must not appear in any log. */
  readonly secrets: readonly string[];
}

/** Calls that are neither uploads nor downloads, at a time. */
const callsMax = 16;
const connectionsMax = 32;

/**
 * @param openPlace How a local service is opened. A mount runs its own: it must not lose it before it ends.
 * @throws CasfsError when a local service cannot start.
 */
export async function openService(
  config: { readonly service: ServiceChoice; readonly parallel: number },
  observer: Observer,
  openPlace: (choice: ServiceChoice, observer: Observer) => Promise<ServicePlace> = ownServicePlace,
): Promise<ServiceStack> {
  const place = await openPlace(config.service, observer);
  const { appId, secretId, secretKey } = place.credentials;
  const moving = new MovingService(place, ({ url }) =>
    httpCasService({
      endpoint: url,
      appId,
      credentials: { secretId, secretKey },
      clock: systemClock,
      poolSize: connectionsMax,
    }),
  );
  let meter: ServiceMeter | undefined;
  const http = meteredService(moving.service, () => meter);
  const limits = { transfersMax: 2 * config.parallel, callsMax };
  const throttled = throttledService(http, { limits, clock: systemClock });
  // Retry outside throttle: a call that waits for its next attempt must not hold a slot.
  const retrying = retryingService(throttled, { clock: systemClock, random: Math.random, observer });
  return {
    service: observedService(retrying, { observer, clock: systemClock }),
    impatient: http,
    endpoint: place.url,
    dataDirectory: place.dataDirectory,
    binding: { endpoint: place.identity, appId, region: regionOf(place.identity) },
    credentials: place.credentials,
    meter: (listener) => {
      meter = listener;
    },
    secrets: [secretKey],
    [Symbol.asyncDispose]: () => moving[Symbol.asyncDispose](),
  };
}

// cas.<region>.myqcloud.com (cas-api section 1); elsewhere the endpoint alone tells the archive.
function regionOf(endpoint: string): string {
  return /^https?:\/\/cas\.([a-z0-9-]+)\./.exec(endpoint)?.[1] ?? "-";
}
