/**
 * The same operations as `CASClient`, with typed answers and errors that are thrown (CAS SDK documentation, "CasAPI";
 * cas-api section 17.3).
 */

import { archiveId as toArchiveId, jobId as toJobId, uploadId as toUploadId } from "../domain/ids.js";
import { WireFormatError } from "../protocol/json-fields.js";
import { parseContentRange } from "../protocol/multipart-wire.js";
import type { CallOptions, PageRequest } from "../protocol/service.js";
import type { ArchiveContent, ContentHashes, GivenHashes } from "./archive-content.js";
import type { ByteSpan, ByteSpanLike } from "./byte-span.js";
import type {
  ArchiveUploadParameters,
  CASClient,
  JobQuery,
  MultipartCompletion,
  NewMultipartUpload,
  PartPlace,
} from "./cas-client.js";
import { CASClientError, CASServerError } from "./cas-errors.js";
import type { JobParameters } from "./job-parameters.js";
import { type JobList, type JobProperties, parseJobList, parseJobProperties } from "./job-properties.js";
import { pageItems } from "./page-items.js";
import type { RawResponse } from "./raw-response.js";
import {
  type MultipartUploadList,
  type MultipartUploadProperties,
  type PartList,
  type PartProperties,
  parsePartList,
  parseUploadList,
} from "./upload-properties.js";
import {
  type NotificationConfiguration,
  parseNotificationConfiguration,
  parsePolicy,
  parseVaultList,
  parseVaultLock,
  parseVaultProperties,
  type VaultList,
  type VaultLock,
  type VaultProperties,
} from "./vault-properties.js";

/** A success. */
export interface CASResponse<T> {
  /** HTTP status, 2xx. */
  readonly status: number;
  /** The service's id of the request. */
  readonly requestId: string;
  /** Lowercase names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly data: T;
}

export interface CreatedVault {
  /** Path of the vault. */
  readonly location: string;
}

export interface CreatedArchive {
  /** Keep it: the only other way to learn it is an inventory. */
  readonly archiveId: string;
  readonly location: string;
  /** As the service computed it; null when it does not say. */
  readonly treeHash: string | null;
}

export interface InitiatedMultipartUpload {
  readonly multipartUploadId: string;
  readonly location: string;
}

export interface UploadedPart {
  /** As the service computed it; null when it does not say. */
  readonly treeHash: string | null;
}

export interface InitiatedJob {
  readonly jobId: string;
  readonly location: string;
}

export interface InitiatedVaultLock {
  readonly lockId: string;
}

/** Output that is still to be read; until then it holds a connection. */
export interface JobOutputStream {
  /** Can be read once. Breaking off closes the connection. @throws CASClientError while reading when it breaks. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Bytes of `body`; null when the service does not say. */
  readonly size: number | null;
  /** Tree hash of `body`, when it is a node of the archive's hash tree (cas-api section 11.4), else null. */
  readonly treeHash: string | null;
  /** `application/octet-stream`, or for inventories `application/json` or `text/csv`. */
  readonly contentType: string;
  /** Which bytes of the output these are; null without `range`. */
  readonly range: ByteSpan | null;
  /** Lets go of output that nobody wants. */
  discard(): Promise<void>;
}

/** Bytes of JSON that are read of one answer at most. */
const jsonBytesMax = 32 * 1024 * 1024;
const errorBytesMax = 64 * 1024;

/**
 * All methods reject with CASServerError for an answer outside 2xx, with CASClientError when there is none or it makes no
 * sense, and with the signal's reason when it aborts.
 */
export class CasAPI {
  constructor(readonly client: CASClient) {}

  /** Ends the connections of the client. */
  close(): Promise<void> {
    return this.client.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // --- vaults (cas-api section 6) ---

  /** Creating a vault that exists changes nothing (6.1). */
  createVault(vaultName: string, options?: CallOptions): Promise<CASResponse<CreatedVault>> {
    return fromHeaders(this.client.createVault(vaultName, options), (header) => ({
      location: header("location") ?? "",
    }));
  }

  /** The counts are of the last inventory, about a day old (6.2). */
  describeVault(vaultName: string, options?: CallOptions): Promise<CASResponse<VaultProperties>> {
    return fromJson(this.client.describeVault(vaultName, options), parseVaultProperties);
  }

  /** Refused (400) while the vault holds an archive or an unfinished upload (6.3). */
  deleteVault(vaultName: string, options?: CallOptions): Promise<CASResponse<void>> {
    return withoutData(this.client.deleteVault(vaultName, options));
  }

  /** One page: up to `limit` (1-1000, default 1000) vaults from `marker` on (6.4). */
  listVaults(page?: PageRequest, options?: CallOptions): Promise<CASResponse<VaultList>> {
    return fromJson(this.client.listVaults(page, options), parseVaultList);
  }

  /** All vaults, page by page as they are consumed. */
  listAllVaults(options?: CallOptions): AsyncIterable<VaultProperties> {
    return pageItems(async (marker) => {
      const { data } = await this.listVaults({ marker }, options);
      return { marker: data.marker, items: data.vaultList };
    });
  }

  // --- access policy, notifications, vault lock (sections 7 and 8) ---

  /** `policy` is JSON text or the document itself; it replaces the former one (7). */
  setVaultAccessPolicy(vaultName: string, policy: string | object, options?: CallOptions): Promise<CASResponse<void>> {
    return withoutData(this.client.setVaultAccessPolicy(vaultName, policy, options));
  }

  /** The policy as it was set; 404 when there is none (7). */
  getVaultAccessPolicy(
    vaultName: string,
    options?: CallOptions,
  ): Promise<CASResponse<{ /** JSON text. */ readonly policy: string }>> {
    return fromJson(this.client.getVaultAccessPolicy(vaultName, options), parsePolicy);
  }

  /** Deleting a policy that is not there is fine (7). */
  deleteVaultAccessPolicy(vaultName: string, options?: CallOptions): Promise<CASResponse<void>> {
    return withoutData(this.client.deleteVaultAccessPolicy(vaultName, options));
  }

  /** From now on the service posts the description of a finished job to `callBackUrl` (8.1). */
  setNotificationConfiguration(
    vaultName: string,
    configuration: NotificationConfiguration,
    options?: CallOptions,
  ): Promise<CASResponse<void>> {
    return withoutData(this.client.setNotificationConfiguration(vaultName, configuration, options));
  }

  /** 404 when there is none (8.1). */
  getNotificationConfiguration(
    vaultName: string,
    options?: CallOptions,
  ): Promise<CASResponse<NotificationConfiguration>> {
    return fromJson(this.client.getNotificationConfiguration(vaultName, options), parseNotificationConfiguration);
  }

  /** Deleting a configuration that is not there is fine (8.1). */
  deleteNotificationConfiguration(vaultName: string, options?: CallOptions): Promise<CASResponse<void>> {
    return withoutData(this.client.deleteNotificationConfiguration(vaultName, options));
  }

  /** Locks the vault for a day, within which `completeVaultLock` makes it permanent (8.3). */
  initiateVaultLock(
    vaultName: string,
    policy: string | object,
    options?: CallOptions,
  ): Promise<CASResponse<InitiatedVaultLock>> {
    return fromHeaders(this.client.initiateVaultLock(vaultName, policy, options), (header) => ({
      lockId: required(header, "x-cas-lock-id"),
    }));
  }

  /** Makes the lock permanent. Nobody can undo it (8.3). */
  completeVaultLock(vaultName: string, lockId: string, options?: CallOptions): Promise<CASResponse<void>> {
    return withoutData(this.client.completeVaultLock(vaultName, lockId, options));
  }

  /** Drops a lock that is not complete; 403 for a permanent one (8.3). */
  abortVaultLock(vaultName: string, options?: CallOptions): Promise<CASResponse<void>> {
    return withoutData(this.client.abortVaultLock(vaultName, options));
  }

  /** 404 when the vault has no lock (8.3). */
  getVaultLock(vaultName: string, options?: CallOptions): Promise<CASResponse<VaultLock>> {
    return fromJson(this.client.getVaultLock(vaultName, options), parseVaultLock);
  }

  // --- archives (section 9) ---

  /**
   * One request of at most 4 GiB; hashes of bytes in memory are computed when not given (9.1).
   *
   * @throws TypeError for a stream without size or hashes; `Vault.uploadArchive` takes such.
   */
  uploadArchive(
    vaultName: string,
    content: ArchiveContent,
    parameters?: ArchiveUploadParameters,
    options?: CallOptions,
  ): Promise<CASResponse<CreatedArchive>> {
    return fromHeaders(this.client.uploadArchive(vaultName, content, parameters, options), createdArchive);
  }

  /** `uploadArchive` of bytes in memory. */
  postArchive(
    vaultName: string,
    content: Uint8Array,
    parameters?: GivenHashes & { readonly description?: string | undefined },
    options?: CallOptions,
  ): Promise<CASResponse<CreatedArchive>> {
    return fromHeaders(this.client.postArchive(vaultName, content, parameters, options), createdArchive);
  }

  /** `uploadArchive` of the first `contentLength` bytes of a stream. */
  postArchiveFromReader(
    vaultName: string,
    reader: AsyncIterable<Uint8Array>,
    contentLength: number,
    parameters: ContentHashes & { readonly description?: string | undefined },
    options?: CallOptions,
  ): Promise<CASResponse<CreatedArchive>> {
    const answer = this.client.postArchiveFromReader(vaultName, reader, contentLength, parameters, options);
    return fromHeaders(answer, createdArchive);
  }

  /** Deleting a deleted archive again is fine (9.2). */
  deleteArchive(vaultName: string, archiveId: string, options?: CallOptions): Promise<CASResponse<void>> {
    return withoutData(this.client.deleteArchive(vaultName, archiveId, options));
  }

  // --- multipart uploads (section 10) ---

  /** The id is valid for 24 hours (10.1). */
  initiateMultipartUpload(
    vaultName: string,
    upload: NewMultipartUpload,
    options?: CallOptions,
  ): Promise<CASResponse<InitiatedMultipartUpload>> {
    return fromHeaders(this.client.initiateMultipartUpload(vaultName, upload, options), (header) => ({
      multipartUploadId: toUploadId(required(header, "x-cas-multipart-upload-id")),
      location: header("location") ?? "",
    }));
  }

  /** A part of bytes in memory; sending a part again replaces it (10.2). */
  postMultipart(
    vaultName: string,
    uploadId: string,
    content: Uint8Array,
    part: PartPlace & GivenHashes,
    options?: CallOptions,
  ): Promise<CASResponse<UploadedPart>> {
    return fromHeaders(this.client.postMultipart(vaultName, uploadId, content, part, options), uploadedPart);
  }

  /** `postMultipart` of the first `contentLength` bytes of a stream. */
  postMultipartFromReader(
    vaultName: string,
    uploadId: string,
    reader: AsyncIterable<Uint8Array>,
    contentLength: number,
    part: PartPlace & ContentHashes,
    options?: CallOptions,
  ): Promise<CASResponse<UploadedPart>> {
    const answer = this.client.postMultipartFromReader(vaultName, uploadId, reader, contentLength, part, options);
    return fromHeaders(answer, uploadedPart);
  }

  /** Makes the archive of the parts; the tree hash is that of the whole (10.3). */
  completeMultipartUpload(
    vaultName: string,
    uploadId: string,
    completion: MultipartCompletion,
    options?: CallOptions,
  ): Promise<CASResponse<CreatedArchive>> {
    return fromHeaders(this.client.completeMultipartUpload(vaultName, uploadId, completion, options), createdArchive);
  }

  /** The service forgets the parts (10.6). */
  abortMultipartUpload(vaultName: string, uploadId: string, options?: CallOptions): Promise<CASResponse<void>> {
    return withoutData(this.client.abortMultipartUpload(vaultName, uploadId, options));
  }

  /** One page: the upload, and up to `limit` (1-1000, default 1000) of its parts from the byte `marker` on (10.4). */
  listParts(
    vaultName: string,
    uploadId: string,
    page?: PageRequest,
    options?: CallOptions,
  ): Promise<CASResponse<PartList>> {
    return fromJson(this.client.listParts(vaultName, uploadId, page, options), parsePartList);
  }

  /** Another name of `listParts`. */
  describeMultipart(
    vaultName: string,
    uploadId: string,
    page?: PageRequest,
    options?: CallOptions,
  ): Promise<CASResponse<PartList>> {
    return this.listParts(vaultName, uploadId, page, options);
  }

  /** All parts, by offset, page by page as they are consumed. */
  listAllParts(vaultName: string, uploadId: string, options?: CallOptions): AsyncIterable<PartProperties> {
    return pageItems(async (marker) => {
      const { data } = await this.listParts(vaultName, uploadId, { marker }, options);
      return { marker: data.marker, items: data.parts };
    });
  }

  /** One page: up to `limit` (1-1000, default 1000) unfinished uploads from `marker` on (10.5). */
  listMultipartUploads(
    vaultName: string,
    page?: PageRequest,
    options?: CallOptions,
  ): Promise<CASResponse<MultipartUploadList>> {
    return fromJson(this.client.listMultipartUploads(vaultName, page, options), parseUploadList);
  }

  /** All unfinished uploads, page by page; the CAS SDK for Python fails on the second page (15.13). */
  listAllMultipartUploads(vaultName: string, options?: CallOptions): AsyncIterable<MultipartUploadProperties> {
    return pageItems(async (marker) => {
      const { data } = await this.listMultipartUploads(vaultName, { marker }, options);
      return { marker: data.marker, items: data.uploadsList };
    });
  }

  // --- jobs (section 11) ---

  /** Every call starts, and bills, a job of its own (11.1). */
  initiateJob(vaultName: string, job: JobParameters, options?: CallOptions): Promise<CASResponse<InitiatedJob>> {
    return fromHeaders(this.client.initiateJob(vaultName, job, options), (header) => ({
      jobId: toJobId(required(header, "x-cas-job-id")),
      location: header("location") ?? "",
    }));
  }

  /** 404 from 24 hours after the end of the job (11.2). */
  describeJob(vaultName: string, jobId: string, options?: CallOptions): Promise<CASResponse<JobProperties>> {
    return fromJson(this.client.describeJob(vaultName, jobId, options), parseJobProperties);
  }

  /** One page of running and recently completed jobs (11.3). */
  listJobs(vaultName: string, query?: JobQuery, options?: CallOptions): Promise<CASResponse<JobList>> {
    return fromJson(this.client.listJobs(vaultName, query, options), parseJobList);
  }

  /** All of them, page by page as they are consumed. `query.marker` is where to begin. */
  listAllJobs(vaultName: string, query: JobQuery = {}, options?: CallOptions): AsyncIterable<JobProperties> {
    return pageItems(async (marker = query.marker) => {
      const { data } = await this.listJobs(vaultName, { ...query, marker }, options);
      return { marker: data.marker, items: data.jobList };
    });
  }

  /**
   * The output of a finished job, or `range` of it, in bytes of the output (11.4). In the CAS SDK for Python it cannot be
   * called without a range.
   */
  async getJobOutput(
    vaultName: string,
    jobId: string,
    part: { readonly range?: ByteSpanLike | undefined } = {},
    options?: CallOptions,
  ): Promise<CASResponse<JobOutputStream>> {
    const raw = await succeeded(this.client.getJobOutput(vaultName, jobId, part, options));
    try {
      return toResponse(
        raw,
        understood(() => outputOf(raw)),
      );
    } catch (error) {
      await raw.discard();
      throw error;
    }
  }
}

type HeaderReader = (name: string) => string | undefined;

/** @throws CASServerError unless the answer is a success. */
async function succeeded(answer: Promise<RawResponse>): Promise<RawResponse> {
  const raw = await answer;
  if (raw.status >= 200 && raw.status < 300) return raw;
  const body = await textUpTo(raw.body, errorBytesMax);
  throw new CASServerError({ status: raw.status, body, requestId: raw.headers["x-cas-requestid"] });
}

async function fromHeaders<T>(
  answer: Promise<RawResponse>,
  parse: (header: HeaderReader) => T,
): Promise<CASResponse<T>> {
  const raw = await succeeded(answer);
  await raw.discard();
  return toResponse(
    raw,
    understood(() => parse((name) => raw.headers[name])),
  );
}

async function fromJson<T>(answer: Promise<RawResponse>, parse: (value: unknown) => T): Promise<CASResponse<T>> {
  const raw = await succeeded(answer);
  const text = await textUpTo(raw.body, jsonBytesMax);
  return toResponse(
    raw,
    understood(() => parse(JSON.parse(text))),
  );
}

async function withoutData(answer: Promise<RawResponse>): Promise<CASResponse<void>> {
  const raw = await succeeded(answer);
  await raw.discard();
  return toResponse(raw, undefined);
}

function toResponse<T>({ status, requestId, headers }: RawResponse, data: T): CASResponse<T> {
  return { status, requestId, headers, data };
}

function createdArchive(header: HeaderReader): CreatedArchive {
  return {
    archiveId: toArchiveId(required(header, "x-cas-archive-id")),
    location: header("location") ?? "",
    ...uploadedPart(header),
  };
}

function uploadedPart(header: HeaderReader): UploadedPart {
  return { treeHash: header("x-cas-sha256-tree-hash")?.toLowerCase() || null };
}

function outputOf({ headers, body, discard }: RawResponse): JobOutputStream {
  const length = headers["content-length"];
  const contentRange = headers["content-range"];
  return {
    body,
    size: length === undefined ? null : Number(length),
    treeHash: headers["x-cas-sha256-tree-hash"]?.toLowerCase() || null,
    contentType: headers["content-type"] ?? "",
    range: contentRange === undefined ? null : parseContentRange(contentRange).range,
    discard,
  };
}

function required(header: HeaderReader, name: string): string {
  const text = header(name);
  if (!text) throw new WireFormatError(`Cannot read the answer: the header ${name} is missing`);
  return text;
}

/** Runs a parser of a success. @throws CASClientError for an answer that is none of this protocol. */
function understood<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new CASClientError("The answer of the service cannot be understood", { cause });
  }
}

async function textUpTo(body: AsyncIterable<Uint8Array>, bytesMax: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body) {
    pieces.push(piece);
    length += piece.length;
    if (length >= bytesMax) break;
  }
  return Buffer.concat(pieces).toString("utf8", 0, bytesMax);
}
