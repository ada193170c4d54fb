/**
 * What happens when somebody opens a file whose content is only in the vault.
 *
 * An open decides and waits here, so that after it every byte is local; reads never wait. A waiter that gives up
 * leaves the recall running: it is paid for, and the next open joins it.
 */

import { CancelledError, FileSystemError, isMissing, NotRestoredError } from "../domain/errors.js";
import type { InodeNumber } from "../domain/ids.js";
import type { Clock, Instant } from "../domain/time.js";
import { AbortScope, abortable } from "../lib/abort-scope.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { ColdArchive } from "../restore/ports.js";
import type { CatalogPort, ContentRecord, InodeRecord } from "./catalog-port.js";
import type { CachedContents, RecallRequests } from "./ports.js";
import { RecallAhead } from "./recall-ahead.js";
import type { RecallGovernor, RecallWanted } from "./recall-governor.js";
import type { FileSystemSettings } from "./settings.js";

/** Who opens. The signal fires when the caller was interrupted. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  readonly signal: AbortSignal;
}

export interface WaitingOpen {
  readonly pid: number;
  readonly ino: InodeNumber;
  readonly archive: ColdArchive;
  readonly since: Instant;
}

interface Dependencies {
  readonly catalog: CatalogPort;
  readonly cache: CachedContents;
  readonly recalls: RecallRequests;
  readonly governor: RecallGovernor;
  readonly clock: Clock;
  readonly settings: FileSystemSettings;
}

export class ColdOpens {
  readonly #catalog: CatalogPort;
  readonly #cache: CachedContents;
  readonly #recalls: RecallRequests;
  readonly #governor: RecallGovernor;
  readonly #clock: Clock;
  readonly #settings: FileSystemSettings;
  readonly #ahead: RecallAhead;
  readonly #waiting = new Set<WaitingOpen>();

  constructor(dependencies: Dependencies) {
    this.#catalog = dependencies.catalog;
    this.#cache = dependencies.cache;
    this.#recalls = dependencies.recalls;
    this.#governor = dependencies.governor;
    this.#clock = dependencies.clock;
    this.#settings = dependencies.settings;
    this.#ahead = new RecallAhead(dependencies);
  }

  /** Opens that wait for a recall, oldest first. */
  waiting(): readonly WaitingOpen[] {
    return [...this.#waiting];
  }

  isCold(content: ContentRecord | null): boolean {
    return content?.archive != null && !this.#cache.has(content.archive);
  }

  /**
   * Returns when the content of `record` is local.
   *
   * Returns as well when the file has other content by now.
   *
   * @throws FileSystemError "over-budget" when the caller may recall nothing, or nothing more; NotRestoredError when the policy, or the time limit, says not to wait; CancelledError when the caller
   *   was interrupted; FileSystemError "corrupt" when this casfs cannot read the archive's format.
   */
  async bring(record: InodeRecord, { nonBlock }: { readonly nonBlock: boolean }, caller: Caller): Promise<void> {
    const { onCold, nonblockRecall } = this.#settings;
    const mayRecall = onCold !== "deny" && (!nonBlock || nonblockRecall);
    if (!this.isCold(record.content)) {
      if (mayRecall && this.#ahead.expects(record) && !(await this.#governor.isDenied(caller)))
        this.#ahead.after(record);
      return;
    }
    const archive = this.coldArchive(record.content!);
    if (!mayRecall) throw new NotRestoredError(archive.id);
    const wanted = { ino: record.ino, archive, caller };
    await this.#governor.admit(wanted);
    // Meanwhile it may have been rewritten, and its archive be wanted by nobody.
    if (this.#catalog.inode(record.ino)?.content?.id !== record.content?.id) return;
    if (onCold === "eagain" || nonBlock) {
      await this.#begin(wanted, {});
      this.#ahead.after(record);
      throw new NotRestoredError(archive.id);
    }
    await this.#wait(record, wanted, caller);
  }

  /**
   * Starts or joins the recall and does not wait for it: for requests that hold kernel locks (SETATTR), and for who asks
   * by the attribute.
   *
   * @throws FileSystemError "over-budget", "corrupt" when this casfs cannot read the archive's format.
   */
  async startRecall({ ino, content }: InodeRecord, tier: RetrievalTier = this.#settings.tier): Promise<void> {
    await this.#begin({ ino, archive: this.coldArchive(content!), caller: null }, { tier });
  }

  /** The archive of an archived content. @throws FileSystemError "corrupt" when its bytes must not be handed out. */
  coldArchive(content: ContentRecord): ColdArchive {
    const archive = this.#catalog.archive(content.archive!);
    if (archive === undefined) throw new FileSystemError("stale", `Archive of content ${content.id} is gone`);
    if (this.#catalog.isMissing(archive.key)) throw archiveMissing(archive);
    const reason = this.#catalog.unreadableReason(archive.key);
    if (reason === null) return archive;
    throw new FileSystemError("corrupt", `Cannot read archive ${archive.id}: ${reason}`, {
      hint: "Read it with the casfs that wrote it",
    });
  }

  /** Its failure is logged where it happens: nobody has to wait for `landed`. @throws FileSystemError "over-budget". */
  async #begin(
    wanted: RecallWanted,
    {
      tier = this.#settings.tier,
      signal,
    }: { readonly tier?: RetrievalTier; readonly signal?: AbortSignal | undefined },
  ): Promise<{ readonly landed: Promise<void> }> {
    try {
      const landed = this.#recalls.recall(wanted.archive, { tier, signal });
      landed.catch(() => {});
      return { landed };
    } catch (error) {
      await this.#governor.refused(wanted, error);
      throw error;
    }
  }

  async #wait(record: InodeRecord, wanted: RecallWanted, caller: Caller): Promise<void> {
    const { archive } = wanted;
    const waiting: WaitingOpen = { pid: caller.pid, ino: record.ino, archive, since: this.#clock.now() };
    using scope = new AbortScope(caller.signal);
    this.#waiting.add(waiting);
    try {
      // A driver that does not know who calls ends a wait by a deadline: its caller was told to come again.
      const signal = caller.pid > 0 ? caller.signal : undefined;
      const { landed } = await this.#begin(wanted, { signal });
      this.#ahead.after(record, signal);
      await Promise.race([abortable(landed, scope.signal), this.#timeLimit(wanted, scope.signal)]);
    } catch (error) {
      if (caller.signal.aborted) throw new CancelledError(`Opening archive ${archive.id}`, { cause: error });
      // Not ENOENT: the file is listed, and rsync would take it for one that was just removed.
      if (isMissing(error)) {
        throw new FileSystemError("unavailable", `Archive ${archive.id} is not in the service any more`, {
          cause: error,
        });
      }
      throw error;
    } finally {
      this.#waiting.delete(waiting);
      scope.abort();
    }
  }

  async #timeLimit(wanted: RecallWanted, signal: AbortSignal): Promise<never> {
    const { maxWaitMs } = this.#settings;
    const { archive } = wanted;
    if (maxWaitMs === null) return new Promise<never>(() => {});
    await this.#clock.sleep(maxWaitMs, { signal });
    // Told to come again: it is wanted from here on, whoever waits, and also by the next process.
    await this.#begin(wanted, {});
    throw new NotRestoredError(archive.id);
  }
}

/** Not ENOENT: the file is listed, and rsync would take it for one that was just removed. */
function archiveMissing({ id, vault }: ColdArchive): FileSystemError {
  return new FileSystemError("unavailable", `Archive ${id} is not in vault ${vault} any more`, {
    hint: "Somebody has deleted it there, or the vault was made anew",
  });
}
