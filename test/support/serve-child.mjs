/**
 * The compiled server in a process of its own, for tests that kill it.
 *
 * Takes the data directory and a JSON object of options; prints its port, and `failed: <message>` when it cannot start.
 * Its clock runs with the real one and can be moved ahead: a parent that has spawned it with an "ipc" channel sends
 * `{ advanceMs }` and gets `{ nowMs }` back once whoever slept until then has been woken (see server-process.ts).
 */
import { startServer } from "../../dist/server/server.js";

class MovableClock {
  #aheadMs = 0;
  #sleepers = new Set();

  now() {
    return Date.now() + this.#aheadMs;
  }

  sleep(durationMs, { signal } = {}) {
    return new Promise((resolve, reject) => {
      const sleeper = { wakeAt: this.now() + durationMs, wake: () => end(resolve), timer: undefined };
      const onAbort = () => end(() => reject(signal.reason));
      const end = (settle) => {
        clearTimeout(sleeper.timer);
        signal?.removeEventListener("abort", onAbort);
        this.#sleepers.delete(sleeper);
        settle();
      };
      if (signal?.aborted) return onAbort();
      signal?.addEventListener("abort", onAbort, { once: true });
      sleeper.timer = setTimeout(sleeper.wake, Math.min(durationMs, 2 ** 31 - 1));
      this.#sleepers.add(sleeper);
    });
  }

  /** In the order of their times, each with what it does next done before the next one wakes. */
  async advance(durationMs) {
    const target = this.now() + durationMs;
    for (;;) {
      const [next] = [...this.#sleepers].filter(({ wakeAt }) => wakeAt <= target).sort((a, b) => a.wakeAt - b.wakeAt);
      if (next === undefined) break;
      this.#aheadMs = Math.max(this.#aheadMs, next.wakeAt - Date.now());
      next.wake();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#aheadMs = Math.max(this.#aheadMs, target - Date.now());
  }
}

const [dataDirectory, optionsText = "{}"] = process.argv.slice(2);
const clock = new MovableClock();

try {
  const server = await startServer({
    dataDirectory,
    host: "127.0.0.1",
    port: 0,
    appId: "1250000000",
    secretId: "AKIDexample",
    secretKey: "exampleSecretKey",
    region: "ap-chengdu",
    retrievalMs: { expedited: 0, standard: 0, bulk: 0, inventory: 0 },
    inventoryIntervalMs: 0,
    outputLifetimeMs: 86_400_000,
    uploadLifetimeMs: 86_400_000,
    strictSignature: false,
    clockSkewMs: 300_000,
    clock,
    observer: (event) => console.error(JSON.stringify(event)),
    ...JSON.parse(optionsText),
  });
  process.on("SIGTERM", () => server.close().then(() => process.exit(0)));
  process.on("message", async ({ advanceMs }) => {
    await clock.advance(advanceMs);
    process.send({ nowMs: clock.now() });
  });
  // The channel alone must not keep a server alive whose parent is gone.
  process.on("disconnect", () => process.exit(0));
  console.log(`port: ${server.port}`);
} catch (error) {
  console.log(`failed: ${error.message}`);
  process.exitCode = 1;
}
