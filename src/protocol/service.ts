/**
 * The port to any cold archive: one method per operation of the vault API.
 *
 * Nothing of HTTP or of CAS's spelling passes through it: tiers, ranges, hashes, job states and failures are domain
 * types, so that other vault APIs fit behind it. All failures are `ServiceError`; an abort rejects with
 * `signal.reason`. Section numbers are those of the CAS protocol reference (PROTOCOL.md).
 */

import type { ByteCount, ByteRange } from "../domain/bytes.js";
import type { ArchiveId, JobId, UploadId, VaultName } from "../domain/ids.js";
import type { Instant } from "../domain/time.js";

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** 64 lowercase hex digits. */
export type Sha256Hex = string & { readonly __brand: "Sha256Hex" };
/** 64 lowercase hex digits; see `tree-hash.ts`. */
export type TreeHashHex = string & { readonly __brand: "TreeHashHex" };

/** Opens the bytes of a request from their beginning, each time it is called: a repeated request reads them again. */
export type BodySource = () => AsyncIterable<Uint8Array>;

/** One page of a listing. `marker` names the first item of the next page; null when the list is complete (6.5). */
export interface Page<T> {
  readonly items: readonly T[];
  readonly marker: string | null;
}

/** `limit`: 1-1000, the service's default is 1000. */
export interface PageRequest {
  readonly marker?: string | undefined;
  readonly limit?: number | undefined;
}

/** Counts are those of the service's last inventory, null before the first one (6.2). */
export interface VaultDescription {
  readonly name: VaultName;
  readonly createdAt: Instant;
  readonly lastInventoryAt: Instant | null;
  readonly archiveCount: number | null;
  readonly sizeBytes: ByteCount | null;
}

export interface NewArchive {
  readonly body: BodySource;
  readonly sizeBytes: ByteCount;
  readonly sha256: Sha256Hex;
  readonly treeHash: TreeHashHex;
  /** At most 1024 bytes of UTF-8. */
  readonly description: string;
}

export interface NewPart {
  readonly body: BodySource;
  readonly range: ByteRange;
  readonly sha256: Sha256Hex;
  readonly treeHash: TreeHashHex;
}

export interface UploadDescription {
  readonly id: UploadId;
  readonly description: string;
  readonly createdAt: Instant;
  readonly partSizeBytes: ByteCount;
}

export interface PartDescription {
  readonly range: ByteRange;
  readonly treeHash: TreeHashHex;
}

export interface PartsPage extends Page<PartDescription> {
  readonly upload: UploadDescription;
}

/** From the fastest, which costs most, to the slowest. */
export const retrievalTiers = ["expedited", "standard", "bulk"] as const;
export type RetrievalTier = (typeof retrievalTiers)[number];
export type JobStatus = "in-progress" | "succeeded" | "failed";
export type InventoryFormat = "json" | "csv";

export interface InventoryFilter {
  /** Archives created at or after, in whole seconds. */
  readonly createdFrom?: Instant | undefined;
  /** Archives created at or before, in whole seconds. */
  readonly createdUntil?: Instant | undefined;
  /** 1-10000; the service's default is 10000. */
  readonly limit?: number | undefined;
  readonly marker?: string | undefined;
}

export type JobRequest =
  | {
      readonly action: "retrieve-archive";
      readonly archiveId: ArchiveId;
      readonly tier: RetrievalTier;
      /** MiB-aligned (11.1); the whole archive when absent. */
      readonly range?: ByteRange | undefined;
      readonly description?: string | undefined;
    }
  | {
      readonly action: "retrieve-inventory";
      readonly format: InventoryFormat;
      readonly filter?: InventoryFilter | undefined;
      readonly description?: string | undefined;
    };

interface JobDescriptionBase {
  readonly id: JobId;
  readonly status: JobStatus;
  readonly statusMessage: string;
  readonly description: string;
  readonly createdAt: Instant;
  /** null while in progress; the output is kept 24 hours from here (11.5). */
  readonly completedAt: Instant | null;
}

export type JobDescription = JobDescriptionBase &
  (
    | {
        readonly action: "retrieve-archive";
        readonly archiveId: ArchiveId;
        readonly archiveSizeBytes: ByteCount;
        readonly archiveTreeHash: TreeHashHex;
        readonly range: ByteRange;
        /** Of the retrieved range; null when the range is no subtree, or not known yet. */
        readonly rangeTreeHash: TreeHashHex | null;
        readonly tier: RetrievalTier;
      }
    | {
        readonly action: "retrieve-inventory";
        readonly format: InventoryFormat;
        /** Length of the output, 0 until the job has succeeded. */
        readonly inventorySizeBytes: ByteCount;
        /** For the next inventory job; null when this one was complete (12.3). */
        readonly nextMarker: string | null;
      }
    | { readonly action: "other" }
  );

export interface JobFilter extends PageRequest {
  readonly completed?: boolean | undefined;
  readonly status?: JobStatus | undefined;
}

export interface JobOutput {
  /** Must be consumed or returned early (`break` closes the connection). */
  readonly body: AsyncIterable<Uint8Array>;
  /** Length of `body`. */
  readonly sizeBytes: ByteCount;
  /** Of `body`; null unless the range is a subtree of the archive (11.4). */
  readonly treeHash: TreeHashHex | null;
}

export interface CasService {
  /** Creating a vault that exists changes nothing (6.1). */
  createVault(vault: VaultName, options?: CallOptions): Promise<void>;
  describeVault(vault: VaultName, options?: CallOptions): Promise<VaultDescription>;
  /** @throws ServiceError "refused" while the vault holds an archive or an unfinished upload (6.3). */
  deleteVault(vault: VaultName, options?: CallOptions): Promise<void>;
  /** Where the service tells of the end of the vault's jobs; null when nobody is told (8.1). */
  vaultCallback(vault: VaultName, options?: CallOptions): Promise<string | null>;
  /** From now on the end of every retrieval is posted to `url`, which replaces the former one (8.1). */
  setVaultCallback(vault: VaultName, url: string, options?: CallOptions): Promise<void>;
  listVaults(page?: PageRequest, options?: CallOptions): Promise<Page<VaultDescription>>;

  /** Repeating it makes a second archive (9.1). */
  uploadArchive(vault: VaultName, archive: NewArchive, options?: CallOptions): Promise<ArchiveId>;
  /** Deleting a deleted archive again is fine (9.2). */
  deleteArchive(vault: VaultName, archive: ArchiveId, options?: CallOptions): Promise<void>;

  initiateMultipartUpload(
    vault: VaultName,
    upload: { readonly partSizeBytes: ByteCount; readonly description: string },
    options?: CallOptions,
  ): Promise<UploadId>;
  /** Safe to repeat: a part sent again replaces the former (10.2). */
  uploadPart(vault: VaultName, upload: UploadId, part: NewPart, options?: CallOptions): Promise<void>;
  /** Repeating a successful call within an hour gives the same archive id (10.3). */
  completeMultipartUpload(
    vault: VaultName,
    upload: UploadId,
    archive: { readonly sizeBytes: ByteCount; readonly treeHash: TreeHashHex },
    options?: CallOptions,
  ): Promise<ArchiveId>;
  abortMultipartUpload(vault: VaultName, upload: UploadId, options?: CallOptions): Promise<void>;
  /** Markers are byte offsets as text (10.4). */
  listParts(vault: VaultName, upload: UploadId, page?: PageRequest, options?: CallOptions): Promise<PartsPage>;
  listMultipartUploads(vault: VaultName, page?: PageRequest, options?: CallOptions): Promise<Page<UploadDescription>>;

  /** Every call starts, and bills, a job of its own (11.1). */
  initiateJob(vault: VaultName, request: JobRequest, options?: CallOptions): Promise<JobId>;
  describeJob(vault: VaultName, job: JobId, options?: CallOptions): Promise<JobDescription>;
  /** Running and recently completed jobs; expired ones are left out (11.3). */
  listJobs(vault: VaultName, filter?: JobFilter, options?: CallOptions): Promise<Page<JobDescription>>;
  /** `range` is in bytes of the output: byte 0 is the first byte of the job's own range (11.4). */
  getJobOutput(vault: VaultName, job: JobId, range: ByteRange | undefined, options?: CallOptions): Promise<JobOutput>;
}
