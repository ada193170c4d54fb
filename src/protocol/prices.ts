/**
 * What storing, retrieving and deleting cost, and how long a retrieval takes, as the service publishes it (cas-api
 * section 14). Pure. Prices are a table, because a contract or another region may have others.
 */

import { type ByteCount, GIB } from "../domain/bytes.js";
import { hours, type Instant, type Milliseconds, minutes } from "../domain/time.js";
import { downloadPieceBytes } from "./limits.js";
import type { RetrievalTier } from "./service.js";

/** Amounts are in `currency`. Whether a GB is 10^9 or 2^30 bytes is not stated; 2^30 (section 16, row 36). */
export interface PriceTable {
  readonly currency: string;
  readonly storagePerGbAndMonth: number;
  readonly retrievalPerGb: Readonly<Record<RetrievalTier, number>>;
  /** PUT, POST and DELETE. */
  readonly per10000Writes: number;
  /** GET and HEAD. */
  readonly per10000Reads: number;
  /** Of what leaves the service's region; within the region nothing is billed. */
  readonly trafficOutPerGb: number;
  /** An archive that is deleted earlier is billed as if it had been stored for so long (section 14.3). */
  readonly minimumStorageDays: number;
}

/** An archive that is deleted earlier is billed as if it had been stored for so long (section 14.3). */
export const minimumStorageDays = 90;

export const publishedPrices: PriceTable = {
  currency: "CNY",
  storagePerGbAndMonth: 0.033,
  retrievalPerGb: { expedited: 0.2, standard: 0.06, bulk: 0.016 },
  per10000Writes: 1,
  per10000Reads: 0.1,
  trafficOutPerGb: 0.64,
  minimumStorageDays,
};

/** From when the job is asked for until its output is ready. */
export const readyIn: Record<RetrievalTier, { readonly from: Milliseconds; readonly to: Milliseconds }> = {
  expedited: { from: minutes(1), to: minutes(5) },
  standard: { from: hours(3), to: hours(5) },
  bulk: { from: hours(5), to: hours(12) },
};

const requestsPerUnit = 10_000;
/** The published formula takes the days of the month of the bill. */
const daysPerMonth = 30;
const dayMs = hours(24);

/**
 * Price of retrieving `sizeBytes` in `files` jobs and fetching them: the bytes, one write request for each job, and the
 * reads that ask for it and fetch its pieces. Without traffic. Not rounded.
 */
export function retrievalPrice(prices: PriceTable, sizeBytes: number, files: number, tier: RetrievalTier): number {
  const reads = files + Math.ceil(sizeBytes / downloadPieceBytes);
  return (sizeBytes / GIB) * prices.retrievalPerGb[tier] + requestPrice(prices, { writes: files, reads });
}

export function requestPrice(
  prices: PriceTable,
  { writes, reads }: { readonly writes: number; readonly reads: number },
): number {
  return (writes * prices.per10000Writes + reads * prices.per10000Reads) / requestsPerUnit;
}

/** What fetching `sizeBytes` costs from outside the service's region. Not rounded. */
export function trafficPrice(prices: PriceTable, sizeBytes: number): number {
  return (sizeBytes / GIB) * prices.trafficOutPerGb;
}

/** What keeping `sizeBytes` costs in a month. Not rounded. */
export function storagePrice(prices: PriceTable, sizeBytes: number): number {
  return (sizeBytes / GIB) * prices.storagePerGbAndMonth;
}

export interface StoredArchive {
  readonly sizeBytes: ByteCount;
  readonly createdAt: Instant;
}

/** Price of deleting an archive `now`; 0 from day 90 on (section 14.3). Not rounded. */
export function earlyDeletionPrice(prices: PriceTable, archive: StoredArchive, now: Instant): number {
  return priceOfByteDays(prices, remainingByteDays(archive, now, prices.minimumStorageDays));
}

/** The bytes of an archive times the days that are billed although it is deleted `now`. */
export function remainingByteDays(
  { sizeBytes, createdAt }: StoredArchive,
  now: Instant,
  minimumDays: number = minimumStorageDays,
): number {
  const daysStored = Math.max(0, (now - createdAt) / dayMs);
  return sizeBytes * Math.max(0, minimumDays - daysStored);
}

/** What storing so many bytes for so many days costs. */
export function priceOfByteDays(prices: PriceTable, byteDays: number): number {
  return ((byteDays / GIB) * prices.storagePerGbAndMonth) / daysPerMonth;
}
