/** How far a transfer is, as one line. Pure. */

import { formatDuration, formatSize } from "../lib/amount-text.js";

export interface Progress {
  readonly label: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** Of late; null while nobody can tell. */
  readonly bytesPerSecond: number | null;
}

const barWidthMin = 8;
const barWidthMax = 40;

/** `backup.tar  [#####-----]  48MiB of 96MiB  50%  12MiB/s  4s left`; what has no room in `width` is left out. */
export function progressLine(progress: Progress, width: number): string {
  const { label, doneBytes, totalBytes } = progress;
  const percent = `${totalBytes === 0 ? 100 : Math.floor((doneBytes / totalBytes) * 100)}%`;
  const amount = `${formatSize(doneBytes)} of ${formatSize(totalBytes)}`;
  const words = [amount, percent, ...rateWords(progress)];
  while (words.length > 1 && words.join("  ").length > width) words.pop();
  const tail = words.join("  ");
  const shownLabel = shortened(label, width - tail.length - 2);
  const barWidth = Math.min(barWidthMax, width - [shownLabel, tail].join("  ").length - 4);
  const bar = barWidth < barWidthMin ? [] : [barText(totalBytes === 0 ? 1 : doneBytes / totalBytes, barWidth)];
  return [shownLabel, ...bar, tail]
    .filter((text) => text !== "")
    .join("  ")
    .slice(0, width);
}

function rateWords({ doneBytes, totalBytes, bytesPerSecond }: Progress): string[] {
  if (bytesPerSecond === null || bytesPerSecond <= 0) return [];
  const leftMs = ((totalBytes - doneBytes) / bytesPerSecond) * 1000;
  const left = leftMs < 1000 ? "less than 1s left" : `${formatDuration(Math.round(leftMs / 1000) * 1000)} left`;
  return [`${formatSize(bytesPerSecond)}/s`, ...(doneBytes < totalBytes ? [left] : [])];
}

function barText(share: number, width: number): string {
  const full = Math.min(width, Math.max(0, Math.floor(share * width)));
  return `[${"#".repeat(full)}${"-".repeat(width - full)}]`;
}

/** The end of a file's name says more than its middle. */
function shortened(label: string, width: number): string {
  if (label.length <= width) return label;
  return width < barWidthMin ? "" : `${label.slice(0, width - 9)}…${label.slice(-8)}`;
}
