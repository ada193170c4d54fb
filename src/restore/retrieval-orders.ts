/** Retrieval jobs in the service: those that are there already, and those that are ordered. */

import type { ByteRange } from "../domain/bytes.js";
import { ServiceError } from "../domain/errors.js";
import type { JobId, VaultName } from "../domain/ids.js";
import { Semaphore } from "../lib/semaphore.js";
import type { CasService, RetrievalTier } from "../protocol/service.js";
import { JobList } from "./job-list.js";
import type { ColdArchive, RecalledBytes } from "./ports.js";
import { isOfWhole, type Recall } from "./recall.js";
import { type ArchiveJob, isAsFast, jobToJoin } from "./retrieval-plan.js";

/** The job that has, or will have, all of an archive, or of a part of it, first. */
export type JobLookup = (archive: ColdArchive, range?: ByteRange) => ArchiveJob | undefined;

export interface JobWish {
  /** One that may be listed still, without its output. */
  readonly gone?: JobId | undefined;
  /** Somebody has agreed to pay for this tier: a job that runs at a slower one is passed over. */
  readonly atLeast?: RetrievalTier | undefined;
}

export class RetrievalOrders {
  readonly #service: Pick<CasService, "initiateJob" | "listJobs">;
  readonly #jobList: JobList;
  readonly #requests: Semaphore;

  /** @param options.concurrency Jobs that are ordered at a time. */
  constructor(
    service: Pick<CasService, "initiateJob" | "listJobs">,
    { concurrency, signal }: { readonly concurrency: number; readonly signal: AbortSignal },
  ) {
    this.#service = service;
    this.#jobList = new JobList(service, signal);
    this.#requests = new Semaphore(concurrency);
  }

  /** The job that has, or will have, the bytes first. */
  async find({ archive, window }: RecalledBytes, { gone, atLeast }: JobWish = {}): Promise<ArchiveJob | undefined> {
    const jobs = await this.#jobList.of(archive.vault, archive.id);
    const job = jobToJoin(
      jobs.filter(({ id }) => id !== gone),
      archive,
      window,
    );
    return job === undefined || atLeast === undefined || isAsFast(job, atLeast) ? job : undefined;
  }

  /** What `find` would find for any archive of `vault`, by one listing. */
  async existing(vault: VaultName): Promise<JobLookup> {
    const jobs = await this.#jobList.all(vault);
    return (archive, range) => jobToJoin(jobs.get(archive.id) ?? [], archive, range);
  }

  /** Every call is billed. */
  async start(recall: Recall): Promise<JobId> {
    const { archive, window, tier } = recall;
    const { signal } = recall.scope;
    const range = isOfWhole(recall) ? {} : { range: window };
    const description = "casfs recall";
    const request = { action: "retrieve-archive", archiveId: archive.id, tier, ...range, description } as const;
    try {
      return await this.#requests.run(signal, () => this.#service.initiateJob(archive.vault, request, { signal }));
    } catch (error) {
      if (!(error instanceof ServiceError && error.effect === "none")) recall.mayHaveStarted = true;
      throw error;
    }
  }
}
