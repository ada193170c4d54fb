/** What goes on between a mount's disk and the archive service, behind the file system. */

import type { MountConfig } from "../config/config.js";
import { CancelledError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ContentId, VaultName } from "../domain/ids.js";
import { hours, ms } from "../domain/time.js";
import type { AsyncStack } from "../lib/async-stack.js";
import type { CasService } from "../protocol/service.js";
import { InventorySync } from "../restore/inventory-sync.js";
import { JobCallbacks } from "../restore/job-callbacks.js";
import { JobPoller } from "../restore/job-poller.js";
import { RecallBudget } from "../restore/recall-budget.js";
import { RestoreManager } from "../restore/restore-manager.js";
import { AbandonedUploads } from "../upload/abandoned-uploads.js";
import { ArchiveDeleter } from "../upload/archive-deleter.js";
import { holdingUploader } from "../upload/held-uploads.js";
import { Streamer } from "../upload/streamer.js";
import { TrashPurger } from "../upload/trash-purger.js";
import { UploadQueue } from "../upload/upload-queue.js";
import { Uploader } from "../upload/uploader.js";
import type { MountStorage } from "./mount-storage.js";
import { systemClock } from "./system-clock.js";

export interface MountPipelines {
  readonly uploads: UploadQueue;
  readonly streams: Streamer;
  readonly deleter: ArchiveDeleter;
  readonly abandoned: AbandonedUploads;
  readonly purger: TrashPurger;
  readonly recalls: RestoreManager;
  readonly recallBudget: RecallBudget;
  readonly inventories: InventorySync;
  readonly poller: JobPoller;
}

// Contents whose uploads run side by side; small files need several, as each waits for the service's fsync.
const uploadConcurrency = 8;

/** Makes the pipelines, none of them running yet, and registers with `stopping` how they are stopped. */
export function createPipelines(
  config: MountConfig,
  {
    service,
    storage: { catalog, cache, partial, staging },
    observer,
    isFree,
  }: {
    readonly service: CasService;
    readonly storage: MountStorage;
    readonly observer: Observer;
    /** Whether the service is one of this machine, which charges nothing. */
    readonly isFree: boolean;
  },
  stopping: AsyncStack,
): MountPipelines {
  const base = { service, observer, clock: systemClock, random: Math.random };
  const uploader = new Uploader(
    { ...base, journal: catalog.uploads, files: staging },
    {
      multipartThresholdBytes: config.multipartThreshold,
      partSizeBytes: config.partSize,
      partConcurrency: config.parallel,
    },
  );
  const isTemporary = (content: ContentId) => {
    const ino = catalog.contents.find(content)?.ino;
    return ino !== undefined && config.temporary(catalog.pathInVault(ino));
  };
  const heldBecause = (vault: VaultName) => catalog.heldBecause(vault);
  const uploads = new UploadQueue(
    {
      ...base,
      uploader: holdingUploader(uploader, catalog.uploads, heldBecause),
      journal: catalog.uploads,
      isTemporary,
    },
    { concurrency: uploadConcurrency, restMsMax: ms(Math.max(hours(24), config.settle, config.rewriteInterval)) },
  );
  const streams = new Streamer(
    { ...base, journal: catalog.streams, files: staging, heldBecause },
    { partConcurrency: config.parallel },
  );
  const deleter = new ArchiveDeleter({ ...base, journal: catalog.deletes });
  const abandoned = new AbandonedUploads({ ...base, journal: catalog.uploads });
  const purger = new TrashPurger({ ...base, journal: catalog });
  const callbacks = config.callback === undefined ? undefined : new JobCallbacks({ ...base, url: config.callback });
  const poller = new JobPoller({ ...base, callbacks });
  const recallBudget = new RecallBudget({
    limits: { bytes: config.recallLimit, cost: config.recallCostLimit },
    prices: config.prices,
    isFree,
    store: catalog.recallUse,
    clock: systemClock,
  });
  const recalls = new RestoreManager(
    { ...base, journal: catalog.recalls, sink: cache, windows: partial, budget: recallBudget, poller },
    { downloadConcurrency: config.parallel },
  );
  const inventories = new InventorySync({ ...base, catalog: catalog.inventories, poller });
  stopping.defer(async () => {
    const pipelines = [streams, uploads, deleter, abandoned, purger, recalls, inventories];
    await Promise.all(pipelines.map((pipeline) => pipeline.close()));
    await poller.close(new CancelledError("Waiting for a job"));
  });
  return { uploads, streams, deleter, abandoned, purger, recalls, recallBudget, inventories, poller };
}
