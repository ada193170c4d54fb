/** What the service says about a job (cas-api section 11.2). */

import { JsonFields } from "../protocol/json-fields.js";
import { parseInclusiveRange } from "../protocol/multipart-wire.js";
import { parsePage } from "../protocol/page-wire.js";
import type { ByteSpan } from "./byte-span.js";
import { conditionNames, type InventoryFormat, type PullCondition, type RetrievalTier } from "./job-parameters.js";
import { dateOf, dateOrNull } from "./wire-date.js";

export type JobAction = "ArchiveRetrieval" | "InventoryRetrieval" | "PushToCOS" | "PullFromCOS";
export type JobStatusCode = "InProgress" | "Succeeded" | "Failed";

/** Every field is always there; null where it does not apply to the job's action. */
export interface JobProperties {
  readonly jobId: string;
  readonly action: JobAction;
  /** `""` when the job has none. */
  readonly jobDescription: string;
  readonly callBackUrl: string | null;
  readonly creationDate: Date;
  /** Null while in progress; the output is kept 24 hours from here (section 11.5). */
  readonly completionDate: Date | null;
  /** True for failed jobs too. */
  readonly completed: boolean;
  readonly statusCode: JobStatusCode;
  readonly statusMessage: string;
  readonly vaultQcs: string;
  readonly archiveId: string | null;
  /** Of the whole archive, also when only a range is retrieved. */
  readonly archiveSizeInBytes: number | null;
  /** Of the whole archive. */
  readonly archiveSha256TreeHash: string | null;
  /** The range of the archive that is retrieved, `end` excluded. */
  readonly retrievalByteRange: ByteSpan | null;
  /** Of the retrieved range; null when the range is no node of the archive's hash tree, or not known yet. */
  readonly sha256TreeHash: string | null;
  readonly tier: RetrievalTier | null;
  /** Exact size of the output of a finished inventory job, otherwise 0. */
  readonly inventorySizeInBytes: number;
  readonly inventoryRetrievalParameters: InventoryProperties | null;
  readonly bucket: string | null;
  readonly object: string | null;
  readonly condition: PullCondition | null;
  readonly archiveDescription: string | null;
}

export interface InventoryProperties {
  readonly format: InventoryFormat;
  readonly startDate: Date | null;
  readonly endDate: Date | null;
  /** 0 when the order gave none. */
  readonly limit: number;
  /** For the next inventory job; null while in progress, and when there are no more archives (section 12.3). */
  readonly marker: string | null;
}

/** `marker` asks for the next page; null when the list is complete (section 6.5). */
export interface JobList {
  readonly marker: string | null;
  readonly jobList: readonly JobProperties[];
}

/** @throws WireFormatError */
export function parseJobProperties(value: unknown): JobProperties {
  const fields = new JsonFields(value, "a job description");
  return {
    jobId: fields.text("JobId"),
    action: actionOf(fields),
    jobDescription: fields.text("JobDescription"),
    // The pages name the field one way, live data the other (section 16, row 14).
    callBackUrl: fields.textOrNull("CallBackUrl") ?? fields.textOrNull("JobCallBackUrl"),
    creationDate: dateOf(fields, "CreationDate"),
    completionDate: dateOrNull(fields, "CompletionDate"),
    completed: fields.flag("Completed"),
    statusCode: fields.text("StatusCode") as JobStatusCode,
    statusMessage: fields.text("StatusMessage"),
    vaultQcs: fields.text("VaultQCS"),
    ...parseArchiveFields(fields),
    inventorySizeInBytes: fields.bytesOrNull("InventorySizeInBytes") ?? 0,
    inventoryRetrievalParameters: parseOrNull(fields, "InventoryRetrievalParameters", parseInventoryProperties),
    bucket: fields.textOrNull("Bucket"),
    object: fields.textOrNull("Object"),
    condition: parseOrNull(fields, "Condition", parseCondition),
    archiveDescription: fields.textOrNull("ArchiveDescription"),
  };
}

/** @throws WireFormatError */
export function parseJobList(value: unknown): JobList {
  const { marker, items } = parsePage(new JsonFields(value, "a list of jobs"), "JobList", parseJobProperties);
  return { marker, jobList: items };
}

/** The pages print the action ArchiveRetrieval for inventory jobs too (section 16, row 15). */
function actionOf(fields: JsonFields): JobAction {
  const isInventory = fields.textOrNull("ArchiveId") === null && isGiven(fields.value("InventoryRetrievalParameters"));
  return isInventory ? "InventoryRetrieval" : (fields.text("Action") as JobAction);
}

function parseArchiveFields(fields: JsonFields) {
  return {
    archiveId: fields.textOrNull("ArchiveId"),
    archiveSizeInBytes: fields.bytesOrNull("ArchiveSizeInBytes"),
    archiveSha256TreeHash: fields.textOrNull("ArchiveSHA256TreeHash"),
    retrievalByteRange:
      fields.textOrNull("RetrievalByteRange") === null
        ? null
        : fields.parsed("RetrievalByteRange", parseInclusiveRange),
    sha256TreeHash: fields.textOrNull("SHA256TreeHash"),
    tier: fields.textOrNull("Tier") as RetrievalTier | null,
  };
}

function parseInventoryProperties(fields: JsonFields): InventoryProperties {
  return {
    format: fields.text("Format").toUpperCase() === "CSV" ? "CSV" : "JSON",
    startDate: dateOrNull(fields, "StartDate"),
    endDate: dateOrNull(fields, "EndDate"),
    limit: fields.bytesOrNull("Limit") ?? 0,
    marker: fields.textOrNull("Marker"),
  };
}

function parseCondition(fields: JsonFields): PullCondition {
  const given = Object.entries(conditionNames)
    .map(([key, name]) => [key, fields.textOrNull(name)] as const)
    .filter(([, text]) => text !== null);
  return Object.fromEntries(given);
}

function parseOrNull<T>(fields: JsonFields, name: string, parse: (fields: JsonFields) => T): T | null {
  const value = fields.value(name);
  return isGiven(value) ? parse(new JsonFields(value, `${name} of a job`)) : null;
}

const isGiven = (value: unknown) => value !== undefined && value !== null;
