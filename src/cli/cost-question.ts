/** Before something that costs money: what it costs, in words, and whether the user agrees. */

import type { ByteCount } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import { formatDuration, formatSize } from "../lib/amount-text.js";
import { expeditedSizeBytesMax } from "../protocol/limits.js";
import { type PriceTable, readyIn, retrievalPrice, trafficPrice } from "../protocol/prices.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { Terminal } from "./terminal.js";

/**
 * Shows `lines`, asks on a terminal, and otherwise wants `--yes`. False: nothing may be done, exit code 3 is set.
 *
 * @throws `signal.reason` when it is aborted before there is an answer.
 */
export async function agreedToCost(
  terminal: Terminal,
  {
    lines,
    yes = false,
    signal,
  }: {
    readonly lines: readonly string[];
    readonly yes?: boolean | undefined;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<boolean> {
  for (const line of lines) terminal.tell(`casfs: ${line}`);
  if (yes) return true;
  const isAgreed = terminal.isInteractive && (await terminal.confirm("Go on?", signal));
  signal?.throwIfAborted();
  if (isAgreed) return true;
  terminal.tell("casfs: nothing was changed, because it costs money");
  if (!terminal.isInteractive) terminal.tell("hint: Add --yes to agree to the price");
  terminal.exitCode = 3;
  return false;
}

/** What a retrieval costs and when it is ready. `sizeBytes` null: nobody knows it before the job has started. */
export function retrievalLine(prices: PriceTable, sizeBytes: ByteCount | null, tier: RetrievalTier): string {
  const { from, to } = readyIn[tier];
  const ready = `ready in ${formatDuration(from)} to ${formatDuration(to)}`;
  if (sizeBytes === null) {
    return `a retrieval of unknown size at tier ${tier}: ${prices.retrievalPerGb[tier]} ${prices.currency} for each GiB, ${ready}`;
  }
  const price = priceText(retrievalPrice(prices, sizeBytes, 1, tier), prices.currency);
  const traffic = trafficText(trafficPrice(prices, sizeBytes), prices.currency);
  return `a retrieval of ${formatSize(sizeBytes)} at tier ${tier}: ${price}, ${ready}${traffic}`;
}

/** What is billed besides when the bytes leave the region; nothing for amounts that nobody would notice. */
export function trafficText(price: number, currency: string): string {
  return !isWorthAWord(price)
    ? ""
    : `; from outside the service's region also ${priceText(price, currency)} for traffic`;
}

/** Whether anybody would notice it on a bill. */
export function isWorthAWord(price: number): boolean {
  return price >= 0.01;
}

/** A price must never look like nothing. */
export function priceText(price: number, currency: string): string {
  return price < 0.01 ? `less than 0.01 ${currency}` : `about ${price.toFixed(2)} ${currency}`;
}

/** @throws FileSystemError "too-large" when the tier does not take an archive of that size (cas-api section 14.1). */
export function checkTier(archiveSizeBytes: ByteCount | null, tier: RetrievalTier): void {
  if (tier !== "expedited" || archiveSizeBytes === null || archiveSizeBytes <= expeditedSizeBytesMax) return;
  const sizes = `it has ${formatSize(archiveSizeBytes)}, and the tier takes up to ${formatSize(expeditedSizeBytesMax)}`;
  throw new FileSystemError("too-large", `Cannot retrieve the archive at tier expedited: ${sizes}`, {
    hint: "Take --tier standard or --tier bulk",
  });
}
