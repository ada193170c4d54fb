/**
 * Who may recall: programs that open everything there is, such as indexers and thumbnailers, would order the retrieval
 * of a whole archive without anybody having wanted to read it.
 *
 * Relies on: the names that a process gives itself. This guards against accidents; who wants to read can.
 */

import { FileSystemError } from "../domain/errors.js";
import type { InodeNumber } from "../domain/ids.js";
import type { ColdArchive } from "../restore/ports.js";
import type { CatalogPort } from "./catalog-port.js";
import type { RecallRefusals } from "./recall-refusals.js";
import type { FileSystemSettings } from "./settings.js";

/** Which processes may recall nothing. */
export interface ProcessRules {
  /** Whether names matter at all: looking them up can be left out otherwise. */
  readonly hasNames: boolean;
  /** The rule that one of `names`, or the user, matches; undefined when there is none. */
  match(process: { readonly names: readonly string[]; readonly uid: number }): string | undefined;
}

/** The processes of this machine. */
export interface ProcessTable {
  /** What a process or thread is called; the first name is that of its program. Empty when nothing is known of it. */
  names(pid: number): Promise<readonly string[]>;
}

export interface RecallAsker {
  readonly pid: number;
  readonly uid: number;
}

/** One cold file that somebody wants to have. */
export interface RecallWanted {
  readonly ino: InodeNumber;
  readonly archive: ColdArchive;
  /** null: the request does not say. */
  readonly caller: RecallAsker | null;
}

interface GovernorParts {
  readonly catalog: Pick<CatalogPort, "pathInVault">;
  readonly processes: ProcessTable;
  readonly refusals: RecallRefusals;
  readonly settings: Pick<FileSystemSettings, "recallDeny">;
}

export class RecallGovernor {
  readonly #parts: GovernorParts;

  constructor(parts: GovernorParts) {
    this.#parts = parts;
  }

  /** @throws FileSystemError "over-budget" when a rule denies the caller. */
  async admit(wanted: RecallWanted): Promise<void> {
    const { caller } = wanted;
    if (caller === null) return;
    const { names, rule } = await this.#ruleOn(caller);
    if (rule === undefined) return;
    const message = `${names[0] ?? `uid ${caller.uid}`} may recall nothing, by the rule ${rule} of --recall-deny`;
    const command = names[0] ?? (await this.#namesOf(caller))[0] ?? null;
    this.#note(wanted, { reason: "denied", message, command });
    throw new FileSystemError("over-budget", `Cannot recall archive ${wanted.archive.id}: ${message}`, {
      hint: "Recall it with `casfs restore`, or mount with another --recall-deny",
    });
  }

  /** Whether a rule denies `caller`; asked of who recalls nothing, so nobody is told. */
  async isDenied(caller: RecallAsker): Promise<boolean> {
    return (await this.#ruleOn(caller)).rule !== undefined;
  }

  /** Tells of a recall that the budget has refused, and goes on with whatever `error` is. */
  async refused(wanted: RecallWanted, error: unknown): Promise<void> {
    if (!isOverBudget(error)) return;
    const [command = null] = wanted.caller === null ? [] : await this.#namesOf(wanted.caller);
    const message = error.hint === undefined ? error.message : `${error.message}. ${error.hint}`;
    this.#note(wanted, { reason: "over-budget", message, command });
  }

  async #ruleOn(
    caller: RecallAsker,
  ): Promise<{ readonly names: readonly string[]; readonly rule: string | undefined }> {
    const { recallDeny } = this.#parts.settings;
    const names = recallDeny.hasNames ? await this.#namesOf(caller) : [];
    return { names, rule: recallDeny.match({ names, uid: caller.uid }) };
  }

  #namesOf({ pid }: RecallAsker): Promise<readonly string[]> {
    return pid > 0 ? this.#parts.processes.names(pid) : Promise.resolve([]);
  }

  #note(
    { ino, archive, caller }: RecallWanted,
    refusal: { readonly reason: "denied" | "over-budget"; readonly message: string; readonly command: string | null },
  ): void {
    const path = [archive.vault, ...this.#parts.catalog.pathInVault(ino)].join("/");
    this.#parts.refusals.note({ ...refusal, pid: caller?.pid ?? 0, path, sizeBytes: archive.sizeBytes });
  }
}

function isOverBudget(error: unknown): error is FileSystemError {
  return error instanceof FileSystemError && error.kind === "over-budget";
}
