/**
 * What the core reports about itself. `observability/` makes log lines and metrics of it.
 *
 * Events carry names and numbers, never secrets and never file contents.
 */

import type { ArchiveId, ArchiveKey, ContentId, InodeNumber, JobId, UploadId, VaultName } from "./ids.js";
import type { Milliseconds } from "./time.js";

export type CasfsEvent =
  | {
      readonly type: "service-call";
      readonly operation: string;
      readonly durationMs: number;
      /** "ok" or the fault (`ServiceFault`). */
      readonly outcome: string;
      readonly message?: string;
    }
  | {
      readonly type: "service-retry";
      readonly operation: string;
      readonly attempt: number;
      readonly delayMs: number;
      readonly message: string;
    }
  | { readonly type: "content-sealed"; readonly content: ContentId; readonly sizeBytes: number }
  | {
      readonly type: "upload-started";
      readonly content: ContentId;
      readonly vault: VaultName;
      readonly sizeBytes: number;
      readonly parts: number;
    }
  /** The upload of a file began while it is still written. */
  | {
      readonly type: "upload-streaming";
      readonly content: ContentId;
      readonly vault: VaultName;
      readonly partSizeBytes: number;
    }
  | {
      readonly type: "upload-resumed";
      readonly content: ContentId;
      readonly uploadId: UploadId;
      readonly partsKept: number;
    }
  | {
      readonly type: "upload-confirmed";
      readonly content: ContentId;
      readonly archiveId: ArchiveId;
      readonly sizeBytes: number;
      readonly durationMs: number;
    }
  /** The archive has these bytes already; nothing was sent. */
  | {
      readonly type: "upload-unneeded";
      readonly content: ContentId;
      readonly archiveId: ArchiveId;
      readonly sizeBytes: number;
    }
  | {
      readonly type: "upload-failed";
      readonly content: ContentId;
      readonly retryInMs: number;
      readonly message: string;
    }
  /** Writers wait for uploads to free room for what they write. */
  | { readonly type: "writers-waiting"; readonly reason: string }
  /** Nobody waits for room any more, `afterMs` after somebody began to. */
  | { readonly type: "writers-continue"; readonly afterMs: Milliseconds }
  | { readonly type: "archive-deleted"; readonly vault: VaultName; readonly archiveId: ArchiveId }
  | {
      readonly type: "recall-started";
      readonly archiveId: ArchiveId;
      readonly jobId: JobId;
      readonly joined: boolean;
      readonly sizeBytes: number;
    }
  | {
      readonly type: "recall-landed";
      readonly archiveId: ArchiveId;
      readonly sizeBytes: number;
      readonly durationMs: number;
    }
  | {
      readonly type: "recall-refused";
      readonly reason: "denied" | "over-budget";
      /** 0 or less, and null for the command, when the driver cannot tell. */
      readonly pid: number;
      readonly command: string | null;
      readonly path: string;
      readonly sizeBytes: number;
      readonly message: string;
      /** So many like it were not told since the last. */
      readonly repeats: number;
    }
  /** Nobody wanted it any more before a job was ordered. */
  | { readonly type: "recall-withdrawn"; readonly archiveId: ArchiveId }
  | { readonly type: "recall-failed"; readonly archiveId: ArchiveId; readonly message: string }
  | { readonly type: "piece-corrupt"; readonly archiveId: ArchiveId; readonly start: number; readonly end: number }
  | { readonly type: "content-evicted"; readonly archive: ArchiveKey; readonly sizeBytes: number }
  | { readonly type: "inventory-started"; readonly vault: VaultName; readonly jobId: JobId }
  | {
      readonly type: "inventory-merged";
      readonly vault: VaultName;
      readonly archives: number;
      readonly durationMs: number;
    }
  | { readonly type: "inventory-failed"; readonly vault: VaultName; readonly message: string }
  /** Two complete inventories lack archives that the service had confirmed. */
  | { readonly type: "archives-missing"; readonly vault: VaultName; readonly archives: number }
  | { readonly type: "vault-missing"; readonly vault: VaultName }
  /** Another state directory writes to the vault: nothing here does any more. */
  | { readonly type: "vault-held"; readonly vault: VaultName; readonly message: string }
  | { readonly type: "vault-taken-over"; readonly vault: VaultName }
  | {
      readonly type: "request-failed";
      readonly operation: string;
      readonly inode: InodeNumber;
      readonly message: string;
    }
  | { readonly type: "mounted"; readonly mountpoint: string }
  | { readonly type: "unmounted"; readonly mountpoint: string }
  | { readonly type: "warning"; readonly message: string };

/** Receives every event, synchronously; must not throw and must not wait. */
export type Observer = (event: CasfsEvent) => void;
