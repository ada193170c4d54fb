/** Which vaults the service has, and whose inventory is due: at start, when a vault is found, and every hour. */

import type { Catalog } from "../catalog/catalog.js";
import { describeError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { VaultName } from "../domain/ids.js";
import { type Clock, fileTime, hours, type Instant, type Milliseconds } from "../domain/time.js";
import { AbortScope } from "../lib/abort-scope.js";
import { nextMarker } from "../protocol/next-marker.js";
import type { CallOptions, CasService } from "../protocol/service.js";
import type { InventorySync } from "../restore/inventory-sync.js";

export interface VaultWatchParts {
  readonly catalog: Catalog;
  readonly inventories: Pick<InventorySync, "refresh">;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly maxAgeMs: Milliseconds;
  /** Told of a vault's name that is new in the root. */
  readonly onVaultFound: (name: VaultName) => void;
}

export class VaultWatch {
  readonly #parts: VaultWatchParts;
  readonly #closing = new AbortScope();
  /** When an inventory of a vault was asked for last, by this process. */
  readonly #askedAt = new Map<VaultName, Instant>();
  #gone: ReadonlySet<VaultName> = new Set();
  #loop: Promise<void> | undefined;

  constructor(parts: VaultWatchParts) {
    this.#parts = parts;
  }

  /** Takes the service's vaults into the catalog; those it did not know wait for their inventory. */
  async discover(service: Pick<CasService, "listVaults">, options: CallOptions = {}): Promise<void> {
    const { catalog, clock, onVaultFound } = this.#parts;
    const known = catalog.vaults().map(({ name }) => name);
    const present = new Set<VaultName>();
    let marker: string | undefined;
    do {
      const page = await service.listVaults(marker === undefined ? {} : { marker }, options);
      for (const { name, createdAt } of page.items) {
        present.add(name);
        if (catalog.vault(name) !== undefined) continue;
        await catalog.mutate(() => catalog.insertVault(name, "awaiting-inventory", fileTime(createdAt ?? clock.now())));
        onVaultFound(name);
      }
      marker = nextMarker(page, marker);
    } while (marker !== undefined);
    this.#noteGone(known.filter((name) => !present.has(name) && catalog.vault(name) !== undefined));
  }

  /** Whether the service, when it was asked last, did not have a vault that the catalog knows. */
  isGone(vault: VaultName): boolean {
    return this.#gone.has(vault);
  }

  /** Starts the inventories that are due, and looks again every hour. Failures are reported, and tried again. */
  start(service: Pick<CasService, "listVaults">): void {
    const { catalog, observer } = this.#parts;
    for (const { name: vault } of catalog.vaults()) {
      const held = catalog.heldBecause(vault);
      if (held !== undefined) observer({ type: "vault-held", vault, message: held.message });
    }
    this.#loop ??= this.#run(service);
  }

  /** A vault has just been found: its content cannot be shown without an inventory. */
  refresh(vault: VaultName): void {
    this.#askedAt.set(vault, this.#parts.clock.now());
    this.#parts.inventories.refresh(vault, { signal: this.#closing.signal }).catch(() => {}); // reported there
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#loop;
  }

  #noteGone(gone: readonly VaultName[]): void {
    for (const vault of gone) if (!this.#gone.has(vault)) this.#parts.observer({ type: "vault-missing", vault });
    this.#gone = new Set(gone);
  }

  async #run(service: Pick<CasService, "listVaults">): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      for (const vault of this.#due()) this.refresh(vault);
      await this.#parts.clock.sleep(hours(1), { signal }).catch(() => {});
      if (signal.aborted) return;
      await this.discover(service, { signal }).catch((error: unknown) => {
        this.#parts.observer({ type: "warning", message: `Cannot list the vaults: ${describeError(error)}` });
      });
    }
  }

  #due(): VaultName[] {
    const { catalog, clock, maxAgeMs } = this.#parts;
    return catalog.vaults().flatMap(({ name, ino, visibility }) => {
      if (visibility === "awaiting-inventory") return name;
      const merged = catalog.vaultTable.inventoryState(name).mergedAtMs;
      const since = merged ?? (catalog.inode(ino)?.atime.seconds ?? 0) * 1000;
      // The service's clock and ours may differ by years: then our own says when it was asked last.
      const asked = this.#askedAt.get(name) ?? Number.NEGATIVE_INFINITY;
      const isOld = (at: number) => Math.abs(clock.now() - at) > maxAgeMs;
      return isOld(since) && isOld(asked) ? name : [];
    });
  }
}
