/** The work of `casfs job ls|describe`. */

import type { JobId, VaultName } from "../../domain/ids.js";
import { printable } from "../../lib/printable.js";
import type { JobProperties, JobStatusCode } from "../../sdk/index.js";
import { jsonOutput, sizeText } from "../output.js";
import { attempting, attemptingEach, type ServiceSession, withService } from "../service-session.js";
import { dateText, fieldLines, tableLines } from "../table.js";
import type { Terminal } from "../terminal.js";

interface ListFlags {
  readonly json?: boolean;
  readonly completed?: boolean;
  readonly status?: "in-progress" | "succeeded" | "failed";
  readonly limit?: number;
  readonly marker?: string;
  readonly bytes?: boolean;
}

const statusCodes: Record<NonNullable<ListFlags["status"]>, JobStatusCode> = {
  "in-progress": "InProgress",
  succeeded: "Succeeded",
  failed: "Failed",
};

export async function list(vault: VaultName, flags: ListFlags, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async (session) => {
    const { jobs, marker } = await listed(session, vault, flags);
    if (flags.json) return terminal.print(jsonOutput({ jobs, marker }));
    if (jobs.length === 0) terminal.tell(`no jobs in the vault ${vault}`);
    else for (const line of jobTable(jobs, flags)) terminal.print(line);
    if (marker !== null) terminal.tell(`more jobs follow: --marker ${printable(marker)}`);
  });
}

export async function describe(
  vault: VaultName,
  job: JobId,
  flags: { readonly json?: boolean },
  terminal: Terminal,
): Promise<void> {
  await withService(flags, terminal, async ({ api, signal }) => {
    const { data } = await attempting(`describe the job ${job}`, api.describeJob(vault, job, { signal }));
    if (flags.json) return terminal.print(jsonOutput(data));
    for (const line of fieldLines(jobFields(data))) terminal.print(line);
  });
}

/** One page when a part is asked for, else all of them. */
async function listed({ api, signal }: ServiceSession, vault: VaultName, flags: ListFlags) {
  const { completed, status, limit, marker } = flags;
  const filter = { completed, statusCode: status && statusCodes[status] };
  const attempt = `list the jobs of the vault ${vault}`;
  if (limit !== undefined || marker !== undefined) {
    const { data } = await attempting(attempt, api.listJobs(vault, { ...filter, limit, marker }, { signal }));
    return { jobs: data.jobList, marker: data.marker };
  }
  const jobs: JobProperties[] = [];
  for await (const job of attemptingEach(attempt, api.listAllJobs(vault, filter, { signal }))) jobs.push(job);
  return { jobs, marker: null };
}

function jobTable(jobs: readonly JobProperties[], { bytes = false }: ListFlags): string[] {
  const rows = jobs.map((job) => [
    dateText(job.creationDate),
    job.action,
    job.statusCode,
    job.tier ?? "-",
    sizeText(outputSize(job), { bytes }),
    job.jobId,
    job.jobDescription,
  ]);
  const columns = ["CREATED", "ACTION", "STATUS", "TIER"].map((title) => ({ title }));
  return tableLines(
    [...columns, { title: "SIZE", align: "right" }, { title: "JOB_ID" }, { title: "DESCRIPTION" }],
    rows,
  );
}

/** Bytes that can be fetched, or will be; null where there is no such output, or its size is not known yet. */
function outputSize(job: JobProperties): number | null {
  if (job.action === "InventoryRetrieval") return job.statusCode === "Succeeded" ? job.inventorySizeInBytes : null;
  const { retrievalByteRange: range } = job;
  return range === null ? null : range.end - range.start;
}

function jobFields(job: JobProperties): (readonly [string, string])[] {
  const fields: (readonly [string, string | null])[] = [
    ["job", job.jobId],
    ["action", job.action],
    ["status", job.statusCode],
    ["message", job.statusMessage === job.statusCode ? null : job.statusMessage],
    ["created", dateText(job.creationDate)],
    ["completed", job.completionDate && dateText(job.completionDate)],
    ["description", job.jobDescription || null],
    ["callback", job.callBackUrl],
    ["vault", job.vaultQcs],
    ...archiveFields(job),
    ...inventoryFields(job),
    ["bucket", job.bucket],
    ["object", job.object],
  ];
  return fields.filter((field): field is readonly [string, string] => field[1] !== null);
}

function archiveFields(job: JobProperties): (readonly [string, string | null])[] {
  const { retrievalByteRange: range, archiveSizeInBytes: size } = job;
  return [
    ["tier", job.tier],
    ["archive", job.archiveId],
    ["archive size", size === null ? null : sizeText(size, { bytes: false, exact: true })],
    ["archive tree hash", job.archiveSha256TreeHash],
    ["range", range === null ? null : `${range.start}-${range.end - 1}`],
    ["range tree hash", job.sha256TreeHash],
    ["archive description", job.archiveDescription],
  ];
}

function inventoryFields(job: JobProperties): (readonly [string, string | null])[] {
  const parameters = job.inventoryRetrievalParameters;
  if (parameters === null) return [];
  const { format, startDate, endDate, limit, marker } = parameters;
  return [
    ["format", format],
    ["from", startDate && dateText(startDate)],
    ["until", endDate && dateText(endDate)],
    ["limit", limit === 0 ? null : String(limit)],
    ["inventory size", sizeText(outputSize(job), { bytes: false, exact: true })],
    ["next marker", marker],
  ];
}
