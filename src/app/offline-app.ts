/**
 * A state directory without a mount: what the catalog knows can be asked while nothing is mounted.
 *
 * Relies on: the owner's lock, so that no mount begins meanwhile. Never: talks to the service, or changes anything but
 * the schema of an older casfs.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { Catalog } from "../catalog/catalog.js";
import { StateOwner } from "../catalog/state-owner.js";
import { UsageError } from "../domain/errors.js";
import { type ArchiveKey, rootIno } from "../domain/ids.js";
import { AsyncStack } from "../lib/async-stack.js";
import type { PriceTable } from "../protocol/prices.js";
import { isOfWhole } from "../restore/recall.js";
import { CostSurvey } from "./cost-survey.js";
import type { ArchivePlace } from "./cost-tally.js";
import { MountPaths } from "./mount-paths.js";
import { systemClock } from "./system-clock.js";

/**
 * Runs `work` with what is known of `stateDirectory`.
 *
 * @throws UsageError when there is none, or when somebody uses it.
 */
export async function withOfflineState<T>(
  { stateDirectory, prices }: { readonly stateDirectory: string; readonly prices: PriceTable },
  work: (survey: CostSurvey) => Promise<T>,
): Promise<T> {
  await using stopping = new AsyncStack();
  const path = join(stateDirectory, "catalog.db");
  if (!existsSync(path)) {
    throw new UsageError(`Cannot look into state directory ${stateDirectory}: there is no catalog in it`, {
      hint: "Give the --state directory of a mount, or mount first",
    });
  }
  stopping.use(await StateOwner.claim(stateDirectory, "(casfs cost)"));
  const catalog = await openAsItIs(path, prices);
  stopping.defer(() => catalog.close());
  return await work(
    new CostSurvey({
      catalog,
      paths: new MountPaths(catalog, rootIno),
      vault: null,
      placeOf: placesIn(catalog),
      prices,
      isFree: catalog.boundTo.startsWith("local:"),
      clock: systemClock,
    }),
  );
}

function openAsItIs(path: string, prices: PriceTable): Promise<Catalog> {
  return Catalog.open({
    path,
    binding: null,
    bootId: "offline",
    clock: systemClock,
    trash: true,
    minimumStorageDays: prices.minimumStorageDays,
    treeDefaults: { fileMode: 0o644, directoryMode: 0o755, uid: 0, gid: 0 },
  });
}

function placesIn(catalog: Catalog): (archive: ArchiveKey) => ArchivePlace {
  const here = new Set(catalog.cached.load().map(({ key }) => key));
  const recalling = new Set(
    catalog.recalls
      .unfinished()
      .filter(isOfWhole)
      .map(({ archive }) => archive.key),
  );
  return (archive) => (here.has(archive) ? "here" : recalling.has(archive) ? "recalling" : "cold");
}
