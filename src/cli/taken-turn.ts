/**
 * Work that must not be done twice at the same time on this machine, because it would be paid for twice.
 *
 * Relies on: locks that end with their process. Processes of other machines are not seen.
 */

import { createHash } from "node:crypto";
import { systemClock } from "../app/system-clock.js";
import { ms } from "../domain/time.js";
import { tryLock } from "../lib/process-lock.js";

const pauseMs = ms(200);

/** The lock of what `words` name together; undefined while another process has it. */
export function lockOf(words: readonly string[]): Promise<AsyncDisposable | undefined> {
  return tryLock(createHash("sha256").update(JSON.stringify(words)).digest("hex").slice(0, 32));
}

/** The same, once no other process has it. @throws `signal.reason`. */
export async function takeTurn(
  words: readonly string[],
  { signal, onWaiting }: { readonly signal: AbortSignal; readonly onWaiting: () => void },
): Promise<AsyncDisposable> {
  for (let isFirst = true; ; isFirst = false) {
    const lock = await lockOf(words);
    if (lock !== undefined) return lock;
    if (isFirst) onWaiting();
    await systemClock.sleep(pauseMs, { signal });
  }
}
