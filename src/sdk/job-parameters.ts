/** What a job shall do: the body of Initiate Job (cas-api section 11.1). */

import type { Instant } from "../domain/time.js";
import { formatInclusiveRange } from "../protocol/multipart-wire.js";
import { formatTimeInSeconds } from "../protocol/wire-time.js";
import { type ByteSpanLike, toByteRange } from "./byte-span.js";

/** From the fastest, which costs most, to the slowest. Expedited takes archives up to 256 MiB (section 14.1). */
export type RetrievalTier = "Expedited" | "Standard" | "Bulk";
export type InventoryFormat = "JSON" | "CSV";

interface CommonParameters {
  /** At most 1024 bytes. */
  readonly description?: string | undefined;
  /** `http(s)://`; the finished job is posted there, besides the vault's own notifications (section 8.2). */
  readonly callBackUrl?: string | undefined;
}

/** Brings an archive, or a range of it, into the cache from where it can be downloaded for 24 hours. */
export interface ArchiveRetrievalParameters extends CommonParameters {
  readonly type: "archive-retrieval";
  readonly archiveId: string;
  /** `Standard` unless given. */
  readonly tier?: RetrievalTier | undefined;
  /** The whole archive unless given; both ends multiples of 1 MiB, or the end of the archive. */
  readonly byteRange?: ByteSpanLike | undefined;
}

/** Lists the archives of the vault as of its last inventory. */
export interface InventoryRetrievalParameters extends CommonParameters {
  readonly type: "inventory-retrieval";
  /** `JSON` unless given. */
  readonly format?: InventoryFormat | undefined;
  /** Archives created at or after, in whole seconds. */
  readonly startDate?: Date | undefined;
  /** Archives created at or before, in whole seconds. */
  readonly endDate?: Date | undefined;
  /** 1-10000 archives; 10000 unless given. */
  readonly limit?: number | undefined;
  /** Of a finished inventory job that had more archives to list (section 12.3). */
  readonly marker?: string | undefined;
}

/** Copies an archive into a COS bucket. */
export interface PushToCosParameters extends CommonParameters {
  readonly type: "push-to-cos";
  readonly archiveId: string;
  /** Domain name of the bucket. */
  readonly bucket: string;
  /** Path of the object. */
  readonly object: string;
  readonly tier?: RetrievalTier | undefined;
  readonly byteRange?: ByteSpanLike | undefined;
}

/** Only an object that fulfils all of it is taken. */
export interface PullCondition {
  readonly ifModifiedSince?: string | undefined;
  readonly ifUnmodifiedSince?: string | undefined;
  readonly ifMatch?: string | undefined;
  readonly ifNoneMatch?: string | undefined;
}

/** Makes an archive of an object in a COS bucket. */
export interface PullFromCosParameters extends CommonParameters {
  readonly type: "pull-from-cos";
  readonly bucket: string;
  readonly object: string;
  /** Of the object; all of it unless given. */
  readonly range?: ByteSpanLike | undefined;
  readonly condition?: PullCondition | undefined;
  /** Of the new archive; at most 1024 bytes. */
  readonly archiveDescription?: string | undefined;
}

export type JobParameters =
  | ArchiveRetrievalParameters
  | InventoryRetrievalParameters
  | PushToCosParameters
  | PullFromCosParameters;

/** The names of the conditions on the wire; the second is misspelt in the API. */
export const conditionNames = {
  ifModifiedSince: "If-Modified-Since",
  ifUnmodifiedSince: "If-Umodified-Since",
  ifMatch: "If-Match",
  ifNoneMatch: "If-None-Match",
} as const satisfies Record<keyof PullCondition, string>;

/** The JSON body; what is not given is left out. @throws RangeError for a range that is none. */
export function formatJobParameters(job: JobParameters): Record<string, unknown> {
  const common = { Type: job.type, Description: job.description || undefined, CallBackUrl: job.callBackUrl };
  switch (job.type) {
    case "archive-retrieval":
      return { ...common, ...formatRetrieval(job) };
    case "inventory-retrieval":
      return { ...common, Format: job.format, InventoryRetrievalParameters: formatFilter(job) };
    case "push-to-cos":
      return { ...common, ...formatRetrieval(job), Bucket: job.bucket, Object: job.object };
    case "pull-from-cos":
      return { ...common, ...formatPull(job) };
  }
}

function formatRetrieval(job: ArchiveRetrievalParameters | PushToCosParameters) {
  return { ArchiveId: job.archiveId, Tier: job.tier, RetrievalByteRange: formatRangeText(job.byteRange) };
}

function formatFilter({ startDate, endDate, limit, marker }: InventoryRetrievalParameters) {
  return {
    StartDate: startDate && formatTimeInSeconds(startDate.getTime() as Instant),
    EndDate: endDate && formatTimeInSeconds(endDate.getTime() as Instant),
    // Text, as the official client sends it (section 15.11).
    Limit: limit === undefined ? undefined : String(limit),
    Marker: marker,
  };
}

function formatPull({ bucket, object, range, condition, archiveDescription }: PullFromCosParameters) {
  const conditions = Object.entries(conditionNames).map(([key, name]) => [
    name,
    condition?.[key as keyof PullCondition],
  ]);
  return {
    Bucket: bucket,
    Object: object,
    Range: formatRangeText(range),
    Condition: condition && Object.fromEntries(conditions),
    ArchiveDescription: archiveDescription || undefined,
  };
}

function formatRangeText(span: ByteSpanLike | undefined): string | undefined {
  // `"first-"`, to the end of the archive, is what the official command line sends (section 11.1); it is no text of 17.8.
  if (span === undefined || (typeof span === "string" && /^\d+-$/.test(span))) return span;
  return formatInclusiveRange(toByteRange(span));
}
