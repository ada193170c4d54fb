/** Ends what was begun, last first. Node 20 has no AsyncDisposableStack. */
export class AsyncStack implements AsyncDisposable {
  readonly #ends: (() => PromiseLike<void>)[] = [];

  use<T extends AsyncDisposable>(resource: T): T {
    this.defer(() => resource[Symbol.asyncDispose]());
    return resource;
  }

  defer(end: () => PromiseLike<void>): void {
    this.#ends.push(end);
  }

  /** Every end is tried; the first failure is thrown after the last of them. */
  async [Symbol.asyncDispose](): Promise<void> {
    let failure: { readonly reason: unknown } | undefined;
    for (const end of this.#ends.splice(0).reverse()) {
      try {
        await end();
      } catch (reason) {
        failure ??= { reason };
      }
    }
    if (failure !== undefined) throw failure.reason;
  }
}
