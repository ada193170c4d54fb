/**
 * The work of `casfs archive ls`: an inventory, row by row as it arrives.
 *
 * Relies on: `InventorySync`, which finds or starts the job, follows its markers and takes up a broken download.
 * Never: holds more than one batch of rows; a million archives are listed in the memory of a thousand.
 */

import { systemClock } from "../../app/system-clock.js";
import type { JobId, VaultName } from "../../domain/ids.js";
import type { Instant } from "../../domain/time.js";
import { printable } from "../../lib/printable.js";
import { parseDescription } from "../../protocol/description.js";
import { InventorySync } from "../../restore/inventory-sync.js";
import { listAllJobs } from "../../restore/job-list.js";
import type { InventoryEntry, InventoryMerge } from "../../restore/ports.js";
import { endedJob } from "../job/job-wait.js";
import { sizeText } from "../output.js";
import { ReaderGone, type ServiceSession, withService } from "../service-session.js";
import { dateText, tableLines } from "../table.js";
import { counted, type Terminal } from "../terminal.js";
import { finishedInventory } from "./known-archives.js";

interface ListFlags {
  readonly json?: boolean;
  readonly fresh?: boolean;
  readonly bytes?: boolean;
}

export async function list(vault: VaultName, flags: ListFlags, terminal: Terminal): Promise<void> {
  await withService(flags, terminal, async (session) => {
    const { service, observer, signal } = session;
    session.onInterrupt = "The inventory job goes on; the same command joins it";
    const known = await usableInventory(session, vault, flags);
    const rows = flags.json ? new JsonRows(terminal) : new TableRows(terminal, flags);
    const sync = new InventorySync({
      service,
      catalog: {
        beginInventory: () => rows,
        inventoryJob: () => known,
        didRequestInventory: async () => {},
        didFailInventory: async () => {},
      },
      poller: { wait: (_, job) => endedJob(session, vault, job) },
      clock: systemClock,
      random: Math.random,
      observer: (event) => (event.type === "warning" ? observer(event) : undefined),
    });
    try {
      const { archives } = await sync.refresh(vault, { signal });
      if (!flags.json) tellEnd(session, { vault, archives, takenAt: rows.takenAt });
    } finally {
      await sync.close();
    }
  });
}

/** A finished inventory is as good as a new one within a day, except here, where a new one takes a second. */
async function usableInventory(session: ServiceSession, vault: VaultName, { fresh }: ListFlags): Promise<JobId | null> {
  if (fresh || session.isFree) return null;
  const jobs = await listAllJobs(session.service, vault, session.signal);
  return finishedInventory(jobs)?.id ?? null;
}

function tellEnd(
  { isFree, terminal }: ServiceSession,
  { vault, archives, takenAt }: { readonly vault: VaultName; readonly archives: number; readonly takenAt: Instant },
): void {
  if (archives === 0) terminal.tell(`no archives in the vault ${vault}`);
  if (isFree) return;
  const date = dateText(new Date(takenAt));
  terminal.tell(`casfs: ${counted(archives, "archive")} as of ${date}; later changes come with --fresh, in hours`);
}

const nameWidthMax = 40;

/** Prints what is added; the end of the inventory ends the text. */
abstract class Rows implements InventoryMerge {
  takenAt = 0 as Instant;
  protected archives = 0;

  constructor(protected readonly terminal: Terminal) {}

  async add(entries: readonly InventoryEntry[]): Promise<void> {
    if (this.terminal.isOutputGone) throw new ReaderGone();
    await this.terminal.write(this.text(entries));
    this.archives += entries.length;
  }

  async merge(inventoryDate: Instant): Promise<{ readonly archives: number }> {
    this.takenAt = inventoryDate;
    await this.terminal.write(this.end());
    return { archives: this.archives };
  }

  /** What has been printed stays; that it is not all of it shows in the exit code. */
  async discard(): Promise<void> {}

  protected abstract text(entries: readonly InventoryEntry[]): string;
  protected abstract end(): string;
}

/** One JSON array, an archive on each line. */
class JsonRows extends Rows {
  protected text(entries: readonly InventoryEntry[]): string {
    const separator = this.archives === 0 ? "[\n" : ",\n";
    return separator + entries.map((entry) => JSON.stringify(jsonEntry(entry))).join(",\n");
  }

  protected end(): string {
    return this.archives === 0 ? "[]\n" : "\n]\n";
  }
}

class TableRows extends Rows {
  readonly #bytes: boolean;
  #nameWidth: number | undefined;

  constructor(terminal: Terminal, { bytes = false }: ListFlags) {
    super(terminal);
    this.#bytes = bytes;
  }

  /** The id last: it is longer than a line of most terminals. */
  protected text(entries: readonly InventoryEntry[]): string {
    const names = entries.map(({ description }) => printable(nameOf(description)));
    // Rows go out before the longest name is known.
    this.#nameWidth ??= Math.min(nameWidthMax, Math.max(...names.map(({ length }) => length)));
    const rows = entries.map((entry, index) => [
      dateText(new Date(entry.createdAt)),
      sizeText(entry.sizeBytes, { bytes: this.#bytes }).padStart(this.#bytes ? 14 : 9),
      names[index]!.padEnd(this.#nameWidth ?? 0),
      entry.archiveId,
    ]);
    const columns = [{ title: "CREATED" }, { title: "SIZE", align: "right" as const }, { title: "NAME" }];
    const lines = tableLines([...columns, { title: "ARCHIVE_ID" }], rows);
    return `${lines.slice(this.archives === 0 ? 0 : 1).join("\n")}\n`;
  }

  protected end(): string {
    return "";
  }
}

function jsonEntry({ archiveId, description, createdAt, sizeBytes, treeHash }: InventoryEntry) {
  const creationDate = new Date(createdAt);
  return { archiveId, archiveDescription: description, creationDate, size: sizeBytes, treeHash };
}

/** The path that a mount shows, or what the description says. */
function nameOf(description: string): string {
  const parsed = parseDescription(description);
  return parsed.kind === "casfs" || parsed.kind === "path" ? parsed.segments.join("/") : description;
}
