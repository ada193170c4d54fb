/**
 * Inventories of vaults (cas-api section 12): which one a job returns, and writing it out.
 *
 * An inventory is the vault as of one change number. Rows of archives outlive their deletion, so taking one costs
 * nothing, and several jobs can read the same one while the vault changes.
 */

import { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { byteCount } from "../../domain/bytes.js";
import type { ArchiveId, VaultName } from "../../domain/ids.js";
import type { Instant } from "../../domain/time.js";
import { formatInventoryCsv } from "../../protocol/inventory-csv.js";
import { formatInventoryJson, type InventoryEntry } from "../../protocol/inventory-wire.js";
import type { InventoryOrder } from "../../protocol/job-order-wire.js";
import { inventoryLimitMax } from "../../protocol/limits.js";
import { formatVaultQcs, type VaultOwner } from "../../protocol/qcs.js";
import type { InventoryFormat, TreeHashHex } from "../../protocol/service.js";
import type { IncomingFile } from "../bytes/body-files.js";
import type { ArchiveStore } from "../store/archive-store.js";
import type { ListedArchiveRow } from "../store/archive-table.js";
import type { VaultRow } from "../store/vault-table.js";

/** One inventory of one vault: the archives that were live at `change`. */
export interface TakenInventory {
  readonly change: number;
  readonly takenAt: Instant;
}

export interface WrittenInventory {
  readonly file: IncomingFile;
  /** First archive that was not delivered; null when all were. */
  readonly nextMarker: string | null;
}

// A query of so many rows takes a millisecond or two; between two of them others have their turn.
const rowsPerQuery = 500;
const vaultsPerTransaction = 200;

export class Inventory {
  readonly #store: ArchiveStore;
  readonly #intervalMs: number;

  /** @param options.intervalMs How old an inventory of a changed vault may get; 0 makes one for every job. */
  constructor(store: ArchiveStore, options: { readonly intervalMs: number }) {
    this.#store = store;
    this.#intervalMs = options.intervalMs;
  }

  /**
   * Takes the periodic inventories whose time has come, as of that time: each vault's once in a period, counted from
   * its creation, if it has changed since its last one (12.1).
   *
   * @returns when the next is due, or may be: a vault that is made later is due later.
   */
  takeDue(): number | undefined {
    if (this.#intervalMs === 0) return undefined;
    const now = this.#store.now();
    this.#store.transaction(() => {
      const before = now - this.#intervalMs;
      const due = this.#store.vaults.unchecked({ before, now, limit: vaultsPerTransaction });
      for (const vault of due) this.#check(vault, now);
    });
    return (this.#store.vaults.oldestCheck() ?? now) + this.#intervalMs;
  }

  /** The inventory a new job returns; with a marker, the one whose next page it names (12.3). */
  forJob(vault: VaultRow, marker: string | null): TakenInventory {
    const continued =
      marker === null ? undefined : this.#store.jobs.inventoryContinuedBy(vault.vault_key, marker, this.#store.now());
    if (continued !== undefined) return takenInventory(continued);
    return takenInventory(this.#intervalMs > 0 && vault.inventory_at_ms !== null ? vault : this.#take(vault));
  }

  /** Writes the ordered part of an inventory to a file that nothing refers to yet. */
  async write(
    vault: VaultRow,
    order: {
      readonly owner: VaultOwner;
      readonly taken: TakenInventory;
      readonly format: InventoryFormat;
      readonly filter: InventoryOrder;
    },
  ): Promise<WrittenInventory> {
    const listing = new Listing(this.#store, vault.vault_key, order.taken.change, order.filter);
    const vaultQcs = formatVaultQcs(order.owner, vault.name as VaultName);
    const text =
      order.format === "json"
        ? formatInventoryJson({ vaultQcs, takenAt: order.taken.takenAt }, listing.entries())
        : formatInventoryCsv(listing.entries());
    const file = await this.#store.receive({ stream: Readable.from(utf8(text)), signal: new AbortController().signal });
    return { file, nextMarker: listing.nextMarker };
  }

  /** Every change before the last due moment is in the database by now, and none after it: see `Background.catchUp`. */
  #check(vault: VaultRow, now: number): void {
    const reference = vault.inventory_checked_at_ms ?? vault.created_at_ms;
    const dueAt = reference + Math.floor((now - reference) / this.#intervalMs) * this.#intervalMs;
    if (vault.inventory_change !== vault.change_number) {
      this.#store.vaults.takeInventory(vault.vault_key, Math.max(dueAt, vault.inventory_at_ms ?? 0));
    }
    this.#store.vaults.markChecked(vault.vault_key, dueAt);
  }

  #take(vault: VaultRow): VaultRow {
    return this.#store.transaction(() => {
      this.#store.vaults.takeInventory(vault.vault_key, this.#store.now());
      return this.#store.vault(vault.account, vault.name as VaultName);
    });
  }
}

/** Reads the archives that an order asks for and finds out where the next order has to begin. */
class Listing {
  nextMarker: string | null = null;
  readonly #store: ArchiveStore;
  readonly #vaultKey: number;
  readonly #change: number;
  readonly #order: InventoryOrder;

  constructor(store: ArchiveStore, vaultKey: number, change: number, order: InventoryOrder) {
    this.#store = store;
    this.#vaultKey = vaultKey;
    this.#change = change;
    this.#order = order;
  }

  async *entries(): AsyncGenerator<InventoryEntry, void, undefined> {
    let left = this.#order.limit ?? inventoryLimitMax;
    for await (const archive of this.#archives()) {
      if (left === 0) {
        this.nextMarker = archive.archive_id;
        return;
      }
      left -= 1;
      yield toEntry(archive);
    }
  }

  async *#archives(): AsyncGenerator<ListedArchiveRow, void, undefined> {
    const filter = { change: this.#change, ...createdWithin(this.#order) };
    let fromId: string | undefined = this.#order.marker ?? "";
    while (fromId !== undefined) {
      const page = this.#store.archives.listed(this.#vaultKey, { ...filter, fromId, rows: rowsPerQuery });
      yield* page.archives;
      fromId = page.nextId;
      await nextTurn();
    }
  }
}

function takenInventory(row: Pick<VaultRow, "inventory_change" | "inventory_at_ms">): TakenInventory {
  return { change: row.inventory_change ?? 0, takenAt: (row.inventory_at_ms ?? 0) as Instant };
}

/** Both ends of the order are included, compared in whole seconds (12.3). */
function createdWithin({ createdFrom, createdUntil }: InventoryOrder) {
  return {
    createdFromMs: createdFrom ?? 0,
    createdBeforeMs: createdUntil === null ? Number.MAX_SAFE_INTEGER : createdUntil + 1000,
  };
}

function toEntry(archive: ListedArchiveRow): InventoryEntry {
  return {
    archiveId: archive.archive_id as ArchiveId,
    description: archive.description,
    createdAt: archive.created_at_ms as Instant,
    sizeBytes: byteCount(archive.size_bytes),
    treeHash: archive.tree_hash.toString("hex") as TreeHashHex,
  };
}

async function* utf8(text: AsyncIterable<string>): AsyncGenerator<Buffer, void, undefined> {
  for await (const piece of text) yield Buffer.from(piece, "utf8");
}
