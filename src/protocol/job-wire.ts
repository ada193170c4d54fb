/**
 * Job messages: order, description, listing, output (cas-api section 11).
 *
 * The jobs that copy from or to COS (push-to-cos, pull-from-cos) are not taken: they need an object store (11.1). In
 * answers of the real service they appear as the action "other".
 */

import { type ByteCount, type ByteRange, byteCount, byteRange } from "../domain/bytes.js";
import { type ArchiveId, archiveId, type JobId, jobId, type VaultName } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import { idHeader } from "./archive-wire.js";
import { invalidParameter, missingParameter, refusing } from "./error-wire.js";
import { JsonFields, WireFormatError } from "./json-fields.js";
import { inventoryLimitMax, jobDescriptionBytesMax, retrievalAlignmentBytes } from "./limits.js";
import type { HeaderLookup, HeaderRecord } from "./message-headers.js";
import { formatContentRange, formatInclusiveRange, parseContentRange, parseInclusiveRange } from "./multipart-wire.js";
import { formatPageQuery, type PageQuery, parsePage, parsePageQuery } from "./page-wire.js";
import { formatVaultQcs, type VaultOwner } from "./qcs.js";
import { queryValue } from "./query.js";
import { jobPath } from "./routes.js";
import type {
  InventoryFilter,
  InventoryFormat,
  JobDescription,
  JobFilter,
  JobRequest,
  JobStatus,
  Page,
  RetrievalTier,
  TreeHashHex,
} from "./service.js";
import type { NameValue } from "./signature.js";
import { treeHashHex } from "./tree-hash.js";
import { checkCallbackUrl } from "./vault-wire.js";
import { formatTime, formatTimeInSeconds, parseTime } from "./wire-time.js";

const tierNames = { expedited: "Expedited", standard: "Standard", bulk: "Bulk" } as const;
const formatNames = { json: "JSON", csv: "CSV" } as const;
const statusNames = { "in-progress": "InProgress", succeeded: "Succeeded", failed: "Failed" } as const;

// --- Initiate Job (11.1) ----------------------------------------------------------------------------------------

/** The range of an archive as ordered; an open end means the end of the archive. Both ends included. */
export interface OrderedRange {
  readonly first: number;
  readonly last: number | null;
}

/** A job as a client orders it. */
export type JobOrder = {
  readonly description: string;
  readonly callbackUrl: string | null;
} & (
  | {
      readonly action: "retrieve-archive";
      readonly archiveId: ArchiveId;
      readonly tier: RetrievalTier;
      readonly range: OrderedRange | null;
    }
  | { readonly action: "retrieve-inventory"; readonly format: InventoryFormat; readonly filter: InventoryOrder }
);

/** Null means not given. Times are in whole seconds. */
export interface InventoryOrder {
  readonly createdFrom: Instant | null;
  readonly createdUntil: Instant | null;
  readonly limit: number | null;
  readonly marker: string | null;
}

/** The JSON body of Initiate Job. */
export function formatJobRequest(request: JobRequest): Record<string, unknown> {
  const description = request.description ? { Description: request.description } : {};
  if (request.action === "retrieve-archive") {
    return {
      Type: "archive-retrieval",
      ArchiveId: request.archiveId,
      Tier: tierNames[request.tier],
      ...(request.range === undefined ? {} : { RetrievalByteRange: formatInclusiveRange(request.range) }),
      ...description,
    };
  }
  return {
    Type: "inventory-retrieval",
    Format: formatNames[request.format],
    InventoryRetrievalParameters: formatFilter(request.filter ?? {}),
    ...description,
  };
}

/** @throws WireError as section 4.3 says. `body` is what `parseJsonBody` gave. */
export function parseJobRequest(body: object): JobOrder {
  const fields = new JsonFields(body, "the job");
  const common = refusing(() => parseCommon(fields));
  const type = refusing(() => fields.textOrNull("Type"));
  if (type === null) throw missingParameter("Type");
  if (type === "archive-retrieval") return { ...common, ...refusing(() => parseRetrieval(fields)) };
  if (type === "inventory-retrieval") return { ...common, ...refusing(() => parseInventoryOrder(fields)) };
  throw invalidParameter("Type is neither archive-retrieval nor inventory-retrieval");
}

/** The ordered range within an archive of this size; the whole archive for null. @throws WireError (11.1) */
export function resolveOrderedRange(ordered: OrderedRange | null, archiveSizeBytes: number): ByteRange {
  if (ordered === null) return byteRange(0, archiveSizeBytes);
  const end = ordered.last === null ? archiveSizeBytes : ordered.last + 1;
  const endsWell = end % retrievalAlignmentBytes === 0 || end === archiveSizeBytes;
  if (end > archiveSizeBytes || end <= ordered.first) {
    throw invalidParameter("RetrievalByteRange is not within the archive");
  }
  if (ordered.first % retrievalAlignmentBytes !== 0 || !endsWell) {
    throw invalidParameter("RetrievalByteRange is not aligned to 1 MiB");
  }
  return byteRange(ordered.first, end);
}

export function formatJobCreated(appId: string, vault: VaultName, job: JobId): HeaderRecord {
  return { location: jobPath(appId, vault, job), "x-cas-job-id": job };
}

/** @throws WireFormatError */
export function parseJobCreated(headers: HeaderLookup): JobId {
  return idHeader(headers, "x-cas-job-id", jobId);
}

function formatFilter(filter: InventoryFilter): Record<string, unknown> {
  return {
    ...(filter.createdFrom === undefined ? {} : { StartDate: formatTimeInSeconds(filter.createdFrom) }),
    ...(filter.createdUntil === undefined ? {} : { EndDate: formatTimeInSeconds(filter.createdUntil) }),
    ...(filter.limit === undefined ? {} : { Limit: String(filter.limit) }),
    ...(filter.marker === undefined ? {} : { Marker: filter.marker }),
  };
}

function parseCommon(fields: JsonFields): { readonly description: string; readonly callbackUrl: string | null } {
  const description = fields.text("Description");
  if (Buffer.byteLength(description) > jobDescriptionBytesMax) {
    throw invalidParameter(`Description is longer than ${jobDescriptionBytesMax} bytes`);
  }
  const callbackUrl = fields.textOrNull("CallBackUrl");
  return { description, callbackUrl: callbackUrl === null ? null : checkCallbackUrl(callbackUrl) };
}

function parseRetrieval(fields: JsonFields) {
  if (fields.textOrNull("ArchiveId") === null) throw missingParameter("ArchiveId");
  const tierText = fields.text("Tier") || tierNames.standard;
  const tier = keyOf(tierNames, tierText);
  if (tier === undefined) throw invalidParameter("Tier is none of Expedited, Standard, Bulk");
  const rangeText = fields.textOrNull("RetrievalByteRange");
  return {
    action: "retrieve-archive" as const,
    archiveId: fields.parsed("ArchiveId", archiveId),
    tier,
    range: rangeText === null ? null : parseOrderedRange(rangeText),
  };
}

/** `first-last` or, from `cascmd --start` without `--size`, `first-`. */
function parseOrderedRange(text: string): OrderedRange {
  const match = /^(\d{1,15})-(\d{1,15})?$/.exec(text);
  if (!match) throw invalidParameter("RetrievalByteRange is not `first-last`");
  return { first: Number(match[1]), last: match[2] === undefined ? null : Number(match[2]) };
}

function parseInventoryOrder(fields: JsonFields) {
  const format = keyOf(formatNames, fields.text("Format") || formatNames.json);
  if (format === undefined) throw invalidParameter("Format is neither JSON nor CSV");
  const parameters = new JsonFields(fields.value("InventoryRetrievalParameters") ?? {}, "InventoryRetrievalParameters");
  const filter: InventoryOrder = {
    createdFrom: timeInSeconds(parameters, "StartDate"),
    createdUntil: timeInSeconds(parameters, "EndDate"),
    limit: parseInventoryLimit(parameters.value("Limit")),
    marker: parameters.textOrNull("Marker"),
  };
  return { action: "retrieve-inventory" as const, format, filter };
}

function timeInSeconds(fields: JsonFields, name: string): Instant | null {
  const text = fields.textOrNull(name);
  return text === null ? null : ((Math.floor(fields.parsed(name, parseTime) / 1000) * 1000) as Instant);
}

/** The official Python client sends the number as text. */
function parseInventoryLimit(value: unknown): number | null {
  if (value === undefined || value === null || value === "") return null;
  const limit = typeof value === "string" && /^\d{1,5}$/.test(value) ? Number(value) : value;
  if (typeof limit !== "number" || !Number.isInteger(limit) || limit < 1 || limit > inventoryLimitMax) {
    throw invalidParameter(`Limit is not an integer of 1-${inventoryLimitMax}`);
  }
  return limit;
}

// --- Describe Job, List Jobs (11.2, 11.3) -----------------------------------------------------------------------

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
} & (
  | {
      readonly action: "retrieve-archive";
      readonly archiveId: ArchiveId;
      readonly archiveSizeBytes: ByteCount;
      readonly archiveTreeHash: TreeHashHex;
      readonly range: ByteRange;
      /** Null when the range is no subtree of the archive; hidden while a part of an archive is in progress (11.2). */
      readonly rangeTreeHash: TreeHashHex | null;
      readonly tier: RetrievalTier;
    }
  | {
      readonly action: "retrieve-inventory";
      readonly format: InventoryFormat;
      readonly filter: InventoryOrder;
      /** 0 until the job has succeeded. */
      readonly inventorySizeBytes: number;
      readonly nextMarker: string | null;
    }
);

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
  readonly Condition: null;
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
    Action: job.action === "retrieve-archive" ? "ArchiveRetrieval" : "InventoryRetrieval",
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
    ...formatRetrievalFields(job),
    InventorySizeInBytes: job.action === "retrieve-inventory" ? job.inventorySizeBytes : 0,
    InventoryRetrievalParameters: job.action === "retrieve-inventory" ? formatInventoryParameters(job) : null,
    Bucket: null,
    Object: null,
    Condition: null,
    ArchiveDescription: null,
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

function formatRetrievalFields(job: JobFacts) {
  if (job.action !== "retrieve-archive") {
    return {
      ArchiveId: null,
      ArchiveSizeInBytes: null,
      ArchiveSHA256TreeHash: null,
      RetrievalByteRange: null,
      SHA256TreeHash: null,
      Tier: null,
    };
  }
  const whole = job.range.start === 0 && job.range.end === job.archiveSizeBytes;
  const hidden = job.status === "in-progress" && !whole;
  return {
    ArchiveId: job.archiveId,
    ArchiveSizeInBytes: job.archiveSizeBytes,
    ArchiveSHA256TreeHash: job.archiveTreeHash,
    RetrievalByteRange: formatInclusiveRange(job.range),
    SHA256TreeHash: hidden ? null : job.rangeTreeHash,
    Tier: tierNames[job.tier],
  };
}

function formatInventoryParameters(job: JobFacts & { readonly action: "retrieve-inventory" }): InventoryParametersWire {
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

// --- Get Job Output (11.4) --------------------------------------------------------------------------------------

/** The value of the `Range` header. */
export function formatRange(range: ByteRange): string {
  return `bytes=${formatInclusiveRange(range)}`;
}

/**
 * The asked part of an output of `totalBytes`: `first-last`, `first-` or `-suffix`, a last position beyond the end cut.
 *
 * @throws WireError for a range that begins beyond the end, for several ranges, and for nonsense.
 */
export function parseRange(text: string, totalBytes: number): ByteRange {
  const match = /^bytes=(\d{1,15})?-(\d{1,15})?$/i.exec(text.trim());
  const [, first, last] = match ?? [];
  if (!match || (first === undefined && last === undefined)) throw invalidParameter("Range is not `bytes=first-last`");
  const start = first === undefined ? Math.max(0, totalBytes - Number(last)) : Number(first);
  const end = first === undefined || last === undefined ? totalBytes : Math.min(Number(last) + 1, totalBytes);
  if (start >= totalBytes || end <= start) throw invalidParameter("Range is not within the output");
  return byteRange(start, end);
}

export type OutputContentType = "application/octet-stream" | "application/json" | "text/csv";

/** Status and headers of an output. `range` is present exactly when the request had a Range. */
export function formatOutputHeaders(output: {
  readonly contentType: OutputContentType;
  readonly totalBytes: number;
  readonly range: ByteRange | undefined;
  /** Of the bytes that are sent; null when they are no subtree of the archive. */
  readonly treeHash: TreeHashHex | null;
}): { readonly status: 200 | 206; readonly headers: HeaderRecord } {
  const { range, totalBytes } = output;
  const headers = {
    "content-type": output.contentType,
    "content-length": String(range === undefined ? totalBytes : range.end - range.start),
    "accept-ranges": "bytes",
    ...(range === undefined ? {} : { "content-range": formatContentRange(range, totalBytes) }),
    ...(output.treeHash === null ? {} : { "x-cas-sha256-tree-hash": output.treeHash }),
  };
  return { status: range === undefined ? 200 : 206, headers };
}

/**
 * What an answer with output promises.
 *
 * @param asked The range of the request; the answer must be of exactly that range (cut at the end of the output).
 * @throws WireFormatError
 */
export function parseOutputHeaders(
  status: number,
  headers: HeaderLookup,
  asked: ByteRange | undefined,
): { readonly sizeBytes: ByteCount; readonly treeHash: TreeHashHex | null } {
  const sizeBytes = outputLength(headers);
  if (asked !== undefined) checkOutputRange(status, headers, asked, sizeBytes);
  const treeHash = headers("x-cas-sha256-tree-hash");
  try {
    return { sizeBytes, treeHash: treeHash ? treeHashHex(treeHash) : null };
  } catch (cause) {
    throw new WireFormatError("Cannot read the output: its tree hash is malformed", { cause });
  }
}

function outputLength(headers: HeaderLookup): ByteCount {
  const text = headers("content-length") ?? "";
  if (!/^\d{1,15}$/.test(text)) throw new WireFormatError("Cannot read the output: it has no Content-Length");
  return byteCount(Number(text));
}

function checkOutputRange(status: number, headers: HeaderLookup, asked: ByteRange, sizeBytes: ByteCount): void {
  const contentRange = headers("content-range");
  if (status !== 206 || contentRange === undefined) {
    // Some services answer 200 when the range is all there is.
    if (status === 200 && asked.start === 0 && sizeBytes === asked.end) return;
    throw new WireFormatError("Cannot read the output: the service ignored the asked range");
  }
  let answered: { readonly range: ByteRange; readonly totalBytes: number | null };
  try {
    answered = parseContentRange(contentRange);
  } catch (cause) {
    throw new WireFormatError("Cannot read the output: its Content-Range is malformed", { cause });
  }
  const { range, totalBytes } = answered;
  const expectedEnd = Math.min(asked.end, totalBytes ?? asked.end);
  if (range.start !== asked.start || range.end !== expectedEnd || range.end - range.start !== sizeBytes) {
    throw new WireFormatError(
      `Cannot read the output: asked for ${formatRange(asked)}, got ${contentRange.slice(0, 80)}`,
    );
  }
}

function keyOf<K extends string>(names: Readonly<Record<K, string>>, text: string): K | undefined {
  const lowercase = text.toLowerCase();
  return (Object.keys(names) as K[]).find((key) => names[key].toLowerCase() === lowercase);
}
