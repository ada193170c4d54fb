/** What a restore would order and what that would cost, counted file by file. Pure. */

import type { ByteCount } from "../domain/bytes.js";
import { expeditedSizeBytesMax } from "../protocol/limits.js";
import { type PriceTable, readyIn, retrievalPrice, trafficPrice } from "../protocol/prices.js";
import { type RetrievalTier, retrievalTiers } from "../protocol/service.js";
import { acceptedTier, isFasterTier } from "../restore/retrieval-plan.js";
import type { RestorePlan } from "./control-api.js";

/** A retrieval of a file that exists already. */
export interface UnderWay {
  readonly tier: RetrievalTier;
  /** Its output is there, or being fetched: no tier would be faster. */
  readonly isReady: boolean;
  /** This mount fetches it in any case; another's job costs the traffic when it is joined. */
  readonly isOurs: boolean;
}

interface TallyOptions {
  readonly prices: PriceTable;
  /** Named by the user; undefined for the mount's own, which orders no second job for the sake of time. */
  readonly wanted: RetrievalTier | undefined;
  /** The mount's own tier. */
  readonly usual: RetrievalTier;
  /** Whether the service costs nothing and is as fast as it was told to be. */
  readonly isLocal: boolean;
}

export class RestoreTally {
  readonly #options: TallyOptions;
  readonly #counts = { files: 0, bytes: 0, running: 0, slower: 0, tooLarge: 0, cachedFiles: 0, localFiles: 0 };
  readonly #cost = { traffic: 0, tiers: { expedited: 0, standard: 0, bulk: 0 } };

  constructor(options: TallyOptions) {
    this.#options = options;
  }

  /** A file whose bytes are here: "local" ones have no archive, or none yet. */
  here(kind: "cached" | "local"): void {
    if (kind === "cached") this.#counts.cachedFiles += 1;
    else this.#counts.localFiles += 1;
  }

  /** A file whose archive cannot be had: its restore fails, and orders nothing. */
  unreadable(sizeBytes: ByteCount): void {
    this.#counts.files += 1;
    this.#counts.bytes += sizeBytes;
  }

  /** @param archiveSizeBytes By which the service decides on a tier, when only a part of the archive is restored. */
  cold(sizeBytes: ByteCount, underWay: UnderWay | undefined, archiveSizeBytes = sizeBytes): void {
    const counts = this.#counts;
    counts.files += 1;
    counts.bytes += sizeBytes;
    counts.tooLarge += archiveSizeBytes > expeditedSizeBytesMax ? 1 : 0;
    const { prices } = this.#options;
    if (!underWay?.isOurs) this.#cost.traffic += trafficPrice(prices, sizeBytes);
    if (underWay !== undefined) {
      counts.running += 1;
      if (!this.#isSlower(underWay, archiveSizeBytes)) return;
      counts.slower += 1;
    }
    for (const tier of retrievalTiers) {
      this.#cost.tiers[tier] += retrievalPrice(prices, sizeBytes, 1, acceptedTier(tier, archiveSizeBytes));
    }
  }

  /** @param jobsKnown Whether the service has told which jobs exist. */
  plan(jobsKnown: boolean): RestorePlan {
    const { prices, isLocal, wanted, usual } = this.#options;
    const tier = wanted ?? usual;
    const known = { ...this.#counts, jobsKnown, tier, currency: prices.currency, part: null };
    if (isLocal) return { ...known, price: 0, trafficPrice: 0, readyInMs: null, otherTiers: [] };
    const { tiers, traffic } = this.#cost;
    const others = retrievalTiers.filter((each) => each !== tier);
    const otherTiers = others.map((each) => ({ tier: each, price: tiers[each], readyInMs: readyIn[each] }));
    return { ...known, price: tiers[tier], trafficPrice: traffic, readyInMs: readyIn[tier], otherTiers };
  }

  /** Whether a second job would be ordered, because somebody asks for a faster tier. */
  #isSlower({ tier, isReady }: UnderWay, sizeBytes: ByteCount): boolean {
    const { wanted } = this.#options;
    return wanted !== undefined && !isReady && isFasterTier(acceptedTier(wanted, sizeBytes), tier);
  }
}
