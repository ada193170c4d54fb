/** What the files of a catalog cost, and what was asked for so far: with a mount and without one. */

import type { Catalog } from "../catalog/catalog.js";
import type { ArchiveKey, VaultName } from "../domain/ids.js";
import type { Clock, Instant } from "../domain/time.js";
import type { PriceTable } from "../protocol/prices.js";
import type { MountPath } from "./control-api.js";
import { type ArchivePlace, type CostReport, CostTally } from "./cost-tally.js";
import { type LedgerReport, ledgerReport } from "./ledger-report.js";
import type { MountPaths, NamedFile } from "./mount-paths.js";

export interface CostSurveyParts {
  readonly catalog: Catalog;
  readonly paths: MountPaths;
  /** The one vault that is shown; null for all. */
  readonly vault: VaultName | null;
  readonly placeOf: (archive: ArchiveKey) => ArchivePlace;
  readonly prices: PriceTable;
  /** Whether the service charges nothing. */
  readonly isFree: boolean;
  readonly clock: Pick<Clock, "now">;
}

/** Rows that are looked at before others have their turn. */
const rowsPerTurn = 500;

export class CostSurvey {
  readonly #parts: CostSurveyParts;

  constructor(parts: CostSurveyParts) {
    this.#parts = parts;
  }

  /** Of the files that are named and those below; of everything that is billed, the trash too, when none is. */
  async cost(paths: readonly MountPath[]): Promise<CostReport> {
    const { prices, clock, isFree, catalog, vault } = this.#parts;
    const tally = new CostTally(prices, clock.now());
    const isAll = paths.length === 0 || paths.some((path) => path.length === 0);
    if (isAll) await this.#addEverything(tally);
    else await this.#addFiles(tally, paths);
    const { files, bytes } = catalog.trashTable.summary();
    return tally.report({ free: isFree, trash: isAll && vault === null ? { files, bytes } : null });
  }

  /** @param since ISO 8601: from that day on; everything when it is null. */
  ledger(since: string | null): LedgerReport {
    const { catalog, prices, isFree } = this.#parts;
    const from = (since === null ? 0 : Date.parse(since)) as Instant;
    return ledgerReport(catalog.ledger.rows(from), prices, isFree);
  }

  async #addEverything(tally: CostTally): Promise<void> {
    const { catalog, vault, placeOf } = this.#parts;
    for (let key = 0; ; ) {
      const archives = catalog.contents.archivesAfter(key, vault, rowsPerTurn);
      for (const archive of archives) tally.add(archive, placeOf(archive.key));
      const last = archives.at(-1);
      if (last === undefined) break;
      key = last.key;
      await new Promise(setImmediate);
    }
    for (const { ino, sizeBytes } of catalog.contents.unarchived()) {
      if (vault === null || catalog.inode(ino)?.vault === vault) tally.addNotArchived(sizeBytes);
    }
  }

  async #addFiles(tally: CostTally, paths: readonly MountPath[]): Promise<void> {
    let rows = 0;
    for await (const file of this.#parts.paths.files(paths)) {
      this.#addFile(tally, file);
      rows += 1;
      if (rows % rowsPerTurn === 0) await new Promise(setImmediate);
    }
  }

  /** Former versions are billed until they are deleted. */
  #addFile(tally: CostTally, { record }: NamedFile): void {
    const { contents } = this.#parts.catalog;
    for (const { archive, sizeBytes } of contents.ofInode(record.ino)) {
      if (archive === null) tally.addNotArchived(sizeBytes);
      else tally.add({ sizeBytes, createdAt: contents.archivedAt(archive) }, this.#parts.placeOf(archive));
    }
  }
}
