/** How the user wants the file system to behave; the defaults are in `config/`. */

import type { Milliseconds } from "../domain/time.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { StreamPlan } from "../upload/part-plan.js";
import type { ProcessRules } from "./recall-governor.js";

/** What opening a cold file does: wait, start a recall and fail, or just fail. */
export type ColdOpenPolicy = "block" | "eagain" | "deny";

/** When close() returns: once the bytes are journaled here, or once the service has confirmed the archive. */
export type CommitPolicy = "staged" | "archived";

export interface FileSystemSettings {
  readonly onCold: ColdOpenPolicy;
  /** A longer wait of an open becomes EAGAIN; null: no limit. */
  readonly maxWaitMs: Milliseconds | null;
  /** Whether an O_NONBLOCK open starts a recall too. */
  readonly nonblockRecall: boolean;
  readonly tier: RetrievalTier;
  /** Of which files only the windows that are read are recalled, and how large a window may be; null: of none. */
  readonly partialRecall: { readonly overBytes: number; readonly windowBytesMax: number } | null;
  /** Whose opens recall nothing. */
  readonly recallDeny: ProcessRules;
  /** How many files after a cold one that is opened are recalled with it. */
  readonly recallAhead: number;
  readonly commit: CommitPolicy;
  /** Pause between close() and the upload. */
  readonly settleMs: Milliseconds;
  /** After a version of a file was archived, the next one waits for this long: every archive is billed for 90 days. */
  readonly rewriteIntervalMs: Milliseconds;
  /** Whether programs rename or remove a file of this name soon. `path` leads from the vault's directory to the file. */
  readonly isTemporary: (path: readonly string[]) => boolean;
  /** How long a writer waits for room while no upload makes progress. */
  readonly stallTimeoutMs: Milliseconds;
  /** Whether a vault is shown before its first inventory is merged, with the names that are known so far. */
  readonly partialTree: boolean;
  /** How files are uploaded that outgrow staging while they are written; undefined: they have to fit. */
  readonly stream: StreamPlan | undefined;
  /** How long mkdir and rmdir of a vault wait for the service. */
  readonly vaultTimeoutMs: Milliseconds;
}
