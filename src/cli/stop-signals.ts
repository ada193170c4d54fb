/** Ctrl-C and kill as an AbortSignal: the first asks to end in order, a later one insists. */

import { CancelledError } from "../domain/errors.js";

const names = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface StopSignals extends Disposable {
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP. */
  readonly signal: AbortSignal;
  /** As the first signal does. */
  stop(): void;
}

/** Handles the signals until it is disposed. `what` is stopped: "The demo". */
export function stopSignals({
  what,
  onFirst,
  onRepeated,
}: {
  readonly what: string;
  readonly onFirst?: () => void;
  readonly onRepeated: () => void;
}): StopSignals {
  const controller = new AbortController();
  const stop = () => controller.abort(new CancelledError(what));
  const onSignal = () => {
    if (controller.signal.aborted) return onRepeated();
    onFirst?.();
    stop();
  };
  for (const name of names) process.on(name, onSignal);
  return {
    signal: controller.signal,
    stop,
    [Symbol.dispose]: () => {
      for (const name of names) process.removeListener(name, onSignal);
    },
  };
}
