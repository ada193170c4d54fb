/**
 * The door of the package: everything that `import … from "casfs"` gives, and nothing else.
 *
 * The CAS SDK's object model in TypeScript: `CASClient` sends single requests, `CasAPI` types their answers, `Vault`,
 * `Archive`, `Job` and `MultipartUpload` do whole tasks.
 */

export type { CallOptions, PageRequest } from "../protocol/service.js";
export type { TimeWindow } from "../protocol/signature.js";
export type { VaultLockState } from "../protocol/vault-lock-wire.js";
export type { NotificationEvent } from "../protocol/vault-wire.js";
export type { DownloadTransferProgress } from "../transfer/file-download.js";
export type { UploadTransferProgress } from "../transfer/file-upload.js";
export { Archive } from "./archive.js";
export type { ArchiveContent, ContentHashes, GivenHashes } from "./archive-content.js";
export type { UploadOptions, UploadSource } from "./archive-upload.js";
export { type ByteSpan, type ByteSpanLike, parseRangeFromStr } from "./byte-span.js";
export {
  type CASResponse,
  CasAPI,
  type CreatedArchive,
  type CreatedVault,
  type InitiatedJob,
  type InitiatedMultipartUpload,
  type InitiatedVaultLock,
  type JobOutputStream,
  type UploadedPart,
} from "./cas-api.js";
export {
  type ArchiveUploadParameters,
  CASClient,
  type CASClientOptions,
  createSignKey,
  type JobQuery,
  type MultipartCompletion,
  type NewMultipartUpload,
  type PartPlace,
} from "./cas-client.js";
export {
  CASClientError,
  CASServerError,
  DownloadArchiveError,
  HashDoesNotMatchError,
  type ServerAnswer,
  type TransferProgress,
  UploadArchiveError,
} from "./cas-errors.js";
export {
  type ContentDigest,
  type ContentSource,
  combineTreeHashes,
  contentDigest,
  contentSha256,
  treeHash,
} from "./content-hashes.js";
export type { InventoryEntry } from "./inventory.js";
export { type DownloadOptions, Job, type OutputOptions, type OutputPart, type WaitOptions } from "./job.js";
export type {
  ArchiveRetrievalParameters,
  InventoryFormat,
  InventoryRetrievalParameters,
  JobParameters,
  PullCondition,
  PullFromCosParameters,
  PushToCosParameters,
  RetrievalTier,
} from "./job-parameters.js";
export type { InventoryProperties, JobAction, JobList, JobProperties, JobStatusCode } from "./job-properties.js";
export { MultipartUpload, type SendPartsOptions, type UploadPart } from "./multipart-upload.js";
export type { DownloadedRange } from "./output-writer.js";
export type { RawResponse } from "./raw-response.js";
export type { MultipartUploadList, MultipartUploadProperties, PartList, PartProperties } from "./upload-properties.js";
export {
  type InventoryOptions,
  type PullFromCosOptions,
  type PushToCosOptions,
  type RetrieveArchiveOptions,
  type RetrieveInventoryOptions,
  Vault,
} from "./vault.js";
export type { NotificationConfiguration, VaultList, VaultLock, VaultProperties } from "./vault-properties.js";
