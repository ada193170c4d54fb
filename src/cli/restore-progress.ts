/** What a person sees while files are restored: asked of the mount every second, removed when disposed. */

import type { RestoreProgress } from "../app/control-api.js";
import { formatDuration, formatSize } from "../lib/amount-text.js";
import { type CasfsMount, withControl } from "./casfs-mount.js";
import { counted, type Terminal } from "./terminal.js";

export interface WatchedBatch {
  readonly mount: CasfsMount;
  readonly batch: string;
}

const lookMs = 1000;

export function showRestoreProgress(
  terminal: Terminal,
  batches: readonly WatchedBatch[],
  now: () => number,
): Disposable {
  let isOver = false;
  const look = async () => {
    const found = await Promise.all(
      batches.map(
        ({ mount, batch }) => withControl(mount, (api) => api.restoreProgress({ batch })).catch(() => null), // The restore itself will say.
      ),
    );
    const progress = found.filter((one) => one !== null);
    if (isOver || progress.length === 0) return;
    terminal.showStatus(restoreProgressLine(progress, now()).slice(0, terminal.statusWidth));
  };
  const timer = terminal.hasStatus ? setInterval(look, lookMs) : undefined;
  return {
    [Symbol.dispose]: () => {
      isOver = true;
      clearInterval(timer);
      terminal.showStatus("");
    },
  };
}

/** `312 of 1000 files, 1.2GiB of 4GiB, 120 ordered, 568 queued, ready in about 3h`. */
export function restoreProgressLine(batches: readonly RestoreProgress[], now: number): string {
  const sum = (count: (one: RestoreProgress) => number) => batches.reduce((total, one) => total + count(one), 0);
  const states = (["ordered", "queued", "landing", "failed"] as const).flatMap((state) => {
    const count = sum((one) => one[state]);
    return count === 0 ? [] : `${count} ${state}`;
  });
  const times = batches.map(({ expectedAt }) => expectedAt);
  const end = times.includes(null) ? null : Math.max(...times.map((time) => Date.parse(time!)));
  const ready =
    end === null || end <= now ? [] : [`ready in about ${formatDuration(Math.ceil((end - now) / 1000) * 1000)}`];
  return [
    `${sum((one) => one.landed)} of ${counted(
      sum((one) => one.files),
      "file",
    )}`,
    `${formatSize(sum((one) => one.landedBytes))} of ${formatSize(sum((one) => one.bytes))}`,
    ...states,
    ...ready,
  ].join(", ");
}
