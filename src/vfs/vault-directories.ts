/** mkdir and rmdir in the root of the mount: vaults are created and deleted in the service. */

import { FileSystemError, isMissing, ServiceError } from "../domain/errors.js";
import type { InodeNumber, VaultName } from "../domain/ids.js";
import { type Clock, fileTime, type Milliseconds, ms } from "../domain/time.js";
import { AbortScope } from "../lib/abort-scope.js";
import type { CasService } from "../protocol/service.js";
import type { CatalogPort, InodeRecord } from "./catalog-port.js";
import { checkVaultName, trashName } from "./names.js";

type VaultService = Pick<CasService, "createVault" | "describeVault" | "deleteVault">;

export class VaultDirectories {
  readonly #catalog: CatalogPort;
  readonly #service: VaultService;
  readonly #clock: Clock;
  readonly #timeoutMs: Milliseconds;
  readonly #onFound: (vault: VaultName) => void;

  constructor(parts: {
    readonly catalog: CatalogPort;
    readonly service: VaultService;
    readonly clock: Clock;
    /** After so long without an answer the caller gets EIO; mkdir and rmdir hold a lock of the kernel. */
    readonly timeoutMs: Milliseconds;
    /** A vault that the catalog did not know exists in the service: it needs an inventory. */
    readonly onFound: (vault: VaultName) => void;
  }) {
    this.#catalog = parts.catalog;
    this.#service = parts.service;
    this.#clock = parts.clock;
    this.#timeoutMs = parts.timeoutMs;
    this.#onFound = parts.onFound;
  }

  /** @throws FileSystemError "exists", "not-permitted", "invalid"; ServiceError when the service does not do it. */
  async create(name: string): Promise<InodeNumber> {
    const vault = checkVaultName(name);
    if (this.#catalog.vault(vault) !== undefined) throw new FileSystemError("exists", `Vault ${vault} exists`);
    const isNew = await this.#withinTimeout((signal) => this.#createInService(vault, signal));
    const visibility = isNew ? "visible" : "awaiting-inventory";
    const ino = await this.#catalog.mutate(() =>
      this.#catalog.insertVault(vault, visibility, fileTime(this.#clock.now())),
    );
    if (isNew) return ino;
    this.#onFound(vault);
    throw new FileSystemError("exists", `Vault ${vault} exists in the service; its inventory is on the way`);
  }

  /** @throws FileSystemError "not-empty" while the catalog or the service holds anything of the vault. */
  async remove(name: string): Promise<InodeRecord> {
    const vault = this.#catalog.vaults().find((one) => one.name === name);
    if (vault === undefined) throw new FileSystemError("not-found", `Vault ${name} is not there`);
    this.#catalog.requireWritable(vault.name);
    await this.#catalog.mutate(() => this.#catalog.pruneTrash());
    this.#requireRemovable(vault.name, vault.ino, vault.visibility === "visible");
    await this.#withinTimeout(async (signal) => {
      await this.#waitForDeletes(vault.name, signal);
      await this.#service.deleteVault(vault.name, { signal }).catch(refusedIsNotEmpty);
    });
    const record = this.#catalog.inode(vault.ino)!;
    await this.#catalog.mutate(() => {
      this.#requireRemovable(vault.name, vault.ino, true);
      this.#catalog.removeVault(vault.name);
    });
    return record;
  }

  // Creating an existing vault succeeds, and would show a vault of others as empty: ask first.
  async #createInService(vault: VaultName, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#service.describeVault(vault, { signal });
      return false;
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    await this.#service.createVault(vault, { signal });
    return true;
  }

  // Deletes of ours that are under way are waited for: `rm -r VAULT/*; rmdir VAULT` is one thought.
  async #waitForDeletes(vault: VaultName, signal: AbortSignal): Promise<void> {
    while (this.#catalog.hasPendingDeletes(vault)) await this.#clock.sleep(ms(20), { signal });
  }

  #requireRemovable(vault: VaultName, ino: InodeNumber, isVisible: boolean): void {
    const reason = !isVisible
      ? "its inventory has not landed"
      : this.#catalog.isEmpty(ino)
        ? undefined
        : this.#catalog.list(ino, 0, 1).length > 0
          ? "it has files"
          : `its trash has files; \`rm -r ${vault}/${trashName}\` deletes them for good`;
    if (reason !== undefined) throw new FileSystemError("not-empty", `Cannot delete vault ${vault}: ${reason}`);
  }

  async #withinTimeout<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    using scope = new AbortScope();
    const timeout = this.#clock.sleep(this.#timeoutMs, { signal: scope.signal }).then(() => {
      throw new ServiceError("timeout", `The service did not answer within ${this.#timeoutMs / 1000} s`);
    });
    try {
      return await Promise.race([call(scope.signal), timeout]);
    } finally {
      timeout.catch(() => {});
      scope.abort();
    }
  }
}

function refusedIsNotEmpty(error: unknown): void {
  if (isMissing(error)) return;
  if (error instanceof ServiceError && error.fault === "refused") {
    throw new FileSystemError("not-empty", `Cannot delete the vault: ${error.message}`, { cause: error });
  }
  throw error;
}
