/**
 * What the command line may ask of a running mount, over the Unix socket in its state directory.
 *
 * Paths are relative to the mountpoint, as arrays of names; an empty array is the root. A path may be a file or a
 * directory, then everything below it is meant. Failures are `CasfsError`s.
 */

import type { CatalogFinding } from "../catalog/catalog-check.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { CostReport } from "./cost-tally.js";
import type { LedgerReport } from "./ledger-report.js";

export type MountPath = readonly string[];

export interface ControlApi {
  status(): Promise<StatusReport>;
  /** Skips settling; resolves when every named file is archived. An abort stops waiting, not the uploads. */
  wait(request: { readonly paths: readonly MountPath[] }, signal: AbortSignal): Promise<WaitResult>;
  /** Resolves when nothing is staged any more. */
  drain(request: Record<string, never>, signal: AbortSignal): Promise<WaitResult>;
  evict(request: { readonly paths: readonly MountPath[] }): Promise<EvictResult>;
  setPinned(request: { readonly paths: readonly MountPath[]; readonly pinned: boolean }): Promise<{ files: number }>;
  /** What `restore` would order; changes nothing. */
  planRestore(request: RestoreRequest): Promise<RestorePlan>;
  /**
   * Starts the recalls of all cold files; with `wait` resolves when they have landed.
   *
   * A faster tier than that of a running recall orders a second job when `tier` is given. `batch`: a name, chosen by the
   * caller, by which `restoreProgress` is asked while this call lasts.
   */
  restore(
    request: RestoreRequest & { readonly wait: boolean; readonly batch?: string },
    signal: AbortSignal,
  ): Promise<RestoreResult>;
  /**
   * Bytes of a file of which they, or all, have been restored, as base64; at most 1 MiB. Those with the same `archiveId`
   * belong to one version of it.
   *
   * @throws FileSystemError "not-restored" when they are not here, or not here any more.
   */
  readRestored(request: {
    readonly path: MountPath;
    readonly start: number;
    readonly length: number;
  }): Promise<{ readonly data: string; readonly archiveId: string }>;
  /** How far a `restore` is that somebody waits for; null when it has ended. */
  restoreProgress(request: { readonly batch: string }): Promise<RestoreProgress | null>;
  /** What files cost to keep, to bring back and to delete; without a path everything that is billed. */
  cost(request: { readonly paths: readonly MountPath[] }): Promise<CostReport>;
  /** What was asked of the service so far. @param request.since ISO 8601; null for everything. */
  ledger(request: { readonly since: string | null }): Promise<LedgerReport>;
  /** Ends that a vault is read-only because another state directory writes to it. */
  takeOverVault(request: { readonly vault: string }): Promise<TakeOverResult>;
  /** Starts an inventory of a vault; with `wait` resolves when it is merged. */
  refreshInventory(
    request: { readonly vault: string; readonly wait: boolean },
    signal: AbortSignal,
  ): Promise<{ readonly merged: boolean }>;
  /** Catalog, staging, cache and inventory against each other; with `verify` every cached copy is read. */
  fsck(request: { readonly verify: boolean }, signal: AbortSignal): Promise<FsckReport>;
}

export interface TakeOverResult {
  /** The writer that was seen; null when the vault was not read-only. */
  readonly otherWriter: string | null;
  /** Held until now: files to be uploaded, archives to be deleted. */
  readonly uploads: number;
  readonly deletes: number;
}

export interface RestoreRequest {
  readonly paths: readonly MountPath[];
  readonly recursive: boolean;
  /** The mount's own tier when absent. */
  readonly tier?: RetrievalTier;
  /** Only these bytes of the one file that is named; `end` is not one of them, null is the end of the file. */
  readonly range?: { readonly start: number; readonly end: number | null };
}

export interface RestorePlan {
  /** null: whole files. With a part, `files` and what is counted with them are its jobs, and `bytes` its bytes. */
  readonly part: RestoredPart | null;
  readonly tier: RetrievalTier;
  readonly files: number;
  readonly bytes: number;
  /** Of these, with a job already, running or finished, whoever ordered it: free, but for those that are `slower`. */
  readonly running: number;
  /** Of those, at a slower tier than the one that was asked for: a second job is ordered, and paid for. */
  readonly slower: number;
  /** Whether the service has told which jobs exist; when it has not, others' jobs are not among `running`. */
  readonly jobsKnown: boolean;
  /** Too large for tier expedited, which counts as standard for them. */
  readonly tooLarge: number;
  readonly cachedFiles: number;
  /** Staged files and empty ones: nothing to do. */
  readonly localFiles: number;
  /** In `currency`; 0 on a local service. */
  readonly price: number;
  /** What fetching it costs besides, when this machine is not in the service's region. */
  readonly trafficPrice: number;
  readonly currency: string;
  /** Milliseconds from now, as the service publishes it; on a local service what is configured there is not known. */
  readonly readyInMs: { readonly from: number; readonly to: number } | null;
  /** What the same would cost at the other tiers; empty on a local service. */
  readonly otherTiers: readonly {
    readonly tier: RetrievalTier;
    readonly price: number;
    readonly readyInMs: { readonly from: number; readonly to: number };
  }[];
}

/** What is restored of a file: whole MiBs, or up to the end of the file. */
export interface RestoredPart {
  readonly path: string;
  readonly start: number;
  readonly end: number;
  /** Whether reading it in the mount needs no more than it: `--partial-recall` for a file of that size. */
  readonly isReadable: boolean;
}

export interface RestoreProgress {
  readonly files: number;
  readonly bytes: number;
  readonly landed: number;
  /** Of contents that are still landing, too. */
  readonly landedBytes: number;
  readonly failed: number;
  /** No job yet: line or cache could not take more. */
  readonly queued: number;
  readonly ordered: number;
  readonly landing: number;
  /** When all is here; null when nobody can tell. */
  readonly expectedAt: string | null;
}

export interface RestoreResult {
  readonly started: number;
  readonly landed: number;
  readonly failed: readonly PathFailure[];
}

export interface WaitResult {
  readonly archived: number;
  /** Files that are not archived, and why: open for writing, interrupted, or waiting for a name that is not temporary. */
  readonly left: readonly PathFailure[];
}

export interface EvictResult {
  readonly evicted: number;
  readonly bytes: number;
  /** Not archived yet, open, or pinned. */
  readonly kept: readonly PathFailure[];
}

/** Stable: `casfs fsck --json` prints it. */
export interface FsckReport {
  readonly files: number;
  readonly archives: number;
  readonly stagedFiles: number;
  readonly cachedFiles: number;
  /** Of which only windows are here. */
  readonly partialFiles: number;
  /** Whether SQLite has looked through its whole file: only where nothing is mounted. */
  readonly databaseChecked: boolean;
  readonly verifiedFiles: number;
  readonly verifiedBytes: number;
  /** How many of the problems are errors. */
  readonly errors: number;
  readonly problems: readonly FsckProblem[];
}

/** What `casfs fsck` found: in the catalog, or on the disk. */
export interface FsckProblem {
  readonly kind:
    | CatalogFinding["kind"]
    | "staged-missing"
    | "staged-short"
    | "staged-interrupted"
    | "staged-suspect"
    | "staged-stranger"
    | "cached-missing"
    | "cached-damaged"
    | "cached-stranger";
  /** "notice": a person may want to know; nothing is wrong. */
  readonly severity: "error" | "notice";
  /** From the root of all vaults; of a file of nobody's, its place on the disk. */
  readonly path: string;
  readonly detail: string;
}

export interface PathFailure {
  readonly path: string;
  readonly reason: string;
}

/** Stable: `casfs status --json` prints it. Sizes in bytes, times ISO 8601. */
export interface StatusReport {
  readonly mountpoint: string;
  readonly pid: number;
  readonly stateDirectory: string;
  readonly service: { readonly endpoint: string; readonly local: boolean; readonly dataDirectory: string | null };
  readonly startedAt: string;
  readonly staged: {
    readonly files: number;
    readonly bytes: number;
    /** What the files take of `limitBytes`: files with holes less than their size. `limitBytes` null: no own limit. */
    readonly usedBytes: number;
    readonly limitBytes: number | null;
    /** "waiting": writers wait for uploads. "stalled": no upload gets through, and writers get ENOSPC. */
    readonly room: "roomy" | "waiting" | "stalled";
  };
  readonly uploads: readonly UploadReport[];
  readonly recalls: readonly RecallReport[];
  /** Recalls that were given up, the latest first, at most 1000; who opens the file, or restores it, tries again. */
  readonly failedRecalls: readonly FailedRecallReport[];
  readonly waiting: readonly WaitingReport[];
  readonly recallBudget: BudgetReport;
  readonly cache: {
    readonly files: number;
    readonly bytes: number;
    readonly limitBytes: number;
    readonly pinned: number;
    /** Of which only windows are here, and how much that is of `bytes`. */
    readonly partialFiles: number;
    readonly partialBytes: number;
  };
  readonly vaults: readonly VaultReport[];
  readonly deletes: { readonly pending: number; readonly lastError: string | null };
  /** What was deleted or overwritten and costs nothing yet; `nextPurgeAt` is when the next file of it goes. */
  readonly trash: { readonly files: number; readonly bytes: number; readonly nextPurgeAt: string | null };
  /** Files whose archive the service does not have any more; at most 20 of their paths. */
  readonly missing: { readonly files: number; readonly paths: readonly string[] };
  /** Contents that need a person: interrupted writes, bytes that a power failure may have lost. */
  readonly suspects: readonly PathFailure[];
}

export interface UploadReport {
  readonly path: string;
  /** "streaming": the file is still written, and its size is the present one. */
  readonly state: string;
  readonly sizeBytes: number;
  readonly sentBytes: number;
  readonly parts: number;
  readonly partsSent: number;
  readonly attempts: number;
  readonly lastError: string | null;
  readonly nextAttemptAt: string | null;
}

export interface RecallReport {
  readonly path: string;
  readonly archiveId: string;
  readonly jobId: string | null;
  readonly tier: RetrievalTier;
  readonly state: string;
  /** Who asked for it: an open, a person, or `--recall-ahead`. */
  readonly origin: "open" | "restore" | "ahead";
  /** Why it is queued: the line is busy, or the cache has no room; null when it is not. */
  readonly heldBy: "line" | "room" | null;
  /** The bytes of the archive that are recalled; null for all of them. */
  readonly range: { readonly start: number; readonly end: number } | null;
  /** Of `range`. */
  readonly sizeBytes: number;
  readonly landedBytes: number;
  readonly startedAt: string;
  readonly expectedAt: string | null;
  /** What went wrong last and is tried again; null when all is well. */
  readonly lastError: string | null;
  /** Of an attempt that waits; null when none does. */
  readonly nextAttemptAt: string | null;
}

export interface FailedRecallReport {
  readonly path: string;
  readonly archiveId: string;
  /** null: none was ordered. */
  readonly jobId: string | null;
  readonly tier: RetrievalTier;
  readonly failedAt: string;
  readonly reason: string;
}

export interface WaitingReport {
  readonly pid: number;
  readonly command: string;
  readonly path: string;
  readonly since: string;
  /** What it waits for: the content of the file, or room to write it. */
  readonly for: "recall" | "room";
  /** The recall that brings the content; null when it waits for room, or when the recall has just ended. */
  readonly recall: Pick<RecallReport, "jobId" | "tier" | "state" | "expectedAt"> | null;
}

/** What opens may recall: `--recall-limit`, `--recall-cost-limit`. */
export interface BudgetReport {
  /** null: no limit. */
  readonly bytes: RecallLimitReport | null;
  /** In `currency`. */
  readonly cost: RecallLimitReport | null;
  readonly currency: string;
  readonly refused: {
    /** Since the mount began. */
    readonly overBudget: number;
    readonly denied: number;
    /** By command and reason, the latest first. */
    readonly recent: readonly RefusalReport[];
  };
}

export interface RecallLimitReport {
  /** Within the last `periodMs`; recalls that are queued count. */
  readonly used: number;
  readonly limit: number;
  readonly periodMs: number;
  /** When the first part of `used` is free again; null when nothing is used. */
  readonly freesAt: string | null;
}

export interface RefusalReport {
  readonly at: string;
  /** 0 or less: not known. */
  readonly pid: number;
  readonly command: string | null;
  readonly path: string;
  readonly sizeBytes: number;
  readonly reason: "denied" | "over-budget";
  readonly message: string;
  /** Like this one, since the mount began. */
  readonly count: number;
}

export interface VaultReport {
  readonly name: string;
  readonly visible: boolean;
  /** "none", "running", "merged" or why the last one failed. */
  readonly inventory: string;
  readonly inventoryAt: string | null;
  /** The service has no such vault any more. */
  readonly gone: boolean;
  /** Why the vault is read-only, and what to do: another state directory writes to it. */
  readonly readOnly: string | null;
}
