/**
 * Vaults whose jobs report their end to us, so that they need not be asked for so often.
 *
 * Never: takes the place of somebody else's address. A vault has one, and whoever set it waits for its messages.
 */

import { describeError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { VaultName } from "../domain/ids.js";
import type { CasService } from "../protocol/service.js";

export interface JobCallbacksParts {
  readonly service: Pick<CasService, "vaultCallback" | "setVaultCallback">;
  readonly observer: Observer;
  /** Where the service reaches us. */
  readonly url: string;
}

export class JobCallbacks {
  readonly #parts: JobCallbacksParts;
  /** "asking" also after a failure, until the next recall tries again. */
  readonly #vaults = new Map<VaultName, "asking" | "ours" | "taken">();

  constructor(parts: JobCallbacksParts) {
    this.#parts = parts;
  }

  /** Whether the end of a job of `vault` is reported to us. */
  isOurs(vault: VaultName): boolean {
    return this.#vaults.get(vault) === "ours";
  }

  /** Sets our address where there is none. Never rejects; a vault that cannot be asked is polled as ever. */
  async claim(vault: VaultName): Promise<void> {
    if (this.#vaults.has(vault)) return;
    this.#vaults.set(vault, "asking");
    const { service, observer, url } = this.#parts;
    try {
      const present = await service.vaultCallback(vault);
      if (present === null) await service.setVaultCallback(vault, url);
      this.#vaults.set(vault, present === null || present === url ? "ours" : "taken");
      if (present === null || present === url) return;
      const message = `Vault ${vault} notifies ${present}, which stays; its jobs are asked for instead`;
      observer({ type: "warning", message });
    } catch (error) {
      this.#vaults.delete(vault);
      observer({ type: "warning", message: `Cannot have vault ${vault} notify ${url}: ${describeError(error)}` });
    }
  }
}
