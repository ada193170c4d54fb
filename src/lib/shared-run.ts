/**
 * One effect, such as a sync, for all who ask while it is busy.
 *
 * A request is answered by a run that began after it: a run that is already going may have missed what was just done.
 */
export class SharedRun {
  readonly #effect: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(effect: () => Promise<void>) {
    this.#effect = effect;
  }

  /** Resolves, or rejects, with a run that began after this call. */
  request(): Promise<void> {
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running.catch(() => undefined).then(() => this.#start());
    return this.#next;
  }

  #start(): Promise<void> {
    this.#next = undefined;
    const run = this.#effect().finally(() => {
      if (this.#running === run) this.#running = undefined;
    });
    this.#running = run;
    return run;
  }
}
