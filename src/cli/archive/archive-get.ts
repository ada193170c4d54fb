/** The work of `casfs archive get`: a retrieval job, started or joined, and its output in a file. */

import { access, constants } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { describeError, FileSystemError } from "../../domain/errors.js";
import type { ArchiveId, JobId, VaultName } from "../../domain/ids.js";
import { type JobDescription, type RetrievalTier, retrievalTiers } from "../../protocol/service.js";
import { listAllJobs } from "../../restore/job-list.js";
import { checkTarget } from "../../transfer/download-target.js";
import { agreedToCost, checkTier, retrievalLine } from "../cost-question.js";
import { succeededJob } from "../job/job-wait.js";
import { downloadTo, wholeOutput } from "../job/output-download.js";
import { jsonOutput } from "../output.js";
import { type ServiceSession, withService } from "../service-session.js";
import { takeTurn } from "../taken-turn.js";
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
  if (flags.wait && place.file !== "-") await refuseUnusable(place.file, flags.force ?? false);
  await withService(flags, terminal, async (session) => {
    const job = await oneJob(session, place, flags);
    if (job === undefined) return;
    if (!flags.wait) return terminal.print(flags.json ? jsonOutput({ jobId: job }) : job);
    session.onInterrupt = "The job goes on; the same command joins it";
    const whole = wholeOutput(await succeededJob(session, place.vault, job));
    const overwrite = flags.force ?? false;
    const done = await downloadTo(session, { vault: place.vault, job, file: place.file, whole, overwrite });
    if (flags.json && place.file !== "-") terminal.print(jsonOutput({ archiveId: place.archive, jobId: job, ...done }));
  });
}

async function refuseUnusable(file: string, overwrite: boolean): Promise<void> {
  await checkTarget(file, { overwrite }).catch((cause: unknown) => {
    if (!(cause instanceof FileSystemError) || cause.kind !== "exists") throw cause;
    const hint = "Add --force to replace it";
    throw new FileSystemError("exists", `Cannot write ${file}: it is there already`, { cause, hint });
  });
  const directory = dirname(resolve(file));
  await access(directory, constants.W_OK | constants.X_OK).catch((cause: unknown) => {
    const why = `nothing can be written to the directory ${directory} (${describeError(cause)})`;
    throw new FileSystemError("access-denied", `Cannot write ${file}: ${why}`, { cause });
  });
}

/** One after the other on this machine: two commands that look for a job at once would both find none, and pay twice. */
async function oneJob(session: ServiceSession, place: GetPlace, flags: GetFlags): Promise<JobId | undefined> {
  const { identity, account, signal, terminal } = session;
  const onWaiting = () => terminal.tell("casfs: waiting for another command that is ordering this archive");
  const words = ["retrieval", identity, account, place.vault, place.archive];
  await using _turn = await takeTurn(words, { signal, onWaiting });
  return (await runningJob(session, place, flags)) ?? (await startedJob(session, place, flags));
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
    const lines = [retrievalLine(config.prices, known?.sizeBytes ?? null, tier)];
    if (!(await agreedToCost(terminal, { lines, yes, signal }))) return undefined;
  }
  return service.initiateJob(vault, { action: "retrieve-archive", archiveId: archive, tier }, { signal });
}
