/** The work of `casfs archive rm`. */

import { systemClock } from "../../app/system-clock.js";
import type { ArchiveId, VaultName } from "../../domain/ids.js";
import { earlyDeletionPrice } from "../../protocol/prices.js";
import { agreedToCost, priceText } from "../cost-question.js";
import { jsonOutput } from "../output.js";
import { attempting, type ServiceSession, withService } from "../service-session.js";
import { counted, type Terminal } from "../terminal.js";
import { knownArchives } from "./known-archives.js";

interface RemoveFlags {
  readonly json?: boolean;
  readonly yes?: boolean;
}

export async function remove(
  vault: VaultName,
  archives: readonly ArchiveId[],
  flags: RemoveFlags,
  terminal: Terminal,
): Promise<void> {
  await withService(flags, terminal, async (session) => {
    const { api, isFree, signal } = session;
    if (!isFree) {
      const lines = await warnings(session, vault, archives);
      if (!(await agreedToCost(terminal, { lines, yes: flags.yes, signal }))) return;
    }
    for (const archive of archives) {
      await attempting(`delete the archive ${archive}`, api.deleteArchive(vault, archive, { signal }));
      if (!flags.json) terminal.print(`deleted the archive ${archive}`);
    }
    if (flags.json) terminal.print(jsonOutput({ vaultName: vault, removed: archives }));
  });
}

/** Deleting is for good, and within the first 90 days the rest of them is billed (cas-api section 14.3). */
async function warnings(
  { service, config: { prices }, signal }: ServiceSession,
  vault: VaultName,
  archives: readonly ArchiveId[],
): Promise<string[]> {
  const known = await knownArchives(service, vault, { archives, signal });
  const now = systemClock.now();
  const price = [...known.values()].reduce((sum, entry) => sum + earlyDeletionPrice(prices, entry, now), 0);
  const unknown = archives.length - known.size;
  const days = `younger than ${prices.minimumStorageDays} days`;
  return [
    `${counted(archives.length, "archive")} of the vault ${vault} to delete for good`,
    ...(price > 0 ? [`early deletion, as they are ${days}: ${priceText(price, prices.currency)}`] : []),
    ...(unknown > 0
      ? [`the age of ${counted(unknown, "archive")} is not known: what is ${days} is billed for them`]
      : []),
  ];
}
