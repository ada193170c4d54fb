/** A cache and a staging area in a temporary state directory, and what they rely on. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { CacheRoomOptions } from "../../src/cache/cache-room.js";
import { ContentCache } from "../../src/cache/content-cache.js";
import { HashPool } from "../../src/cache/hash-pool.js";
import { CacheLayout } from "../../src/cache/layout.js";
import { PartialContents } from "../../src/cache/partial-contents.js";
import { allocatedBytes, StagingDirectory } from "../../src/cache/staging-area.js";
import { StagingBudget } from "../../src/cache/staging-budget.js";
import { WrittenHashes } from "../../src/cache/written-hashes.js";
import { byteCount, MIB } from "../../src/domain/bytes.js";
import type { CasfsEvent } from "../../src/domain/events.js";
import { type ArchiveKey, archiveId, type ContentId, vaultName } from "../../src/domain/ids.js";
import { hours } from "../../src/domain/time.js";
import { digestOf } from "../../src/protocol/tree-hash.js";
import type { ColdArchive, Landing } from "../../src/restore/ports.js";
import { FakeClock } from "../support/fake-clock.js";
import { MemoryCacheIndex, MemoryPartialIndex } from "../support/memory-journals.js";
import { testBytes } from "../support/test-bytes.js";

export const key = (value: number) => value as ArchiveKey;
export const contentId = (value: number) => value as ContentId;

const defaults: CacheRoomOptions = { maxBytes: 1e9, keepFreeBytes: 0, recallKeepMs: hours(48) };

export class CacheFixture implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly index = new MemoryCacheIndex();
  readonly events: CasfsEvent[] = [];
  readonly hashPool = new HashPool({ workers: 2 });
  /** What statfs would say. */
  freeBytes = 1e12;
  readonly partialIndex = new MemoryPartialIndex();
  cache!: ContentCache;
  partial!: PartialContents;
  staging!: StagingDirectory;
  budget!: StagingBudget;
  hashes!: WrittenHashes;

  private constructor(
    readonly layout: CacheLayout,
    readonly directory: string,
  ) {}

  static async create(options: Partial<CacheRoomOptions> = {}): Promise<CacheFixture> {
    const directory = await mkdtemp(join(tmpdir(), "casfs-cache-"));
    const fixture = new CacheFixture(new CacheLayout(directory), directory);
    await fixture.reopen(options);
    return fixture;
  }

  /** The next process on the same directory and index; the former one just ended, without closing anything. */
  async reopen(options: Partial<CacheRoomOptions> = {}): Promise<void> {
    const { layout, index, hashPool, clock } = this;
    const onDisk = (content: ContentId) => allocatedBytes(layout.staged(content));
    this.budget = new StagingBudget({ limitBytes: null, allocatedBytes: onDisk });
    const { budget } = this;
    this.cache = await ContentCache.open(
      {
        layout,
        index,
        hashPool,
        budget,
        clock,
        observer: (event) => this.events.push(event),
        freeBytes: async () => this.freeBytes,
      },
      { ...defaults, ...options },
    );
    const observer = (event: CasfsEvent) => void this.events.push(event);
    const { cache, partialIndex } = this;
    this.partial = await PartialContents.open({ layout, index: partialIndex, hashPool, cache, clock, observer });
    cache.setTenant(this.partial);
    await this.hashes?.[Symbol.asyncDispose]();
    this.hashes = new WrittenHashes(hashPool, { partBytes: 4 * MIB, wholeBytesMax: 8 * MIB });
    this.staging = await StagingDirectory.open({ layout, hashes: this.hashes, cachedCopies: this.cache, budget });
  }

  async stage(content: number, bytes: Uint8Array): Promise<void> {
    const file = await this.staging.create(contentId(content));
    await file.write(0, bytes);
    await file.close();
  }

  async adopt(archive: number, bytes: Uint8Array): Promise<void> {
    await this.stage(archive, bytes);
    await this.cache.adopt(contentId(archive), key(archive), bytes.length);
  }

  async land(archive: number, bytes: Uint8Array): Promise<void> {
    const landing = await this.cache.begin(coldArchive(archive, bytes));
    await fill(landing, bytes);
    await landing.commit();
  }

  async read(archive: number): Promise<Buffer> {
    const file = await this.cache.open(key(archive));
    const bytes = Buffer.alloc(file.sizeBytes);
    await file.read(0, bytes);
    await file.close();
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.partial.close();
    await this.cache.close();
    await this.hashes[Symbol.asyncDispose]();
    await this.hashPool.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

export function coldArchive(archive: number, bytes: Uint8Array): ColdArchive {
  const { treeHash } = digestOf(bytes);
  const sizeBytes = byteCount(bytes.length);
  return { key: key(archive), vault: vaultName("photos"), id: archiveId(`archive-${archive}`), sizeBytes, treeHash };
}

export async function fill(landing: Landing, bytes: Uint8Array): Promise<void> {
  for (const range of landing.missing()) {
    await landing.write(range.start, bytes.subarray(range.start, range.end));
    await landing.pieceVerified(range);
  }
}

/** Bytes that differ from archive to archive. */
export const bytesOf = (archive: number, length: number) => testBytes(length, archive * 7);

/** Compares in native code: the test runner's own comparison takes seconds for a MiB. */
export function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length);
  expect(Buffer.compare(actual, expected)).toBe(0);
}
