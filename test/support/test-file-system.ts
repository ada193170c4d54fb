/**
 * A file system without FUSE: the real catalog, staging area, cache, upload and recall, put together as a mount does
 * it, on the archive service in memory and a clock that the test moves.
 *
 * `reopen` is a crash: the next life begins on a copy of the state directory as it is at that moment. The former life
 * is cut off from the service and never hears of it.
 */

import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ledgerMeter } from "../../src/app/ledger-meter.js";
import { recoverStaging } from "../../src/app/staging-recovery.js";
import { ContentCache } from "../../src/cache/content-cache.js";
import { HashPool } from "../../src/cache/hash-pool.js";
import { CacheLayout } from "../../src/cache/layout.js";
import { PartialContents } from "../../src/cache/partial-contents.js";
import { allocatedBytes, StagingDirectory } from "../../src/cache/staging-area.js";
import { StagingBudget } from "../../src/cache/staging-budget.js";
import { WrittenHashes } from "../../src/cache/written-hashes.js";
import { Catalog } from "../../src/catalog/catalog.js";
import { meteredService } from "../../src/client/metered-service.js";
import { byteCount, MIB } from "../../src/domain/bytes.js";
import type { CasfsEvent } from "../../src/domain/events.js";
import { type ContentId, type InodeNumber, rootIno, type VaultName, vaultName } from "../../src/domain/ids.js";
import { type Clock, fileTime, hours, type Instant, seconds } from "../../src/domain/time.js";
import { publishedPrices } from "../../src/protocol/prices.js";
import type { CasService } from "../../src/protocol/service.js";
import { InventorySync } from "../../src/restore/inventory-sync.js";
import { JobPoller } from "../../src/restore/job-poller.js";
import type { InventoryEntry } from "../../src/restore/ports.js";
import { RecallBudget, type RecallLimits } from "../../src/restore/recall-budget.js";
import { RestoreManager } from "../../src/restore/restore-manager.js";
import { AbandonedUploads } from "../../src/upload/abandoned-uploads.js";
import { ArchiveDeleter } from "../../src/upload/archive-deleter.js";
import { holdingUploader } from "../../src/upload/held-uploads.js";
import { Streamer } from "../../src/upload/streamer.js";
import { TrashPurger } from "../../src/upload/trash-purger.js";
import { UploadQueue } from "../../src/upload/upload-queue.js";
import { Uploader } from "../../src/upload/uploader.js";
import type { Attributes } from "../../src/vfs/attributes.js";
import type { CatalogPort, InodeRecord } from "../../src/vfs/catalog-port.js";
import type { Caller } from "../../src/vfs/cold-opens.js";
import { FileSystem } from "../../src/vfs/filesystem.js";
import type { OpenIntent } from "../../src/vfs/handle-table.js";
import type { Place } from "../../src/vfs/namespace.js";
import type { LocalDisk, StagingArea } from "../../src/vfs/ports.js";
import type { ProcessTable } from "../../src/vfs/recall-governor.js";
import type { FileSystemSettings } from "../../src/vfs/settings.js";
import { FakeClock } from "./fake-clock.js";
import { MemoryCasService } from "./memory-cas-service.js";

export const vault: VaultName = vaultName("photos");

export const caller: Caller = { uid: 0, gid: 0, pid: 1, signal: new AbortController().signal };
export const reading: OpenIntent = { write: false, append: false, truncate: false, nonBlock: false };
export const writing: OpenIntent = { ...reading, write: true };
export const rewriting: OpenIntent = { ...writing, truncate: true };
export const appending: OpenIntent = { ...writing, append: true };

const defaults: FileSystemSettings = {
  onCold: "block",
  maxWaitMs: null,
  nonblockRecall: false,
  recallAhead: 0,
  partialRecall: null,
  recallDeny: { hasNames: false, match: () => undefined },
  tier: "standard",
  commit: "staged",
  settleMs: seconds(2),
  rewriteIntervalMs: seconds(0),
  isTemporary: () => false,
  stallTimeoutMs: seconds(60),
  stream: undefined,
  vaultTimeoutMs: seconds(10),
  partialTree: false,
};

const roomyDisk: LocalDisk = {
  take: () => true,
  reclaim: async () => true,
  space: () => ({ blockSizeBytes: 4096, blocks: 1000, blocksFree: 500 }),
};
const treeDefaults = { fileMode: 0o644, directoryMode: 0o755, uid: 0, gid: 0 };
const binding = { endpoint: "memory", appId: "1", region: "here" };

export interface TestVaultOptions {
  readonly settings?: Partial<FileSystemSettings>;
  readonly retrievalMs?: number;
  readonly multipartThresholdBytes?: number;
  /** Off unless a test is about it. */
  readonly trash?: boolean;
  /** `--staging-size`; without it staging has no limit. */
  readonly stagingBytes?: number;
  readonly disk?: LocalDisk;
  /** Instead of the service in memory and the clock that the test moves, which then have nothing to do with it. */
  readonly outside?: { readonly service: CasService; readonly clock: Clock };
  readonly recallLimits?: RecallLimits;
  /** Another one whose service and clock it shares: a second state directory of the same archive. */
  readonly beside?: TestVault;
  /** Without it processes have no names. */
  readonly processes?: ProcessTable;
  /** Called after every step of the file system that reaches the disk. */
  readonly onStep?: (step: string) => void;
}

interface Life {
  readonly directory: string;
  readonly catalog: Catalog;
  readonly cache: ContentCache;
  readonly staging: StagingDirectory;
  readonly budget: StagingBudget;
  readonly uploads: UploadQueue;
  readonly streams: Streamer;
  readonly recalls: RestoreManager;
  readonly recallBudget: RecallBudget;
  readonly inventories: InventorySync;
  readonly deleter: ArchiveDeleter;
  readonly fs: FileSystem;
  /** Cuts it off from the service. */
  readonly kill: () => void;
  readonly close: () => Promise<void>;
}

export class TestVault implements AsyncDisposable {
  readonly clock: FakeClock;
  readonly events: CasfsEvent[] = [];
  /** Whether another process has what is closed still open. */
  isHeldElsewhere = false;
  readonly service: MemoryCasService;
  readonly #hashPool = new HashPool({ workers: 1 });
  #hashes: WrittenHashes | undefined;
  readonly #options: TestVaultOptions;
  readonly #lives: Life[] = [];
  readonly #directories: string[] = [];
  #bootId = "first boot";

  private constructor(options: TestVaultOptions) {
    this.#options = options;
    const standard = options.retrievalMs ?? 0;
    this.clock = options.beside?.clock ?? new FakeClock();
    this.service = options.beside?.service ?? new MemoryCasService({ clock: this.clock, retrievalMs: { standard } });
  }

  /** With the vault `photos`, which this catalog has made. */
  static async create(options: TestVaultOptions = {}): Promise<TestVault> {
    const it = await TestVault.createEmpty(options);
    await it.fs.makeDirectory({ parent: rootIno, name: vault }, 0o755, caller);
    return it;
  }

  /** Without any vault. */
  static async createEmpty(options: TestVaultOptions = {}): Promise<TestVault> {
    const it = new TestVault(options);
    await it.#begin(it.#newDirectory());
    return it;
  }

  get fs(): FileSystem {
    return this.#life.fs;
  }

  get catalog(): Catalog {
    return this.#life.catalog;
  }

  get cache(): ContentCache {
    return this.#life.cache;
  }

  get uploads(): UploadQueue {
    return this.#life.uploads;
  }

  get streams(): Streamer {
    return this.#life.streams;
  }

  get staging(): StagingDirectory {
    return this.#life.staging;
  }

  get budget(): StagingBudget {
    return this.#life.budget;
  }

  get recalls(): RestoreManager {
    return this.#life.recalls;
  }

  get recallBudget(): RecallBudget {
    return this.#life.recallBudget;
  }

  get directory(): string {
    return this.#life.directory;
  }

  /** The inode of the vault's directory. */
  get root(): InodeNumber {
    return this.catalog.vault(vault)!.ino;
  }

  get warnings(): string[] {
    return this.events.flatMap((event) => (event.type === "warning" ? [event.message] : []));
  }

  /** A crash, and the next start. `powerLoss`: the machine has booted again. */
  async reopen({ powerLoss = false, from }: { readonly powerLoss?: boolean; readonly from?: string } = {}) {
    const copy = from ?? this.snapshot();
    this.#life.kill();
    if (powerLoss) this.#bootId = `${this.#bootId} and another`;
    await this.#begin(copy);
    return this;
  }

  /** The state directory as a crash at this moment would leave it. */
  snapshot(): string {
    const copy = this.#newDirectory();
    cpSync(this.directory, copy, { recursive: true });
    return copy;
  }

  /** The place that a path below the vault names. */
  place(path: string): Place {
    const names = path.split("/");
    const name = names.pop()!;
    return { parent: names.reduce((parent, each) => this.#child(parent, each), this.root), name };
  }

  ino(path: string): InodeNumber {
    return this.record(path).ino;
  }

  record(path: string): InodeRecord {
    const { parent, name } = this.place(path);
    const record = this.catalog.lookup(parent, name);
    if (record === undefined) throw new Error(`${path} is not there`);
    return record;
  }

  has(path: string): boolean {
    const { parent, name } = this.place(path);
    return this.fs.lookup(parent, name) !== undefined;
  }

  stat(path: string): Attributes {
    return this.fs.attributes(this.ino(path));
  }

  state(path: string): string {
    return this.xattr(path, "user.casfs.state");
  }

  xattr(path: string, name: string): string {
    return Buffer.from(this.fs.extendedAttributes.get(this.record(path), name)).toString();
  }

  names(path = ""): string[] {
    const directory = path === "" ? this.root : this.ino(path);
    return this.fs.list(directory, 0, 10_000).map(({ name }) => name);
  }

  /** open(2) with O_CREAT. */
  async open(path: string, intent: OpenIntent, by: Caller = caller): Promise<number> {
    const place = this.place(path);
    const present = this.fs.lookup(place.parent, place.name);
    if (present !== undefined) return this.fs.open(present.ino, intent, by);
    return (await this.fs.create(place, 0o644, intent, by)).handle;
  }

  pwrite(handle: number, offset: number, data: Uint8Array, by: Caller = caller): Promise<void> {
    return this.fs.contents.write(handle, offset, data, by);
  }

  async pread(handle: number, offset: number, length: number): Promise<Buffer> {
    const into = Buffer.alloc(length);
    return into.subarray(0, await this.fs.contents.read(handle, offset, into));
  }

  /** FLUSH. */
  flush(handle: number, signal = caller.signal): Promise<void> {
    return this.fs.contents.flush(handle, { ...caller, signal });
  }

  /** FLUSH and RELEASE. */
  async close(handle: number): Promise<void> {
    await this.flush(handle);
    await this.fs.release(handle);
  }

  async write(path: string, data: Uint8Array | string): Promise<void> {
    const handle = await this.open(path, rewriting);
    const bytes = Buffer.from(data);
    for (let offset = 0; offset < bytes.length; offset += MIB) {
      await this.pwrite(handle, offset, bytes.subarray(offset, offset + MIB));
    }
    await this.close(handle);
  }

  async read(path: string): Promise<Buffer> {
    const handle = await this.fs.open(this.ino(path), reading, caller);
    const bytes = await this.pread(handle, 0, this.stat(path).sizeBytes);
    await this.close(handle);
    return bytes;
  }

  async text(path: string): Promise<string> {
    return (await this.read(path)).toString();
  }

  mkdir(path: string): Promise<Attributes> {
    return this.fs.makeDirectory(this.place(path), 0o755, caller);
  }

  unlink(path: string): Promise<void> {
    return this.fs.unlink(this.place(path));
  }

  rename(from: string, to: string, mode: "replace" | "no-replace" | "exchange" = "replace"): Promise<void> {
    return this.fs.rename(this.place(from), this.place(to), mode);
  }

  /** Moves the clock and waits until `done`. */
  async until(done: () => boolean, { stepMs = 100, limitMs = 60_000 } = {}): Promise<void> {
    const end = performance.now() + limitMs;
    while (!done()) {
      if (performance.now() > end) throw new Error(`It did not happen in time: ${this.#troubles().join("; ")}`);
      await this.clock.advance(stepMs);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Settles and uploads everything that is closed, and deletes what nobody wants. */
  async archiveAll(): Promise<void> {
    await this.until(() => this.uploads.size === 0 && this.catalog.deletes.pending().length === 0);
  }

  async writeArchived(path: string, data: Uint8Array | string): Promise<void> {
    await this.write(path, data);
    await this.archiveAll();
  }

  /** Archived, and only in the vault. */
  async writeCold(path: string, data: Uint8Array | string): Promise<void> {
    await this.writeArchived(path, data);
    await this.evict(path);
  }

  evict(path: string): Promise<void> {
    return this.fs.extendedAttributes.evict(this.record(path));
  }

  /** Everything that is in the vault, as text. */
  archived(): string[] {
    return this.service
      .archivesOf(vault)
      .map(({ bytes }) => bytes.toString())
      .sort();
  }

  /** Merges an inventory with these archives, dated `at` by the service. */
  async mergeInventory(entries: readonly InventoryEntry[], at: number = this.clock.now()): Promise<void> {
    const run = this.catalog.inventories.beginInventory(vault);
    await run.add(entries);
    await run.merge(at as Instant);
  }

  /** What is due of uploads is sent and what is due of deletes is done, as far as anything holds still afterwards. */
  async pass(durationMs: number): Promise<void> {
    await this.clock.advance(durationMs);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** Takes the vaults that the service has, and merges their inventories. */
  async refreshInventory(name: VaultName = vault): Promise<void> {
    const done = this.#life.inventories.refresh(name).then(
      () => true,
      (error: unknown) => error,
    );
    let result: unknown;
    void done.then((value) => {
      result = value;
    });
    await this.until(() => result !== undefined);
    if (result !== true) throw result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const life of this.#lives) {
      life.kill();
      await life.close();
    }
    await this.#hashes?.[Symbol.asyncDispose]();
    await this.#hashPool.close();
    for (const directory of this.#directories) rmSync(directory, { recursive: true, force: true });
  }

  #troubles(): string[] {
    return this.events.flatMap((event) => ("message" in event && event.message !== undefined ? [event.message] : []));
  }

  get #life(): Life {
    return this.#lives.at(-1)!;
  }

  #newDirectory(): string {
    const directory = mkdtempSync(join(tmpdir(), "casfs-vault-"));
    this.#directories.push(directory);
    return directory;
  }

  #child(parent: InodeNumber, name: string): InodeNumber {
    const record = this.catalog.lookup(parent, name);
    if (record === undefined) throw new Error(`${name} is not there`);
    return record.ino;
  }

  async #begin(directory: string): Promise<void> {
    const clock = this.#options.outside?.clock ?? this.clock;
    const observer = (event: CasfsEvent) => void this.events.push(event);
    const random = () => 0.5;
    const catalog = await Catalog.open({
      path: join(directory, "catalog.db"),
      binding,
      bootId: this.#bootId,
      clock,
      treeDefaults,
      trash: this.#options.trash ?? false,
      minimumStorageDays: publishedPrices.minimumStorageDays,
    });
    const layout = new CacheLayout(directory);
    const hashPool = this.#hashPool;
    const budget = new StagingBudget({
      limitBytes: this.#options.stagingBytes ?? null,
      allocatedBytes: (content) => allocatedBytes(layout.staged(content)),
    });
    const cache = await ContentCache.open(
      { layout, index: catalog.cached, hashPool, budget, clock, observer },
      { maxBytes: 1e9, keepFreeBytes: 0, recallKeepMs: hours(48) },
    );
    const index = catalog.partial;
    const partial = await PartialContents.open({ layout, index, hashPool, cache, clock, observer });
    cache.setTenant(partial);
    await this.#hashes?.[Symbol.asyncDispose]();
    this.#hashes = new WrittenHashes(hashPool, { partBytes: 16 * MIB, wholeBytesMax: 100 * MIB });
    const dropped = catalog.streams.allDroppedRanges();
    const hashes = this.#hashes;
    const staging = await StagingDirectory.open({ layout, hashes, cachedCopies: cache, budget, dropped });
    const { service: reachable, kill } = mortal(this.#options.outside?.service ?? this.service);
    const service = meteredService(reachable, () => ledgerMeter(catalog));
    const uploader = new Uploader(
      { service, journal: catalog.uploads, files: staging, clock, observer },
      {
        multipartThresholdBytes: byteCount(this.#options.multipartThresholdBytes ?? 100 * MIB),
        partSizeBytes: byteCount(MIB),
        partConcurrency: 2,
      },
    );
    const settings = { ...defaults, ...this.#options.settings };
    const isTemporary = (content: ContentId) =>
      settings.isTemporary(catalog.pathInVault(catalog.contents.find(content)!.ino));
    const heldBecause = (name: VaultName) => catalog.heldBecause(name);
    const uploads = new UploadQueue(
      {
        uploader: holdingUploader(uploader, catalog.uploads, heldBecause),
        journal: catalog.uploads,
        clock,
        random,
        observer,
        isTemporary,
      },
      { concurrency: 8 },
    );
    const streams = new Streamer(
      { service, journal: catalog.streams, files: staging, clock, random, observer, heldBecause },
      { partConcurrency: 2 },
    );
    const deleter = new ArchiveDeleter({ service, journal: catalog.deletes, clock, random, observer });
    const abandoned = new AbandonedUploads({ service, journal: catalog.uploads, observer, clock });
    const purger = new TrashPurger({ journal: catalog, clock, observer });
    const poller = new JobPoller({ service, clock, observer });
    const recallBudget = new RecallBudget({
      limits: this.#options.recallLimits ?? { bytes: null, cost: null },
      prices: publishedPrices,
      isFree: false,
      store: catalog.recallUse,
      clock,
    });
    const recalls = new RestoreManager({
      service,
      journal: catalog.recalls,
      sink: cache,
      windows: partial,
      budget: recallBudget,
      poller,
      clock,
      random,
      observer,
    });
    const inventories = new InventorySync({ service, catalog: catalog.inventories, poller, clock, random, observer });
    const { onStep } = this.#options;
    const fs = new FileSystem({
      catalog: onStep === undefined ? catalog : watchedCatalog(catalog, onStep),
      staging: onStep === undefined ? staging : watchedStaging(staging, onStep),
      cache,
      partial,
      uploads,
      streams,
      recalls,
      service,
      clock,
      observer,
      disk: this.#options.disk ?? roomyDisk,
      processes: this.#options.processes ?? { names: async () => [] },
      holders: { isHeld: async () => this.isHeldElsewhere },
      budget,
      settings,
      inventoryState: () => "visible",
      onVaultFound: (name) => void inventories.refresh(name).catch(() => undefined),
    });
    const report = (error: unknown) => void this.events.push({ type: "warning", message: String(error) });
    catalog.setListener({
      contentRemoved(content, archive) {
        staging.remove(content).catch(report);
        if (archive !== null) cache.drop(archive).catch(report);
        uploads.cancel(content).then(() => abandoned.wake(), report);
      },
      contentArchived(content, archive, sizeBytes) {
        if (staging.isWhole(content)) void cache.adopt(content, archive, sizeBytes).catch(report);
        else void staging.remove(content).catch(report);
      },
      uploadsAbandoned: () => abandoned.wake(),
      contentLost: (_ino, message) => observer({ type: "warning", message }),
      nameAppeared: () => undefined,
      contentLanded: () => undefined,
      lastCopies: (archives) => {
        for (const archive of archives) cache.setPinned(archive, true).catch(report);
      },
      deletesPending: () => deleter.wake(),
      trashChanged: () => purger.wake(),
    });
    const close = async () => {
      fs.close();
      const pipelines = [streams, uploads, deleter, abandoned, purger, recalls, inventories];
      await Promise.all(pipelines.map((pipeline) => pipeline.close()));
      await poller.close(new Error("The test is over"));
      await cache.close();
      await catalog.close();
    };
    this.#lives.push({
      directory,
      catalog,
      cache,
      staging,
      budget,
      uploads,
      streams,
      recalls,
      recallBudget,
      inventories,
      deleter,
      fs,
      kill,
      close,
    });
    const bootId = this.#bootId;
    await recoverStaging({ catalog, staging, cache, bootId, observer, stagingPath: layout.stagingDirectory });
    await fs.removeOrphans();
    for (const { name, createdAt } of (await service.listVaults()).items) {
      if (catalog.vault(name) !== undefined) continue;
      await catalog.mutate(() => catalog.insertVault(name, "awaiting-inventory", fileTime(createdAt ?? clock.now())));
    }
    uploads.start();
    recalls.resume();
    deleter.wake();
    purger.wake();
    abandoned.wake();
  }
}

/** The service, until its caller dies: then it hears nothing more, and no answer arrives. */
function mortal(service: CasService): { readonly service: CasService; readonly kill: () => void } {
  let dead = false;
  const ended = new AbortController();
  const never = <T>(): Promise<T> =>
    new Promise((_, reject) => {
      const signal = ended.signal;
      if (signal.aborted) setImmediate(() => reject(new Error("The caller is dead")));
      else signal.addEventListener("abort", () => reject(new Error("The caller is dead")), { once: true });
    });
  const proxy = new Proxy(service, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      return async (...parameters: unknown[]) => {
        if (dead) return never();
        const result: unknown = await member.apply(target, parameters);
        return dead ? never() : result;
      };
    },
  });
  const kill = () => {
    dead = true;
    ended.abort();
  };
  return { service: proxy, kill };
}

function watchedCatalog(catalog: Catalog, onStep: (step: string) => void): CatalogPort {
  return new Proxy<Catalog>(catalog, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      if (name !== "mutate") return member.bind(target);
      return async (change: () => unknown) => {
        const committed = target.mutate(change);
        onStep("before a commit");
        const result = await committed;
        onStep("after a commit");
        return result;
      };
    },
  });
}

function watchedStaging(staging: StagingDirectory, onStep: (step: string) => void): StagingArea {
  const watched = <T extends object>(subject: T): T =>
    new Proxy<T>(subject, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== "function") return member;
        return async (...parameters: unknown[]) => {
          const result: unknown = await member.apply(target, parameters);
          onStep(`after ${String(name)}`);
          return isOpenFile(result) ? watched(result) : result;
        };
      },
    });
  return watched(staging);
}

function isOpenFile(value: unknown): value is object {
  return typeof value === "object" && value !== null && "write" in value;
}
