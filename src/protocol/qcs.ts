/** The resource name ("QCS") of a vault (cas-api section 1). */

import { isVaultName, type VaultName } from "../domain/ids.js";

export interface VaultOwner {
  /** As in `ap-chengdu`. */
  readonly region: string;
  readonly appId: string;
}

/** The form that the real service prints. */
export function formatVaultQcs({ region, appId }: VaultOwner, vault: VaultName): string {
  return `qcs:id/0:cas:${region}:uid/${appId}:vaults/${vault}`;
}

/** The vault a resource name is about: both forms of the name, `vault/` and `vaults/`, or the bare vault name. */
export function parseVaultQcs(text: string): VaultName | undefined {
  const match = /^qcs:(?:id\/\d+)?:cas:[A-Za-z0-9-]*:uid\/(?:\d*|-):vaults?\/(.*)$/s.exec(text);
  const name = match ? match[1]! : text;
  return isVaultName(name) ? name : undefined;
}
