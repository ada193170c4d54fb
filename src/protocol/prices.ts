/** What a retrieval costs and how long it takes, as the service publishes it (cas-api section 14). Pure. */

import { type ByteCount, GIB } from "../domain/bytes.js";
import { hours, type Instant, type Milliseconds, minutes } from "../domain/time.js";
import type { RetrievalTier } from "./service.js";

export const currency = "CNY";

interface TierTerms {
  /** In `currency` per GB. Whether a GB is 10^9 or 2^30 bytes is not stated; 2^30 (section 16, row 36). */
  readonly pricePerGb: number;
  readonly readyIn: { readonly from: Milliseconds; readonly to: Milliseconds };
}

export const tierTerms: Record<RetrievalTier, TierTerms> = {
  expedited: { pricePerGb: 0.2, readyIn: { from: minutes(1), to: minutes(5) } },
  standard: { pricePerGb: 0.06, readyIn: { from: hours(3), to: hours(5) } },
  bulk: { pricePerGb: 0.016, readyIn: { from: hours(5), to: hours(12) } },
};

/** An archive that is deleted earlier is billed as if it had been stored for so long (section 14.3). */
export const minimumStorageDays = 90;

const requestsPerUnit = 10_000;
const writeRequestUnitPrice = 1;

/** Price of retrieving `sizeBytes` in `files` jobs: the bytes, and one write request for each job. Not rounded. */
export function retrievalPrice(sizeBytes: ByteCount, files: number, tier: RetrievalTier): number {
  return (sizeBytes / GIB) * tierTerms[tier].pricePerGb + (files / requestsPerUnit) * writeRequestUnitPrice;
}

const storagePricePerGbAndMonth = 0.033;
/** The published formula takes the days of the month of the bill. */
const daysPerMonth = 30;

/** Price of deleting an archive `now`; 0 from day 90 on (section 14.3). Not rounded. */
export function earlyDeletionPrice(
  { sizeBytes, createdAt }: { readonly sizeBytes: ByteCount; readonly createdAt: Instant },
  now: Instant,
): number {
  const daysStored = Math.max(0, (now - createdAt) / hours(24));
  const daysLeft = Math.max(0, minimumStorageDays - daysStored);
  return ((sizeBytes / GIB) * daysLeft * storagePricePerGbAndMonth) / daysPerMonth;
}
