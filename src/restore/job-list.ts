/**
 * The jobs of a vault, listed once for all who ask at the same time.
 *
 * Relies on: List Jobs showing every unexpired job (cas-api section 11.3).
 */

import type { ArchiveId, VaultName } from "../domain/ids.js";
import { SharedRun } from "../lib/shared-run.js";
import { nextMarker } from "../protocol/next-marker.js";
import type { CasService, JobDescription } from "../protocol/service.js";

/** All pages, following the markers. */
export async function listAllJobs(
  service: Pick<CasService, "listJobs">,
  vault: VaultName,
  signal: AbortSignal,
): Promise<JobDescription[]> {
  const jobs: JobDescription[] = [];
  let marker: string | undefined;
  do {
    const page = await service.listJobs(vault, { marker }, { signal });
    jobs.push(...page.items);
    marker = nextMarker(page, marker);
  } while (marker !== undefined);
  return jobs;
}

/** A thousand recalls that begin together look for a job to join in one listing. */
export class JobList {
  readonly #service: Pick<CasService, "listJobs">;
  readonly #signal: AbortSignal;
  readonly #vaults = new Map<VaultName, { readonly run: SharedRun; jobs: RetrievalsByArchive }>();

  /** @param signal Ends every listing. */
  constructor(service: Pick<CasService, "listJobs">, signal: AbortSignal) {
    this.#service = service;
    this.#signal = signal;
  }

  /** The retrievals of one archive, in a listing that began after this call. */
  async of(vault: VaultName, archive: ArchiveId): Promise<readonly JobDescription[]> {
    return (await this.all(vault)).get(archive) ?? [];
  }

  /** The retrievals of all archives of a vault, in a listing that began after this call. */
  async all(vault: VaultName): Promise<RetrievalsByArchive> {
    let shared = this.#vaults.get(vault);
    if (shared === undefined) {
      const entry = {
        run: new SharedRun(async () => {
          entry.jobs = byArchive(await listAllJobs(this.#service, vault, this.#signal));
        }),
        jobs: new Map() as RetrievalsByArchive,
      };
      shared = entry;
      this.#vaults.set(vault, entry);
    }
    await shared.run.request();
    return shared.jobs;
  }
}

/** Looked through for each of many thousand recalls, so it is sorted once. */
export type RetrievalsByArchive = ReadonlyMap<ArchiveId, readonly JobDescription[]>;

function byArchive(jobs: readonly JobDescription[]): RetrievalsByArchive {
  const retrievals = new Map<ArchiveId, JobDescription[]>();
  for (const job of jobs) {
    if (job.action !== "retrieve-archive") continue;
    const known = retrievals.get(job.archiveId);
    if (known === undefined) retrievals.set(job.archiveId, [job]);
    else known.push(job);
  }
  return retrievals;
}
