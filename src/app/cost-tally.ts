/** Adds up what archives cost: to keep, to bring back, and to delete now. Pure. */

import type { Instant } from "../domain/time.js";
import { hours } from "../domain/time.js";
import {
  earlyDeletionPrice,
  type PriceTable,
  readyIn,
  requestPrice,
  retrievalPrice,
  type StoredArchive,
  storagePrice,
  trafficPrice,
} from "../protocol/prices.js";
import { type RetrievalTier, retrievalTiers } from "../protocol/service.js";
import { acceptedTier } from "../restore/retrieval-plan.js";

/** Stable: `casfs cost --json` prints it. Sizes in bytes, prices in `currency` and not rounded, times ISO 8601. */
export interface CostReport {
  readonly currency: string;
  /** The service is one of this machine and charges nothing: the prices are those of another. */
  readonly free: boolean;
  readonly stored: { readonly archives: number; readonly bytes: number; readonly pricePerMonth: number };
  /** What has no copy here. */
  readonly restore: {
    readonly archives: number;
    readonly bytes: number;
    /** Of these, being recalled already: they cost nothing more, and are in no price. */
    readonly running: number;
    readonly tiers: Readonly<Record<RetrievalTier, TierCost>>;
    /** Besides, when this machine is not in the service's region. */
    readonly trafficPrice: number;
  };
  readonly deletion: {
    readonly price: number;
    /** Archives that are billed for a time that has not come yet. */
    readonly young: number;
    /** When the last of them costs nothing any more; null when there is none. */
    readonly freeAt: string | null;
  };
  /** Not in the vault yet: costs nothing. */
  readonly notArchived: { readonly files: number; readonly bytes: number };
  /** Of `stored`, what was deleted or overwritten; null when only some paths were asked for. */
  readonly trash: { readonly files: number; readonly bytes: number } | null;
}

export interface TierCost {
  readonly price: number;
  readonly readyInMs: { readonly from: number; readonly to: number };
}

/** Where the bytes of an archive are. */
export type ArchivePlace = "here" | "recalling" | "cold";

export class CostTally {
  readonly #prices: PriceTable;
  readonly #now: Instant;
  readonly #tierPrices: Record<RetrievalTier, number> = { expedited: 0, standard: 0, bulk: 0 };
  readonly #sums = { archives: 0, bytes: 0, cold: 0, coldBytes: 0, running: 0, fetchedBytes: 0, young: 0, deletion: 0 };
  readonly #notArchived = { files: 0, bytes: 0 };
  #freeAt = 0;

  constructor(prices: PriceTable, now: Instant) {
    this.#prices = prices;
    this.#now = now;
  }

  add(archive: StoredArchive, place: ArchivePlace): void {
    const sums = this.#sums;
    sums.archives += 1;
    sums.bytes += archive.sizeBytes;
    sums.deletion += requestPrice(this.#prices, { writes: 1, reads: 0 });
    this.#addDeletion(archive);
    if (place === "here") return;
    sums.cold += 1;
    sums.coldBytes += archive.sizeBytes;
    if (place === "recalling") sums.running += 1;
    else this.#addRetrieval(archive);
  }

  addNotArchived(sizeBytes: number): void {
    this.#notArchived.files += 1;
    this.#notArchived.bytes += sizeBytes;
  }

  report({ free, trash }: Pick<CostReport, "free" | "trash">): CostReport {
    const { archives, bytes, cold, coldBytes, running, fetchedBytes, young, deletion } = this.#sums;
    const tiers = retrievalTiers.map((tier) => [tier, { price: this.#tierPrices[tier], readyInMs: readyIn[tier] }]);
    return {
      currency: this.#prices.currency,
      free,
      stored: { archives, bytes, pricePerMonth: storagePrice(this.#prices, bytes) },
      restore: {
        archives: cold,
        bytes: coldBytes,
        running,
        tiers: Object.fromEntries(tiers) as Record<RetrievalTier, TierCost>,
        trafficPrice: trafficPrice(this.#prices, fetchedBytes),
      },
      deletion: { price: deletion, young, freeAt: young === 0 ? null : new Date(this.#freeAt).toISOString() },
      notArchived: { ...this.#notArchived },
      trash,
    };
  }

  #addDeletion(archive: StoredArchive): void {
    const price = earlyDeletionPrice(this.#prices, archive, this.#now);
    const freeAt = archive.createdAt + hours(24 * this.#prices.minimumStorageDays);
    if (freeAt <= this.#now) return;
    this.#sums.young += 1;
    this.#sums.deletion += price;
    this.#freeAt = Math.max(this.#freeAt, freeAt);
  }

  /** Large archives come at a slower tier than Expedited, whatever was asked for. */
  #addRetrieval({ sizeBytes }: StoredArchive): void {
    this.#sums.fetchedBytes += sizeBytes;
    for (const tier of retrievalTiers) {
      this.#tierPrices[tier] += retrievalPrice(this.#prices, sizeBytes, 1, acceptedTier(tier, sizeBytes));
    }
  }
}
