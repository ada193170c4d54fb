/** `casfs vault take-over` without a mount: the catalog of a state directory that nobody uses at the moment. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { Database } from "../catalog/database.js";
import { StateOwner } from "../catalog/state-owner.js";
import { VaultTable } from "../catalog/vault-table.js";
import { UsageError } from "../domain/errors.js";
import type { VaultName } from "../domain/ids.js";

/**
 * This state directory is the one that writes to `vault` from now on. The next mount goes on with what was held.
 *
 * @returns the other writer that was seen; null when the vault was not read-only.
 * @throws UsageError when the directory is in use, has no catalog, or does not know the vault.
 */
export async function takeOverInState(stateDirectory: string, vault: VaultName): Promise<string | null> {
  const path = join(stateDirectory, "catalog.db");
  if (!existsSync(path)) throw new UsageError(`Cannot use ${stateDirectory}: it is no state directory of a mount`);
  await using _owner = await StateOwner.claim(stateDirectory, "nothing (vault take-over)");
  const database = await Database.open(path);
  try {
    const vaults = new VaultTable(database.sql);
    const known = vaults.find(vault);
    if (known === undefined) throw new UsageError(`There is no vault ${vault} in ${stateDirectory}`);
    await database.mutate(() => vaults.takeOver(vault));
    await database.flush();
    return known.otherWriter?.id ?? null;
  } finally {
    await database.close();
  }
}
