/**
 * Describe Job and List Jobs (cas-api sections 11.2, 11.3).
 *
 * To the service port the jobs that copy from or to COS are "other" jobs; their fields are in `JobWire`.
 */

import { type ByteCount, type ByteRange, byteCount, byteRange } from "../domain/bytes.js";
import { type ArchiveId, archiveId, type JobId, jobId, type VaultName } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import { invalidParameter } from "./error-wire.js";
import { actionNames, formatNames, keyOf, statusNames, tierNames } from "./job-names.js";
import type { InventoryOrder } from "./job-order-wire.js";
import { JsonFields } from "./json-fields.js";
import { formatInclusiveRange, parseInclusiveRange } from "./multipart-wire.js";
import { formatObjectCondition, type ObjectCondition, type ObjectConditionWire } from "./object-condition.js";
import { formatPageQuery, type PageQuery, parsePage, parsePageInTurns, parsePageQuery } from "./page-wire.js";
import { formatVaultQcs, type VaultOwner } from "./qcs.js";
import { queryValue } from "./query.js";
import type {
  InventoryFormat,
  JobDescription,
  JobFilter,
  JobStatus,
  Page,
  RetrievalTier,
  TreeHashHex,
} from "./service.js";
import type { NameValue } from "./signature.js";
import { treeHashHex } from "./tree-hash.js";
import { formatTime, formatTimeInSeconds } from "./wire-time.js";

/** Everything the service says about a job. */
export type JobFacts = {
  readonly id: JobId;
  readonly vault: VaultName;
  readonly status: JobStatus;
  readonly statusMessage: string;
  readonly description: string;
  readonly callbackUrl: string | null;
  readonly createdAt: Instant;
  /** Null exactly while the job is in progress. */
  readonly completedAt: Instant | null;
} & (RetrievalFacts | InventoryFacts | PushFacts | PullFacts);

export interface RetrievalFacts extends ArchivePartFacts {
  readonly action: "retrieve-archive";
  /** Null when the range is no subtree of the archive; hidden while a part of an archive is in progress (11.2). */
  readonly rangeTreeHash: TreeHashHex | null;
}

export interface InventoryFacts {
  readonly action: "retrieve-inventory";
  readonly format: InventoryFormat;
  readonly filter: InventoryOrder;
  /** 0 until the job has succeeded. */
  readonly inventorySizeBytes: number;
  readonly nextMarker: string | null;
}

export interface PushFacts extends ArchivePartFacts {
  readonly action: "push-to-cos";
  readonly bucket: string;
  readonly object: string;
}

export interface PullFacts {
  readonly action: "pull-from-cos";
  readonly bucket: string;
  readonly object: string;
  readonly condition: ObjectCondition;
  readonly archiveDescription: string;
  /** What was made of the object; null until the job has succeeded. */
  readonly archive: Pick<ArchivePartFacts, "archiveId" | "archiveSizeBytes" | "archiveTreeHash"> | null;
}

interface ArchivePartFacts {
  readonly archiveId: ArchiveId;
  readonly archiveSizeBytes: ByteCount;
  readonly archiveTreeHash: TreeHashHex;
  readonly range: ByteRange;
  readonly tier: RetrievalTier;
}

/** One object with all the fields of all kinds of jobs: clients index them unchecked (11.2, 15.3). */
export interface JobWire {
  readonly Action: string;
  readonly JobId: string;
  readonly JobDescription: string;
  readonly CallBackUrl: string | null;
  readonly JobCallBackUrl: string | null;
  readonly CreationDate: string;
  readonly CompletionDate: string | null;
  readonly Completed: boolean;
  readonly StatusCode: string;
  readonly StatusMessage: string;
  readonly VaultQCS: string;
  readonly ArchiveId: string | null;
  readonly ArchiveSizeInBytes: number | null;
  readonly ArchiveSHA256TreeHash: string | null;
  readonly RetrievalByteRange: string | null;
  readonly SHA256TreeHash: string | null;
  readonly Tier: string | null;
  readonly InventorySizeInBytes: number;
  readonly InventoryRetrievalParameters: InventoryParametersWire | null;
  readonly Bucket: string | null;
  readonly Object: string | null;
  readonly Condition: ObjectConditionWire | null;
  readonly ArchiveDescription: string | null;
}

export interface InventoryParametersWire {
  readonly Format: string;
  readonly StartDate: string | null;
  readonly EndDate: string | null;
  /** 0 when the order gave none. */
  readonly Limit: number;
  readonly Marker: string | null;
}

export interface JobListWire {
  readonly JobList: readonly JobWire[];
  readonly Marker: string | null;
}

export function formatJob(owner: VaultOwner, job: JobFacts): JobWire {
  return {
    Action: actionNames[job.action],
    JobId: job.id,
    JobDescription: job.description,
    CallBackUrl: job.callbackUrl,
    JobCallBackUrl: job.callbackUrl,
    CreationDate: formatTime(job.createdAt),
    CompletionDate: job.completedAt === null ? null : formatTime(job.completedAt),
    // True for failed jobs too: a client that waits for it would otherwise wait for ever (15.4).
    Completed: job.status !== "in-progress",
    StatusCode: statusNames[job.status],
    StatusMessage: job.statusMessage || statusNames[job.status],
    VaultQCS: formatVaultQcs(owner, job.vault),
    ...noFields,
    ...formatFieldsOf(job),
  };
}

/** @throws WireFormatError */
export function parseJob(value: unknown): JobDescription {
  const fields = new JsonFields(value, "a job description");
  const status = keyOf(statusNames, fields.text("StatusCode"));
  if (status === undefined) throw fields.fault("StatusCode", "InProgress, Succeeded or Failed");
  const common = {
    id: fields.parsed("JobId", jobId),
    status,
    statusMessage: fields.text("StatusMessage"),
    description: fields.text("JobDescription"),
    createdAt: fields.time("CreationDate"),
    completedAt: status === "in-progress" ? null : fields.timeOrNull("CompletionDate"),
  };
  const action = fields.text("Action");
  if (action === "InventoryRetrieval" || isMislabelledInventory(fields)) {
    return { ...common, ...parseInventoryFields(fields) };
  }
  if (action !== "ArchiveRetrieval" || isWithoutArchive(status, fields)) return { ...common, action: "other" };
  return { ...common, ...parseRetrievalFields(fields) };
}

export function formatJobList(owner: VaultOwner, page: Page<JobFacts>): JobListWire {
  return { JobList: page.items.map((job) => formatJob(owner, job)), Marker: page.marker };
}

/** @throws WireFormatError */
export function parseJobList(value: unknown): Page<JobDescription> {
  return parsePage(new JsonFields(value, "a list of jobs"), "JobList", parseJob);
}

/** The same, with other work done in between: a page of a thousand jobs takes tens of milliseconds. @throws WireFormatError */
export function parseJobListInTurns(value: unknown): Promise<Page<JobDescription>> {
  return parsePageInTurns(new JsonFields(value, "a list of jobs"), "JobList", parseJob);
}

export interface JobListQuery extends PageQuery {
  readonly completed: boolean | undefined;
  readonly status: JobStatus | undefined;
}

export function formatJobFilter(filter: JobFilter = {}): NameValue[] {
  const parameters = formatPageQuery(filter);
  if (filter.completed !== undefined) parameters.push(["completed", String(filter.completed)]);
  if (filter.status !== undefined) parameters.push(["statuscode", statusNames[filter.status]]);
  return parameters;
}

/** Case of the values does not matter: the Python client sends `True`. @throws WireError */
export function parseJobFilter(parameters: readonly NameValue[]): JobListQuery {
  const completed = queryValue(parameters, "completed")?.toLowerCase();
  const statusText = queryValue(parameters, "statuscode")?.toLowerCase();
  const status = statusText === undefined ? undefined : keyOf(statusNames, statusText);
  if (completed !== undefined && completed !== "true" && completed !== "false") {
    throw invalidParameter("completed is neither true nor false");
  }
  if (statusText !== undefined && status === undefined) {
    throw invalidParameter("statuscode is none of InProgress, Succeeded, Failed");
  }
  return {
    ...parsePageQuery(parameters),
    completed: completed === undefined ? undefined : completed === "true",
    status,
  };
}

/** What only some kinds of jobs have, as it is in the others. */
const noFields = {
  ArchiveId: null,
  ArchiveSizeInBytes: null,
  ArchiveSHA256TreeHash: null,
  RetrievalByteRange: null,
  SHA256TreeHash: null,
  Tier: null,
  InventorySizeInBytes: 0,
  InventoryRetrievalParameters: null,
  Bucket: null,
  Object: null,
  Condition: null,
  ArchiveDescription: null,
} as const;

function formatFieldsOf(job: JobFacts): Partial<JobWire> {
  switch (job.action) {
    case "retrieve-archive":
      return { ...formatArchivePart(job), SHA256TreeHash: isHashHidden(job) ? null : job.rangeTreeHash };
    case "retrieve-inventory":
      return {
        InventorySizeInBytes: job.inventorySizeBytes,
        InventoryRetrievalParameters: formatInventoryParameters(job),
      };
    case "push-to-cos":
      return { ...formatArchivePart(job), Bucket: job.bucket, Object: job.object };
    case "pull-from-cos":
      return {
        ArchiveId: job.archive?.archiveId ?? null,
        ArchiveSizeInBytes: job.archive?.archiveSizeBytes ?? null,
        ArchiveSHA256TreeHash: job.archive?.archiveTreeHash ?? null,
        Bucket: job.bucket,
        Object: job.object,
        Condition: formatObjectCondition(job.condition),
        ArchiveDescription: job.archiveDescription,
      };
  }
}

function formatArchivePart(job: ArchivePartFacts) {
  return {
    ArchiveId: job.archiveId,
    ArchiveSizeInBytes: job.archiveSizeBytes,
    ArchiveSHA256TreeHash: job.archiveTreeHash,
    RetrievalByteRange: formatInclusiveRange(job.range),
    Tier: tierNames[job.tier],
  };
}

function isHashHidden(job: JobFacts & RetrievalFacts): boolean {
  const whole = job.range.start === 0 && job.range.end === job.archiveSizeBytes;
  return job.status === "in-progress" && !whole;
}

function formatInventoryParameters(job: JobFacts & InventoryFacts): InventoryParametersWire {
  const { createdFrom, createdUntil, limit } = job.filter;
  return {
    Format: formatNames[job.format],
    StartDate: createdFrom === null ? null : formatTimeInSeconds(createdFrom),
    EndDate: createdUntil === null ? null : formatTimeInSeconds(createdUntil),
    Limit: limit ?? 0,
    Marker: job.status === "succeeded" ? job.nextMarker : null,
  };
}

/** The pages print the action ArchiveRetrieval for inventory jobs too (section 16, row 15). */
function isMislabelledInventory(fields: JsonFields): boolean {
  return (
    fields.textOrNull("ArchiveId") === null &&
    typeof fields.value("InventoryRetrievalParameters") === "object" &&
    fields.value("InventoryRetrievalParameters") !== null
  );
}

/** A job that failed because its archive is gone need not know its size; it must not make a whole listing unreadable. */
function isWithoutArchive(status: JobStatus, fields: JsonFields): boolean {
  if (status !== "failed") return false;
  return fields.bytesOrNull("ArchiveSizeInBytes") === null || fields.textOrNull("ArchiveSHA256TreeHash") === null;
}

function parseRetrievalFields(fields: JsonFields) {
  const archiveSizeBytes = fields.bytes("ArchiveSizeInBytes");
  const rangeText = fields.textOrNull("RetrievalByteRange");
  const range =
    rangeText === null ? byteRange(0, archiveSizeBytes) : fields.parsed("RetrievalByteRange", parseInclusiveRange);
  if (range.end > archiveSizeBytes) throw fields.fault("RetrievalByteRange", "within the archive");
  const tier = keyOf(tierNames, fields.text("Tier") || tierNames.standard);
  if (tier === undefined) throw fields.fault("Tier", "Expedited, Standard or Bulk");
  return {
    action: "retrieve-archive" as const,
    archiveId: fields.parsed("ArchiveId", archiveId),
    archiveSizeBytes,
    archiveTreeHash: fields.parsed("ArchiveSHA256TreeHash", treeHashHex),
    range,
    rangeTreeHash: fields.textOrNull("SHA256TreeHash") === null ? null : fields.parsed("SHA256TreeHash", treeHashHex),
    tier,
  };
}

function parseInventoryFields(fields: JsonFields) {
  const parameters = new JsonFields(
    fields.value("InventoryRetrievalParameters") ?? {},
    "the parameters of an inventory",
  );
  const format = keyOf(formatNames, parameters.text("Format") || formatNames.json);
  if (format === undefined) throw fields.fault("Format", "JSON or CSV");
  return {
    action: "retrieve-inventory" as const,
    format,
    inventorySizeBytes: fields.bytesOrNull("InventorySizeInBytes") ?? byteCount(0),
    nextMarker: parameters.textOrNull("Marker"),
  };
}
