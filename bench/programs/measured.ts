/** What the measured client programs share. */

export interface Report {
  readonly ms: number;
  /** The largest amount of memory that the program has held at a time. */
  readonly peakBytes: number;
}

/** Runs `work` and prints a `Report`. */
export async function measured(work: () => Promise<void>): Promise<void> {
  const started = performance.now();
  await work();
  const ms = performance.now() - started;
  console.log(JSON.stringify({ ms, peakBytes: process.resourceUsage().maxRSS * 1024 } satisfies Report));
}

/** Runs `work` for 0 to `count` - 1, several at a time. */
export async function inParallel(
  count: number,
  concurrency: number,
  work: (index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const index = next;
      next += 1;
      await work(index);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}
