/** The archive service over HTTP: one method per operation, each one request. Repeating is `retrying-service.ts`. */

import type { ByteRange } from "../domain/bytes.js";
import { isMissing, ServiceError } from "../domain/errors.js";
import type { ArchiveId, JobId, UploadId, VaultName } from "../domain/ids.js";
import { formatArchiveUpload, parseArchiveCreated } from "../protocol/archive-wire.js";
import { formatJobFilter, parseJob, parseJobListInTurns } from "../protocol/job-description-wire.js";
import { formatJobRequest, parseJobCreated } from "../protocol/job-order-wire.js";
import { formatRange, parseOutputHeaders } from "../protocol/job-output-wire.js";
import type { HeaderLookup } from "../protocol/message-headers.js";
import {
  formatCompletion,
  formatInitiateUpload,
  formatPartUpload,
  parsePartList,
  parseUploadCreated,
  parseUploadList,
} from "../protocol/multipart-wire.js";
import { formatPageQuery } from "../protocol/page-wire.js";
import { type AccountText, accountText, formatRoute, type Route } from "../protocol/routes.js";
import type {
  CallOptions,
  CasService,
  JobDescription,
  JobFilter,
  JobOutput,
  JobRequest,
  NewArchive,
  NewPart,
  Page,
  PageRequest,
  PartsPage,
  UploadDescription,
  VaultDescription,
} from "../protocol/service.js";
import { formatNotification, parseNotification, parseVault, parseVaultList } from "../protocol/vault-wire.js";
import { HttpTransport, type TransportOptions, type TransportRequest, understood } from "./http-transport.js";

export interface HttpCasServiceOptions extends TransportOptions {
  /** The account that owns the vaults; `-`, the default, is the one of the key. */
  readonly appId?: string | undefined;
}

export interface ClosableCasService extends CasService {
  /** Ends all connections; calls under way fail. */
  close(): Promise<void>;
}

/** @throws RangeError for an endpoint or an app id that cannot be one. */
export function httpCasService(options: HttpCasServiceOptions): ClosableCasService {
  return casServiceOver(new HttpTransport(options), accountText(options.appId ?? "-"));
}

/** The same over connections that exist; closing it closes them. */
export function casServiceOver(transport: HttpTransport, account: AccountText): ClosableCasService {
  return new HttpCasService(transport, account);
}

/** A route without its account, which all calls share. */
export type RouteInAccount = Route extends infer R ? (R extends Route ? Omit<R, "account"> : never) : never;

class HttpCasService implements ClosableCasService {
  readonly #transport: HttpTransport;
  readonly #account: AccountText;

  constructor(transport: HttpTransport, account: AccountText) {
    this.#transport = transport;
    this.#account = account;
  }

  async createVault(vault: VaultName, options?: CallOptions): Promise<void> {
    await this.#transport.headers(
      this.#request({ operation: "createVault", vault }, `create the vault ${vault}`, options),
    );
  }

  describeVault(vault: VaultName, options?: CallOptions): Promise<VaultDescription> {
    const request = this.#request({ operation: "describeVault", vault }, `describe the vault ${vault}`, options);
    return this.#transport.json(request, parseVault);
  }

  async deleteVault(vault: VaultName, options?: CallOptions): Promise<void> {
    await this.#transport.headers(
      this.#request({ operation: "deleteVault", vault }, `delete the vault ${vault}`, options),
    );
  }

  async vaultCallback(vault: VaultName, options?: CallOptions): Promise<string | null> {
    const attempt = `ask who is notified of the vault ${vault}`;
    const request = this.#request({ operation: "getNotification", vault }, attempt, options);
    try {
      return (await this.#transport.json(request, parseNotification)).callbackUrl;
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }

  async setVaultCallback(vault: VaultName, url: string, options?: CallOptions): Promise<void> {
    const attempt = `set who is notified of the vault ${vault}`;
    const events = ["ArchiveRetrievalCompleted", "InventoryRetrievalCompleted"] as const;
    await this.#transport.headers({
      ...this.#request({ operation: "setNotification", vault }, attempt, options),
      headers: { "content-type": "application/json" },
      body: JSON.stringify(formatNotification({ callbackUrl: url, events })),
    });
  }

  listVaults(page?: PageRequest, options?: CallOptions): Promise<Page<VaultDescription>> {
    const request = this.#request({ operation: "listVaults" }, "list the vaults", options);
    return this.#transport.json({ ...request, parameters: formatPageQuery(page) }, parseVaultList);
  }

  async uploadArchive(vault: VaultName, archive: NewArchive, options?: CallOptions): Promise<ArchiveId> {
    const attempt = `upload an archive of ${archive.sizeBytes} bytes to the vault ${vault}`;
    const request = this.#request({ operation: "uploadArchive", vault }, attempt, options);
    const headers = { ...formatArchiveUpload(archive), "content-type": "application/octet-stream" };
    const answer = await this.#transport.headers({ ...request, headers, body: archive.body });
    checkEcho(attempt, answer, archive.treeHash);
    return understood(attempt, () => parseArchiveCreated(answer).archive);
  }

  async deleteArchive(vault: VaultName, archive: ArchiveId, options?: CallOptions): Promise<void> {
    const attempt = `delete the archive ${archive} of the vault ${vault}`;
    await this.#transport.headers(this.#request({ operation: "deleteArchive", vault, archive }, attempt, options));
  }

  async initiateMultipartUpload(
    vault: VaultName,
    upload: Parameters<CasService["initiateMultipartUpload"]>[1],
    options?: CallOptions,
  ): Promise<UploadId> {
    const attempt = `begin an upload to the vault ${vault}`;
    const request = this.#request({ operation: "initiateMultipartUpload", vault }, attempt, options);
    const answer = await this.#transport.headers({ ...request, headers: formatInitiateUpload(upload), body: "" });
    return understood(attempt, () => parseUploadCreated(answer));
  }

  async uploadPart(vault: VaultName, upload: UploadId, part: NewPart, options?: CallOptions): Promise<void> {
    const attempt = `upload the bytes ${part.range.start} to ${part.range.end} to the vault ${vault}`;
    const request = this.#request({ operation: "uploadPart", vault, upload }, attempt, options);
    const answer = await this.#transport.headers({ ...request, headers: formatPartUpload(part), body: part.body });
    checkEcho(attempt, answer, part.treeHash);
  }

  async completeMultipartUpload(
    vault: VaultName,
    upload: UploadId,
    archive: Parameters<CasService["completeMultipartUpload"]>[2],
    options?: CallOptions,
  ): Promise<ArchiveId> {
    const attempt = `complete the upload ${upload} to the vault ${vault}`;
    const request = this.#request({ operation: "completeMultipartUpload", vault, upload }, attempt, options);
    const answer = await this.#transport.headers({ ...request, headers: formatCompletion(archive), body: "" });
    checkEcho(attempt, answer, archive.treeHash);
    return understood(attempt, () => parseArchiveCreated(answer).archive);
  }

  async abortMultipartUpload(vault: VaultName, upload: UploadId, options?: CallOptions): Promise<void> {
    const attempt = `abort the upload ${upload} to the vault ${vault}`;
    await this.#transport.headers(
      this.#request({ operation: "abortMultipartUpload", vault, upload }, attempt, options),
    );
  }

  listParts(vault: VaultName, upload: UploadId, page?: PageRequest, options?: CallOptions): Promise<PartsPage> {
    const attempt = `list the parts of the upload ${upload} to the vault ${vault}`;
    const request = this.#request({ operation: "listParts", vault, upload }, attempt, options);
    return this.#transport.json({ ...request, parameters: formatPageQuery(page) }, parsePartList);
  }

  listMultipartUploads(vault: VaultName, page?: PageRequest, options?: CallOptions): Promise<Page<UploadDescription>> {
    const attempt = `list the uploads to the vault ${vault}`;
    const request = this.#request({ operation: "listMultipartUploads", vault }, attempt, options);
    return this.#transport.json({ ...request, parameters: formatPageQuery(page) }, parseUploadList);
  }

  async initiateJob(vault: VaultName, request: JobRequest, options?: CallOptions): Promise<JobId> {
    const attempt = `start a job to ${request.action.replace("-", " an ")} of the vault ${vault}`;
    const answer = await this.#transport.headers({
      ...this.#request({ operation: "initiateJob", vault }, attempt, options),
      headers: { "content-type": "application/json" },
      body: JSON.stringify(formatJobRequest(request)),
    });
    return understood(attempt, () => parseJobCreated(answer));
  }

  describeJob(vault: VaultName, job: JobId, options?: CallOptions): Promise<JobDescription> {
    const attempt = `describe the job ${job} of the vault ${vault}`;
    return this.#transport.json(this.#request({ operation: "describeJob", vault, job }, attempt, options), parseJob);
  }

  listJobs(vault: VaultName, filter?: JobFilter, options?: CallOptions): Promise<Page<JobDescription>> {
    const request = this.#request({ operation: "listJobs", vault }, `list the jobs of the vault ${vault}`, options);
    return this.#transport.json({ ...request, parameters: formatJobFilter(filter) }, parseJobListInTurns);
  }

  async getJobOutput(
    vault: VaultName,
    job: JobId,
    range: ByteRange | undefined,
    options?: CallOptions,
  ): Promise<JobOutput> {
    const attempt = `fetch the output of the job ${job} of the vault ${vault}`;
    const headers = range === undefined ? {} : { range: formatRange(range) };
    const request = this.#request({ operation: "getJobOutput", vault, job }, attempt, options);
    const answer = await this.#transport.stream({ ...request, headers });
    try {
      const { sizeBytes, treeHash } = understood(attempt, () =>
        parseOutputHeaders(answer.status, answer.headers, range),
      );
      return { body: answer.body, sizeBytes, treeHash };
    } catch (error) {
      await discard(answer.body);
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  #request(route: RouteInAccount, attempt: string, options: CallOptions | undefined): TransportRequest {
    const { method, path } = formatRoute({ ...route, account: this.#account } as Route);
    return { attempt, method, path, signal: options?.signal };
  }
}

/** The service repeats the tree hash of what it has stored; another one means that other bytes arrived. */
function checkEcho(attempt: string, headers: HeaderLookup, treeHash: string): void {
  const echoed = headers("x-cas-sha256-tree-hash");
  if (echoed === undefined || echoed.toLowerCase() === treeHash) return;
  throw new ServiceError("digest", `Cannot ${attempt}: the service stored other bytes than were sent`, {
    effect: "unknown",
  });
}

/** Closes the connection of a body that nobody will read. */
async function discard(body: AsyncIterable<Uint8Array>): Promise<void> {
  await body[Symbol.asyncIterator]().return?.();
}
