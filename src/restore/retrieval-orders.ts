/** Retrieval jobs in the service: those that are there already, and those that are ordered. */

import { ServiceError } from "../domain/errors.js";
import type { JobId } from "../domain/ids.js";
import { Semaphore } from "../lib/semaphore.js";
import type { CasService } from "../protocol/service.js";
import { JobList } from "./job-list.js";
import type { ColdArchive } from "./ports.js";
import type { Recall } from "./recall.js";
import { type ArchiveJob, jobToJoin } from "./retrieval-plan.js";

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

  /** The job that has, or will have, the archive first. @param gone One that may be listed still, without its output. */
  async find(archive: ColdArchive, gone?: JobId): Promise<ArchiveJob | undefined> {
    const jobs = await this.#jobList.of(archive.vault, archive.id);
    return jobToJoin(
      jobs.filter(({ id }) => id !== gone),
      archive,
    );
  }

  /** Every call is billed. */
  async start(recall: Recall): Promise<JobId> {
    const { archive, tier } = recall;
    const { signal } = recall.scope;
    const request = { action: "retrieve-archive", archiveId: archive.id, tier, description: "casfs recall" } as const;
    try {
      return await this.#requests.run(signal, () => this.#service.initiateJob(archive.vault, request, { signal }));
    } catch (error) {
      if (!(error instanceof ServiceError && error.effect === "none")) recall.mayHaveStarted = true;
      throw error;
    }
  }
}
