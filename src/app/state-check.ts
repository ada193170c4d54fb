/** `casfs fsck` of a state directory that is not mounted. */

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { HashPool } from "../cache/hash-pool.js";
import { CacheLayout } from "../cache/layout.js";
import { CatalogCheck } from "../catalog/catalog-check.js";
import { StateOwner } from "../catalog/state-owner.js";
import { UsageError } from "../domain/errors.js";
import { removeIfPresent } from "../lib/durable-file.js";
import type { FsckReport } from "./control-api.js";
import { type FsckRequest, runFsck } from "./fsck.js";
import { systemClock } from "./system-clock.js";

const hashWorkers = 2;

/** @throws UsageError when there is no catalog, or when somebody uses it. */
export async function checkStateDirectory(
  stateDirectory: string,
  request: FsckRequest,
  signal: AbortSignal,
): Promise<FsckReport> {
  const path = join(stateDirectory, "catalog.db");
  if (!existsSync(path)) {
    throw new UsageError(`Cannot check ${stateDirectory}: it is no state directory, it has no catalog`, {
      hint: "Give the mountpoint of a mount, or its --state directory",
    });
  }
  await using _owner = await StateOwner.claim(stateDirectory, "(casfs fsck)");
  await using check = await CatalogCheck.open(path);
  await using hashPool = new HashPool({ workers: hashWorkers });
  const layout = new CacheLayout(stateDirectory);
  const bootId = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  // The next start forgets the row of a copy whose file is gone.
  const drop = async (archive: Parameters<CacheLayout["cached"]>[0]) => {
    await removeIfPresent(layout.cached(archive));
    await removeIfPresent(layout.partial(archive));
  };
  return await runFsck({ check, layout, hashPool, bootId, drop, clock: systemClock, mounted: false }, request, signal);
}
