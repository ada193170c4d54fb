/** What a mount keeps on the local disk: the catalog, and the bytes in staging and cache. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ContentCache } from "../cache/content-cache.js";
import { DiskReserve } from "../cache/disk-reserve.js";
import { HashPool } from "../cache/hash-pool.js";
import { CacheLayout } from "../cache/layout.js";
import { PartialContents } from "../cache/partial-contents.js";
import { allocatedBytes, StagingDirectory } from "../cache/staging-area.js";
import { StagingBudget } from "../cache/staging-budget.js";
import type { WrittenContentOptions } from "../cache/written-content.js";
import { WrittenHashes } from "../cache/written-hashes.js";
import { Catalog } from "../catalog/catalog.js";
import type { MountConfig } from "../config/config.js";
import { describeError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { AsyncStack } from "../lib/async-stack.js";
import { syncDirectory } from "../lib/durable-file.js";
import { usablePartSize } from "../upload/part-plan.js";
import type { KernelMemory } from "./kernel-memory.js";
import type { ServiceStack } from "./service-stack.js";
import { systemClock } from "./system-clock.js";

export interface MountStorage {
  readonly catalog: Catalog;
  readonly layout: CacheLayout;
  readonly cache: ContentCache;
  readonly partial: PartialContents;
  readonly staging: StagingDirectory;
  readonly disk: DiskReserve;
  readonly budget: StagingBudget;
  readonly hashPool: HashPool;
  /** Tells whether the machine has been restarted since a byte was written. */
  readonly bootId: string;
}

const hashWorkers = 2;

/** Opens the state directory, and registers with `stopping` how it is closed. @throws UsageError when it is not usable. */
export async function openStorage(
  config: MountConfig,
  {
    binding,
    kernel,
    observer,
  }: { readonly binding: ServiceStack["binding"]; readonly kernel: KernelMemory; readonly observer: Observer },
  stopping: AsyncStack,
): Promise<MountStorage> {
  const bootId = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  const catalog = await openCatalog(config, binding, bootId);
  stopping.defer(() => catalog.close());
  const layout = new CacheLayout(config.stateDirectory);
  const hashPool = stopping.use(new HashPool({ workers: hashWorkers }));
  const cacheObserver: Observer = (event) => {
    if (event.type === "content-evicted") kernel.placeChanged(catalog.contents.inodeOfArchive(event.archive));
    observer(event);
  };
  const disk = new DiskReserve(config.stateDirectory, { keepFreeBytes: config.keepFree });
  const freeBytes = async () => disk.freeBytes();
  const budget = new StagingBudget({
    limitBytes: config.stagingSize ?? null,
    allocatedBytes: (content) => allocatedBytes(layout.staged(content)),
  });
  const cache = await ContentCache.open(
    { layout, index: catalog.cached, hashPool, budget, clock: systemClock, observer: cacheObserver, freeBytes },
    // The reserve is already taken off what is free.
    { maxBytes: config.cacheSize, keepFreeBytes: 0, recallKeepMs: config.recallKeep },
  );
  const parts = { layout, index: catalog.partial, hashPool, cache, clock: systemClock, observer: cacheObserver };
  const partial = await PartialContents.open(parts);
  cache.setTenant(partial);
  stopping.defer(() => partial.close());
  disk.setEvictor((amount) => cache.freeDisk(amount));
  stopping.defer(() => cache.close());
  const hashes = stopping.use(new WrittenHashes(hashPool, hashedPieces(config)));
  const dropped = catalog.streams.allDroppedRanges();
  const staging = await StagingDirectory.open({ layout, hashes, cachedCopies: cache, budget, dropped });
  // What fsync promises lies in files and directories that a first start has just made: their names have to last, too.
  await syncDirectory(config.stateDirectory);
  return { catalog, layout, cache, partial, staging, disk, budget, hashPool, bootId };
}

/** What uploads will ask for; parts of very large files are larger, and are hashed when they are sent. */
function hashedPieces({ partSize, multipartThreshold }: MountConfig): WrittenContentOptions {
  const partBytes = usablePartSize(Number.POSITIVE_INFINITY, partSize);
  return { partBytes, wholeBytesMax: multipartThreshold };
}

function openCatalog(config: MountConfig, binding: ServiceStack["binding"], bootId: string): Promise<Catalog> {
  return Catalog.open({
    path: join(config.stateDirectory, "catalog.db"),
    binding,
    bootId,
    clock: systemClock,
    trash: config.trash,
    minimumStorageDays: config.prices.minimumStorageDays,
    treeDefaults: {
      fileMode: 0o666 & ~config.umask,
      directoryMode: 0o777 & ~config.umask,
      uid: config.uid ?? process.getuid?.() ?? 0,
      gid: config.gid ?? process.getgid?.() ?? 0,
    },
  });
}

/** After an orderly end no staged byte depends on the page cache: the next boot finds them all. */
export async function syncStaged(
  { catalog, staging }: Pick<MountStorage, "catalog" | "staging">,
  observer: Observer,
): Promise<void> {
  for (const content of catalog.contents.unarchived()) {
    if (content.durable || content.phase !== "sealed") continue;
    try {
      await using file = await staging.openStaged(content.id);
      await file.sync();
      await catalog.uploads.didSync(content.id);
    } catch (error) {
      observer({ type: "warning", message: `Cannot sync staged content ${content.id}: ${describeError(error)}` });
    }
  }
  await catalog.flush();
}
