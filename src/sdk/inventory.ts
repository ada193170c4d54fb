/** The archives of a vault, read from the output of an inventory job as it arrives (cas-api section 12). */

import { readInventoryCsv } from "../protocol/inventory-csv.js";
import { readInventoryJson, type InventoryEntry as WireEntry } from "../protocol/inventory-wire.js";
import { WireFormatError } from "../protocol/json-fields.js";
import { CASClientError } from "./cas-errors.js";

/** One archive. */
export interface InventoryEntry {
  readonly archiveId: string;
  readonly archiveDescription: string;
  readonly creationDate: Date;
  /** In bytes. */
  readonly size: number;
  /** 64 lowercase hex digits. */
  readonly treeHash: string;
}

/**
 * The entries of an inventory body; holds one entry and one piece of the body at a time.
 *
 * @throws CASClientError for what is no complete inventory; the entries before it are then not to be relied on.
 */
export async function* inventoryEntries(
  body: AsyncIterable<Uint8Array>,
  format: "JSON" | "CSV",
): AsyncGenerator<InventoryEntry> {
  try {
    if (format === "CSV") for await (const entry of readInventoryCsv(body)) yield toEntry(entry);
    else for await (const batch of readInventoryJson(body)) for (const entry of batch) yield toEntry(entry);
  } catch (cause) {
    if (cause instanceof WireFormatError) throw new CASClientError(cause.message, { cause });
    throw cause;
  }
}

function toEntry({ archiveId, description, createdAt, sizeBytes, treeHash }: WireEntry): InventoryEntry {
  return {
    archiveId,
    archiveDescription: description,
    creationDate: new Date(createdAt),
    size: sizeBytes,
    treeHash,
  };
}
