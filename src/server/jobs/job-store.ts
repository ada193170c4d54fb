/**
 * Jobs of the local service as they are asked about: described, listed, read, forgotten (cas-api sections 11.2-11.5).
 *
 * What a job is and when it is ready was fixed by its order (`job-orders.ts`); its state is computed when asked.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { type ByteRange, byteRange } from "../../domain/bytes.js";
import type { VaultName } from "../../domain/ids.js";
import { invariant } from "../../lib/invariant.js";
import { invalidParameter } from "../../protocol/error-wire.js";
import type { JobFacts, JobListQuery } from "../../protocol/job-description-wire.js";
import type { OutputContentType } from "../../protocol/job-output-wire.js";
import type { TreeHashHex } from "../../protocol/service.js";
import { type ArchiveStore, notFound } from "../store/archive-store.js";
import type { JobTimes, JobWithArchive } from "../store/job-table.js";
import type { Place } from "../store/page-place.js";
import type { VaultRow } from "../store/vault-table.js";
import { factsOfJob, isCopy, jobRange, stateOfJob, treeHashWithin } from "./job-report.js";
import type { JobState } from "./job-schedule.js";

/** The output of a succeeded job; `read` gives a part of it. */
export interface StoredOutput {
  readonly contentType: OutputContentType;
  readonly totalBytes: number;
  /** Of a part of the output; null when it is no subtree of the archive (11.4). */
  treeHash(part: ByteRange): TreeHashHex | null;
  read(part: ByteRange): AsyncIterable<Buffer>;
}

const outputTypes = { json: "application/json", csv: "text/csv" } as const;
// A query of so many rows takes about a millisecond; between two of them others have their turn.
const rowsPerQuery = 200;
const expiredPerTransaction = 500;

export class JobStore {
  readonly #store: ArchiveStore;

  constructor(store: ArchiveStore) {
    this.#store = store;
  }

  /** @throws WireError ResourceNotFoundException for an unknown or expired job. */
  describe(vault: VaultRow, jobId: string): JobFacts {
    const job = this.#find(vault, jobId);
    return this.#facts(vault, job, this.#stateOf(job));
  }

  /** Jobs that are not expired, by (creation, id), and the first one of the next page (11.3). */
  async list(
    vault: VaultRow,
    from: Place,
    query: Pick<JobListQuery, "limit" | "completed" | "status">,
  ): Promise<{ readonly items: JobFacts[]; readonly next: JobFacts | undefined }> {
    const items: JobFacts[] = [];
    for await (const listed of this.#jobsFrom(vault, from)) {
      const state = this.#stateOf(listed);
      const job = isAskedFor(state, query) ? this.#store.jobs.get(listed.job_key) : undefined;
      if (job === undefined) continue;
      const facts = this.#facts(vault, job, state);
      if (items.length === query.limit) return { items, next: facts };
      items.push(facts);
    }
    return { items, next: undefined };
  }

  /** @throws WireError when the job is unknown or expired (404), not finished, failed or without output (400). */
  output(vault: VaultRow, jobId: string): StoredOutput {
    const job = this.#find(vault, jobId);
    const { status } = this.#stateOf(job);
    if (isCopy(job)) throw invalidParameter("A job that copies from or to COS has no output");
    if (status === "in-progress") throw invalidParameter("The job is still in progress");
    if (status === "failed") throw invalidParameter("The job has failed, it has no output");
    const { body_key: bodyKey } = job;
    invariant(bodyKey !== null, "a succeeded job has kept its output");
    return job.action === "retrieve-archive" ? this.#archiveOutput(job, bodyKey) : this.#inventoryOutput(job, bodyKey);
  }

  /**
   * Forgets some of the expired jobs and the bytes that only they kept.
   *
   * @returns when the next of those that are left expires; that may be now, when there are many.
   */
  expire(): number | undefined {
    const expired = this.#store.jobs.expiredUntil(this.#store.now(), expiredPerTransaction);
    if (expired.length > 0) {
      this.#store.releasing(() =>
        expired.map((job) => {
          this.#store.jobs.delete(job.job_key);
          return job.body_key;
        }),
      );
    }
    return this.#store.jobs.nextExpiry();
  }

  #find(vault: VaultRow, jobId: string): JobWithArchive {
    const job = this.#store.jobs.find(vault.vault_key, jobId);
    if (job === undefined || this.#stateOf(job).status === "expired") throw notFound(`Job not found: ${jobId}`);
    return job;
  }

  /** In pages, so that neither memory nor the other requests feel how many there are. */
  async *#jobsFrom(vault: VaultRow, from: Place): AsyncGenerator<JobTimes, void, undefined> {
    let place: Place | undefined = from;
    while (place !== undefined) {
      // One more than is used: it tells where the next query goes on.
      const rows: JobTimes[] = this.#store.jobs.listFrom(vault.vault_key, {
        from: place,
        limit: rowsPerQuery + 1,
      });
      yield* rows.slice(0, rowsPerQuery);
      const next = rows[rowsPerQuery];
      place = next === undefined ? undefined : { atMs: next.created_at_ms, id: next.job_id };
      if (place !== undefined) await nextTurn();
    }
  }

  #stateOf(job: JobTimes): JobState {
    return stateOfJob(job, this.#store.now());
  }

  #facts(vault: VaultRow, job: JobWithArchive, state: JobState): JobFacts {
    return factsOfJob(this.#store, vault.name as VaultName, job, state);
  }

  #archiveOutput(job: JobWithArchive, bodyKey: number): StoredOutput {
    const whole = jobRange(job);
    const withinArchive = (part: ByteRange) => byteRange(whole.start + part.start, whole.start + part.end);
    const jobIsSubtree = treeHashWithin(this.#store, job, whole) !== null;
    return {
      contentType: "application/octet-stream",
      totalBytes: whole.end - whole.start,
      treeHash: (part) => (jobIsSubtree ? treeHashWithin(this.#store, job, withinArchive(part)) : null),
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

function isAskedFor({ status }: JobState, query: Pick<JobListQuery, "completed" | "status">): boolean {
  if (status === "expired") return false;
  if (query.status !== undefined && status !== query.status) return false;
  return query.completed === undefined || (status !== "in-progress") === query.completed;
}
