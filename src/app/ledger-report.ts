/** The ledger's days as months with what they cost. Pure. */

import type { LedgerItem, LedgerRow } from "../catalog/ledger-table.js";
import { type PriceTable, priceOfByteDays, requestPrice, retrievalPrice, trafficPrice } from "../protocol/prices.js";
import { type RetrievalTier, retrievalTiers } from "../protocol/service.js";

/** Stable: `casfs cost --ledger --json` prints it. Prices in `currency`, at the prices of today, not rounded. */
export interface LedgerReport {
  readonly currency: string;
  readonly free: boolean;
  /** The oldest first; months (UTC) in which nothing was asked for are left out. */
  readonly months: readonly LedgerMonth[];
}

export interface LedgerMonth {
  /** `2026-11`. */
  readonly month: string;
  readonly retrievals: Readonly<Record<RetrievalTier, PricedItem>>;
  readonly inventories: number;
  readonly uploads: CountedItem & { readonly parts: number };
  /** `price`: what of the minimum storage time was left. */
  readonly deletions: PricedItem;
  readonly requests: { readonly writes: number; readonly reads: number; readonly price: number };
  /** Billed only when this machine is not in the service's region: not in `price`. */
  readonly downloads: { readonly bytes: number; readonly trafficPrice: number };
  /** Of retrievals, deletions and requests; storage is not asked for, and is not in it. */
  readonly price: number;
}

export interface CountedItem {
  readonly count: number;
  readonly bytes: number;
}

export interface PricedItem extends CountedItem {
  readonly price: number;
}

type Sums = ReadonlyMap<LedgerItem, { count: number; bytes: number; byteDays: number }>;

export function ledgerReport(rows: readonly LedgerRow[], prices: PriceTable, free: boolean): LedgerReport {
  const months = new Map<string, Map<LedgerItem, { count: number; bytes: number; byteDays: number }>>();
  for (const { day, item, count, bytes, byteDays } of rows) {
    const month = new Date(day).toISOString().slice(0, 7);
    const sums = months.get(month) ?? new Map();
    months.set(month, sums);
    const sum = sums.get(item) ?? { count: 0, bytes: 0, byteDays: 0 };
    sums.set(item, { count: sum.count + count, bytes: sum.bytes + bytes, byteDays: sum.byteDays + byteDays });
  }
  const sorted = [...months].sort(([one], [other]) => (one < other ? -1 : 1));
  return { currency: prices.currency, free, months: sorted.map(([month, sums]) => monthReport(month, sums, prices)) };
}

function monthReport(month: string, sums: Sums, prices: PriceTable): LedgerMonth {
  const of = (item: LedgerItem) => sums.get(item) ?? { count: 0, bytes: 0, byteDays: 0 };
  const counted = (item: LedgerItem): CountedItem => ({ count: of(item).count, bytes: of(item).bytes });
  const retrieval = (tier: RetrievalTier): PricedItem => {
    const { count, bytes } = counted(`retrieval-${tier}`);
    // The requests are counted as such: here is the retrieval alone.
    const price = retrievalPrice({ ...prices, per10000Reads: 0, per10000Writes: 0 }, bytes, count, tier);
    return { count, bytes, price };
  };
  const retrievals = Object.fromEntries(retrievalTiers.map((tier) => [tier, retrieval(tier)]));
  const deletions = { ...counted("delete"), price: priceOfByteDays(prices, of("delete").byteDays) };
  const requested = { writes: of("write").count, reads: of("read").count };
  const requests = { ...requested, price: requestPrice(prices, requested) };
  const { bytes: fetched } = of("download");
  return {
    month,
    retrievals: retrievals as Record<RetrievalTier, PricedItem>,
    inventories: of("inventory").count,
    uploads: { ...counted("upload"), parts: of("part").count },
    deletions,
    requests,
    downloads: { bytes: fetched, trafficPrice: trafficPrice(prices, fetched) },
    price: Object.values(retrievals).reduce((sum, { price }) => sum + price, deletions.price + requests.price),
  };
}
