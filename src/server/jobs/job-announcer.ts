/**
 * Puts notifications of completed jobs into the outbox (cas-api section 8.2).
 *
 * A completion is told as Describe Job shows it at that moment: to the vault's address, if the vault's configuration
 * lists its kind, and to the job's own. Both are told when both are set, an address that is both is told once.
 */

import type { VaultName } from "../../domain/ids.js";
import type { Instant } from "../../domain/time.js";
import { formatJob } from "../../protocol/job-description-wire.js";
import type { JobAction } from "../../protocol/job-names.js";
import { type NotificationEvent, parseNotification } from "../../protocol/vault-wire.js";
import type { ArchiveStore } from "../store/archive-store.js";
import type { JobWithArchive } from "../store/job-table.js";
import type { VaultRow } from "../store/vault-table.js";
import { factsOfJob, stateOfJob } from "./job-report.js";

const eventOf: Record<JobAction, NotificationEvent> = {
  "retrieve-archive": "ArchiveRetrievalCompleted",
  "retrieve-inventory": "InventoryRetrievalCompleted",
  "push-to-cos": "PushToCOSCompleted",
  "pull-from-cos": "PullFromCOSCompleted",
};

const jobsPerTransaction = 200;

export class JobAnnouncer {
  readonly #store: ArchiveStore;
  readonly #region: string;

  constructor(store: ArchiveStore, { region }: { readonly region: string }) {
    this.#store = store;
    this.#region = region;
  }

  /** Announces jobs that have become ready. @returns when the next one will be; that may be now. */
  announceDue(): number | undefined {
    const { jobs } = this.#store;
    const next = jobs.nextUnannounced();
    if (next === undefined || next > this.#store.now()) return next;
    this.#store.transaction(() => {
      for (const job of jobs.unannounced(this.#store.now(), jobsPerTransaction)) {
        this.announce(job, job.ready_at_ms);
        jobs.markAnnounced(job.job_key);
      }
    });
    return jobs.nextUnannounced();
  }

  /** Within a transaction: announces a job that completed at that moment. */
  announce(job: JobWithArchive, completedAtMs: number): void {
    const vault = this.#store.vaults.get(job.vault_key);
    const urls = new Set([
      ...vaultAddress(vault, job.action),
      ...(job.callback_url === null ? [] : [job.callback_url]),
    ]);
    const state = stateOfJob(job, completedAtMs as Instant);
    // An output that lives for no time at all has gone when the job is ready.
    if (urls.size === 0 || state.status === "expired") return;
    const facts = factsOfJob(this.#store, vault.name as VaultName, job, state);
    const body = JSON.stringify(formatJob({ region: this.#region, appId: vault.account }, facts));
    for (const url of urls) this.#store.notifications.insert({ url, body, dueAtMs: this.#store.now() });
  }
}

function vaultAddress({ notification }: VaultRow, action: JobAction): string[] {
  if (notification === null) return [];
  const { callbackUrl, events } = parseNotification(JSON.parse(notification));
  return events.includes(eventOf[action]) ? [callbackUrl] : [];
}
