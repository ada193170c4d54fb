/**
 * Archives of which only windows are here: a sparse file for each, and which pieces of it are verified and on the disk.
 *
 * Relies on: the index, which names a piece only when its bytes are synced; so what it names survives kill -9 and power
 * loss. A file without a row is removed at start, a row without its file is forgotten.
 * Never: shows bytes that the index does not name; evicts what is open, pinned, or landing.
 */

import { constants, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { type ByteRange, byteRange, overlaps, splitRange, totalLength } from "../domain/bytes.js";
import { CorruptError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ArchiveKey } from "../domain/ids.js";
import type { Clock } from "../domain/time.js";
import { KeyedMutex } from "../lib/concurrency.js";
import { deferred } from "../lib/deferred.js";
import { removeIfPresent, syncDirectory } from "../lib/durable-file.js";
import { type ArchiveWindow, wholeArchive } from "../protocol/archive-window.js";
import { downloadPieceBytes } from "../protocol/limits.js";
import type { TreeHashHex } from "../protocol/service.js";
import { combineTreeHashes } from "../protocol/tree-hash.js";
import type { ColdArchive, WindowLanding, WindowSink } from "../restore/ports.js";
import type { CacheTenant } from "./cache-room.js";
import type { ContentCache } from "./content-cache.js";
import type { UsedCandidate } from "./eviction.js";
import type { HashPool } from "./hash-pool.js";
import { type CacheLayout, numberOfName } from "./layout.js";
import { PartialEntry, type PartialState } from "./partial-entry.js";
import { PartialLanding } from "./partial-landing.js";
import { PartialReader } from "./partial-reader.js";
import type { PartialIndex, PartialPiece } from "./ports.js";
import { UseLog } from "./use-log.js";

export interface PartialContentsParts {
  readonly layout: CacheLayout;
  readonly index: PartialIndex;
  readonly hashPool: Pick<HashPool, "treeHash">;
  /** Has the room, and the copies that are whole. */
  readonly cache: Pick<ContentCache, "makeWindowRoom" | "admitFile" | "isPinned">;
  readonly clock: Clock;
  readonly observer: Observer;
}

export class PartialContents implements WindowSink, CacheTenant {
  readonly #parts: PartialContentsParts;
  /** Least recently used first. */
  readonly #entries = new Map<ArchiveKey, PartialEntry>();
  readonly #uses: UseLog;
  /** Per archive: completing and removing exclude each other. */
  readonly #files = new KeyedMutex<ArchiveKey>();

  private constructor(parts: PartialContentsParts) {
    this.#parts = parts;
    this.#uses = new UseLog(parts.index, parts.clock, parts.observer);
  }

  /** Makes index and directory agree. */
  static async open(parts: PartialContentsParts): Promise<PartialContents> {
    const contents = new PartialContents(parts);
    await contents.#reconcile();
    return contents;
  }

  async close(): Promise<void> {
    await this.#uses.close();
  }

  /** Bytes of `archive` that are here; 0 also when it is an ordinary cached content. */
  landedBytes(archive: ArchiveKey): number {
    return this.#entries.get(archive)?.landedBytes ?? 0;
  }

  missing(archive: ColdArchive, range: ByteRange): readonly ByteRange[] {
    const entry = this.#entries.get(archive.key);
    return (entry ?? this.#newEntry(archive)).missing(range);
  }

  /** Keeps what is here, and what will land, from eviction until it is closed. */
  openPartial(archive: ColdArchive): PartialReader {
    const entry = this.#use(archive);
    entry.openCount += 1;
    const { key, lastUsedAt, readSinceLanding } = entry;
    if (!entry.isEmpty) this.#uses.add({ key, lastUsedAt, readSinceLanding });
    return new PartialReader(entry, {
      path: this.#parts.layout.partial(archive.key),
      wholePath: this.#parts.layout.cached(archive.key),
      onRead: () => this.#wasRead(entry),
      onClose: () => {
        entry.openCount -= 1;
        this.#forgetIfEmpty(entry);
      },
    });
  }

  async begin(archive: ColdArchive, window: ArchiveWindow): Promise<WindowLanding> {
    const entry = this.#use(archive);
    await this.#othersEnd(entry, window);
    // Meanwhile the archive may have become whole, or its windows may have been dropped.
    if (entry.state !== "here") return this.begin(archive, window);
    const ended = deferred<void>();
    entry.landings.set(window, ended);
    const onEnd = () => {
      entry.landings.delete(window);
      ended.resolve();
      this.#forgetIfEmpty(entry);
    };
    try {
      return await this.#openLanding(archive, window, entry, onEnd);
    } catch (error) {
      onEnd();
      throw error;
    }
  }

  async complete(archive: ColdArchive): Promise<void> {
    const entry = this.#entries.get(archive.key);
    if (entry === undefined || entry.missing(wholeArchive(archive.sizeBytes)).length > 0) return;
    entry.openCount += 1; // Nobody evicts what becomes whole.
    try {
      await this.#complete(archive, entry);
    } finally {
      entry.openCount -= 1;
    }
  }

  async #complete(archive: ColdArchive, entry: PartialEntry): Promise<void> {
    const { cache, layout, observer } = this.#parts;
    const isRight = await this.#files.run(archive.key, () => this.#isRight(archive));
    if (entry.state !== "here") return; // Somebody else has completed it, or removed it.
    if (isRight) return cache.admitFile(archive, layout.partial(archive.key));
    await this.#remove(entry, "damaged");
    observer({ type: "piece-corrupt", archiveId: archive.id, start: 0, end: archive.sizeBytes });
    throw new CorruptError(
      `Cannot use archive ${archive.id}: each of its parts came as the service says, and the whole has a wrong tree hash`,
    );
  }

  usage(): ReturnType<CacheTenant["usage"]> {
    let [contents, usedBytes, landingBytes] = [0, 0, 0];
    for (const entry of this.#entries.values()) {
      contents += entry.isEmpty ? 0 : 1;
      usedBytes += entry.landedBytes;
      landingBytes += entry.landingBytes;
    }
    return { contents, usedBytes, landingBytes };
  }

  bytesOf(archive: ArchiveKey): number {
    return this.landedBytes(archive);
  }

  *candidates(): Generator<UsedCandidate> {
    for (const entry of this.#entries.values()) {
      if (entry.isEmpty || entry.landings.size > 0) continue;
      const { key, landedBytes: sizeBytes, openCount, landedAt, lastUsedAt, readSinceLanding } = entry;
      const pinned = this.#parts.cache.isPinned(key);
      yield { key, sizeBytes, pinned, openCount, landedAt, lastUsedAt, readSinceLanding };
    }
  }

  async evict(archive: ArchiveKey): Promise<"evicted" | "in-use" | "pinned" | "absent"> {
    return this.#files.run(archive, async () => {
      const entry = this.#entries.get(archive);
      if (entry === undefined || entry.isEmpty) return "absent";
      if (this.#parts.cache.isPinned(archive)) return "pinned";
      if (entry.openCount > 0 || entry.landings.size > 0) return "in-use";
      const sizeBytes = entry.landedBytes;
      await this.#remove(entry, "dropped");
      this.#parts.observer({ type: "content-evicted", archive, sizeBytes });
      return "evicted";
    });
  }

  async drop(archive: ArchiveKey, why: "landed" | "unwanted"): Promise<void> {
    const entry = this.#entries.get(archive);
    if (entry !== undefined) await this.#remove(entry, why === "landed" ? "landed" : "dropped");
  }

  #newEntry({ key, sizeBytes }: ColdArchive): PartialEntry {
    const now = this.#parts.clock.now();
    return new PartialEntry({ key, sizeBytes, lastUsedAt: now, landedAt: now, readSinceLanding: true });
  }

  #use(archive: ColdArchive): PartialEntry {
    const entry = this.#entries.get(archive.key) ?? this.#newEntry(archive);
    entry.lastUsedAt = this.#parts.clock.now();
    this.#entries.delete(archive.key);
    this.#entries.set(archive.key, entry);
    return entry;
  }

  #wasRead(entry: PartialEntry): void {
    if (entry.readSinceLanding || entry.isEmpty) return;
    entry.readSinceLanding = true;
    this.#uses.add({ key: entry.key, lastUsedAt: entry.lastUsedAt, readSinceLanding: true });
  }

  #forgetIfEmpty(entry: PartialEntry): void {
    if (!entry.isEmpty || entry.openCount > 0 || entry.landings.size > 0 || entry.state !== "here") return;
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
  }

  /** Two landings never write to the same bytes: the second would write over what the first has shown. */
  async #othersEnd(entry: PartialEntry, window: ByteRange): Promise<void> {
    for (;;) {
      const others = [...entry.landings].filter(([other]) => overlaps(other, window));
      if (others.length === 0) return;
      await Promise.all(others.map(([, ended]) => ended.promise));
    }
  }

  async #openLanding(archive: ColdArchive, window: ArchiveWindow, entry: PartialEntry, onEnd: () => void) {
    const { cache, layout, hashPool } = this.#parts;
    const missingBytes = totalLength(entry.missing(window));
    await cache.makeWindowRoom(archive, missingBytes);
    const path = layout.partial(archive.key);
    const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      await file.truncate(archive.sizeBytes);
      // A row that names the first piece must not outlive the name of its file.
      if (entry.isEmpty) await syncDirectory(layout.partialDirectory);
    } catch (error) {
      await file.close();
      throw error;
    }
    const publish = (piece: PartialPiece) => this.#publish(entry, piece);
    const forget = () => this.#forget(entry, window);
    return new PartialLanding({ archive, window, entry, file, path, hashPool, publish, forget, onEnd });
  }

  async #publish(entry: PartialEntry, piece: PartialPiece): Promise<void> {
    entry.landedAt = this.#parts.clock.now();
    entry.readSinceLanding = false;
    await this.#parts.index.addPiece(entry.row, piece);
    // It may have been removed meanwhile; then so is its row.
    if (entry.state === "here") entry.add(piece);
    else await this.#parts.index.remove(entry.key);
  }

  async #forget(entry: PartialEntry, window: ByteRange): Promise<void> {
    entry.remove(window);
    await this.#parts.index.removePieces(entry.key, window);
  }

  /** Reads all of it again from the disk. */
  async #isRight({ key, sizeBytes, treeHash }: ColdArchive): Promise<boolean> {
    const { hashPool, layout } = this.#parts;
    const path = layout.partial(key);
    const nodes: Promise<TreeHashHex>[] = splitRange(byteRange(0, sizeBytes), downloadPieceBytes).map((range) =>
      hashPool.treeHash(path, range),
    );
    return combineTreeHashes(await Promise.all(nodes)) === treeHash;
  }

  /** The file goes first: after a crash in between, the row without its file is forgotten at start. */
  async #remove(entry: PartialEntry, state: Exclude<PartialState, "here">): Promise<void> {
    entry.state = state;
    if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
    this.#uses.forget(entry.key);
    await removeIfPresent(this.#parts.layout.partial(entry.key));
    await this.#parts.index.remove(entry.key);
  }

  async #reconcile(): Promise<void> {
    const { layout, index } = this.#parts;
    mkdirSync(layout.partialDirectory, { recursive: true, mode: 0o700 });
    const kept = new Set<ArchiveKey>();
    for (const { pieces, ...row } of [...index.load()].sort((a, b) => a.lastUsedAt - b.lastUsedAt)) {
      const found = statSync(layout.partial(row.key), { throwIfNoEntry: false });
      if (found?.isFile() !== true || found.size !== row.sizeBytes || pieces.length === 0) {
        await index.remove(row.key);
        continue;
      }
      kept.add(row.key);
      this.#entries.set(row.key, new PartialEntry(row, pieces));
    }
    for (const name of readdirSync(layout.partialDirectory)) {
      const key = numberOfName(name) as ArchiveKey | undefined;
      if (key === undefined || !kept.has(key))
        rmSync(`${layout.partialDirectory}/${name}`, { recursive: true, force: true });
    }
  }
}
