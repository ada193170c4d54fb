/**
 * What is known of some archives without ordering anything: from an inventory that is finished and can still be fetched.
 *
 * The service has no way to describe an archive. Never: fails because nothing is known; a price is then told per GiB.
 */

import type { ArchiveId, VaultName } from "../../domain/ids.js";
import { type InventoryEntry, readInventoryJson } from "../../protocol/inventory-wire.js";
import type { CasService, JobDescription } from "../../protocol/service.js";
import { inventoryJobDescription } from "../../restore/inventory-sync.js";
import { listAllJobs } from "../../restore/job-list.js";

type Service = Pick<CasService, "listJobs" | "getJobOutput">;
type InventoryJob = Extract<JobDescription, { readonly action: "retrieve-inventory" }>;

/** Reading more than this only to tell a price would take too long. */
const readBytesMax = 256 * 1024 * 1024;

/** The newest finished inventory of a whole vault that casfs has ordered, or the first part of it. */
export function finishedInventory(jobs: readonly JobDescription[]): InventoryJob | undefined {
  return finishedParts(jobs).find(({ description }) => description === inventoryJobDescription);
}

/** Of `archives`, those that finished inventories list. */
export async function knownArchives(
  service: Service,
  vault: VaultName,
  { archives, signal }: { readonly archives: readonly ArchiveId[]; readonly signal: AbortSignal },
): Promise<Map<ArchiveId, InventoryEntry>> {
  const known = new Map<ArchiveId, InventoryEntry>();
  try {
    let bytes = 0;
    for (const job of finishedParts(await listAllJobs(service, vault, signal))) {
      bytes += job.inventorySizeBytes;
      if (known.size === archives.length || bytes > readBytesMax) break;
      await collect(service, { vault, job }, { archives: new Set(archives), known, signal });
    }
  } catch {
    // Only an aid: what is wrong with the service shows in the work itself, and an abort there too.
    signal.throwIfAborted();
  }
  return known;
}

/** Newest first. The parts of one inventory are called alike, with a suffix that tells them apart. */
function finishedParts(jobs: readonly JobDescription[]): InventoryJob[] {
  return jobs
    .filter((job): job is InventoryJob => job.action === "retrieve-inventory" && job.format === "json")
    .filter(({ status, description }) => status === "succeeded" && description.startsWith(inventoryJobDescription))
    .sort((one, other) => other.createdAt - one.createdAt);
}

async function collect(
  service: Service,
  { vault, job }: { readonly vault: VaultName; readonly job: InventoryJob },
  {
    archives,
    known,
    signal,
  }: {
    readonly archives: ReadonlySet<ArchiveId>;
    readonly known: Map<ArchiveId, InventoryEntry>;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const output = await service.getJobOutput(vault, job.id, undefined, { signal });
  for await (const batch of readInventoryJson(output.body)) {
    for (const entry of batch) if (archives.has(entry.archiveId)) known.set(entry.archiveId, entry);
    if (known.size === archives.size) return;
  }
}
