/** Bounded concurrency: a number of workers that pull, and a lock per key. */

import { AbortScope } from "./abort-scope.js";

/**
 * Calls `work` for every item, at most `concurrency` at a time; pulls the next item only when a worker is free.
 *
 * The first failure aborts the signal of its siblings and is thrown once all of them have stopped.
 *
 * @throws RangeError unless `concurrency` is at least 1; what `work` throws.
 */
export async function forEachConcurrently<T>(
  items: Iterable<T> | AsyncIterable<T>,
  options: { readonly concurrency: number; readonly signal?: AbortSignal | undefined },
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { concurrency } = options;
  // None at a time would leave everything undone, and look as if all of it were done.
  if (!(concurrency >= 1)) throw new RangeError(`Cannot do ${concurrency} things at a time`);
  using scope = new AbortScope(options.signal);
  const iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  let failure: { readonly reason: unknown } | undefined;

  const worker = async () => {
    while (failure === undefined) {
      scope.signal.throwIfAborted();
      const next = await iterator.next();
      if (next.done) return;
      await work(next.value, scope.signal);
    }
  };
  const guarded = () =>
    worker().catch((reason: unknown) => {
      failure ??= { reason };
      scope.abort(reason);
    });

  await Promise.all(Array.from({ length: concurrency }, guarded));
  if (failure !== undefined) {
    await iterator.return?.();
    throw failure.reason;
  }
}

/** One holder per key at a time, in the order of asking; keys that nobody holds cost nothing. */
export class KeyedMutex<K> {
  readonly #tails = new Map<K, Promise<void>>();

  isHeld(key: K): boolean {
    return this.#tails.has(key);
  }

  /** Runs `work` while no other `work` of the same key runs. */
  async run<T>(key: K, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    let release!: () => void;
    const tail = new Promise<void>((resolve) => {
      release = resolve;
    });
    const chained = before === undefined ? tail : before.then(() => tail);
    this.#tails.set(key, chained);
    try {
      await before;
      return await work();
    } finally {
      release();
      if (this.#tails.get(key) === chained) this.#tails.delete(key);
    }
  }
}
