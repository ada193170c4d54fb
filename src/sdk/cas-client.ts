/**
 * The low-level client: one method per operation, each one signed request, each answer as it came (CAS SDK
 * documentation, "CASClient"; cas-api section 17.2).
 *
 * Never: throws for a 4xx or 5xx, repeats a request, or shows a key when it is printed.
 */

import { availableParallelism } from "node:os";
import { HashPool } from "../cache/hash-pool.js";
import { casServiceOver, type RouteInAccount } from "../client/http-cas-service.js";
import { type Credentials, HttpTransport, type TransportRequest } from "../client/http-transport.js";
import { retryingService } from "../client/retrying-service.js";
import { byteCount } from "../domain/bytes.js";
import {
  archiveId as toArchiveId,
  jobId as toJobId,
  uploadId as toUploadId,
  vaultName as toVaultName,
} from "../domain/ids.js";
import { ms } from "../domain/time.js";
import { formatArchiveUpload } from "../protocol/archive-wire.js";
import { formatCompletion, formatInitiateUpload, formatPartUpload } from "../protocol/multipart-wire.js";
import { formatPageQuery } from "../protocol/page-wire.js";
import { type AccountText, accountText, formatRoute, type Route } from "../protocol/routes.js";
import type { CallOptions, CasService, PageRequest } from "../protocol/service.js";
import { formatWindow, type NameValue, signingKey, type TimeWindow } from "../protocol/signature.js";
import { treeHashHex } from "../protocol/tree-hash.js";
import type { TransferDeps } from "../transfer/transfer-deps.js";
import {
  type ArchiveContent,
  bytesBody,
  type ContentHashes,
  contentBody,
  type GivenHashes,
  type RequestBody,
  streamBody,
} from "./archive-content.js";
import { type ByteSpanLike, toByteRange } from "./byte-span.js";
import { withSdkErrors } from "./cas-errors.js";
import { endpointUrl } from "./endpoint.js";
import { formatJobParameters, type JobParameters } from "./job-parameters.js";
import type { JobStatusCode } from "./job-properties.js";
import { type RawResponse, rawResponse } from "./raw-response.js";
import { clientClock } from "./system-clock.js";
import type { NotificationConfiguration } from "./vault-properties.js";

export interface CASClientOptions {
  /** `cas.ap-chengdu.myqcloud.com`, `host:port`, or `http(s)://host[:port]`. */
  readonly endpoint: string;
  /** The account that owns the vaults; `-`, the default, is the one of the key. */
  readonly appId?: string | undefined;
  readonly secretId: string;
  /** Either this, or `signKey` with `keyTime`. */
  readonly secretKey?: string | undefined;
  /** A key that somebody who has the secret derived for a window of time: `createSignKey` (cas-api section 3.6). */
  readonly signKey?: string | undefined;
  /** The window `signKey` was made for; requests outside it are refused by the service. */
  readonly keyTime?: TimeWindow | undefined;
  /** 80, or 443 when secure. */
  readonly port?: number | undefined;
  /** TLS; false unless the endpoint says https or the port is 443. */
  readonly isSecure?: boolean | undefined;
  /** For a connection, for the head of an answer, and between two pieces of a body; 100,000 ms. */
  readonly timeoutMs?: number | undefined;
  /** Connections at most; further requests wait. 32. */
  readonly connections?: number | undefined;
  /** The time of day for signatures; the computer's clock. */
  readonly now?: (() => Date) | undefined;
}

/** Which jobs to list (cas-api section 11.3). */
export interface JobQuery extends PageRequest {
  readonly completed?: boolean | undefined;
  readonly statusCode?: JobStatusCode | undefined;
}

/** What goes with an archive in one request. A stream needs `size` and both hashes. */
export interface ArchiveUploadParameters extends GivenHashes {
  /** Bytes to send; more than that is left unread. All bytes in memory unless given. */
  readonly size?: number | undefined;
  /** At most 1024 bytes of UTF-8; comes back in inventories. */
  readonly description?: string | undefined;
}

/** The place of a part in its archive: `"first-last"`, or with `end` excluded. */
export interface PartPlace {
  readonly range: ByteSpanLike;
}

export interface NewMultipartUpload {
  /** 1 MiB times a power of two, up to 4 GiB; of all parts but the last. */
  readonly partSize: number;
  readonly description?: string | undefined;
}

export interface MultipartCompletion {
  /** Of the whole archive, in bytes. */
  readonly fileSize: number;
  /** Of the whole archive. */
  readonly treeHash: string;
}

/** What the objects of the SDK use of a client. Not exported by the package. */
export interface ClientParts extends TransferDeps {
  /** Over the same connections; repeats what failed for a passing reason. */
  readonly service: CasService;
}

/** Not exported by the package. */
export let clientPartsOf: (client: CASClient) => ClientParts;

const defaultTimeoutMs = 100_000;
const defaultConnections = 32;

/**
 * Sends requests and gives back the answers. All promises reject with CASClientError when there is no answer, with the
 * signal's reason when it aborts, and with RangeError for names, ids and ranges that cannot be sent.
 */
export class CASClient {
  /** `http(s)://host[:port]`. */
  readonly endpoint: string;
  readonly appId: string;
  readonly #account: AccountText;
  readonly #transport: HttpTransport;
  readonly #hashPool = new HashPool({ workers: Math.min(4, availableParallelism()) });
  readonly #parts: ClientParts;

  static {
    clientPartsOf = (client) => client.#parts;
  }

  /** @throws RangeError or TypeError for options that contradict each other or are incomplete. Makes no request. */
  constructor(options: CASClientOptions) {
    const clock = clientClock(options.now);
    const timeoutMs = ms(options.timeoutMs ?? defaultTimeoutMs);
    this.endpoint = endpointUrl(options);
    this.appId = options.appId ?? "-";
    this.#account = accountText(this.appId);
    this.#transport = new HttpTransport({
      endpoint: this.endpoint,
      credentials: credentialsOf(options),
      clock,
      deadlines: { connectMs: timeoutMs, headersMs: timeoutMs, bodyMs: timeoutMs },
      poolSize: options.connections ?? defaultConnections,
    });
    const service = retryingService(casServiceOver(this.#transport, this.#account), { clock, random: Math.random });
    this.#parts = { service, clock, random: Math.random, hasher: this.#hashPool };
  }

  /** Ends all connections; requests under way fail. The client cannot be used again. */
  async close(): Promise<void> {
    await Promise.all([this.#transport.close(), this.#hashPool.close()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // --- vaults (cas-api section 6) ---

  /** 201, also when the vault exists (6.1). */
  async createVault(vaultName: string, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    return this.#send({ operation: "createVault", vault }, `create the vault ${vault}`, options, { body: "" });
  }

  /** 200 with the properties of the vault (6.2). */
  async describeVault(vaultName: string, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    return this.#send({ operation: "describeVault", vault }, `describe the vault ${vault}`, options);
  }

  /** 204; 400 while the vault holds an archive or an unfinished upload (6.3). */
  async deleteVault(vaultName: string, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    return this.#send({ operation: "deleteVault", vault }, `delete the vault ${vault}`, options);
  }

  /** 200 with up to `limit` (1-1000, default 1000) vaults from `marker` on (6.4). */
  async listVaults(page?: PageRequest, options?: CallOptions): Promise<RawResponse> {
    return this.#send({ operation: "listVaults" }, "list the vaults", options, { parameters: formatPageQuery(page) });
  }

  // --- access policy, notifications, vault lock (sections 7 and 8) ---

  /** 204; `policy` is JSON text or the document itself (7). */
  async setVaultAccessPolicy(vaultName: string, policy: string | object, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    const extra = jsonBody({ policy: policyText(policy) });
    return this.#send({ operation: "setAccessPolicy", vault }, `set the access policy of ${vault}`, options, extra);
  }

  /** 200 with the policy as text; 404 when there is none (7). */
  async getVaultAccessPolicy(vaultName: string, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    return this.#send({ operation: "getAccessPolicy", vault }, `get the access policy of ${vault}`, options);
  }

  /** 204, also when there is none (7). */
  async deleteVaultAccessPolicy(vaultName: string, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    return this.#send({ operation: "deleteAccessPolicy", vault }, `delete the access policy of ${vault}`, options);
  }

  /** 204; replaces the former configuration (8.1). */
  async setNotificationConfiguration(
    vaultName: string,
    { callBackUrl, events }: NotificationConfiguration,
    options?: CallOptions,
  ): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    const extra = jsonBody({ CallBackUrl: callBackUrl, Events: events });
    return this.#send({ operation: "setNotification", vault }, `set the notifications of ${vault}`, options, extra);
  }

  /** 200 with the configuration; 404 when there is none (8.1). */
  async getNotificationConfiguration(vaultName: string, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    return this.#send({ operation: "getNotification", vault }, `get the notifications of ${vault}`, options);
  }

  /** 204, also when there is none (8.1). */
  async deleteNotificationConfiguration(vaultName: string, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    return this.#send({ operation: "deleteNotification", vault }, `delete the notifications of ${vault}`, options);
  }

  /** Locks the vault for a day; the answer's header `x-cas-lock-id` completes it (8.3). */
  async initiateVaultLock(vaultName: string, policy: string | object, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    const extra = jsonBody({ Policy: policyText(policy) });
    return this.#send({ operation: "initiateVaultLock", vault }, `lock the vault ${vault}`, options, extra);
  }

  /** Makes the lock permanent. Nobody can undo it (8.3). */
  async completeVaultLock(vaultName: string, lockId: string, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    const route = { operation: "completeVaultLock", vault, lock: encodeURIComponent(lockId) } as const;
    return this.#send(route, `complete the lock of the vault ${vault}`, options, { body: "" });
  }

  /** Drops a lock that is not complete; 403 for a permanent one (8.3). */
  async abortVaultLock(vaultName: string, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    return this.#send({ operation: "abortVaultLock", vault }, `drop the lock of the vault ${vault}`, options);
  }

  /** 200 with policy and state; 404 when there is no lock (8.3). */
  async getVaultLock(vaultName: string, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    return this.#send({ operation: "getVaultLock", vault }, `get the lock of the vault ${vault}`, options);
  }

  // --- archives (section 9) ---

  /**
   * 201 with the header `x-cas-archive-id` (9.1). Repeating it makes a second archive.
   *
   * The hashes of bytes in memory are computed when they are not given. At most 4 GiB.
   *
   * @throws TypeError for a stream without size or hashes: they travel before the body. `Vault.uploadArchive` takes such.
   */
  async uploadArchive(
    vaultName: string,
    content: ArchiveContent,
    parameters: ArchiveUploadParameters = {},
    options?: CallOptions,
  ): Promise<RawResponse> {
    return this.#sendArchive(vaultName, contentBody(content, parameters), parameters.description, options);
  }

  /** `uploadArchive` of bytes in memory (9.1). */
  async postArchive(
    vaultName: string,
    content: Uint8Array,
    parameters: GivenHashes & { readonly description?: string | undefined } = {},
    options?: CallOptions,
  ): Promise<RawResponse> {
    return this.#sendArchive(vaultName, bytesBody(content, parameters), parameters.description, options);
  }

  /** `uploadArchive` of the first `contentLength` bytes of a stream (9.1). */
  async postArchiveFromReader(
    vaultName: string,
    reader: AsyncIterable<Uint8Array>,
    contentLength: number,
    parameters: ContentHashes & { readonly description?: string | undefined },
    options?: CallOptions,
  ): Promise<RawResponse> {
    const body = streamBody(reader, contentLength, parameters);
    return this.#sendArchive(vaultName, body, parameters.description, options);
  }

  /** 204, also for an archive that was deleted before (9.2). */
  async deleteArchive(vaultName: string, archiveId: string, options?: CallOptions): Promise<RawResponse> {
    const route = {
      operation: "deleteArchive",
      vault: toVaultName(vaultName),
      archive: toArchiveId(archiveId),
    } as const;
    return this.#send(route, `delete the archive ${archiveId} of the vault ${vaultName}`, options);
  }

  // --- multipart uploads (section 10) ---

  /** 201 with the header `x-cas-multipart-upload-id`, which is valid for 24 hours (10.1). */
  async initiateMultipartUpload(
    vaultName: string,
    { partSize, description = "" }: NewMultipartUpload,
    options?: CallOptions,
  ): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    const headers = formatInitiateUpload({ partSizeBytes: byteCount(partSize), description });
    const extra = { headers, body: "" };
    return this.#send({ operation: "initiateMultipartUpload", vault }, `begin an upload to ${vault}`, options, extra);
  }

  /** 204; the part of bytes in memory whose hashes are computed when they are not given (10.2). Safe to repeat. */
  async postMultipart(
    vaultName: string,
    uploadId: string,
    content: Uint8Array,
    part: PartPlace & GivenHashes,
    options?: CallOptions,
  ): Promise<RawResponse> {
    return this.#sendPart(vaultName, uploadId, bytesBody(content, part), part, options);
  }

  /** `postMultipart` of the first `contentLength` bytes of a stream (10.2). */
  async postMultipartFromReader(
    vaultName: string,
    uploadId: string,
    reader: AsyncIterable<Uint8Array>,
    contentLength: number,
    part: PartPlace & ContentHashes,
    options?: CallOptions,
  ): Promise<RawResponse> {
    return this.#sendPart(vaultName, uploadId, streamBody(reader, contentLength, part), part, options);
  }

  /** 201 with the header `x-cas-archive-id`; repeating it within an hour gives the same id (10.3). */
  async completeMultipartUpload(
    vaultName: string,
    uploadId: string,
    { fileSize, treeHash }: MultipartCompletion,
    options?: CallOptions,
  ): Promise<RawResponse> {
    const headers = formatCompletion({ sizeBytes: byteCount(fileSize), treeHash: treeHashHex(treeHash) });
    const route = { operation: "completeMultipartUpload", ...uploadPlace(vaultName, uploadId) } as const;
    return this.#send(route, `complete the upload ${uploadId} to ${vaultName}`, options, { headers, body: "" });
  }

  /** 204; the service forgets the parts (10.6). */
  async abortMultipartUpload(vaultName: string, uploadId: string, options?: CallOptions): Promise<RawResponse> {
    const route = { operation: "abortMultipartUpload", ...uploadPlace(vaultName, uploadId) } as const;
    return this.#send(route, `abort the upload ${uploadId} to ${vaultName}`, options);
  }

  /** 200 with the upload and up to `limit` (1-1000, default 1000) of its parts from the byte `marker` on (10.4). */
  async listParts(
    vaultName: string,
    uploadId: string,
    page?: PageRequest,
    options?: CallOptions,
  ): Promise<RawResponse> {
    const route = { operation: "listParts", ...uploadPlace(vaultName, uploadId) } as const;
    const parameters = formatPageQuery(page);
    return this.#send(route, `list the parts of the upload ${uploadId} to ${vaultName}`, options, { parameters });
  }

  /** 200 with up to `limit` (1-1000, default 1000) unfinished uploads from `marker` on (10.5). */
  async listMultipartUploads(vaultName: string, page?: PageRequest, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    const parameters = formatPageQuery(page);
    return this.#send({ operation: "listMultipartUploads", vault }, `list the uploads to ${vault}`, options, {
      parameters,
    });
  }

  // --- jobs (section 11) ---

  /** 202 with the header `x-cas-job-id` (11.1). Every call starts, and bills, a job of its own. */
  async initiateJob(vaultName: string, parameters: JobParameters, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    const extra = jsonBody(formatJobParameters(parameters));
    return this.#send({ operation: "initiateJob", vault }, `start a job of the vault ${vault}`, options, extra);
  }

  /** 200 with all about the job; 404 from 24 hours after its end (11.2). */
  async describeJob(vaultName: string, jobId: string, options?: CallOptions): Promise<RawResponse> {
    const route = { operation: "describeJob", vault: toVaultName(vaultName), job: toJobId(jobId) } as const;
    return this.#send(route, `describe the job ${jobId} of the vault ${vaultName}`, options);
  }

  /** 200 with running and recently completed jobs (11.3). */
  async listJobs(vaultName: string, query: JobQuery = {}, options?: CallOptions): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    const parameters: NameValue[] = formatPageQuery(query);
    if (query.completed !== undefined) parameters.push(["completed", String(query.completed)]);
    if (query.statusCode !== undefined) parameters.push(["statuscode", query.statusCode]);
    return this.#send({ operation: "listJobs", vault }, `list the jobs of the vault ${vault}`, options, { parameters });
  }

  /**
   * 200 with the output of a finished job, or 206 with `range` of it (11.4).
   *
   * Offsets are in the output: byte 0 is the first byte of the job's own range.
   */
  async getJobOutput(
    vaultName: string,
    jobId: string,
    { range }: { readonly range?: ByteSpanLike | undefined } = {},
    options?: CallOptions,
  ): Promise<RawResponse> {
    const route = { operation: "getJobOutput", vault: toVaultName(vaultName), job: toJobId(jobId) } as const;
    const headers = range === undefined ? {} : { range: rangeHeader(range) };
    return this.#send(route, `get the output of the job ${jobId} of the vault ${vaultName}`, options, { headers });
  }

  #sendArchive(
    vaultName: string,
    { body, sizeBytes, sha256, treeHash }: RequestBody,
    description = "",
    options?: CallOptions,
  ): Promise<RawResponse> {
    const vault = toVaultName(vaultName);
    const archive = formatArchiveUpload({ sizeBytes: byteCount(sizeBytes), sha256, treeHash, description });
    const headers = { ...archive, "content-type": "application/octet-stream" };
    const attempt = `upload an archive of ${sizeBytes} bytes to the vault ${vault}`;
    return this.#send({ operation: "uploadArchive", vault }, attempt, options, { headers, body });
  }

  #sendPart(
    vaultName: string,
    uploadId: string,
    { body, sizeBytes, sha256, treeHash }: RequestBody,
    { range }: PartPlace,
    options?: CallOptions,
  ): Promise<RawResponse> {
    const place = toByteRange(range);
    if (place.end - place.start !== sizeBytes) {
      throw new RangeError(`Cannot send ${sizeBytes} bytes as the bytes ${place.start} to ${place.end} of an archive`);
    }
    const route = { operation: "uploadPart", ...uploadPlace(vaultName, uploadId) } as const;
    const attempt = `upload the bytes ${place.start} to ${place.end} to the vault ${vaultName}`;
    return this.#send(route, attempt, options, { headers: formatPartUpload({ range: place, sha256, treeHash }), body });
  }

  #send(
    route: RouteInAccount,
    attempt: string,
    options: CallOptions | undefined,
    extra: Pick<TransportRequest, "headers" | "body" | "parameters"> = {},
  ): Promise<RawResponse> {
    const { method, path } = formatRoute({ ...route, account: this.#account } as Route);
    const request: TransportRequest = { attempt, method, path, signal: options?.signal, ...extra };
    return withSdkErrors(async () => rawResponse(await this.#transport.exchange(request)));
  }
}

/**
 * The key that a trusted party gives to a client which shall act only within `keyTime` (cas-api section 3.6).
 *
 * @returns 40 hex digits for the option `signKey`; the secret cannot be computed from them.
 */
export function createSignKey(secretKey: string, keyTime: TimeWindow): string {
  return signingKey(secretKey, formatWindow(keyTime));
}

function credentialsOf({ secretId, secretKey, signKey, keyTime }: CASClientOptions): Credentials {
  if (secretId === "") throw new TypeError("Cannot sign requests without a secretId");
  if (secretKey && signKey === undefined) return { secretId, secretKey };
  if (signKey && keyTime && secretKey === undefined) return { secretId, signKey, keyTime };
  throw new TypeError("Cannot sign requests: give either secretKey, or signKey with keyTime");
}

function uploadPlace(vaultName: string, uploadId: string) {
  return { vault: toVaultName(vaultName), upload: toUploadId(uploadId) };
}

function jsonBody(value: object) {
  return { headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}

function policyText(policy: string | object): string {
  return typeof policy === "string" ? policy : JSON.stringify(policy);
}

function rangeHeader(span: ByteSpanLike): string {
  const { start, end } = toByteRange(span);
  return `bytes=${start}-${end - 1}`;
}
