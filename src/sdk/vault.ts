/** A vault as an object (CAS SDK documentation, "Vault"; cas-api section 17.5). */

import { vaultName } from "../domain/ids.js";
import type { CallOptions } from "../protocol/service.js";
import { Archive } from "./archive.js";
import { type UploadOptions, type UploadSource, uploadSource } from "./archive-upload.js";
import type { CASResponse, CasAPI } from "./cas-api.js";
import { clientPartsOf, type JobQuery } from "./cas-client.js";
import { CASClientError, CASServerError } from "./cas-errors.js";
import type { InventoryEntry } from "./inventory.js";
import { Job, type WaitOptions } from "./job.js";
import type {
  ArchiveRetrievalParameters,
  InventoryRetrievalParameters,
  JobParameters,
  PullFromCosParameters,
  PushToCosParameters,
} from "./job-parameters.js";
import { MultipartUpload } from "./multipart-upload.js";
import type { VaultProperties } from "./vault-properties.js";

export type RetrieveArchiveOptions = Omit<ArchiveRetrievalParameters, "type" | "archiveId"> & CallOptions;
export type RetrieveInventoryOptions = Omit<InventoryRetrievalParameters, "type"> & CallOptions;
export type PushToCosOptions = Omit<PushToCosParameters, "type" | "archiveId" | "bucket" | "object"> & CallOptions;
export type PullFromCosOptions = Omit<PullFromCosParameters, "type" | "bucket" | "object"> & CallOptions;

export interface InventoryOptions extends RetrieveInventoryOptions, Omit<WaitOptions, "signal"> {
  /**
   * Whether further jobs are started for what one job does not list (at most 10,000 archives). True, unless `limit` is
   * given.
   */
  readonly followMarker?: boolean | undefined;
}

/** All methods reject with the errors of `CasAPI`. */
export class Vault {
  /** As described when this object was made; the counts are null before the vault's first inventory. */
  readonly properties: VaultProperties;

  constructor(
    readonly api: CasAPI,
    properties: VaultProperties,
  ) {
    this.properties = properties;
  }

  /** Creates the vault, or takes the one of that name, and describes it. */
  static async create(api: CasAPI, name: string, options?: CallOptions): Promise<Vault> {
    await api.createVault(name, options);
    return new Vault(api, (await api.describeVault(name, options)).data);
  }

  /**
   * The vault of that name: one request, where the CAS SDK for Python lists all vaults.
   *
   * @throws CASClientError "Vault not exists: NAME", with the service's answer as its cause.
   */
  static async getVaultByName(api: CasAPI, name: string, options?: CallOptions): Promise<Vault> {
    return new Vault(api, (await existing(name, () => api.describeVault(name, options))).data);
  }

  /** @throws CASClientError "Vault not exists: NAME"; CASServerError while the vault is not empty. */
  static deleteVaultByName(api: CasAPI, name: string, options?: CallOptions): Promise<CASResponse<void>> {
    return existing(name, () => api.deleteVault(name, options));
  }

  /** All vaults of the account, page by page as they are consumed. */
  static async *listAllVaults(api: CasAPI, options?: CallOptions): AsyncGenerator<Vault> {
    for await (const properties of api.listAllVaults(options)) yield new Vault(api, properties);
  }

  get name(): string {
    return this.properties.vaultName;
  }

  /** The resource name. */
  get qcs(): string {
    return this.properties.vaultQcs;
  }

  get creationDate(): Date {
    return this.properties.creationDate;
  }

  /** Null before the first inventory. */
  get lastInventoryDate(): Date | null {
    return this.properties.lastInventoryDate;
  }

  /** As of the last inventory; 0 before the first. */
  get numberOfArchives(): number {
    return this.properties.numberOfArchives ?? 0;
  }

  /** Bytes of all archives as of the last inventory; 0 before the first. */
  get size(): number {
    return this.properties.sizeInBytes ?? 0;
  }

  /** Deletes the vault, which must be empty. */
  delete(options?: CallOptions): Promise<CASResponse<void>> {
    return this.api.deleteVault(this.name, options);
  }

  /**
   * Uploads a file (by its path), bytes in memory or a stream, and gives back the archive's id. Keep it: the only other
   * way to learn it is an inventory.
   *
   * What is larger than 100 MiB is sent in parts, in parallel; after a failure `resume: error.uploadId` continues within
   * a day. A stream of unknown length is sent in parts as soon as it is longer than one; nothing is spooled. Parts, but
   * never a single upload whose answer was lost, are repeated after passing failures.
   *
   * @throws RangeError for an empty source; UploadArchiveError when parts are missing at the end.
   */
  async uploadArchive(source: UploadSource, options: UploadOptions = {}): Promise<string> {
    const { archiveId } = await uploadSource(clientPartsOf(this.api.client), vaultName(this.name), source, options);
    return archiveId;
  }

  /** An archive of this vault; makes no request. */
  getArchive(archiveId: string): Archive {
    return new Archive(this, archiveId);
  }

  /** Deleting a deleted archive again is fine. */
  deleteArchive(archiveId: string, options?: CallOptions): Promise<CASResponse<void>> {
    return this.api.deleteArchive(this.name, archiveId, options);
  }

  /** Starts bringing an archive, or a range of it, to where it can be downloaded; takes minutes to half a day, and is billed. */
  retrieveArchive(archiveId: string, { signal, ...order }: RetrieveArchiveOptions = {}): Promise<Job> {
    return this.#startJob({ ...order, type: "archive-retrieval", archiveId }, signal);
  }

  /** Starts listing the archives of the vault; takes hours. See `inventory` for the archives themselves. */
  initiateRetrieveInventory({ signal, ...order }: RetrieveInventoryOptions = {}): Promise<Job> {
    return this.#startJob({ ...order, type: "inventory-retrieval" }, signal);
  }

  /**
   * The archives of the vault as of its last inventory: starts an inventory job, waits for it, and reads its output as it
   * arrives.
   *
   * @throws DownloadArchiveError when the job fails; CASClientError for an output that is no complete inventory.
   */
  async *inventory(options: InventoryOptions = {}): AsyncGenerator<InventoryEntry> {
    const { followMarker = options.limit === undefined, pollMs, ...order } = options;
    let { marker } = order;
    do {
      const job = await this.initiateRetrieveInventory({ ...order, marker });
      yield* job.inventory({ pollMs, signal: order.signal });
      marker = job.properties.inventoryRetrievalParameters?.marker ?? undefined;
    } while (followMarker && marker !== undefined);
  }

  /** A job of this vault, as it is now. */
  async getJob(jobId: string, options?: CallOptions): Promise<Job> {
    return new Job(this, (await this.api.describeJob(this.name, jobId, options)).data);
  }

  /** Running and recently completed jobs, page by page as they are consumed. */
  async *listJobs(query?: JobQuery, options?: CallOptions): AsyncGenerator<Job> {
    for await (const properties of this.api.listAllJobs(this.name, query, options)) yield new Job(this, properties);
  }

  /** Copies an archive to an object of a COS bucket (named by its domain name). The CAS SDK for Python gives the job's id. */
  pushArchiveToCos(
    archiveId: string,
    bucket: string,
    object: string,
    { signal, ...order }: PushToCosOptions = {},
  ): Promise<Job> {
    return this.#startJob({ ...order, type: "push-to-cos", archiveId, bucket, object }, signal);
  }

  /** Makes an archive of an object of a COS bucket; the finished job has its id. Not in the CAS SDK for Python. */
  pullArchiveFromCos(bucket: string, object: string, { signal, ...order }: PullFromCosOptions = {}): Promise<Job> {
    return this.#startJob({ ...order, type: "pull-from-cos", bucket, object }, signal);
  }

  /**
   * Begins an upload of the file at `filePath` in parts; `start()` sends them.
   *
   * @param options.partSize In bytes, see `MultipartUpload.calcPartSize`.
   * @throws RangeError for a file below 16 MiB (use `uploadArchive`) or larger than any archive.
   */
  initiateMultipartUpload(
    filePath: string,
    options: CallOptions & { readonly description?: string | undefined; readonly partSize?: number | undefined } = {},
  ): Promise<MultipartUpload> {
    return MultipartUpload.initiate(this, filePath, options);
  }

  /** An unfinished upload with the parts that the service has; `resume(filePath)` goes on with it. */
  getMultipartUploader(uploadId: string, options?: CallOptions): Promise<MultipartUpload> {
    return MultipartUpload.describe(this, uploadId, options);
  }

  /** Unfinished uploads, page by page as they are consumed; their parts are not listed with them. */
  async *listAllMultipartUploads(options?: CallOptions): AsyncGenerator<MultipartUpload> {
    const all = this.api.listAllMultipartUploads(this.name, options);
    for await (const properties of all) yield new MultipartUpload(this, properties);
  }

  async #startJob(order: JobParameters, signal: AbortSignal | undefined): Promise<Job> {
    const { data } = await this.api.initiateJob(this.name, order, { signal });
    return this.getJob(data.jobId, { signal });
  }
}

async function existing<T>(name: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (cause) {
    if (!(cause instanceof CASServerError) || cause.status !== 404) throw cause;
    throw new CASClientError(`Vault not exists: ${name}`, { cause });
  }
}
