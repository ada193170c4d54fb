/**
 * The archive service in memory: the whole port, as the contract suite tests it, on a clock the test moves.
 *
 * Counts every call. A test may script failures: before a call has its effect, or after it (a lost answer).
 */

import { randomBytes } from "node:crypto";
import { type ByteRange, byteCount, byteRange, MIB, rangeLength } from "../../src/domain/bytes.js";
import { ServiceError } from "../../src/domain/errors.js";
import {
  type ArchiveId,
  archiveId,
  type JobId,
  jobId,
  type UploadId,
  uploadId,
  type VaultName,
} from "../../src/domain/ids.js";
import type { Clock, Instant } from "../../src/domain/time.js";
import { formatInventoryCsv } from "../../src/protocol/inventory-csv.js";
import { formatInventoryJson, type InventoryEntry } from "../../src/protocol/inventory-wire.js";
import { resolveOrderedRange } from "../../src/protocol/job-order-wire.js";
import {
  archiveIdLength,
  completedUploadMemoryMs,
  expeditedSizeBytesMax,
  inventoryLimitMax,
  jobIdLength,
  pageLimitMax,
  uploadIdLength,
} from "../../src/protocol/limits.js";
import { isPartSize } from "../../src/protocol/multipart-wire.js";
import { formatVaultQcs } from "../../src/protocol/qcs.js";
import type {
  BodySource,
  CallOptions,
  CasService,
  InventoryFilter,
  JobDescription,
  JobFilter,
  JobOutput,
  JobRequest,
  NewArchive,
  NewPart,
  Page,
  PageRequest,
  PartsPage,
  RetrievalTier,
  TreeHashHex,
  UploadDescription,
  VaultDescription,
} from "../../src/protocol/service.js";
import { digestOf, isTreeHashAligned, subtreeHash } from "../../src/protocol/tree-hash.js";

export type CasOperation = Exclude<keyof CasService, "close">;

export interface MemoryCasOptions {
  readonly clock: Clock;
  /** How long jobs take, in milliseconds; 0 by default: a job has succeeded when it is described first. */
  readonly retrievalMs?: Partial<Record<RetrievalTier | "inventory", number>>;
  readonly outputLifetimeMs?: number;
  readonly uploadLifetimeMs?: number;
}

/** One scripted failure. */
export interface ScriptedFault {
  readonly operation: CasOperation;
  readonly error: unknown;
  /** "after": the call has its effect and only the answer is lost. */
  readonly when?: "before" | "after";
  /** How many calls fail; 1 by default. */
  readonly times?: number;
  /** How many calls of the operation pass first. */
  readonly skip?: number;
}

export interface StoredArchive extends InventoryEntry {
  readonly bytes: Buffer;
  readonly leaves: readonly Buffer[];
}

interface Vault {
  readonly name: VaultName;
  readonly createdAt: Instant;
  readonly archives: Map<ArchiveId, StoredArchive>;
  readonly deleted: Set<ArchiveId>;
  readonly uploads: Map<UploadId, Upload>;
  readonly completed: Map<UploadId, { readonly archive: ArchiveId; readonly at: number }>;
  readonly jobs: Map<JobId, Job>;
  callback: string | null;
  lastInventory: { readonly at: Instant; readonly count: number; readonly sizeBytes: number } | null;
}

interface Upload {
  readonly facts: UploadDescription;
  /** Keyed by the start of the part. */
  readonly parts: Map<number, { readonly range: ByteRange; readonly bytes: Buffer; readonly treeHash: TreeHashHex }>;
  lastActivityAt: number;
}

interface Job {
  readonly id: JobId;
  readonly request: JobRequest;
  readonly createdAt: Instant;
  readonly doneAt: Instant;
  /** Undefined for a job that is going to fail. */
  readonly archive: StoredArchive | undefined;
  readonly range: ByteRange;
  readonly inventory: { readonly bytes: Buffer; readonly nextMarker: string | null } | undefined;
  failure: string | undefined;
}

export class MemoryCasService implements CasService {
  /** Calls of each operation so far, the failed ones included. */
  readonly calls: Record<CasOperation, number> = noCalls();
  /** Bytes handed out by `getJobOutput` so far. */
  bytesServed = 0;
  /** Called before every call; may wait, throw, or note what it sees. */
  onCall: (operation: CasOperation, details: readonly unknown[]) => Promise<void> | void = () => undefined;
  /** May change the bytes of an output on their way: corrupt, cut or break them off. */
  transformOutput: (body: AsyncIterable<Uint8Array>, range: ByteRange) => AsyncIterable<Uint8Array> = (body) => body;

  readonly #vaults = new Map<VaultName, Vault>();
  readonly #faults: { readonly fault: ScriptedFault; skip: number; left: number }[] = [];
  readonly #clock: Clock;
  readonly #options: MemoryCasOptions;

  constructor(options: MemoryCasOptions) {
    this.#clock = options.clock;
    this.#options = options;
  }

  /** Scripts a failure of the next call (or calls) of an operation. */
  fail(fault: ScriptedFault): void {
    this.#faults.push({ fault, skip: fault.skip ?? 0, left: fault.times ?? 1 });
  }

  /** No scripted failure is left. */
  forgiveFaults(): void {
    this.#faults.length = 0;
  }

  /** Forgets every part of every unfinished upload. */
  loseParts(vault: VaultName): void {
    for (const { parts } of this.#vault(vault).uploads.values()) parts.clear();
  }

  /** @throws Error when a scripted fault was not met: the test did not test what it says. */
  expectAllFaultsHit(): void {
    const missed = this.#faults.filter(({ left }) => left > 0).map(({ fault }) => fault.operation);
    if (missed.length > 0) throw new Error(`Faults that were not hit: ${missed.join(", ")}`);
  }

  /** Everything in the vault, for assertions. */
  archivesOf(vault: VaultName): StoredArchive[] {
    return [...this.#vault(vault).archives.values()];
  }

  /** Makes a job in progress (or a finished one) fail with the service's message. */
  failJob(vault: VaultName, job: JobId, message: string): void {
    this.#job(this.#vault(vault), job).failure = message;
  }

  async createVault(vault: VaultName, options?: CallOptions): Promise<void> {
    await this.#call("createVault", options, [vault], () => {
      if (this.#vaults.has(vault)) return;
      this.#vaults.set(vault, {
        name: vault,
        createdAt: this.#clock.now(),
        archives: new Map(),
        deleted: new Set(),
        uploads: new Map(),
        completed: new Map(),
        jobs: new Map(),
        lastInventory: null,
        callback: null,
      });
    });
  }

  describeVault(vault: VaultName, options?: CallOptions): Promise<VaultDescription> {
    return this.#call("describeVault", options, [vault], () => describeVault(this.#vault(vault)));
  }

  async deleteVault(vault: VaultName, options?: CallOptions): Promise<void> {
    await this.#call("deleteVault", options, [vault], () => {
      const { archives, uploads } = this.#vault(vault);
      this.#dropOldUploads(this.#vault(vault));
      if (archives.size + uploads.size > 0) throw refused("vault is not empty, only empty vault can be delete");
      this.#vaults.delete(vault);
    });
  }

  vaultCallback(vault: VaultName, options?: CallOptions): Promise<string | null> {
    return this.#call("vaultCallback", options, [vault], () => this.#vault(vault).callback);
  }

  async setVaultCallback(vault: VaultName, url: string, options?: CallOptions): Promise<void> {
    await this.#call("setVaultCallback", options, [vault, url], () => {
      this.#vault(vault).callback = url;
    });
  }

  listVaults(page?: PageRequest, options?: CallOptions): Promise<Page<VaultDescription>> {
    return this.#call("listVaults", options, [page], () => {
      const keyed = [...this.#vaults.values()].map((vault) => ({ key: qcsOf(vault.name), item: describeVault(vault) }));
      return pageOf(keyed, page);
    });
  }

  uploadArchive(vault: VaultName, archive: NewArchive, options?: CallOptions): Promise<ArchiveId> {
    return this.#call("uploadArchive", options, [vault, archive], async () => {
      const target = this.#vault(vault);
      const bytes = await receive(archive.body, options?.signal);
      if (bytes.length === 0 || bytes.length !== archive.sizeBytes) throw refused("The body has another length");
      checkDigests(bytes, archive);
      return this.#store(target, bytes, archive.description);
    });
  }

  async deleteArchive(vault: VaultName, archive: ArchiveId, options?: CallOptions): Promise<void> {
    await this.#call("deleteArchive", options, [vault, archive], () => {
      const { archives, deleted } = this.#vault(vault);
      if (!archives.delete(archive) && !deleted.has(archive)) throw missing(`There is no archive ${archive}`);
      deleted.add(archive);
    });
  }

  initiateMultipartUpload(
    vault: VaultName,
    upload: Parameters<CasService["initiateMultipartUpload"]>[1],
    options?: CallOptions,
  ): Promise<UploadId> {
    return this.#call("initiateMultipartUpload", options, [vault, upload], () => {
      if (!isPartSize(upload.partSizeBytes)) throw refused("The part size must be 1 MiB times a power of two");
      const id = uploadId(newId(uploadIdLength));
      const facts = { id, ...upload, createdAt: this.#clock.now() };
      this.#vault(vault).uploads.set(id, { facts, parts: new Map(), lastActivityAt: this.#clock.now() });
      return id;
    });
  }

  async uploadPart(vault: VaultName, upload: UploadId, part: NewPart, options?: CallOptions): Promise<void> {
    await this.#call("uploadPart", options, [vault, upload, part], async () => {
      const target = this.#upload(vault, upload);
      const bytes = await receive(part.body, options?.signal);
      if (bytes.length === 0 || bytes.length !== rangeLength(part.range)) throw refused("The body has another length");
      if (part.range.start % target.facts.partSizeBytes !== 0) throw refused("The part is not aligned");
      if (bytes.length > target.facts.partSizeBytes) throw refused("The part is larger than the part size");
      checkDigests(bytes, part);
      target.parts.set(part.range.start, { range: part.range, bytes, treeHash: part.treeHash });
      target.lastActivityAt = this.#clock.now();
    });
  }

  completeMultipartUpload(
    vault: VaultName,
    upload: UploadId,
    archive: Parameters<CasService["completeMultipartUpload"]>[2],
    options?: CallOptions,
  ): Promise<ArchiveId> {
    return this.#call("completeMultipartUpload", options, [vault, upload, archive], () => {
      const target = this.#vault(vault);
      const before = target.completed.get(upload);
      if (before !== undefined && this.#clock.now() - before.at <= completedUploadMemoryMs) {
        return this.#completedBefore(target, before.archive, archive);
      }
      const { facts, parts } = this.#upload(vault, upload);
      const bytes = Buffer.concat(contiguous([...parts.values()]));
      if (bytes.length !== archive.sizeBytes) throw refused("The parts do not add up to the size of the archive");
      if (digestOf(bytes).treeHash !== archive.treeHash) throw digestFault();
      const id = this.#store(target, bytes, facts.description);
      target.uploads.delete(upload);
      target.completed.set(upload, { archive: id, at: this.#clock.now() });
      return id;
    });
  }

  /** A repetition that speaks of other bytes is none (the archive may be deleted by now). */
  #completedBefore(
    target: Vault,
    id: ArchiveId,
    said: Parameters<CasService["completeMultipartUpload"]>[2],
  ): ArchiveId {
    const archive = target.archives.get(id);
    if (archive !== undefined && archive.sizeBytes !== said.sizeBytes) throw refused("The archive has another size");
    if (archive !== undefined && archive.treeHash !== said.treeHash) throw digestFault();
    return id;
  }

  async abortMultipartUpload(vault: VaultName, upload: UploadId, options?: CallOptions): Promise<void> {
    await this.#call("abortMultipartUpload", options, [vault, upload], () => {
      this.#upload(vault, upload);
      this.#vault(vault).uploads.delete(upload);
    });
  }

  listParts(vault: VaultName, upload: UploadId, page?: PageRequest, options?: CallOptions): Promise<PartsPage> {
    return this.#call("listParts", options, [vault, upload, page], () => {
      const { facts, parts } = this.#upload(vault, upload);
      const from = Number(page?.marker ?? 0);
      const sorted = [...parts.values()].sort((a, b) => a.range.start - b.range.start);
      const rest = sorted.filter(({ range }) => range.start >= from);
      const limit = limitOf(page);
      const next = rest[limit];
      return {
        items: rest.slice(0, limit).map(({ range, treeHash }) => ({ range, treeHash })),
        marker: next === undefined ? null : String(next.range.start),
        upload: facts,
      };
    });
  }

  listMultipartUploads(vault: VaultName, page?: PageRequest, options?: CallOptions): Promise<Page<UploadDescription>> {
    return this.#call("listMultipartUploads", options, [vault, page], () => {
      const target = this.#vault(vault);
      this.#dropOldUploads(target);
      return pageOf(
        [...target.uploads.values()].map(({ facts }) => ({ key: `${facts.createdAt}:${facts.id}`, item: facts })),
        page,
      );
    });
  }

  initiateJob(vault: VaultName, request: JobRequest, options?: CallOptions): Promise<JobId> {
    return this.#call("initiateJob", options, [vault, request], async () => {
      const target = this.#vault(vault);
      const id = jobId(newId(jobIdLength));
      const job =
        request.action === "retrieve-archive"
          ? this.#newRetrieval(target, id, request)
          : await this.#newInventory(target, id, request);
      target.jobs.set(id, job);
      return id;
    });
  }

  describeJob(vault: VaultName, job: JobId, options?: CallOptions): Promise<JobDescription> {
    return this.#call("describeJob", options, [vault, job], () => this.#describe(this.#job(this.#vault(vault), job)));
  }

  listJobs(vault: VaultName, filter?: JobFilter, options?: CallOptions): Promise<Page<JobDescription>> {
    return this.#call("listJobs", options, [vault, filter], () => {
      const jobs = [...this.#vault(vault).jobs.values()]
        .filter((job) => !this.#isExpired(job))
        .map((job) => this.#describe(job))
        .filter((job) => filter?.completed === undefined || filter.completed === (job.status !== "in-progress"))
        .filter((job) => filter?.status === undefined || filter.status === job.status);
      return pageOf(
        jobs.map((job) => ({ key: `${job.createdAt}:${job.id}`, item: job })),
        filter,
      );
    });
  }

  getJobOutput(vault: VaultName, job: JobId, range: ByteRange | undefined, options?: CallOptions): Promise<JobOutput> {
    return this.#call("getJobOutput", options, [vault, job, range], () => {
      const found = this.#job(this.#vault(vault), job);
      if (this.#describe(found).status !== "succeeded") throw refused("The job has not succeeded");
      const whole = found.inventory?.bytes ?? found.archive!.bytes.subarray(found.range.start, found.range.end);
      if (range !== undefined && range.start >= whole.length) throw refused("Range is not within the output");
      const asked = byteRange(range?.start ?? 0, Math.min(range?.end ?? whole.length, whole.length));
      const bytes = whole.subarray(asked.start, asked.end);
      return {
        body: this.#serve(bytes, asked, options?.signal),
        sizeBytes: byteCount(bytes.length),
        treeHash: found.archive === undefined ? null : outputTreeHash(found.archive, found.range, asked),
      };
    });
  }

  // --- inside ---------------------------------------------------------------------------------------------------

  async #call<T>(
    operation: CasOperation,
    options: CallOptions | undefined,
    details: readonly unknown[],
    work: () => T | Promise<T>,
  ): Promise<T> {
    options?.signal?.throwIfAborted();
    this.calls[operation] += 1;
    await this.onCall(operation, details);
    options?.signal?.throwIfAborted();
    const fault = this.#nextFault(operation);
    if (fault !== undefined && fault.when !== "after") throw fault.error;
    const result = await work();
    if (fault !== undefined) throw fault.error;
    return result;
  }

  #nextFault(operation: CasOperation): ScriptedFault | undefined {
    for (const entry of this.#faults) {
      if (entry.fault.operation !== operation || entry.left === 0) continue;
      if (entry.skip > 0) {
        entry.skip -= 1;
        continue;
      }
      entry.left -= 1;
      return entry.fault;
    }
    return undefined;
  }

  #vault(name: VaultName): Vault {
    const vault = this.#vaults.get(name);
    if (vault === undefined) throw missing(`There is no vault ${name}`);
    return vault;
  }

  #upload(vault: VaultName, id: UploadId): Upload {
    this.#dropOldUploads(this.#vault(vault));
    const upload = this.#vault(vault).uploads.get(id);
    if (upload === undefined) throw missing(`There is no upload ${id}`);
    return upload;
  }

  #dropOldUploads(vault: Vault): void {
    const lifetimeMs = this.#options.uploadLifetimeMs ?? 24 * 3600 * 1000;
    for (const [id, upload] of vault.uploads) {
      if (this.#clock.now() - upload.lastActivityAt > lifetimeMs) vault.uploads.delete(id);
    }
  }

  #job(vault: Vault, id: JobId): Job {
    const job = vault.jobs.get(id);
    if (job === undefined || this.#isExpired(job)) throw missing(`There is no job ${id}`);
    return job;
  }

  #isExpired(job: Job): boolean {
    return this.#clock.now() > job.doneAt + (this.#options.outputLifetimeMs ?? 24 * 3600 * 1000);
  }

  #store(vault: Vault, bytes: Buffer, description: string): ArchiveId {
    const { leaves, treeHash } = digestOf(bytes);
    const id = archiveId(newId(archiveIdLength));
    const createdAt = this.#clock.now();
    const sizeBytes = byteCount(bytes.length);
    vault.archives.set(id, { archiveId: id, description, createdAt, sizeBytes, treeHash, bytes, leaves });
    return id;
  }

  #newRetrieval(vault: Vault, id: JobId, request: JobRequest & { readonly action: "retrieve-archive" }): Job {
    const archive = vault.archives.get(request.archiveId);
    const createdAt = this.#clock.now();
    const doneAt = (createdAt + (this.#options.retrievalMs?.[request.tier] ?? 0)) as Instant;
    const common = { id, request, createdAt, doneAt, inventory: undefined };
    if (archive === undefined) {
      if (!vault.deleted.has(request.archiveId)) throw missing(`There is no archive ${request.archiveId}`);
      return { ...common, archive, range: byteRange(0, MIB), failure: "The archive was deleted" };
    }
    if (request.tier === "expedited" && archive.sizeBytes > expeditedSizeBytesMax) {
      throw refused("The archive is too large for the Expedited tier");
    }
    return { ...common, archive, range: orderedRange(request.range, archive.sizeBytes), failure: undefined };
  }

  async #newInventory(
    vault: Vault,
    id: JobId,
    request: JobRequest & { readonly action: "retrieve-inventory" },
  ): Promise<Job> {
    const createdAt = this.#clock.now();
    const doneAt = (createdAt + (this.#options.retrievalMs?.inventory ?? 0)) as Instant;
    const all = [...vault.archives.values()];
    const sizeBytes = all.reduce((sum, archive) => sum + archive.sizeBytes, 0);
    vault.lastInventory = { at: createdAt, count: all.length, sizeBytes };
    const { entries, nextMarker } = selectEntries(all, request.filter ?? {});
    const chunks =
      request.format === "csv"
        ? formatInventoryCsv(entries)
        : formatInventoryJson({ vaultQcs: qcsOf(vault.name), takenAt: createdAt }, entries);
    let text = "";
    for await (const chunk of chunks) text += chunk;
    const inventory = { bytes: Buffer.from(text), nextMarker };
    const range = byteRange(0, inventory.bytes.length);
    return { id, request, createdAt, doneAt, archive: undefined, range, inventory, failure: undefined };
  }

  #describe(job: Job): JobDescription {
    const done = this.#clock.now() >= job.doneAt;
    const status = !done ? "in-progress" : job.failure === undefined ? "succeeded" : "failed";
    const common = {
      id: job.id,
      status,
      statusMessage: (done ? job.failure : undefined) ?? status,
      description: job.request.description ?? "",
      createdAt: job.createdAt,
      completedAt: done ? job.doneAt : null,
    } as const;
    if (job.request.action === "retrieve-inventory") {
      return {
        ...common,
        action: "retrieve-inventory",
        format: job.request.format,
        inventorySizeBytes: byteCount(status === "succeeded" ? job.inventory!.bytes.length : 0),
        nextMarker: status === "succeeded" ? job.inventory!.nextMarker : null,
      };
    }
    return { ...common, ...describeRetrieval(job, job.request, status === "in-progress") };
  }

  async *#serve(bytes: Buffer, range: ByteRange, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    const pieces = async function* () {
      for (let offset = 0; offset < bytes.length; offset += 64 * 1024) yield bytes.subarray(offset, offset + 64 * 1024);
    };
    for await (const piece of this.transformOutput(pieces(), range)) {
      signal?.throwIfAborted();
      this.bytesServed += piece.length;
      yield piece;
    }
  }
}

function describeRetrieval(
  job: Job,
  request: JobRequest & { readonly action: "retrieve-archive" },
  inProgress: boolean,
) {
  const { archive, range } = job;
  const sizeBytes = archive?.sizeBytes ?? byteCount(MIB);
  const whole = range.start === 0 && range.end === sizeBytes;
  return {
    action: "retrieve-archive",
    archiveId: request.archiveId,
    archiveSizeBytes: sizeBytes,
    archiveTreeHash: archive?.treeHash ?? ("0".repeat(64) as TreeHashHex),
    range,
    rangeTreeHash:
      archive === undefined || (inProgress && !whole) ? null : subtreeHash(archive.leaves, range, sizeBytes),
    tier: request.tier,
  } as const;
}

function describeVault(vault: Vault): VaultDescription {
  return {
    name: vault.name,
    createdAt: vault.createdAt,
    lastInventoryAt: vault.lastInventory?.at ?? null,
    archiveCount: vault.lastInventory?.count ?? null,
    sizeBytes: vault.lastInventory === null ? null : byteCount(vault.lastInventory.sizeBytes),
  };
}

/** Cas-api section 12.3: whole seconds, ends included, ordered by id, the marker names the first entry left over. */
function selectEntries(all: readonly StoredArchive[], filter: InventoryFilter) {
  const { createdFrom, createdUntil, marker, limit = inventoryLimitMax } = filter;
  const second = (instant: number) => Math.floor(instant / 1000);
  const chosen = all
    .filter(({ createdAt }) => createdFrom === undefined || second(createdAt) >= second(createdFrom))
    .filter(({ createdAt }) => createdUntil === undefined || second(createdAt) <= second(createdUntil))
    .filter(({ archiveId: id }) => marker === undefined || id >= marker)
    .sort((a, b) => (a.archiveId < b.archiveId ? -1 : 1));
  return { entries: chosen.slice(0, limit), nextMarker: chosen[limit]?.archiveId ?? null };
}

function outputTreeHash(archive: StoredArchive, jobRange: ByteRange, asked: ByteRange): TreeHashHex | null {
  if (!isTreeHashAligned(jobRange, archive.sizeBytes)) return null;
  const inArchive = byteRange(jobRange.start + asked.start, jobRange.start + asked.end);
  return subtreeHash(archive.leaves, inArchive, archive.sizeBytes);
}

function orderedRange(range: ByteRange | undefined, sizeBytes: number): ByteRange {
  try {
    return resolveOrderedRange(range === undefined ? null : { first: range.start, last: range.end - 1 }, sizeBytes);
  } catch (cause) {
    throw refused(`The range is not acceptable: ${(cause as Error).message}`);
  }
}

function pageOf<T>(
  keyed: readonly { readonly key: string; readonly item: T }[],
  page: PageRequest | undefined,
): Page<T> {
  const sorted = [...keyed].sort((a, b) => (a.key < b.key ? -1 : 1));
  const rest = sorted.filter(({ key }) => page?.marker === undefined || key >= page.marker);
  const limit = limitOf(page);
  return { items: rest.slice(0, limit).map(({ item }) => item), marker: rest[limit]?.key ?? null };
}

function limitOf(page: PageRequest | undefined): number {
  const limit = page?.limit ?? pageLimitMax;
  if (!Number.isInteger(limit) || limit < 1 || limit > pageLimitMax) throw refused("The limit is not within 1-1000");
  return limit;
}

function contiguous(parts: readonly { readonly range: ByteRange; readonly bytes: Buffer }[]): Buffer[] {
  const sorted = [...parts].sort((a, b) => a.range.start - b.range.start);
  let expected = 0;
  for (const { range } of sorted) {
    if (range.start !== expected) throw refused("The parts are not contiguous");
    expected = range.end;
  }
  return sorted.map(({ bytes }) => bytes);
}

async function receive(body: BodySource, signal: AbortSignal | undefined): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of body()) {
    signal?.throwIfAborted();
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks);
}

function checkDigests(bytes: Buffer, expected: { readonly sha256: string; readonly treeHash: string }): void {
  const actual = digestOf(bytes);
  if (actual.sha256 !== expected.sha256 || actual.treeHash !== expected.treeHash) throw digestFault();
}

function digestFault(): ServiceError {
  return new ServiceError("digest", "The hash differs from the body", { code: "InvalidDigest" });
}

function refused(message: string): ServiceError {
  return new ServiceError("refused", message, { code: "InvalidParameterValueException" });
}

function missing(message: string): ServiceError {
  return new ServiceError("missing", message, { code: "ResourceNotFoundException" });
}

function qcsOf(vault: VaultName): string {
  return formatVaultQcs({ region: "memory", appId: "1250000000" }, vault);
}

function newId(length: number): string {
  return randomBytes(Math.ceil((length * 3) / 4))
    .toString("base64url")
    .slice(0, length);
}

function noCalls(): Record<CasOperation, number> {
  return {
    createVault: 0,
    describeVault: 0,
    deleteVault: 0,
    vaultCallback: 0,
    setVaultCallback: 0,
    listVaults: 0,
    uploadArchive: 0,
    deleteArchive: 0,
    initiateMultipartUpload: 0,
    uploadPart: 0,
    completeMultipartUpload: 0,
    abortMultipartUpload: 0,
    listParts: 0,
    listMultipartUploads: 0,
    initiateJob: 0,
    describeJob: 0,
    listJobs: 0,
    getJobOutput: 0,
  };
}
