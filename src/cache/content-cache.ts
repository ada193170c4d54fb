/**
 * Verified copies of archived contents on the local disk, bounded by bytes; owns the directory layout.
 *
 * Relies on: being the only process of its state directory. The index names what belongs here: a file without a row
 * is removed at start (its landing was not finished), a row without its file is forgotten.
 * Never: evicts a content that is pinned, open, or recalled and not yet read; those may only be dropped.
 */

import { linkSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { mkdir, statfs } from "node:fs/promises";
import { LRUCache } from "lru-cache";
import { CorruptError, FileSystemError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ArchiveKey, ContentId } from "../domain/ids.js";
import { type Clock, type Milliseconds, ms } from "../domain/time.js";
import { KeyedMutex } from "../lib/concurrency.js";
import { publishFile, removeIfPresent } from "../lib/durable-file.js";
import { invariant } from "../lib/invariant.js";
import type { ColdArchive, ContentSink, Landing } from "../restore/ports.js";
import type { CachedContents } from "../vfs/ports.js";
import { ContentFileHandle } from "./content-file.js";
import type { Evictor } from "./disk-reserve.js";
import { chooseEvictions, inOrderOfUse, type UsedCandidate } from "./eviction.js";
import type { HashPool } from "./hash-pool.js";
import { LandingFile } from "./landing-file.js";
import { LandingPieces } from "./landing-pieces.js";
import { type CacheLayout, numberOfName, shardCount } from "./layout.js";
import type { CachedRow, CacheIndex } from "./ports.js";
import type { CachedCopies } from "./staging-area.js";
import type { StagingBudget } from "./staging-budget.js";
import { UseLog } from "./use-log.js";

export interface ContentCacheOptions {
  /** Of all contents together; a single larger content is taken alone, else it could never be read. */
  readonly maxBytes: number;
  /** Landing leaves so much of the disk free. */
  readonly keepFreeBytes: number;
  /** For so long a recalled content that nobody has read is not evicted. */
  readonly recallKeepMs: Milliseconds;
}

export interface ContentCacheParts {
  readonly layout: CacheLayout;
  readonly index: CacheIndex;
  readonly hashPool: HashPool;
  /** Hears what stops being staged because it is a cached copy now. */
  readonly budget: Pick<StagingBudget, "leave">;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Free bytes of the disk that holds `directory`; by default what statfs says. */
  readonly freeBytes?: (directory: string) => Promise<number>;
}

export interface CacheUsage {
  readonly contents: number;
  /** Of all contents, whole or not. */
  readonly usedBytes: number;
  readonly partialContents: number;
  readonly partialBytes: number;
  /** Of landings that are going on: their full sizes. */
  readonly landingBytes: number;
  readonly maxBytes: number;
}

/** Contents of which only a part is here: bytes of the same bound, which are evicted in the same order. */
export interface CacheTenant {
  usage(): { readonly contents: number; readonly usedBytes: number; readonly landingBytes: number };
  /** What is here of one archive, and what is landing of it. */
  bytesOf(archive: ArchiveKey): number;
  /** Least recently used first. */
  candidates(): Iterable<UsedCandidate>;
  evict(archive: ArchiveKey): Promise<"evicted" | "in-use" | "pinned" | "absent">;
  /** @param why "landed": all of it is an ordinary copy now. */
  drop(archive: ArchiveKey, why: "landed" | "unwanted"): Promise<void>;
}

/** What has to be evicted, and what to say when that cannot be. */
interface Shortage {
  /** Not positive when nothing is short. */
  readonly needBytes: number;
  readonly why: (freedBytes: number) => string;
}

type Resident = { -readonly [Field in keyof Omit<CachedRow, "key">]: CachedRow[Field] } & {
  openCount: number;
  /** Whoever still has it open reads nothing from it any more. */
  isDamaged?: boolean;
};

export class ContentCache implements CachedContents, ContentSink, CachedCopies {
  readonly #parts: ContentCacheParts;
  readonly #options: ContentCacheOptions;
  /** Only an ordered index: it never drops anything by itself, because it does not know what may go. */
  readonly #residents = new LRUCache<ArchiveKey, Resident>({
    maxSize: Number.MAX_SAFE_INTEGER,
    sizeCalculation: (resident) => resident.sizeBytes,
  });
  readonly #waitingPins = new Set<ArchiveKey>();
  readonly #landings = new Map<ArchiveKey, { readonly archive: ColdArchive; readonly landing: Landing | undefined }>();
  readonly #uses: UseLog;
  #tenant: CacheTenant | undefined;
  /** Per archive: adopting, publishing and removing one file exclude each other. */
  readonly #files = new KeyedMutex<ArchiveKey>();
  /** Choosing what to evict and counting what is free is one step. */
  readonly #room = new KeyedMutex<"room">();

  private constructor(parts: ContentCacheParts, options: ContentCacheOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#uses = new UseLog(parts.index, parts.clock, parts.observer);
  }

  /** Opens the cache and makes index and directory agree. */
  static async open(parts: ContentCacheParts, options: ContentCacheOptions): Promise<ContentCache> {
    await mkdir(parts.layout.landingDirectory, { recursive: true, mode: 0o700 });
    const cache = new ContentCache(parts, options);
    await cache.#reconcile();
    return cache;
  }

  /** Tells of contents that are not whole; until then there are none. */
  setTenant(tenant: CacheTenant): void {
    this.#tenant = tenant;
  }

  /** Writes the collected uses to the index. */
  async close(): Promise<void> {
    await this.#uses.close();
  }

  usage(): CacheUsage {
    const partial = this.#tenant?.usage();
    return {
      contents: this.#residents.size,
      usedBytes: this.#usedBytes,
      partialContents: partial?.contents ?? 0,
      partialBytes: partial?.usedBytes ?? 0,
      landingBytes: this.#landingBytes + (partial?.landingBytes ?? 0),
      maxBytes: this.#options.maxBytes,
    };
  }

  /** Evicts the least recently used copies that may go, until about `wantedBytes` are freed; none when all are less than `needBytes`. */
  async freeDisk({ needBytes, wantedBytes }: Parameters<Evictor>[0]): Promise<void> {
    await this.#room.run("room", async () => {
      const { keys, freedBytes } = this.#chooseEvictions(wantedBytes);
      if (freedBytes >= needBytes) await this.#evictAll(keys);
    });
  }

  has(archive: ArchiveKey): boolean {
    return this.#residents.has(archive);
  }

  async open(archive: ArchiveKey): Promise<ContentFileHandle> {
    const resident = this.#acquire(archive);
    const release = () => {
      resident.openCount -= 1;
    };
    const whole = { sizeBytes: resident.sizeBytes, onShort: () => this.#cutWhileOpen(archive, resident) };
    const require = () => {
      if (resident.isDamaged === true) throw damagedWhileOpen(archive);
    };
    const hooks = { onClose: release, whole, require };
    try {
      const file = await ContentFileHandle.open(this.#parts.layout.cached(archive), "r", hooks);
      if (file.sizeBytes === resident.sizeBytes) return file;
      await file.close();
    } catch (error) {
      release();
      await this.#forgetVanished(archive, resident);
      throw error;
    }
    await this.#forgetVanished(archive, resident);
    throw new FileSystemError("not-found", `Cannot open archive ${archive}: its cached copy was cut`);
  }

  /** An end of file would be taken for the end of the content: GNU tar goes on with zeros. */
  async #cutWhileOpen(archive: ArchiveKey, resident: Resident): Promise<CorruptError> {
    await this.#forgetVanished(archive, resident);
    return new CorruptError(`Cannot read archive ${archive}: its cached copy was cut while it was open`, {
      hint: "Open the file again: that recalls it",
    });
  }

  async use<T>(archive: ArchiveKey, work: (path: string) => Promise<T>): Promise<T> {
    const resident = this.#acquire(archive);
    try {
      return await work(this.#parts.layout.cached(archive));
    } finally {
      resident.openCount -= 1;
    }
  }

  // Up to the first await nothing else runs: from the moment that the catalog calls the content archived, its copy is
  // found here. The staging name goes only when that survives a power loss too; until then the file has both names.
  adopt(content: ContentId, archive: ArchiveKey, sizeBytes: number): Promise<void> {
    const adopted = this.#adopt(content, archive, sizeBytes);
    this.#parts.budget.leave(content, adopted);
    return adopted;
  }

  async #adopt(content: ContentId, archive: ArchiveKey, sizeBytes: number): Promise<void> {
    const staged = this.#parts.layout.staged(content);
    const stagedBytes = sizeOfFile(staged);
    if (stagedBytes === undefined) return; // Adopted before.
    if (stagedBytes !== sizeBytes) throw wrongStagedSize(content, stagedBytes, sizeBytes);
    const row = this.#newRow(archive, sizeBytes, { readSinceLanding: true });
    if (!this.#residents.has(archive)) {
      linkOver(staged, this.#parts.layout.cached(archive));
      this.#admit(row);
      await this.#parts.index.put(row);
    }
    await this.#parts.index.flush();
    rmSync(staged, { force: true });
    await this.#room.run("room", () => this.#trim(archive));
  }

  async evict(archive: ArchiveKey): Promise<"evicted" | "in-use" | "pinned" | "absent"> {
    return this.#files.run(archive, async () => {
      const resident = this.#residents.peek(archive);
      if (resident === undefined) return (await this.#tenant?.evict(archive)) ?? "absent";
      if (resident.pinned) return "pinned";
      if (resident.openCount > 0) return "in-use";
      await this.#remove(archive, resident);
      return "evicted";
    });
  }

  // An open file keeps its bytes until it is closed: that is how unlink(2) works.
  async drop(archive: ArchiveKey): Promise<void> {
    await this.#files.run(archive, async () => {
      this.#waitingPins.delete(archive);
      const resident = this.#residents.peek(archive);
      if (resident !== undefined) await this.#remove(archive, resident);
      else await this.#parts.index.remove(archive);
      await this.#tenant?.drop(archive, "unwanted");
    });
  }

  /**
   * Drops a copy whose bytes are wrong. Who has it open gets an error from now on: the pages that the kernel would read
   * by that handle are those of the file, and the next reader, with the right copy, would be shown them.
   */
  async dropDamaged(archive: ArchiveKey): Promise<void> {
    const resident = this.#residents.peek(archive);
    if (resident !== undefined) resident.isDamaged = true;
    await this.drop(archive);
  }

  async setPinned(archive: ArchiveKey, pinned: boolean): Promise<void> {
    await this.#files.run(archive, async () => {
      const resident = this.#residents.peek(archive);
      if (resident !== undefined) {
        resident.pinned = pinned;
        await this.#parts.index.put(rowOf(archive, resident));
      } else if (pinned) {
        this.#waitingPins.add(archive);
        await this.#parts.index.put(this.#newRow(archive, 0, { readSinceLanding: true }));
      } else if (this.#waitingPins.delete(archive)) {
        await this.#parts.index.remove(archive);
      }
    });
  }

  isPinned(archive: ArchiveKey): boolean {
    return this.#residents.peek(archive)?.pinned ?? this.#waitingPins.has(archive);
  }

  async begin(archive: ColdArchive): Promise<Landing> {
    invariant(!this.#landings.has(archive.key), "an archive lands once at a time");
    const onEnd = () => {
      this.#landings.delete(archive.key);
    };
    this.#landings.set(archive.key, { archive, landing: undefined });
    try {
      const landing = await this.#openLanding(archive, onEnd);
      this.#landings.set(archive.key, { archive, landing });
      return landing;
    } catch (error) {
      onEnd();
      throw error;
    }
  }

  async #openLanding(archive: ColdArchive, onEnd: () => void): Promise<Landing> {
    const { layout, hashPool } = this.#parts;
    const pieces = await LandingPieces.open(layout.landingPieces(archive.key), archive);
    try {
      await this.#room.run("room", () => this.#makeRoom(archive, totalBytes(pieces.missing)));
      const path = layout.landing(archive.key);
      const publish = () => this.admitFile(archive, path);
      return await LandingFile.open({ archive, path, pieces, hashPool, publish, onEnd });
    } catch (error) {
      await pieces.close();
      throw error;
    }
  }

  #acquire(archive: ArchiveKey): Resident {
    const resident = this.#residents.get(archive);
    if (resident === undefined)
      throw new FileSystemError("not-found", `Cannot open archive ${archive}: it is not cached`);
    resident.openCount += 1;
    resident.lastUsedAt = this.#parts.clock.now();
    resident.readSinceLanding = true;
    this.#uses.add({ key: archive, lastUsedAt: resident.lastUsedAt, readSinceLanding: true });
    return resident;
  }

  #admit(row: CachedRow): void {
    const { key, ...rest } = row;
    // Somebody may have the former copy of the same bytes open; it stays theirs, and the count stays with it.
    this.#residents.set(key, { ...rest, openCount: 0 });
    this.#waitingPins.delete(key);
  }

  #newRow(key: ArchiveKey, sizeBytes: number, { readSinceLanding }: { readonly readSinceLanding: boolean }): CachedRow {
    const now = this.#parts.clock.now();
    return { key, sizeBytes, lastUsedAt: now, pinned: this.isPinned(key), landedAt: now, readSinceLanding };
  }

  /** The synced file at `path` has all bytes of `archive`, and becomes its cached copy. */
  async admitFile(archive: ColdArchive, path: string): Promise<void> {
    const { layout, index } = this.#parts;
    await this.#files.run(archive.key, async () => {
      const row = this.#newRow(archive.key, archive.sizeBytes, { readSinceLanding: false });
      await index.put(row);
      await publishFile(path, layout.cached(archive.key));
      this.#admit(row);
      await this.#tenant?.drop(archive.key, "landed");
    });
  }

  /** The file goes first: after a crash in between, the row without its file is forgotten at start. */
  async #remove(archive: ArchiveKey, resident: Resident): Promise<void> {
    this.#residents.delete(archive);
    this.#uses.forget(archive);
    await removeIfPresent(this.#parts.layout.cached(archive));
    await this.#parts.index.remove(archive);
    this.#parts.observer({ type: "content-evicted", archive, sizeBytes: resident.sizeBytes });
  }

  /** The file of a resident is not there: somebody else has been in the directory. */
  async #forgetVanished(archive: ArchiveKey, resident: Resident): Promise<void> {
    await this.#files.run(archive, async () => {
      const vanished =
        this.#residents.peek(archive) === resident && !isFileOf(this.#parts.layout.cached(archive), resident.sizeBytes);
      if (!vanished) return;
      this.#residents.delete(archive);
      await this.#parts.index.remove(archive);
      this.#parts.observer({
        type: "warning",
        message: `The cached copy of archive ${archive} has vanished from the disk`,
      });
    });
  }

  get #usedBytes(): number {
    return this.#residents.calculatedSize + (this.#tenant?.usage().usedBytes ?? 0);
  }

  get #landingBytes(): number {
    let sum = 0;
    for (const { archive } of this.#landings.values()) sum += archive.sizeBytes;
    return sum;
  }

  /** @throws FileSystemError "no-space" before anything is evicted in vain. */
  async #makeRoom(archive: ColdArchive, missingBytes: number): Promise<void> {
    await this.#evictFor(archive, this.#shortInCache(archive.sizeBytes, this.#landingBytes - archive.sizeBytes));
    await this.#evictFor(archive, await this.#shortOnDisk(missingBytes + this.#unwrittenBytes(archive.key)));
  }

  /** Makes room for `bytes` of a window. @throws as `begin`. */
  async makeWindowRoom(archive: ColdArchive, bytes: number): Promise<void> {
    await this.#room.run("room", async () => {
      await this.#evictFor(archive, this.#shortInCache(bytes, this.#landingBytes, archive.key));
      await this.#evictFor(archive, await this.#shortOnDisk(bytes + this.#unwrittenBytes(undefined)));
    });
  }

  async whyNoRoom(sizeBytes: number, underWayBytes: number, archive?: ArchiveKey): Promise<string | null> {
    const landedBytes = this.#landingBytes - this.#unwrittenBytes(undefined);
    const cache = this.#shortInCache(sizeBytes, underWayBytes, archive);
    const disk = await this.#shortOnDisk(sizeBytes + Math.max(0, underWayBytes - landedBytes));
    return this.#whyNot(cache) ?? this.#whyNot(disk);
  }

  async #evictFor(archive: ColdArchive, short: Shortage): Promise<void> {
    const reason = this.#whyNot(short);
    if (reason !== null) throw noSpace(archive, reason);
    await this.#evictAll(this.#chooseEvictions(short.needBytes).keys);
  }

  #whyNot({ needBytes, why }: Shortage): string | null {
    const { freedBytes } = this.#chooseEvictions(needBytes);
    return freedBytes < needBytes ? why(freedBytes) : null;
  }

  /**
   * What must be evicted for `sizeBytes` to land; a content larger than the cache is taken alone.
   *
   * @param window Of which archive a part is here already, and stays.
   */
  #shortInCache(windowBytes: number, underWayBytes: number, window?: ArchiveKey): Shortage {
    const { maxBytes } = this.#options;
    const ownBytes = window === undefined ? 0 : (this.#tenant?.bytesOf(window) ?? 0);
    const sizeBytes = windowBytes + ownBytes;
    const otherBytes = Math.max(0, this.#usedBytes - ownBytes) + underWayBytes;
    const why = (freedBytes: number) =>
      `only ${Math.max(0, maxBytes - otherBytes + freedBytes)} of the cache's ${maxBytes} bytes can be freed`;
    return { needBytes: Math.min(otherBytes + sizeBytes - maxBytes, otherBytes), why };
  }

  async #shortOnDisk(bytes: number): Promise<Shortage> {
    const { keepFreeBytes } = this.#options;
    const freeBytes = await (this.#parts.freeBytes ?? freeBytesOfDisk)(this.#parts.layout.cacheDirectory);
    const why = () => `the disk has ${freeBytes} bytes, of which ${keepFreeBytes} stay free`;
    return { needBytes: bytes + keepFreeBytes - freeBytes, why };
  }

  /** What the other landings are still going to write. */
  #unwrittenBytes(except: ArchiveKey | undefined): number {
    let sum = 0;
    for (const [key, { archive, landing }] of this.#landings) {
      if (key !== except) sum += landing === undefined ? archive.sizeBytes : totalBytes(landing.missing());
    }
    return sum;
  }

  async #trim(newest: ArchiveKey): Promise<void> {
    const excessBytes = this.#usedBytes + this.#landingBytes - this.#options.maxBytes;
    await this.#evictAll(this.#chooseEvictions(excessBytes, newest).keys);
  }

  #chooseEvictions(needBytes: number, except?: ArchiveKey): ReturnType<typeof chooseEvictions> {
    const { recallKeepMs } = this.#options;
    return chooseEvictions(inOrderOfUse(this.#candidates(except), this.#tenant?.candidates() ?? []), {
      needBytes,
      now: this.#parts.clock.now(),
      recallKeepMs,
    });
  }

  *#candidates(except: ArchiveKey | undefined): Generator<UsedCandidate> {
    for (const key of this.#residents.rkeys()) {
      const resident = this.#residents.peek(key);
      if (resident !== undefined && key !== except) yield { key, ...resident };
    }
  }

  async #evictAll(keys: readonly ArchiveKey[]): Promise<void> {
    for (const key of keys) await this.evict(key);
  }

  async #reconcile(): Promise<void> {
    const rows = new Map(this.#parts.index.load().map((row) => [row.key, row]));
    const present = await this.#sweepDirectory(rows);
    for (const row of [...rows.values()].sort((a, b) => a.lastUsedAt - b.lastUsedAt)) {
      if (present.has(row.key)) this.#admit(row);
      else if (row.pinned) await this.#keepPin(row);
      else await this.#parts.index.remove(row.key);
    }
    this.#sweepLandings();
  }

  async #keepPin(row: CachedRow): Promise<void> {
    this.#waitingPins.add(row.key);
    if (row.sizeBytes > 0) await this.#parts.index.put({ ...row, sizeBytes: 0 });
  }

  /** Removes files that no row describes; the keys of the others. One shard at a time, so that nothing stalls long. */
  async #sweepDirectory(rows: ReadonlyMap<ArchiveKey, CachedRow>): Promise<Set<ArchiveKey>> {
    const present = new Set<ArchiveKey>();
    for (let shard = 0; shard < shardCount; shard += 1) {
      const directory = this.#parts.layout.shardDirectory(shard);
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      for (const name of readdirSync(directory)) {
        const key = numberOfName(name) as ArchiveKey | undefined;
        const row = key === undefined ? undefined : rows.get(key);
        if (row !== undefined && isFileOf(`${directory}/${name}`, row.sizeBytes)) present.add(row.key);
        else rmSync(`${directory}/${name}`, { recursive: true, force: true });
      }
      await new Promise(setImmediate);
    }
    return present;
  }

  /** Landings that nobody has gone on with for longer than the service keeps a job's output. */
  #sweepLandings(): void {
    const directory = this.#parts.layout.landingDirectory;
    const oldest = this.#parts.clock.now() - Math.max(this.#options.recallKeepMs, staleLandingMs);
    for (const name of readdirSync(directory)) {
      const path = `${directory}/${name}`;
      if (statSync(path).mtimeMs < oldest) rmSync(path, { recursive: true, force: true });
    }
  }
}

function damagedWhileOpen(archive: ArchiveKey): CorruptError {
  return new CorruptError(`Cannot read archive ${archive}: its cached copy is damaged`, {
    hint: "Open the file again: that recalls it",
  });
}

const staleLandingMs = ms(48 * 3600 * 1000);

function rowOf(key: ArchiveKey, { openCount: _, isDamaged: __, ...row }: Resident): CachedRow {
  return { key, ...row };
}

function totalBytes(ranges: readonly { readonly start: number; readonly end: number }[]): number {
  return ranges.reduce((sum, range) => sum + range.end - range.start, 0);
}

/** Whether `path` is a regular file of exactly `sizeBytes`. */
function isFileOf(path: string, sizeBytes: number): boolean {
  return sizeOfFile(path) === sizeBytes;
}

function linkOver(from: string, to: string): void {
  rmSync(to, { force: true });
  linkSync(from, to);
}

/** undefined when there is no regular file at `path`. */
function sizeOfFile(path: string): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true ? found.size : undefined;
}

function wrongStagedSize(content: ContentId, stagedBytes: number, sizeBytes: number): CorruptError {
  return new CorruptError(`Cannot cache content ${content}: it has ${stagedBytes} bytes, its archive ${sizeBytes}`);
}

async function freeBytesOfDisk(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}

function noSpace(archive: ColdArchive, why: string): FileSystemError {
  return new FileSystemError("no-space", `Cannot land archive ${archive.id} of ${archive.sizeBytes} bytes: ${why}`, {
    hint: "Evict or unpin cached files, or raise --cache-size",
  });
}
