/**
 * Keeps a log readable while something fails for hours: of failures that say the same, one line in ten minutes, with
 * the number of those that were left out.
 *
 * What fails is in `casfs status` all the same. Never: holds back what is said for the first time.
 */

import type { CasfsEvent, Observer } from "../domain/events.js";
import { type Clock, type Instant, minutes } from "../domain/time.js";
import { formatDuration } from "../lib/amount-text.js";

const quietMs = minutes(10);
/** Different messages that are remembered; the one that was said longest ago goes first. */
const messagesMax = 500;

type Failure = Extract<CasfsEvent, { readonly message: string }>;

/** Failures that are tried again by themselves, and so come again. */
const repeating = new Set<CasfsEvent["type"]>([
  "service-retry",
  "upload-failed",
  "recall-failed",
  "inventory-failed",
  "vault-held",
  "warning",
]);

interface Said {
  at: Instant;
  since: number;
}

/** An observer that hands on to `observer` what is not said too often. */
export function quietRepeats(observer: Observer, clock: Pick<Clock, "now">): Observer {
  const said = new Map<string, Said>();
  return (event) => {
    if (!isRepeating(event)) return observer(event);
    const now = clock.now();
    const key = `${event.type} ${withoutNumbers(event.message)}`;
    const before = said.get(key);
    // A clock that was set back does not silence anything.
    if (before !== undefined && now >= before.at && now - before.at < quietMs) {
      before.since += 1;
      return;
    }
    said.delete(key);
    said.set(key, { at: now, since: 0 });
    if (said.size > messagesMax) said.delete(said.keys().next().value!);
    if (before === undefined || before.since === 0) return observer(event);
    const more = `${before.since} more like this in ${formatDuration(Math.max(0, now - before.at))}`;
    observer({ ...event, message: `${event.message} (${more})` });
  };
}

function isRepeating(event: CasfsEvent): event is Failure {
  return repeating.has(event.type);
}

/** Ten thousand files that fail for one reason say one thing. */
function withoutNumbers(message: string): string {
  return message.replace(/[A-Za-z0-9_-]{24,}|\d+/g, "#");
}
