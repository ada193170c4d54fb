/** The table `[prices]` of `casfs.toml`: what the service charges, for who pays other prices than the published ones. */

import { z } from "zod";
import { type PriceTable, publishedPrices } from "../protocol/prices.js";
import { parseMoney } from "./recall-limits.js";
import { custom, text, whole } from "./setting.js";

const published = publishedPrices;
const amount = (help: string, price: number) => custom("AMOUNT", help, parseMoney).prefault(String(price));

export const priceShape = {
  currency: text("NAME", "what amounts are in").prefault(published.currency),
  storage: amount("per GiB and month", published.storagePerGbAndMonth),
  expedited: amount("retrieval, per GiB", published.retrievalPerGb.expedited),
  standard: amount("retrieval, per GiB", published.retrievalPerGb.standard),
  bulk: amount("retrieval, per GiB", published.retrievalPerGb.bulk),
  writes: amount("per 10,000 requests that write", published.per10000Writes),
  reads: amount("per 10,000 requests that read", published.per10000Reads),
  trafficOut: amount("what is fetched from outside the region, per GiB", published.trafficOutPerGb),
  minimumDays: whole(
    "DAYS",
    { from: 0, to: 3650 },
    "an archive that is deleted earlier is billed for so many days",
  ).prefault(String(published.minimumStorageDays)),
} as const;

const priceSchema = z.object(priceShape);

export function priceTable(settings: z.output<typeof priceSchema>): PriceTable {
  return {
    currency: settings.currency,
    storagePerGbAndMonth: settings.storage,
    retrievalPerGb: { expedited: settings.expedited, standard: settings.standard, bulk: settings.bulk },
    per10000Writes: settings.writes,
    per10000Reads: settings.reads,
    trafficOutPerGb: settings.trafficOut,
    minimumStorageDays: settings.minimumDays,
  };
}
