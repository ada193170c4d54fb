/**
 * Verified copies of archived contents on the local disk, bounded by bytes; owns the directory layout.
 *
 * Relies on: being the only process of its state directory. The index names what belongs here: a file without a row
 * is removed at start (its landing was not finished), a row without its file is forgotten.
 * Never: evicts a content that is pinned, open, or recalled and not yet read; those may only be dropped.
 */

import { rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { totalLength } from "../domain/bytes.js";
import { CorruptError, FileSystemError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ArchiveKey, ContentId } from "../domain/ids.js";
import type { Clock } from "../domain/time.js";
import { KeyedMutex } from "../lib/concurrency.js";
import { publishFile, removeIfPresent } from "../lib/durable-file.js";
import type { ColdArchive, ContentSink, Landing } from "../restore/ports.js";
import type { CachedContents } from "../vfs/ports.js";
import { CacheRoom, type CacheRoomOptions, type CacheTenant, type RoomContents } from "./cache-room.js";
import { isFileOf, linkOver, sizeOfFile, sweepContents, sweepLandings } from "./cached-files.js";
import { ContentFileHandle } from "./content-file.js";
import type { Evictor } from "./disk-reserve.js";
import { inOrderOfUse } from "./eviction.js";
import type { HashPool } from "./hash-pool.js";
import { LandingFile } from "./landing-file.js";
import { LandingPieces } from "./landing-pieces.js";
import type { CacheLayout } from "./layout.js";
import type { CachedRow, CacheIndex } from "./ports.js";
import { type Resident, Residents, rowOf } from "./residents.js";
import { RunningLandings } from "./running-landings.js";
import type { CachedCopies } from "./staging-area.js";
import type { StagingBudget } from "./staging-budget.js";
import { UseLog } from "./use-log.js";

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

export class ContentCache implements CachedContents, ContentSink, CachedCopies {
  readonly #parts: ContentCacheParts;
  readonly #options: CacheRoomOptions;
  readonly #residents = new Residents();
  readonly #landings = new RunningLandings();
  readonly #room: CacheRoom;
  readonly #uses: UseLog;
  #tenant: CacheTenant | undefined;
  /** Per archive: adopting, publishing and removing one file exclude each other. */
  readonly #files = new KeyedMutex<ArchiveKey>();

  private constructor(parts: ContentCacheParts, options: CacheRoomOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#uses = new UseLog(parts.index, parts.clock, parts.observer);
    const { layout, clock, freeBytes } = parts;
    const contents: RoomContents = {
      usedBytes: () => this.#usedBytes,
      partialBytesOf: (archive) => this.#tenant?.bytesOf(archive) ?? 0,
      candidates: (except) => inOrderOfUse(this.#residents.candidates(except), this.#tenant?.candidates() ?? []),
      evict: (archive) => this.evict(archive),
    };
    const { cacheDirectory: directory } = layout;
    this.#room = new CacheRoom({ contents, landings: this.#landings, clock, directory, freeBytes }, options);
  }

  /** Opens the cache and makes index and directory agree. */
  static async open(parts: ContentCacheParts, options: CacheRoomOptions): Promise<ContentCache> {
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
      landingBytes: this.#landings.bytes + (partial?.landingBytes ?? 0),
      maxBytes: this.#options.maxBytes,
    };
  }

  /** Evicts the least recently used copies that may go, until about `wantedBytes` are freed; none when all are less than `needBytes`. */
  freeDisk(amount: Parameters<Evictor>[0]): Promise<void> {
    return this.#room.free(amount);
  }

  /** Makes room for `bytes` of a window. @throws as `begin`. */
  makeWindowRoom(archive: ColdArchive, bytes: number): Promise<void> {
    return this.#room.makeForWindow(archive, bytes);
  }

  whyNoRoom(sizeBytes: number, underWayBytes: number, archive?: ArchiveKey): Promise<string | null> {
    return this.#room.whyNot(sizeBytes, underWayBytes, archive);
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
      this.#residents.admit(row);
      await this.#parts.index.put(row);
    }
    await this.#parts.index.flush();
    rmSync(staged, { force: true });
    await this.#room.trim(archive);
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
      this.#residents.stopWaiting(archive);
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

  isPinned(archive: ArchiveKey): boolean {
    return this.#residents.isPinned(archive);
  }

  async setPinned(archive: ArchiveKey, pinned: boolean): Promise<void> {
    await this.#files.run(archive, async () => {
      const resident = this.#residents.peek(archive);
      if (resident !== undefined) {
        resident.pinned = pinned;
        await this.#parts.index.put(rowOf(archive, resident));
      } else if (pinned) {
        this.#residents.waitForPinned(archive);
        await this.#parts.index.put(this.#newRow(archive, 0, { readSinceLanding: true }));
      } else if (this.#residents.stopWaiting(archive)) {
        await this.#parts.index.remove(archive);
      }
    });
  }

  async begin(archive: ColdArchive): Promise<Landing> {
    this.#landings.begin(archive);
    const onEnd = () => this.#landings.end(archive);
    try {
      const landing = await this.#openLanding(archive, onEnd);
      this.#landings.opened(archive, landing);
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
      await this.#room.makeFor(archive, totalLength(pieces.missing));
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
      this.#residents.admit(row);
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
    return this.#residents.bytes + (this.#tenant?.usage().usedBytes ?? 0);
  }

  async #reconcile(): Promise<void> {
    const { layout, index, clock } = this.#parts;
    const rows = new Map(index.load().map((row) => [row.key, row]));
    const present = await sweepContents(layout, rows);
    for (const row of [...rows.values()].sort((a, b) => a.lastUsedAt - b.lastUsedAt)) {
      if (present.has(row.key)) this.#residents.admit(row);
      else if (row.pinned) await this.#keepPin(row);
      else await this.#parts.index.remove(row.key);
    }
    sweepLandings(layout, clock.now(), this.#options.recallKeepMs);
  }

  async #keepPin(row: CachedRow): Promise<void> {
    this.#residents.waitForPinned(row.key);
    if (row.sizeBytes > 0) await this.#parts.index.put({ ...row, sizeBytes: 0 });
  }
}

function damagedWhileOpen(archive: ArchiveKey): CorruptError {
  return new CorruptError(`Cannot read archive ${archive}: its cached copy is damaged`, {
    hint: "Open the file again: that recalls it",
  });
}

function wrongStagedSize(content: ContentId, stagedBytes: number, sizeBytes: number): CorruptError {
  return new CorruptError(`Cannot cache content ${content}: it has ${stagedBytes} bytes, its archive ${sizeBytes}`);
}
