/** Aborting from above, and waiting that an abort ends. */

import { setMaxListeners } from "node:events";

/**
 * A child of an AbortSignal that lets go of its parent.
 *
 * Not `AbortSignal.any()`: in Node 20 each call leaves an entry on a long-lived parent (nodejs/node#54614).
 */
export class AbortScope implements Disposable {
  readonly #controller = new AbortController();
  readonly #parent: AbortSignal | undefined;
  readonly #onParentAbort = () => this.#controller.abort(this.#parent?.reason);

  constructor(parent?: AbortSignal) {
    this.#parent = parent;
    // Children let go, so many of them at a time are no leak; Node warns at eleven.
    setMaxListeners(0, this.#controller.signal, ...(parent === undefined ? [] : [parent]));
    if (parent?.aborted) this.#controller.abort(parent.reason);
    else parent?.addEventListener("abort", this.#onParentAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason?: unknown): void {
    this.#controller.abort(reason);
  }

  [Symbol.dispose](): void {
    this.#parent?.removeEventListener("abort", this.#onParentAbort);
  }
}

/** Resolves as `promise` does, or rejects with `signal.reason` when that comes first; `promise` itself goes on. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
