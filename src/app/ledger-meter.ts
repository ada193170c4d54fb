/** What is asked of the service, written into the catalog's ledger. */

import type { Catalog } from "../catalog/catalog.js";
import type { ServiceMeter } from "../client/metered-service.js";

export function ledgerMeter(catalog: Catalog): ServiceMeter {
  const { ledger } = catalog;
  return {
    request: (kind) => ledger.note(kind),
    done: (item, bytes) => ledger.note(item, { bytes }),
    orderedInventory: () => ledger.note("inventory"),
    deleted: (vault, archive) => catalog.noteDeleted(vault, archive),
  };
}
