/**
 * The service of a data directory that other processes may run: when the one that did has ended, it is opened again.
 *
 * Relies on: whoever calls repeating what fails for a passing reason; the call that finds nobody fails all the same.
 */

import type { ClosableCasService } from "../client/http-cas-service.js";
import { aroundEachCurrentCall } from "../client/wrapped-service.js";
import { ServiceError } from "../domain/errors.js";
import { AsyncStack } from "../lib/async-stack.js";
import type { CasService } from "../protocol/service.js";
import type { ServicePlace } from "./service-place.js";

export class MovingService implements AsyncDisposable {
  readonly service: CasService;
  readonly #connect: (place: ServicePlace) => ClosableCasService;
  /** All places so far: calls may still be under way to the former ones. */
  readonly #stack = new AsyncStack();
  #place: ServicePlace;
  #current: ClosableCasService;
  #moving: Promise<void> | undefined;

  constructor(place: ServicePlace, connect: (place: ServicePlace) => ClosableCasService) {
    this.#connect = connect;
    this.#place = place;
    this.#current = this.#connected(place);
    this.service = aroundEachCurrentCall(
      () => this.#current,
      async (_operation, _options, call) => {
        const asked = this.#current;
        try {
          return await call();
        } catch (error) {
          const isGone = error instanceof ServiceError && error.fault === "connection";
          if (isGone && asked === this.#current) await this.#moveOnce();
          throw error;
        }
      },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#moving;
    await this.#stack[Symbol.asyncDispose]();
  }

  #connected(place: ServicePlace): ClosableCasService {
    this.#stack.use(place);
    const service = this.#connect(place);
    this.#stack.use({ [Symbol.asyncDispose]: () => service.close() });
    return service;
  }

  async #moveOnce(): Promise<void> {
    this.#moving ??= this.#move().finally(() => {
      this.#moving = undefined;
    });
    await this.#moving;
  }

  /** Without success the service stays where it was; the next call that fails tries again. */
  async #move(): Promise<void> {
    const place = await this.#place.reopen?.().catch(() => undefined);
    if (place === undefined) return;
    if (place.url === this.#place.url) return place[Symbol.asyncDispose]();
    this.#place = place;
    this.#current = this.#connected(place);
  }
}
