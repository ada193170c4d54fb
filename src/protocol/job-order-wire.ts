/** Initiate Job: the orders of all four kinds of jobs, and the answer (cas-api section 11.1). */

import { type ByteRange, byteRange } from "../domain/bytes.js";
import { type ArchiveId, archiveId, type JobId, jobId, type VaultName } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";
import { idHeader } from "./archive-wire.js";
import { invalidParameter, missingParameter, refusing } from "./error-wire.js";
import { formatNames, type JobAction, jobTypeNames, keyOf, tierNames } from "./job-names.js";
import { JsonFields } from "./json-fields.js";
import {
  archiveDescriptionBytesMax,
  inventoryLimitMax,
  jobDescriptionBytesMax,
  retrievalAlignmentBytes,
} from "./limits.js";
import type { HeaderLookup, HeaderRecord } from "./message-headers.js";
import { formatObjectCondition, type ObjectCondition, parseObjectCondition } from "./object-condition.js";
import { jobPath } from "./routes.js";
import type { InventoryFormat, JobRequest, RetrievalTier } from "./service.js";
import { checkCallbackUrl } from "./vault-wire.js";
import { formatTimeInSeconds, parseTime } from "./wire-time.js";

/** A range as ordered; an open end means the end of the archive or object. Both ends included. */
export interface OrderedRange {
  readonly first: number;
  readonly last: number | null;
}

interface OrderOf<A extends JobAction> {
  readonly action: A;
  readonly description: string;
  readonly callbackUrl: string | null;
}

export interface RetrievalOrder extends OrderOf<"retrieve-archive"> {
  readonly archiveId: ArchiveId;
  readonly tier: RetrievalTier;
  /** Null means the whole archive. */
  readonly range: OrderedRange | null;
}

export interface InventoryJobOrder extends OrderOf<"retrieve-inventory"> {
  readonly format: InventoryFormat;
  readonly filter: InventoryOrder;
}

/** Copies an archive, or a part of it, to an object of COS. */
export interface PushOrder extends OrderOf<"push-to-cos"> {
  readonly archiveId: ArchiveId;
  readonly tier: RetrievalTier;
  readonly range: OrderedRange | null;
  /** The bucket's domain name. */
  readonly bucket: string;
  readonly object: string;
}

/** Makes an archive of an object of COS, or of a part of it. */
export interface PullOrder extends OrderOf<"pull-from-cos"> {
  readonly bucket: string;
  readonly object: string;
  /** Bytes of the object; null means all of them. They need no alignment. */
  readonly range: OrderedRange | null;
  readonly condition: ObjectCondition;
  readonly archiveDescription: string;
}

/** A job as a client orders it. */
export type JobOrder = RetrievalOrder | InventoryJobOrder | PushOrder | PullOrder;

/** Null means not given. Times are in whole seconds. */
export interface InventoryOrder {
  readonly createdFrom: Instant | null;
  readonly createdUntil: Instant | null;
  readonly limit: number | null;
  readonly marker: string | null;
}

/** The JSON body of Initiate Job; what was not given is left out. */
export function formatJobOrder(order: JobOrder): Record<string, unknown> {
  return {
    Type: jobTypeNames[order.action],
    ...formatOrderFields(order),
    ...(order.description === "" ? {} : { Description: order.description }),
    ...(order.callbackUrl === null ? {} : { CallBackUrl: order.callbackUrl }),
  };
}

/** The JSON body of Initiate Job for what the service port can order. */
export function formatJobRequest(request: JobRequest): Record<string, unknown> {
  const common = { description: request.description ?? "", callbackUrl: null };
  if (request.action === "retrieve-archive") {
    const range = request.range === undefined ? null : { first: request.range.start, last: request.range.end - 1 };
    return formatJobOrder({ ...common, ...request, description: common.description, range });
  }
  const { createdFrom = null, createdUntil = null, limit = null, marker = null } = request.filter ?? {};
  const filter = { createdFrom, createdUntil, limit, marker };
  return formatJobOrder({ ...common, action: "retrieve-inventory", format: request.format, filter });
}

/**
 * @param body What `parseJsonBody` gave.
 * @param options.copies Whether the service copies from and to COS; without that such orders are refused as unknown.
 * @throws WireError as section 4.3 says.
 */
export function parseJobRequest(
  body: object,
  { copies = true }: { readonly copies?: boolean | undefined } = {},
): JobOrder {
  const fields = new JsonFields(body, "the job");
  const common = refusing(() => parseCommon(fields));
  const typeText = refusing(() => fields.textOrNull("Type"));
  if (typeText === null) throw missingParameter("Type");
  const action = keyOf(jobTypeNames, typeText);
  if (action === undefined) throw invalidParameter(`Type is none of ${Object.values(jobTypeNames).join(", ")}`);
  if (!copies && (action === "push-to-cos" || action === "pull-from-cos")) {
    throw invalidParameter(`Type ${jobTypeNames[action]} needs an object store, and this service has none`);
  }
  return refusing(() => ({ ...common, ...parseFieldsOf[action](fields) }));
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

function formatOrderFields(order: JobOrder): Record<string, unknown> {
  switch (order.action) {
    case "retrieve-archive":
      return formatArchivePart(order);
    case "retrieve-inventory":
      return { Format: formatNames[order.format], InventoryRetrievalParameters: formatFilter(order.filter) };
    case "push-to-cos":
      return { ...formatArchivePart(order), Bucket: order.bucket, Object: order.object };
    case "pull-from-cos":
      return formatPull(order);
  }
}

function formatArchivePart({ archiveId: id, tier, range }: RetrievalOrder | PushOrder): Record<string, unknown> {
  return {
    ArchiveId: id,
    Tier: tierNames[tier],
    ...(range === null ? {} : { RetrievalByteRange: formatOrderedRange(range) }),
  };
}

function formatPull({ bucket, object, range, condition, archiveDescription }: PullOrder): Record<string, unknown> {
  const given = Object.entries(formatObjectCondition(condition) ?? {}).filter(([, value]) => value !== null);
  return {
    Bucket: bucket,
    Object: object,
    ...(range === null ? {} : { Range: formatOrderedRange(range) }),
    ...(given.length === 0 ? {} : { Condition: Object.fromEntries(given) }),
    ...(archiveDescription === "" ? {} : { ArchiveDescription: archiveDescription }),
  };
}

function formatOrderedRange({ first, last }: OrderedRange): string {
  return `${first}-${last ?? ""}`;
}

function formatFilter({ createdFrom, createdUntil, limit, marker }: InventoryOrder): Record<string, unknown> {
  return {
    ...(createdFrom === null ? {} : { StartDate: formatTimeInSeconds(createdFrom) }),
    ...(createdUntil === null ? {} : { EndDate: formatTimeInSeconds(createdUntil) }),
    // As text, because that is what the official client sends.
    ...(limit === null ? {} : { Limit: String(limit) }),
    ...(marker === null ? {} : { Marker: marker }),
  };
}

/** A listing shows these texts of a thousand jobs at once: none may be of any length. */
const textBytesMax = 2048;

function shortTextOrNull(fields: JsonFields, name: string): string | null {
  const text = fields.textOrNull(name);
  checkShort(name, text);
  return text;
}

function checkShort(name: string, text: string | null): void {
  if (text === null || Buffer.byteLength(text) <= textBytesMax) return;
  throw invalidParameter(`${name} is longer than ${textBytesMax} bytes`);
}

function parseCommon(fields: JsonFields): { readonly description: string; readonly callbackUrl: string | null } {
  const callbackUrl = shortTextOrNull(fields, "CallBackUrl");
  return {
    description: describedIn(fields, "Description", jobDescriptionBytesMax),
    callbackUrl: callbackUrl === null ? null : checkCallbackUrl(callbackUrl),
  };
}

const parseFieldsOf = {
  "retrieve-archive": (fields: JsonFields) => ({
    action: "retrieve-archive" as const,
    ...parseArchivePart(fields),
  }),
  "retrieve-inventory": parseInventoryOrder,
  "push-to-cos": (fields: JsonFields) => ({
    action: "push-to-cos" as const,
    ...parseArchivePart(fields),
    ...parseObjectName(fields),
  }),
  "pull-from-cos": parsePull,
};

function parseArchivePart(fields: JsonFields) {
  if (fields.textOrNull("ArchiveId") === null) throw missingParameter("ArchiveId");
  const tier = keyOf(tierNames, fields.text("Tier") || tierNames.standard);
  if (tier === undefined) throw invalidParameter("Tier is none of Expedited, Standard, Bulk");
  const rangeText = fields.textOrNull("RetrievalByteRange");
  return {
    archiveId: fields.parsed("ArchiveId", archiveId),
    tier,
    range: rangeText === null ? null : parseOrderedRange("RetrievalByteRange", rangeText),
  };
}

function parsePull(fields: JsonFields) {
  // The pages show a Range header's value as well as the bare range.
  const rangeText = fields.text("Range").replace(/^bytes=/i, "");
  return {
    action: "pull-from-cos" as const,
    ...parseObjectName(fields),
    range: rangeText === "" ? null : parseOrderedRange("Range", rangeText),
    condition: parseCondition(fields),
    archiveDescription: describedIn(fields, "ArchiveDescription", archiveDescriptionBytesMax),
  };
}

function parseCondition(fields: JsonFields): ObjectCondition {
  const condition = parseObjectCondition(fields.value("Condition"));
  for (const text of Object.values(condition) as (string | null)[]) checkShort("Condition", text);
  return condition;
}

const objectBytesMax = 1024;

function parseObjectName(fields: JsonFields): { readonly bucket: string; readonly object: string } {
  const bucket = fields.textOrNull("Bucket");
  const object = fields.textOrNull("Object");
  if (bucket === null) throw missingParameter("Bucket");
  if (object === null) throw missingParameter("Object");
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/.test(bucket)) throw invalidParameter("Bucket is not the name of a bucket");
  const isPath = object.split("/").every((segment) => segment !== "." && segment !== "..");
  if (!isPath || /^\/*$/.test(object) || object.includes("\0") || Buffer.byteLength(object) > objectBytesMax) {
    throw invalidParameter("Object is not the path of an object");
  }
  return { bucket, object };
}

/** `first-last` or, from `cascmd --start` without `--size`, `first-`. */
function parseOrderedRange(name: string, text: string): OrderedRange {
  const match = /^(\d{1,15})-(\d{1,15})?$/.exec(text);
  if (!match) throw invalidParameter(`${name} is not \`first-last\``);
  const range = { first: Number(match[1]), last: match[2] === undefined ? null : Number(match[2]) };
  if (range.last !== null && range.last < range.first) throw invalidParameter(`${name} ends before it begins`);
  return range;
}

function parseInventoryOrder(fields: JsonFields) {
  const format = keyOf(formatNames, fields.text("Format") || formatNames.json);
  if (format === undefined) throw invalidParameter("Format is neither JSON nor CSV");
  const parameters = new JsonFields(fields.value("InventoryRetrievalParameters") || {}, "InventoryRetrievalParameters");
  const filter: InventoryOrder = {
    createdFrom: timeInSeconds(parameters, "StartDate"),
    createdUntil: timeInSeconds(parameters, "EndDate"),
    limit: parseInventoryLimit(parameters.value("Limit")),
    marker: shortTextOrNull(parameters, "Marker"),
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

function describedIn(fields: JsonFields, name: string, bytesMax: number): string {
  const description = fields.text(name);
  if (Buffer.byteLength(description) > bytesMax) throw invalidParameter(`${name} is longer than ${bytesMax} bytes`);
  return description;
}
