/**
 * `--partial-recall`: a large cold file that is opened for reading is answered at once, and its reads bring what they
 * ask for.
 *
 * Relies on: the driver passing by the page cache for such handles, so that a read that waits can be interrupted and
 * blocks nobody else. A page of a map cannot be waited for so: it fails at once.
 * Never: a read that is shorter than asked, but for the end of the file; EAGAIN for a reader that did not ask for
 * O_NONBLOCK, because Python takes that for the end of the data.
 */

import type { ByteCount, ByteRange } from "../domain/bytes.js";
import { CancelledError, CorruptError, FileSystemError, isMissing, NotRestoredError } from "../domain/errors.js";
import type { Clock } from "../domain/time.js";
import { AbortScope, abortable } from "../lib/abort-scope.js";
import { type ArchiveWindow, windowsAround } from "../protocol/archive-window.js";
import type { ColdArchive, RecallOrigin } from "../restore/ports.js";
import type { InodeRecord } from "./catalog-port.js";
import type { Caller, ColdOpens, WaitingOpen } from "./cold-opens.js";
import type { Handle, OpenIntent } from "./handle-table.js";
import { PartialFile } from "./partial-file.js";
import type { PartialCopies, RecallRequests } from "./ports.js";
import { ReadRun } from "./read-run.js";
import type { RecallGovernor, RecallWanted } from "./recall-governor.js";
import type { FileSystemSettings } from "./settings.js";

/** How a read came. `isDirect`: not by way of the page cache. `nonBlock`: by a descriptor with O_NONBLOCK, as it is now. */
export interface ReadManner {
  readonly isDirect: boolean;
  readonly nonBlock: boolean;
}

/** A read that waits, and what it waits for. */
export interface WaitingRead extends WaitingOpen {
  readonly range: ByteRange;
}

interface PartialReadsParts {
  readonly partial: PartialCopies;
  readonly recalls: RecallRequests;
  readonly governor: RecallGovernor;
  readonly coldOpens: ColdOpens;
  readonly clock: Clock;
  readonly settings: FileSystemSettings;
}

/** One read, while bytes of it are missing. */
interface MissingRead {
  readonly handle: Handle;
  readonly file: PartialFile;
  readonly range: ByteRange;
  readonly caller: Caller;
  readonly manner: ReadManner;
}

/** What a reader misses, and the signal of one who waits: when it fires before a job is ordered, none is. */
interface WindowOrder {
  readonly wanted: RecallWanted;
  readonly missing: ByteRange;
  readonly signal: AbortSignal | undefined;
}

interface WindowWish {
  readonly origin: RecallOrigin;
  readonly signal?: AbortSignal | undefined;
}

export class PartialReads {
  readonly #parts: PartialReadsParts;
  readonly #runs = new WeakMap<Handle, ReadRun>();
  readonly #waiting = new Set<WaitingRead>();

  constructor(parts: PartialReadsParts) {
    this.#parts = parts;
  }

  /** Reads that wait for a recall, oldest first. */
  waiting(): readonly WaitingRead[] {
    return [...this.#waiting];
  }

  /**
   * Whether an open of a cold file is answered at once. Who has said not to wait, or may recall nothing, hears that from
   * open() and not in the middle of reading; unless something of the file was recalled on purpose.
   */
  takes({ sizeBytes, content }: InodeRecord, intent: OpenIntent): boolean {
    const { partialRecall, onCold, nonblockRecall } = this.#parts.settings;
    if (partialRecall === null || sizeBytes <= partialRecall.overBytes || content?.archive == null) return false;
    if (intent.write || intent.truncate || intent.execute === true) return false;
    if (intent.nonBlock && !nonblockRecall) return false;
    return onCold !== "deny" || this.#parts.partial.landedBytes(content.archive) > 0;
  }

  /** As `takes`; a program that may recall nothing has to wait in vain, so it is refused like at any other open. */
  async admits(record: InodeRecord, intent: OpenIntent, caller: Caller): Promise<boolean> {
    const { coldOpens, governor } = this.#parts;
    return coldOpens.isCold(record.content) && this.takes(record, intent) && !(await governor.isDenied(caller));
  }

  /** @throws FileSystemError "corrupt", "unavailable" as `ColdOpens.coldArchive`. */
  fileOf({ content }: Pick<InodeRecord, "content">): PartialFile {
    const archive = this.#parts.coldOpens.coldArchive(content!);
    return new PartialFile(archive, this.#parts.partial.openPartial(archive));
  }

  /**
   * Resolves when all of `range` is here, or the open file has other bytes by now.
   *
   * @throws CancelledError when the caller was interrupted; FileSystemError "over-budget"; NotRestoredError for a reader
   *   with O_NONBLOCK, FileSystemError "unavailable" for others, when the policy or the time limit says not to wait, and
   *   for pages of a map; CorruptError when the bytes stay wrong.
   */
  async bring(read: MissingRead): Promise<void> {
    const { handle, file, range } = read;
    let run = this.#runs.get(handle);
    if (run === undefined) {
      run = new ReadRun();
      this.#runs.set(handle, run);
    }
    using scope = new AbortScope(read.caller.signal);
    try {
      for (;;) {
        if (handle.open.file !== file || file.state === "landed") return;
        if (file.state === "damaged") throw damaged(file.archive);
        if (file.state === "dropped") throw dropped(file.archive);
        const [missing] = file.missing(range);
        if (missing === undefined) return run.didRead(range);
        await this.#bringFirst(read, run, missing, scope.signal);
      }
    } catch (error) {
      if (read.caller.signal.aborted) throw new CancelledError(`Reading archive ${file.archive.id}`, { cause: error });
      // Who has rewritten the file has let its archive go: what became of the recall is no matter.
      if (handle.open.file !== file) return;
      // Not ENOENT: nobody looks for that in a read.
      if (!isMissing(error)) throw error;
      const message = `Archive ${file.archive.id} is not in the service any more`;
      throw new FileSystemError("unavailable", message, { cause: error });
    } finally {
      scope.abort();
    }
  }

  async #bringFirst(read: MissingRead, run: ReadRun, missing: ByteRange, signal: AbortSignal): Promise<void> {
    const { handle, file, caller, manner } = read;
    const { onCold, nonblockRecall } = this.#parts.settings;
    const { archive } = file;
    if (!manner.isDirect) throw mapped(archive);
    if (onCold === "deny" || (manner.nonBlock && !nonblockRecall)) throw notHere(archive, manner);
    const wanted = { ino: handle.open.ino, archive, caller };
    await this.#parts.governor.admit(wanted);
    const waits = !manner.nonBlock && onCold !== "eagain";
    const order = { wanted, missing, signal: waits ? caller.signal : undefined };
    const { landed } = await this.#order(read, run, order);
    if (!waits) throw notHere(archive, manner);
    const { pid } = caller;
    const waiting: WaitingRead = { ...wanted, pid, since: this.#parts.clock.now(), range: missing };
    this.#waiting.add(waiting);
    try {
      await Promise.race([abortable(landed, signal), this.#timeLimit(read, missing, signal)]);
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  /**
   * Starts or joins the recalls of what the reader wants.
   *
   * @returns `landed` resolves when the first missing bytes are here. @throws FileSystemError "over-budget" for these.
   */
  async #order(
    { range }: MissingRead,
    run: ReadRun,
    { wanted, missing, signal }: WindowOrder,
  ): Promise<{ readonly landed: Promise<void> }> {
    const { archive } = wanted;
    const { windowBytesMax } = this.#parts.settings.partialRecall!;
    const limits = { archiveSizeBytes: archive.sizeBytes, bytesMax: windowBytesMax };
    const [first, ...ahead] = run.windowsFor(range, missing, limits);
    const [least] = windowsAround(missing, archive.sizeBytes, windowBytesMax);
    try {
      const landed = this.#recallFirst(archive, first!, least!, signal);
      this.#recallAhead(archive, ahead, signal);
      return { landed };
    } catch (error) {
      await this.#parts.governor.refused(wanted, error);
      throw error;
    }
  }

  #recallFirst(
    archive: ColdArchive,
    first: ArchiveWindow,
    least: ArchiveWindow,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    try {
      return this.#recall(archive, first, { origin: "open", signal });
    } catch (error) {
      // More than the reader asks for may be over the budget: then just that.
      if (least.end >= first.end) throw error;
      return this.#recall(archive, least, { origin: "open", signal });
    }
  }

  #recallAhead(archive: ColdArchive, windows: readonly ArchiveWindow[], signal: AbortSignal | undefined): void {
    try {
      for (const window of windows) this.#recall(archive, window, { origin: "ahead", signal });
    } catch {
      // Over the budget: whoever reads as far is told.
    }
  }

  /** @returns what resolves when the beginning of `window` is here. */
  #recall(archive: ColdArchive, window: ArchiveWindow, { origin, signal }: WindowWish): Promise<void> {
    const { recalls, settings } = this.#parts;
    const { running, new: missing } = recalls.windowsToRecall(archive, window);
    let landed = Promise.resolve();
    for (const part of [...running, ...missing]) {
      const recalled = recalls.recallWindow(archive, part, { tier: settings.tier, origin, signal });
      // Its failure is reported where it happens; nobody has to wait.
      recalled.catch(() => {});
      if (part.start <= window.start && window.start < part.end) landed = recalled;
    }
    return landed;
  }

  async #timeLimit({ file, manner }: MissingRead, missing: ByteRange, signal: AbortSignal): Promise<never> {
    const { maxWaitMs } = this.#parts.settings;
    if (maxWaitMs === null) return new Promise<never>(() => {});
    await this.#parts.clock.sleep(maxWaitMs, { signal });
    // Told to come again: it is wanted from here on, whoever waits.
    const [window] = windowsAround({ ...missing, end: (missing.start + 1) as ByteCount }, file.archive.sizeBytes);
    this.#recall(file.archive, window!, { origin: "open" });
    throw notHere(file.archive, manner);
  }
}

function notHere({ id }: ColdArchive, { nonBlock }: ReadManner): Error {
  if (nonBlock) return new NotRestoredError(id);
  return new FileSystemError("unavailable", `Cannot read archive ${id}: these bytes are in cold storage`, {
    hint: "Read again when they have been recalled; `casfs status` says when",
  });
}

function mapped({ id }: ColdArchive): FileSystemError {
  return new FileSystemError("unavailable", `Cannot map or splice archive ${id}: not all of it is here`, {
    hint: "Run `casfs restore` on the file first",
  });
}

function dropped({ id }: ColdArchive): FileSystemError {
  return new FileSystemError("stale", `Cannot read archive ${id}: the file has other content by now`);
}

function damaged({ id }: ColdArchive): CorruptError {
  return new CorruptError(`Cannot read archive ${id}: its parts together have a wrong tree hash`, {
    hint: "Open the file again: that recalls it",
  });
}
