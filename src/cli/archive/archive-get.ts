/** The work of `casfs archive get`: a retrieval job, started or joined, and its output in a file. */

import { stat } from "node:fs/promises";
import { FileSystemError } from "../../domain/errors.js";
import type { ArchiveId, JobId, VaultName } from "../../domain/ids.js";
import { type JobDescription, type RetrievalTier, retrievalTiers } from "../../protocol/service.js";
import { listAllJobs } from "../../restore/job-list.js";
import { agreedToCost, checkTier, retrievalLine } from "../cost-question.js";
import { succeededJob } from "../job/job-wait.js";
import { downloadTo } from "../job/output-download.js";
import { jsonOutput } from "../output.js";
import { type ServiceSession, withService } from "../service-session.js";
import type { Terminal } from "../terminal.js";
import { knownArchives } from "./known-archives.js";

interface GetFlags {
  readonly json?: boolean;
  readonly wait: boolean;
  readonly yes?: boolean;
  readonly force?: boolean;
  readonly tier?: string;
}

export interface GetPlace {
  readonly vault: VaultName;
  readonly archive: ArchiveId;
  readonly file: string;
}

export async function get(place: GetPlace, flags: GetFlags, terminal: Terminal): Promise<void> {
  // A retrieval is paid for; what cannot be stored must not be ordered.
  if (flags.wait && !flags.force) await refuseExisting(place.file);
  await withService(flags, terminal, async (session) => {
    const job = (await runningJob(session, place, flags)) ?? (await startedJob(session, place, flags));
    if (job === undefined) return;
    if (!flags.wait) return terminal.print(flags.json ? jsonOutput({ jobId: job }) : job);
    session.onInterrupt = "The job goes on; the same command joins it";
    await succeededJob(session, place.vault, job);
    const overwrite = flags.force ?? false;
    const done = await downloadTo(session, { vault: place.vault, job, file: place.file, overwrite });
    if (flags.json && place.file !== "-") terminal.print(jsonOutput({ archiveId: place.archive, jobId: job, ...done }));
  });
}

async function refuseExisting(file: string): Promise<void> {
  if (file === "-") return;
  const isThere = await stat(file).then(
    () => true,
    () => false,
  );
  if (!isThere) return;
  throw new FileSystemError("exists", `Cannot write ${file}: it is there already`, {
    hint: "Add --force to replace it",
  });
}

/** A retrieval of the whole archive that somebody has paid for already. One that is slower than was asked for is not it. */
async function runningJob(
  { service, signal, terminal }: ServiceSession,
  { vault, archive }: GetPlace,
  { tier }: GetFlags,
): Promise<JobId | undefined> {
  const jobs = await listAllJobs(service, vault, signal);
  const usable = jobs.filter((job) => isWholeRetrieval(job, archive));
  const finished = usable.filter(({ status }) => status === "succeeded").sort(newestFirst)[0];
  const running = usable.find((job) => job.status === "in-progress" && isFastEnough(job, tier));
  const found = finished ?? running;
  if (found !== undefined) terminal.tell(`casfs: joining the job ${found.id}`);
  return found?.id;
}

const newestFirst = (one: JobDescription, other: JobDescription) => other.createdAt - one.createdAt;

function isWholeRetrieval(job: JobDescription, archive: ArchiveId): boolean {
  return (
    job.action === "retrieve-archive" &&
    job.archiveId === archive &&
    job.status !== "failed" &&
    job.range.start === 0 &&
    job.range.end === job.archiveSizeBytes
  );
}

/** `tier` undefined: any will do. */
function isFastEnough(job: JobDescription, tier: string | undefined): boolean {
  if (tier === undefined || job.action !== "retrieve-archive") return true;
  return retrievalTiers.indexOf(job.tier) <= retrievalTiers.indexOf(tier as RetrievalTier);
}

/** Undefined when the user does not agree to the price. */
async function startedJob(
  session: ServiceSession,
  { vault, archive }: GetPlace,
  { yes }: GetFlags,
): Promise<JobId | undefined> {
  const { service, config, isFree, signal, terminal } = session;
  const { tier } = config;
  if (!isFree) {
    const known = (await knownArchives(service, vault, { archives: [archive], signal })).get(archive);
    checkTier(known?.sizeBytes ?? null, tier);
    const lines = [retrievalLine(known?.sizeBytes ?? null, tier)];
    if (!(await agreedToCost(terminal, { lines, yes }))) return undefined;
  }
  return service.initiateJob(vault, { action: "retrieve-archive", archiveId: archive, tier }, { signal });
}
