/**
 * Jobs of the local service (cas-api section 11).
 *
 * A job's times and what it will return are fixed when it begins; its state is computed when somebody asks. A retrieval
 * keeps the bytes of its archive until its output expires, also when the archive is deleted meanwhile (9.2).
 */

import { type ByteRange, byteCount, byteRange } from "../domain/bytes.js";
import type { ArchiveId, JobId, VaultName } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import { invariant } from "../lib/invariant.js";
import { invalidParameter } from "../protocol/error-wire.js";
import type { JobFacts, JobListQuery, JobOrder, OutputContentType } from "../protocol/job-wire.js";
import { resolveOrderedRange } from "../protocol/job-wire.js";
import { expeditedSizeBytesMax, jobIdLength } from "../protocol/limits.js";
import type { VaultOwner } from "../protocol/qcs.js";
import type { RetrievalTier, TreeHashHex } from "../protocol/service.js";
import { type ArchiveStore, notFound } from "./archive-store.js";
import type { Inventory } from "./inventory.js";
import { type JobState, jobState } from "./job-schedule.js";
import type { JobRow, JobWithArchive, NewJobRow } from "./job-table.js";
import type { VaultRow } from "./vault-table.js";

/** How long a job takes, in milliseconds. */
export type RetrievalTimes = Readonly<Record<RetrievalTier | "inventory", number>>;

/** The output of a succeeded job; `read` gives a part of it. */
export interface StoredOutput {
  readonly contentType: OutputContentType;
  readonly totalBytes: number;
  /** Of a part of the output; null when it is no subtree of the archive (11.4). */
  treeHash(part: ByteRange): TreeHashHex | null;
  read(part: ByteRange): AsyncIterable<Buffer>;
}

type RetrievalOrder = Extract<JobOrder, { readonly action: "retrieve-archive" }>;
type InventoryJobOrder = Extract<JobOrder, { readonly action: "retrieve-inventory" }>;

const noRetrieval = { tier: null, archive_id: null, range_start: null, range_end: null };
const noInventory = {
  format: null,
  created_from_ms: null,
  created_until_ms: null,
  row_limit: 0,
  marker: null,
  inventory_change: null,
  inventory_at_ms: null,
  output_bytes: null,
  next_marker: null,
};
const outputTypes = { json: "application/json", csv: "text/csv" } as const;

export class JobStore {
  readonly #store: ArchiveStore;
  readonly #inventory: Inventory;
  readonly #retrievalMs: RetrievalTimes;
  readonly #outputLifetimeMs: number;

  constructor(
    store: ArchiveStore,
    inventory: Inventory,
    options: { readonly retrievalMs: RetrievalTimes; readonly outputLifetimeMs: number },
  ) {
    this.#store = store;
    this.#inventory = inventory;
    this.#retrievalMs = options.retrievalMs;
    this.#outputLifetimeMs = options.outputLifetimeMs;
  }

  async initiate(vault: VaultRow, owner: VaultOwner, order: JobOrder): Promise<JobId> {
    return order.action === "retrieve-archive"
      ? this.#initiateRetrieval(vault, order)
      : this.#initiateInventory(vault, owner, order);
  }

  /** @throws WireError ResourceNotFoundException for an unknown or expired job. */
  describe(vault: VaultRow, jobId: string): JobFacts {
    const job = this.#find(vault, jobId);
    return this.#facts(vault, job, this.#stateOf(job));
  }

  /** Jobs that are not expired, by (creation, id), and the first one of the next page (11.3). */
  list(
    vault: VaultRow,
    from: { readonly atMs: number; readonly id: string },
    query: Pick<JobListQuery, "limit" | "completed" | "status">,
  ): { readonly items: JobFacts[]; readonly next: JobFacts | undefined } {
    const items: JobFacts[] = [];
    // Facts may need further queries, which the open iteration allows because they only read.
    for (const job of this.#store.jobs.listFrom(vault.vault_key, from)) {
      const state = this.#stateOf(job);
      if (state.status === "expired") continue;
      if (query.status !== undefined && state.status !== query.status) continue;
      if (query.completed !== undefined && (state.status !== "in-progress") !== query.completed) continue;
      const facts = this.#facts(vault, job, state);
      if (items.length === query.limit) return { items, next: facts };
      items.push(facts);
    }
    return { items, next: undefined };
  }

  /** @throws WireError when the job is unknown or expired (404), not finished or failed (400). */
  output(vault: VaultRow, jobId: string): StoredOutput {
    const job = this.#find(vault, jobId);
    const { status } = this.#stateOf(job);
    if (status === "in-progress") throw invalidParameter("The job is still in progress");
    if (status === "failed") throw invalidParameter("The job has failed, it has no output");
    const { body_key: bodyKey } = job;
    invariant(bodyKey !== null, "a succeeded job has kept its output");
    return job.action === "retrieve-archive" ? this.#archiveOutput(job, bodyKey) : this.#inventoryOutput(job, bodyKey);
  }

  /** Forgets expired jobs and the bytes that only they kept. */
  expire(): void {
    const expired = this.#store.jobs.expiredUntil(this.#store.now()).filter((job) => this.#isExpired(job));
    if (expired.length === 0) return;
    this.#store.releasing(() =>
      expired.map((job) => {
        this.#store.jobs.delete(job.job_key);
        return job.body_key;
      }),
    );
  }

  #initiateRetrieval(vault: VaultRow, order: RetrievalOrder): JobId {
    return this.#store.transaction(() => {
      const archive = this.#store.archives.find(vault.vault_key, order.archiveId);
      if (archive === undefined) throw notFound(`Archive not found: ${order.archiveId}`);
      const range = resolveOrderedRange(order.range, archive.size_bytes);
      if (order.tier === "expedited" && archive.size_bytes > expeditedSizeBytesMax) {
        throw invalidParameter(`Expedited is for archives of at most ${expeditedSizeBytesMax} bytes`);
      }
      return this.#insert({
        ...noInventory,
        ...this.#beginning(vault, order, this.#retrievalMs[order.tier]),
        tier: order.tier,
        archive_id: archive.archive_id,
        body_key: archive.body_key,
        range_start: range.start,
        range_end: range.end,
      });
    });
  }

  /** The inventory is written out now: the job shows its exact size, and it stays as it is while the vault changes. */
  async #initiateInventory(vault: VaultRow, owner: VaultOwner, order: InventoryJobOrder): Promise<JobId> {
    const taken = this.#inventory.forJob(vault, order.filter.marker);
    const { file, nextMarker } = await this.#inventory.write(vault, { owner, taken, ...order });
    return this.#store.publishing(file, () => {
      this.#store.checkStillThere(vault);
      return this.#insert({
        ...noRetrieval,
        ...this.#beginning(vault, order, this.#retrievalMs.inventory),
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
      expires_at_ms: now + durationMs + this.#outputLifetimeMs,
    };
  }

  #insert(job: NewJobRow): JobId {
    this.#store.jobs.insert(job);
    return job.job_id as JobId;
  }

  #find(vault: VaultRow, jobId: string): JobWithArchive {
    const job = this.#store.jobs.find(vault.vault_key, jobId);
    if (job === undefined || this.#isExpired(job)) throw notFound(`Job not found: ${jobId}`);
    return job;
  }

  #isExpired(job: JobRow): boolean {
    return this.#stateOf(job).status === "expired";
  }

  #stateOf(job: JobRow): JobState {
    return jobState(
      {
        readyAt: job.ready_at_ms as Instant,
        expiresAt: job.expires_at_ms as Instant,
        sourceLost: job.body_key === null,
      },
      this.#store.now(),
    );
  }

  #facts(vault: VaultRow, job: JobWithArchive, state: JobState): JobFacts {
    invariant(state.status !== "expired", "an expired job is not described");
    const common = {
      id: job.job_id as JobId,
      vault: vault.name as VaultName,
      status: state.status,
      statusMessage: state.status === "failed" ? "The archive was deleted" : "",
      description: job.description,
      callbackUrl: job.callback_url,
      createdAt: job.created_at_ms as Instant,
      completedAt: state.status === "in-progress" ? null : state.completedAt,
    };
    return job.action === "retrieve-archive"
      ? { ...common, ...this.#retrievalFacts(job) }
      : { ...common, ...inventoryFacts(job, state) };
  }

  #retrievalFacts(job: JobWithArchive) {
    const { archive_id: id, archive_size_bytes: sizeBytes, archive_tree_hash: hash, tier } = job;
    invariant(id !== null && sizeBytes !== null && hash !== null && tier !== null, "a retrieval names its archive");
    return {
      action: "retrieve-archive" as const,
      archiveId: id as ArchiveId,
      archiveSizeBytes: byteCount(sizeBytes),
      archiveTreeHash: hash.toString("hex") as TreeHashHex,
      range: jobRange(job),
      rangeTreeHash: this.#treeHashWithin(job, jobRange(job)),
      tier,
    };
  }

  /** The tree hash of a range of the job's archive; the archive's own when it is whole, even if the bytes are gone. */
  #treeHashWithin(job: JobWithArchive, range: ByteRange): TreeHashHex | null {
    const sizeBytes = job.archive_size_bytes ?? 0;
    if (range.start === 0 && range.end === sizeBytes)
      return (job.archive_tree_hash?.toString("hex") as TreeHashHex) ?? null;
    return job.body_key === null ? null : this.#store.rangeTreeHash(job.body_key, range, sizeBytes);
  }

  #archiveOutput(job: JobWithArchive, bodyKey: number): StoredOutput {
    const whole = jobRange(job);
    const withinArchive = (part: ByteRange) => byteRange(whole.start + part.start, whole.start + part.end);
    const jobIsSubtree = this.#treeHashWithin(job, whole) !== null;
    return {
      contentType: "application/octet-stream",
      totalBytes: whole.end - whole.start,
      treeHash: (part) => (jobIsSubtree ? this.#treeHashWithin(job, withinArchive(part)) : null),
      read: (part) => this.#store.readBody(bodyKey, withinArchive(part)),
    };
  }

  #inventoryOutput(job: JobWithArchive, bodyKey: number): StoredOutput {
    return {
      contentType: outputTypes[job.format ?? "json"],
      totalBytes: job.output_bytes ?? 0,
      treeHash: () => null,
      read: (part) => this.#store.readBody(bodyKey, part),
    };
  }
}

function jobRange(job: JobRow): ByteRange {
  return byteRange(job.range_start ?? 0, job.range_end ?? 0);
}

function filterOf(job: JobRow) {
  return {
    createdFrom: job.created_from_ms as Instant | null,
    createdUntil: job.created_until_ms as Instant | null,
    limit: job.row_limit === 0 ? null : job.row_limit,
    marker: job.marker,
  };
}

function inventoryFacts(job: JobRow, state: JobState) {
  return {
    action: "retrieve-inventory" as const,
    format: job.format ?? "json",
    filter: filterOf(job),
    inventorySizeBytes: state.status === "succeeded" ? (job.output_bytes ?? 0) : 0,
    nextMarker: job.next_marker,
  };
}
