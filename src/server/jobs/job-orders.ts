/**
 * Takes orders for jobs (cas-api section 11.1).
 *
 * A job's times, and what a retrieval or an inventory will return, are fixed when it begins. A retrieval keeps the
 * bytes of its archive until its output expires, also when the archive is deleted meanwhile (9.2). Copies from and to
 * COS are only recorded here; `job-copier.ts` carries them out.
 */

import type { JobId } from "../../domain/ids.js";
import { invalidParameter } from "../../protocol/error-wire.js";
import {
  type InventoryJobOrder,
  type JobOrder,
  type PullOrder,
  type PushOrder,
  type RetrievalOrder,
  resolveOrderedRange,
} from "../../protocol/job-order-wire.js";
import { expeditedSizeBytesMax, jobIdLength } from "../../protocol/limits.js";
import type { VaultOwner } from "../../protocol/qcs.js";
import type { RetrievalTier } from "../../protocol/service.js";
import { type ArchiveStore, notFound } from "../store/archive-store.js";
import type { NewJobRow } from "../store/job-table.js";
import type { VaultRow } from "../store/vault-table.js";
import type { Inventory } from "./inventory.js";

/** How long a job takes, in milliseconds. */
export type RetrievalTimes = Readonly<Record<RetrievalTier | "inventory", number>>;

export interface JobOrderOptions {
  readonly retrievalMs: RetrievalTimes;
  readonly outputLifetimeMs: number;
  readonly takesCopies: boolean;
  /** Told when a new job is ready; never earlier than now. */
  readonly onScheduled: (readyAtMs: number) => void;
}

const noSpecialty = {
  tier: null,
  archive_id: null,
  body_key: null,
  range_start: null,
  range_end: null,
  format: null,
  created_from_ms: null,
  created_until_ms: null,
  row_limit: 0,
  marker: null,
  inventory_change: null,
  inventory_at_ms: null,
  output_bytes: null,
  next_marker: null,
  bucket: null,
  object: null,
  object_condition: null,
  archive_description: null,
  is_announced: 0,
} as const;

/** A copy takes as long as it takes; its end sets the day on which it is forgotten and announces it. */
const unfinishedCopy = { expires_at_ms: Number.MAX_SAFE_INTEGER, is_announced: 1 } as const;

export class JobOrders {
  /** Whether there is an object store that jobs can copy from and to. */
  readonly takesCopies: boolean;
  readonly #store: ArchiveStore;
  readonly #inventory: Inventory;
  readonly #options: JobOrderOptions;

  constructor(store: ArchiveStore, inventory: Inventory, options: JobOrderOptions) {
    this.#store = store;
    this.#inventory = inventory;
    this.#options = options;
    this.takesCopies = options.takesCopies;
  }

  /** @throws WireError as section 11.1 says. */
  async initiate(vault: VaultRow, owner: VaultOwner, order: JobOrder): Promise<JobId> {
    switch (order.action) {
      case "retrieve-archive":
        return this.#initiateRetrieval(vault, order);
      case "retrieve-inventory":
        return this.#initiateInventory(vault, owner, order);
      case "push-to-cos":
        return this.#initiatePush(vault, order);
      case "pull-from-cos":
        return this.#initiatePull(vault, order);
    }
  }

  #initiateRetrieval(vault: VaultRow, order: RetrievalOrder): JobId {
    return this.#store.transaction(() =>
      this.#insert({
        ...noSpecialty,
        ...this.#beginning(vault, order, this.#options.retrievalMs[order.tier]),
        ...this.#archivePart(vault, order),
      }),
    );
  }

  /** The inventory is written out now: the job shows its exact size, and it stays as it is while the vault changes. */
  async #initiateInventory(vault: VaultRow, owner: VaultOwner, order: InventoryJobOrder): Promise<JobId> {
    const taken = this.#inventory.forJob(vault, order.filter.marker);
    const { file, nextMarker } = await this.#inventory.write(vault, { owner, taken, ...order });
    return this.#store.publishing(file, () => {
      this.#store.checkStillThere(vault);
      return this.#insert({
        ...noSpecialty,
        ...this.#beginning(vault, order, this.#options.retrievalMs.inventory),
        body_key: this.#store.createBody(file, { held: false }),
        format: order.format,
        created_from_ms: order.filter.createdFrom,
        created_until_ms: order.filter.createdUntil,
        row_limit: order.filter.limit ?? 0,
        marker: order.filter.marker,
        inventory_change: taken.change,
        inventory_at_ms: taken.takenAt,
        output_bytes: file.digest.sizeBytes,
        next_marker: nextMarker,
      });
    });
  }

  #initiatePush(vault: VaultRow, order: PushOrder): JobId {
    return this.#store.transaction(() =>
      this.#insert({
        ...noSpecialty,
        ...this.#beginning(vault, order, this.#options.retrievalMs[order.tier]),
        ...unfinishedCopy,
        ...this.#archivePart(vault, order),
        bucket: order.bucket,
        object: order.object,
      }),
    );
  }

  #initiatePull(vault: VaultRow, order: PullOrder): JobId {
    const { first, last } = order.range ?? { first: 0, last: null };
    return this.#store.transaction(() =>
      this.#insert({
        ...noSpecialty,
        ...this.#beginning(vault, order, 0),
        ...unfinishedCopy,
        bucket: order.bucket,
        object: order.object,
        range_start: first,
        range_end: last === null ? null : last + 1,
        object_condition: JSON.stringify(order.condition),
        archive_description: order.archiveDescription,
      }),
    );
  }

  /** The columns of a job about an archive. @throws WireError for an unknown archive or an unusable range or tier. */
  #archivePart(vault: VaultRow, order: RetrievalOrder | PushOrder) {
    const archive = this.#store.archives.find(vault.vault_key, order.archiveId);
    if (archive === undefined) throw notFound(`Archive not found: ${order.archiveId}`);
    const range = resolveOrderedRange(order.range, archive.size_bytes);
    if (order.tier === "expedited" && archive.size_bytes > expeditedSizeBytesMax) {
      throw invalidParameter(`Expedited is for archives of at most ${expeditedSizeBytesMax} bytes`);
    }
    return {
      tier: order.tier,
      archive_id: archive.archive_id,
      body_key: archive.body_key,
      range_start: range.start,
      range_end: range.end,
    };
  }

  #beginning(vault: VaultRow, order: JobOrder, durationMs: number) {
    const now = this.#store.now();
    return {
      vault_key: vault.vault_key,
      job_id: this.#store.newId(jobIdLength),
      action: order.action,
      description: order.description,
      callback_url: order.callbackUrl,
      created_at_ms: now,
      ready_at_ms: now + durationMs,
      expires_at_ms: now + durationMs + this.#options.outputLifetimeMs,
    };
  }

  #insert(job: NewJobRow): JobId {
    this.#store.jobs.insert(job);
    this.#options.onScheduled(job.ready_at_ms);
    return job.job_id as JobId;
  }
}
