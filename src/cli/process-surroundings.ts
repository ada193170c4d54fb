/** What a long-running command makes of its process: log lines on standard error, nothing secret in `ps`. */

import { systemClock } from "../app/system-clock.js";
import type { LogLevel } from "../config/config.js";
import type { Observer } from "../domain/events.js";
import { logObserver } from "../observability/logger.js";
import { quietRepeats } from "../observability/quiet-repeats.js";
import type { Flags } from "./settings-options.js";

/** Readable lines on a terminal, JSON for everything else. What fails again and again is said less often, but for "debug". */
export function processObserver(options: { readonly level: LogLevel; readonly secrets: readonly string[] }): Observer {
  const format = process.stderr.isTTY ? "pretty" : "json";
  const observer = logObserver({ ...options, output: process.stderr, format, clock: systemClock });
  return options.level === "debug" ? observer : quietRepeats(observer, systemClock);
}

/** Replaces the command line that `ps` shows when a secret was given on it. */
export function hideSecrets(flags: Flags, title: string): void {
  if (flags.secretKey !== undefined) process.title = title;
}
