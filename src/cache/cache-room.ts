/**
 * What fits into the cache and onto its disk, and what has to be evicted for it.
 *
 * Relies on: being told of everything that lands (`RunningLandings`) and of everything that is here (`RoomContents`).
 * Never: evicts anything when that would not be enough, nor before it knows.
 */

import { statfs } from "node:fs/promises";
import { FileSystemError } from "../domain/errors.js";
import type { ArchiveKey } from "../domain/ids.js";
import type { Clock, Milliseconds } from "../domain/time.js";
import { KeyedMutex } from "../lib/concurrency.js";
import type { ColdArchive } from "../restore/ports.js";
import type { Evictor } from "./disk-reserve.js";
import { chooseEvictions, type EvictionCandidate, type EvictionChoice, type UsedCandidate } from "./eviction.js";
import type { RunningLandings } from "./running-landings.js";

export interface CacheRoomOptions {
  /** Of all contents together; a single larger content is taken alone, else it could never be read. */
  readonly maxBytes: number;
  /** Landing leaves so much of the disk free. */
  readonly keepFreeBytes: number;
  /** For so long a recalled content that nobody has read is not evicted. */
  readonly recallKeepMs: Milliseconds;
}

/** The contents that share the room, whole or not. */
export interface RoomContents {
  usedBytes(): number;
  /** Of an archive that is not whole. */
  partialBytesOf(archive: ArchiveKey): number;
  /** Least recently used first. */
  candidates(except: ArchiveKey | undefined): Iterable<EvictionCandidate>;
  evict(archive: ArchiveKey): Promise<unknown>;
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

interface CacheRoomParts {
  readonly contents: RoomContents;
  readonly landings: RunningLandings;
  readonly clock: Clock;
  readonly directory: string;
  /** Free bytes of the disk that holds `directory`; by default what statfs says. */
  readonly freeBytes?: ((directory: string) => Promise<number>) | undefined;
}

/** What has to be evicted, and what to say when that cannot be. */
interface Shortage {
  /** Not positive when nothing is short. */
  readonly needBytes: number;
  readonly why: (freedBytes: number) => string;
}

export class CacheRoom {
  readonly #parts: CacheRoomParts;
  readonly #options: CacheRoomOptions;
  /** Choosing what to evict and counting what is free is one step. */
  readonly #room = new KeyedMutex<"room">();

  constructor(parts: CacheRoomParts, options: CacheRoomOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** Evicts the least recently used copies that may go, until about `wantedBytes` are freed; none when all are less than `needBytes`. */
  async free({ needBytes, wantedBytes }: Parameters<Evictor>[0]): Promise<void> {
    await this.#room.run("room", async () => {
      const { keys, freedBytes } = this.#chooseEvictions(wantedBytes);
      if (freedBytes >= needBytes) await this.#evictAll(keys);
    });
  }

  /** Makes room for `archive`, of which `missingBytes` are still to be written. @throws FileSystemError "no-space". */
  async makeFor(archive: ColdArchive, missingBytes: number): Promise<void> {
    const { landings } = this.#parts;
    await this.#room.run("room", async () => {
      await this.#evictFor(archive, this.#shortInCache(archive.sizeBytes, landings.bytes - archive.sizeBytes));
      await this.#evictFor(archive, await this.#shortOnDisk(missingBytes + landings.unwrittenBytes(archive.key)));
    });
  }

  /** Makes room for `bytes` of a window. @throws FileSystemError "no-space". */
  async makeForWindow(archive: ColdArchive, bytes: number): Promise<void> {
    await this.#room.run("room", async () => {
      await this.#evictFor(archive, this.#shortInCache(bytes, this.#parts.landings.bytes, archive.key));
      await this.#evictFor(archive, await this.#shortOnDisk(bytes + this.#parts.landings.unwrittenBytes()));
    });
  }

  /** Brings all contents back into the bound; `newest` stays. */
  async trim(newest: ArchiveKey): Promise<void> {
    const { contents, landings } = this.#parts;
    await this.#room.run("room", async () => {
      const excessBytes = contents.usedBytes() + landings.bytes - this.#options.maxBytes;
      await this.#evictAll(this.#chooseEvictions(excessBytes, newest).keys);
    });
  }

  /** Why a content could not land, see `ContentSink.whyNoRoom`; null when it could. */
  async whyNot(sizeBytes: number, underWayBytes: number, archive?: ArchiveKey): Promise<string | null> {
    const { landings } = this.#parts;
    const landedBytes = landings.bytes - landings.unwrittenBytes();
    const cache = this.#shortInCache(sizeBytes, underWayBytes, archive);
    const disk = await this.#shortOnDisk(sizeBytes + Math.max(0, underWayBytes - landedBytes));
    return this.#reasonNot(cache) ?? this.#reasonNot(disk);
  }

  async #evictFor(archive: ColdArchive, short: Shortage): Promise<void> {
    const reason = this.#reasonNot(short);
    if (reason !== null) throw noSpace(archive, reason);
    await this.#evictAll(this.#chooseEvictions(short.needBytes).keys);
  }

  #reasonNot({ needBytes, why }: Shortage): string | null {
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
    const ownBytes = window === undefined ? 0 : this.#parts.contents.partialBytesOf(window);
    const sizeBytes = windowBytes + ownBytes;
    const otherBytes = Math.max(0, this.#parts.contents.usedBytes() - ownBytes) + underWayBytes;
    const why = (freedBytes: number) =>
      `only ${Math.max(0, maxBytes - otherBytes + freedBytes)} of the cache's ${maxBytes} bytes can be freed`;
    return { needBytes: Math.min(otherBytes + sizeBytes - maxBytes, otherBytes), why };
  }

  async #shortOnDisk(bytes: number): Promise<Shortage> {
    const { keepFreeBytes } = this.#options;
    const freeBytes = await (this.#parts.freeBytes ?? freeBytesOfDisk)(this.#parts.directory);
    const why = () => `the disk has ${freeBytes} bytes, of which ${keepFreeBytes} stay free`;
    return { needBytes: bytes + keepFreeBytes - freeBytes, why };
  }

  #chooseEvictions(needBytes: number, except?: ArchiveKey): EvictionChoice {
    const { recallKeepMs } = this.#options;
    return chooseEvictions(this.#parts.contents.candidates(except), {
      needBytes,
      now: this.#parts.clock.now(),
      recallKeepMs,
    });
  }

  async #evictAll(keys: readonly ArchiveKey[]): Promise<void> {
    for (const key of keys) await this.#parts.contents.evict(key);
  }
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
