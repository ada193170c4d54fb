/**
 * The bytes of regular files: open, read, write, truncate, flush, release.
 *
 * `ContentVersions` says which version a write goes to, `OpenFileJournal` what the catalog is told of it.
 * Relies on: `ColdOpens` has made a content local before a handle exists. What belongs to a version is decided under
 * the lock of its inode; a plain read or write takes no lock.
 * Never: the network, nor a removal of staged bytes (the catalog's listener does that after the commit).
 */

import { type ByteRange, byteRange, MIB } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ContentId, InodeNumber } from "../domain/ids.js";
import { type Clock, type FileTime, fileTime, laterTime } from "../domain/time.js";
import { KeyedMutex } from "../lib/concurrency.js";
import { archiveNewest } from "./archived-close.js";
import { isDirectory, isRegular, isSymlink } from "./attributes.js";
import type { CatalogPort, InodeRecord } from "./catalog-port.js";
import type { Caller, ColdOpens } from "./cold-opens.js";
import { clearRange, wholeBlocks } from "./content-ranges.js";
import { ContentVersions, isNotFound } from "./content-versions.js";
import type { FileStreams } from "./file-streams.js";
import { type HandleTable, OpenFile, type OpenIntent } from "./handle-table.js";
import { OpenFileJournal } from "./open-file-journal.js";
import { PartialFile } from "./partial-file.js";
import type { PartialReads, ReadManner } from "./partial-reads.js";
import type { CachedContents, ContentFile, FileHolders, StagedRange, StagingArea, UploadRequests } from "./ports.js";
import type { FileSystemSettings } from "./settings.js";
import type { StagingRoom } from "./staging-room.js";
import type { UploadSchedule } from "./upload-schedule.js";

export interface FileContentsParts {
  readonly catalog: CatalogPort;
  readonly staging: StagingArea;
  readonly cache: CachedContents;
  readonly uploads: UploadRequests;
  readonly coldOpens: ColdOpens;
  readonly partialReads: PartialReads;
  readonly room: StagingRoom;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly schedule: UploadSchedule;
  readonly handles: HandleTable;
  readonly streams: FileStreams;
  readonly holders: FileHolders;
  readonly settings: FileSystemSettings;
}

/** Who closes a descriptor. */
type Closer = Pick<Caller, "pid" | "signal">;

/** As the kernel reads to fill its pages. */
const pagedRead: ReadManner = { isDirect: false, nonBlock: false };
/** A hole is made by a program that takes milliseconds to start. */
const freedBytesMin = MIB;
const writeIntent: OpenIntent = { write: true, append: false, truncate: false, nonBlock: false };

export class FileContents {
  readonly handles: HandleTable;
  readonly #parts: FileContentsParts;
  readonly #versions: ContentVersions;
  readonly #journal: OpenFileJournal;
  readonly #locks = new KeyedMutex<InodeNumber>();

  constructor(parts: FileContentsParts) {
    this.#parts = parts;
    this.handles = parts.handles;
    this.#versions = new ContentVersions({ ...parts, locks: this.#locks });
    this.#journal = new OpenFileJournal(parts);
  }

  /** @returns the number of the handle. Waits for a cold content as the settings say. */
  async open(ino: InodeNumber, intent: OpenIntent, caller: Caller): Promise<number> {
    for (;;) {
      const record = this.#regularFile(ino);
      const isPartial = await this.#parts.partialReads.admits(record, intent, caller);
      if (!intent.truncate && !isPartial && !(await this.#bring(record, intent, caller))) continue;
      if (this.#locks.isHeld(ino)) this.#parts.catalog.runSoon();
      const handle = await this.#locks.run(ino, () => this.#attach(ino, intent));
      // Undefined: it was evicted between landing and now; bring it again.
      if (handle !== undefined) return handle;
    }
  }

  /** A handle on a file that was just made, with its first content. */
  openNew(record: InodeRecord, intent: OpenIntent): number {
    return this.handles.add(this.handles.file(record.ino) ?? new OpenFile(record, null), intent);
  }

  /**
   * Reads what is here, for everything but a handle of which only windows are.
   *
   * @param caller Who waits for what is missing of such a file; without one that fails as `PartialFile.read`.
   */
  async read(
    number: number,
    offset: number,
    into: Uint8Array,
    caller?: Caller,
    manner: ReadManner = pagedRead,
  ): Promise<number> {
    const handle = this.handles.handle(number);
    const { open } = handle;
    for (;;) {
      const { file } = open;
      if (file === null || offset >= open.sizeBytes) return 0;
      const wanted = Math.min(into.length, open.sizeBytes - offset);
      const target = wanted === into.length ? into : into.subarray(0, wanted);
      if (!(file instanceof PartialFile)) return file.read(offset, target);
      if (file.state === "landed") await this.#locks.run(open.ino, () => this.#refreshPartial(open));
      else if (caller === undefined) return file.read(offset, target);
      else {
        const range = byteRange(offset, offset + wanted);
        await this.#parts.partialReads.bring({ handle, file, range, caller, manner });
        if (open.file === file && file.state === "here") return file.read(offset, target);
      }
    }
  }

  /** Whether reads of the handle may wait, and so have to pass by the page cache. */
  isDirect(number: number): boolean {
    return this.handles.handle(number).open.file instanceof PartialFile;
  }

  /**
   * Writes all of `data`; waits for room where there is none, and holds no lock meanwhile.
   *
   * @param isAppend Whether it goes to the end, wherever `offset` is: fcntl(2) may have changed what open(2) asked for,
   *   and pages of a map have their place although the handle appends.
   * @throws FileSystemError "no-space", "too-large" or "corrupt" for a file that outgrew staging, CancelledError when
   *   `caller` was interrupted; nothing is written then.
   */
  async write(
    number: number,
    offset: number,
    data: Uint8Array,
    caller: Caller,
    isAppend = this.handles.handle(number).intent.append,
  ): Promise<void> {
    const { open, intent } = this.handles.handle(number);
    if (!intent.write) throw new FileSystemError("bad-handle", `Handle ${number} is not open for writing`);
    const { room, streams } = this.#parts;
    let admitted: { readonly content: ContentId; readonly end: number } | undefined;
    for (;;) {
      const file = open.isWritable ? open.file! : await this.#versions.forWriting(open, caller);
      const content = open.content?.id;
      const start = isAppend ? open.sizeBytes : offset;
      if (content === undefined || !open.isWritable || open.file !== file) continue;
      const range = byteRange(start, start + data.length);
      streams.requireWritable(open, range);
      // Who has waited has its room, unless the content was sealed or the file has grown meanwhile.
      const isAdmitted = admitted?.content === content && admitted.end === range.end;
      if (!isAdmitted && !room.take(content, range)) {
        await room.wait({ ino: open.ino, caller }, content, range).catch((error: unknown) => {
          // A file that is lost is no question of room.
          streams.requireWritable(open, range);
          throw error;
        });
        admitted = { content, end: range.end };
        continue;
      }
      // Only now that it will be written: who waits for room has not broken the promise yet.
      if (open.promised) {
        await this.#locks.run(open.ino, () => this.#journal.takeBackPromise(open));
        admitted = { content, end: range.end };
        continue;
      }
      open.beginWrite(range);
      try {
        await file.write(start, data);
        // A close() of another handle may have sealed the content meanwhile: then the bytes go to what follows it.
        if (!open.isWritable || open.file !== file) {
          // They may have come behind the end that it was cut to, and this time there may be no room for them.
          open.endsExactly = false;
          continue;
        }
        open.wrote(range, this.#now());
        open.wroteBy(caller.pid);
      } catch (error) {
        open.endsExactly = false;
        throw error;
      } finally {
        open.endWrite(range);
      }
      return streams.consider(open);
    }
  }

  /** ftruncate and truncate. Cutting a cold file to a size above 0 starts its recall and fails with EAGAIN. */
  async truncate(ino: InodeNumber, sizeBytes: number): Promise<void> {
    await this.#locks.run(ino, async () => {
      const record = this.#regularFile(ino);
      const { coldOpens } = this.#parts;
      // Nothing changes, so nothing is recalled, copied or uploaded.
      if (sizeBytes === this.overlay(record).sizeBytes) return;
      const open = this.handles.file(ino);
      const isHere = open !== undefined && !(open.file instanceof PartialFile);
      if (sizeBytes > 0 && !isHere && coldOpens.isCold(record.content)) {
        await coldOpens.startRecall(record);
        throw new FileSystemError("not-restored", `Cannot cut inode ${ino}: it is in cold storage`);
      }
      if (open === undefined) return this.#setSizeWithoutHandle(ino, sizeBytes);
      await this.#refreshPartial(open);
      await this.#setSize(open, sizeBytes);
      // Readers alone never seal.
      if (open.writers === 0) await this.#journal.seal(open);
    });
  }

  /**
   * posix_fallocate: the file is at least as long as `range` says, and there is room for that range.
   *
   * @throws as `write`.
   */
  async extend(number: number, range: StagedRange, caller: Caller): Promise<void> {
    const { open } = this.handles.handle(number);
    if (open.sizeBytes >= range.end) return;
    await this.#versions.forWriting(open, caller);
    const content = open.content?.id;
    const { room, streams } = this.#parts;
    streams.requireWritable(open, byteRange(range.end, range.end));
    if (content !== undefined && !room.take(content, range)) await room.wait({ ino: open.ino, caller }, content, range);
    await this.#versions.withFileForWriting(open, caller, async (file) => {
      await file.extendTo(range.end);
      open.grew(range.end, this.#now());
      await this.#journal.record(open);
    });
  }

  /**
   * Makes a range zero, as far as the file goes (FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE).
   *
   * @param options.frees Whole blocks of the range leave the disk, if it is large enough to be worth it.
   * @throws as `write`.
   */
  async clear(
    number: number,
    range: StagedRange,
    caller: Caller,
    { frees }: { readonly frees: boolean },
  ): Promise<void> {
    const { open } = this.handles.handle(number);
    if (range.start >= open.sizeBytes) return;
    await this.#versions.withFileForWriting(open, caller, async (file) => {
      await this.#journal.takeBackPromise(open);
      const cleared = byteRange(range.start, Math.min(range.end, open.sizeBytes));
      this.#parts.streams.requireWritable(open, cleared);
      open.beginWrite(cleared);
      try {
        await clearRange(file, cleared);
        if (frees) await this.#free(open, cleared);
        open.wrote(cleared, this.#now());
      } finally {
        open.endWrite(cleared);
      }
    });
  }

  /** close() promises what was written so far: size and times are journaled; see SEMANTICS.md, "When is it safe". */
  async flush(number: number, closer: Closer): Promise<void> {
    const { open, intent } = this.handles.handle(number);
    if (!intent.write && !intent.truncate) return;
    if (open.syncFailure !== undefined) throw open.syncFailure;
    if (open.dirty) await this.#journal.record(open);
    if (this.#parts.streams.isSpilled(open)) await this.#complete(open, closer);
    else if (this.#parts.settings.commit === "archived") await this.#archive(open, closer.signal);
  }

  /** @param signal Ends the waiting for parts of a file that outgrew staging. */
  async fsync(number: number, signal?: () => AbortSignal): Promise<void> {
    const { open } = this.handles.handle(number);
    await this.#parts.streams.settled(open, signal?.());
    const { file, writes } = open;
    await syncFile(open);
    open.synced = open.file === file && open.writes === writes;
    if (open.dirty || open.content?.phase === "writing") await this.#journal.record(open);
    else if (open.synced) await this.#journal.markDurable(open);
    await this.#parts.staging.syncDirectory();
    await this.#parts.catalog.flush();
  }

  /** @returns the inode when this was its last handle. */
  async release(number: number): Promise<InodeNumber | undefined> {
    const { open } = this.handles.handle(number);
    return this.#parts.room.sealing(this.#release(number, open));
  }

  #release(number: number, open: OpenFile): Promise<InodeNumber | undefined> {
    return this.#locks.run(open.ino, async () => {
      const otherWriters = open.writers - (this.handles.handle(number).intent.write ? 1 : 0);
      try {
        // Nobody waits for a RELEASE; who opens the file meanwhile hurries it.
        if (otherWriters === 0) await this.#journal.seal(open, { soon: true });
      } finally {
        // Whatever happened, the kernel has forgotten the handle. What FLUSH promised is sealed at the next start.
        this.handles.remove(number);
        if (open.handles === 0) await open.file?.close();
      }
      return open.handles === 0 ? open.ino : undefined;
    });
  }

  /** The file has lost its last name, and is still open. */
  async forsakeUpload(ino: InodeNumber): Promise<void> {
    await this.#locks.run(ino, async () => {
      const open = this.handles.file(ino);
      if (open !== undefined) await this.#parts.streams.forsake(open);
    });
  }

  /** Size and times of an open file, which are newer than those of the catalog. */
  overlay(record: InodeRecord): Pick<InodeRecord, "sizeBytes" | "mtime" | "ctime"> {
    const open = this.handles.file(record.ino);
    if (!open?.dirty) return record;
    return { sizeBytes: open.sizeBytes, mtime: open.mtime, ctime: laterTime(open.ctime, record.ctime) };
  }

  /** utimens on an open file: the given time stays until the next write. */
  setTime(ino: InodeNumber, mtime: FileTime): void {
    const open = this.handles.file(ino);
    if (open !== undefined) open.mtime = mtime;
  }

  /** @returns false when the file has other content by now, and the recall that was waited for failed. */
  async #bring(record: InodeRecord, intent: OpenIntent, caller: Caller): Promise<boolean> {
    try {
      await this.#parts.coldOpens.bring(record, intent, caller);
      return true;
    } catch (error) {
      const present = this.#parts.catalog.inode(record.ino);
      const isRewritten = present !== undefined && present.content?.id !== record.content?.id;
      if (caller.signal.aborted || !isRewritten) throw error;
      return false;
    }
  }

  #regularFile(ino: InodeNumber): InodeRecord {
    const record = this.#parts.catalog.inode(ino);
    if (record === undefined) throw new FileSystemError("stale", `Inode ${ino} is gone`);
    if (isDirectory(record.mode)) throw new FileSystemError("is-a-directory", `Inode ${ino} is a directory`);
    if (isSymlink(record.mode)) throw new FileSystemError("loop", `Inode ${ino} is a symbolic link`);
    if (!isRegular(record.mode)) throw new FileSystemError("not-supported", `Inode ${ino} is a special file`);
    return record;
  }

  async #attach(ino: InodeNumber, intent: OpenIntent): Promise<number | undefined> {
    const present = this.handles.file(ino);
    if (present !== undefined && !intent.truncate && !(await this.#refresh(present, intent))) return undefined;
    const open = present ?? (await this.#openFile(ino, intent));
    if (open === undefined) return undefined;
    const number = this.handles.add(open, intent);
    if (!intent.truncate) return number;
    try {
      // Opening for a rewrite promises nothing yet: a crash before the first close() brings the old content back.
      await this.#setSize(open, 0, { promised: false });
    } catch (error) {
      this.handles.remove(number);
      if (open.handles === 0) await open.file?.close();
      throw error;
    }
    return number;
  }

  // A file that outgrew staging, that is archived, and that somebody has open still: what was recalled has all of it.
  async #refresh(open: OpenFile, intent: OpenIntent): Promise<boolean> {
    await this.#refreshPartial(open);
    if (open.file instanceof PartialFile) return this.#parts.partialReads.takes(this.#regularFile(open.ino), intent);
    const { content } = this.#regularFile(open.ino);
    const isStale = content?.archive != null && content.id === open.content?.id && open.content.archive === null;
    if (!isStale || this.#parts.staging.isWhole(content.id)) return true;
    if (this.#parts.coldOpens.isCold(content)) return false;
    await this.#versions.replace(open, content, await this.#versions.openLocal(content));
    return true;
  }

  /** Under the lock: a file of which windows were here may be whole by now, or have lost them. */
  async #refreshPartial(open: OpenFile): Promise<void> {
    const { coldOpens, partialReads } = this.#parts;
    const { file, content } = open;
    if (!(file instanceof PartialFile) || content === null) return;
    const isCold = coldOpens.isCold(content);
    if (isCold && file.state === "here") return;
    const next = isCold ? partialReads.fileOf({ content }) : await this.#versions.openLocal(content);
    await this.#versions.replace(open, content, next);
  }

  async #openFile(ino: InodeNumber, intent: OpenIntent): Promise<OpenFile | undefined> {
    const record = this.#regularFile(ino);
    if (intent.truncate) return new OpenFile(record, null);
    if (this.#parts.coldOpens.isCold(record.content)) {
      const { partialReads } = this.#parts;
      return partialReads.takes(record, intent) ? new OpenFile(record, partialReads.fileOf(record)) : undefined;
    }
    try {
      return new OpenFile(record, await this.#versions.openLocal(record.content));
    } catch (error) {
      if (record.content?.archive != null && isNotFound(error)) return undefined;
      throw error;
    }
  }

  // truncate(2) without a handle: open it for as long as it takes.
  async #setSizeWithoutHandle(ino: InodeNumber, sizeBytes: number): Promise<void> {
    const number = await this.#attach(ino, { ...writeIntent, truncate: sizeBytes === 0 });
    if (number === undefined) throw new FileSystemError("not-restored", `Inode ${ino} was evicted`);
    const { open } = this.handles.handle(number);
    try {
      if (sizeBytes > 0) await this.#setSize(open, sizeBytes);
      await this.#journal.seal(open);
    } finally {
      this.handles.remove(number);
      await open.file?.close();
    }
  }

  async #setSize(open: OpenFile, sizeBytes: number, { promised } = { promised: true }): Promise<void> {
    // Bytes go only after the journal says so: a crash in between leaves the old file, not neither.
    const { streams } = this.#parts;
    let cut: ContentFile | undefined;
    if (sizeBytes === 0) await this.#empty(open);
    else {
      streams.requireWritable(open, byteRange(sizeBytes, sizeBytes));
      const file = await this.#versions.forWritingAtOnce(open);
      if (sizeBytes < open.sizeBytes) {
        await streams.cut(open, sizeBytes);
        open.endsExactly = false;
        cut = file;
      } else await file.truncate(sizeBytes);
    }
    open.setSize(sizeBytes);
    open.mtime = this.#now();
    open.ctime = open.mtime;
    open.synced = false;
    await this.#journal.record(open, { promised });
    await cut?.truncate(sizeBytes);
    // The close() that follows has to promise it.
    if (!promised) open.dirty = true;
  }

  // Only what is zero by now, so that it changes no byte, whoever reads or hashes them meanwhile.
  async #free(open: OpenFile, cleared: ByteRange): Promise<void> {
    const hole = wholeBlocks(cleared);
    const content = open.content?.id;
    if (content === undefined || hole.end - hole.start < freedBytesMin) return;
    await this.#parts.staging.free(content, hole);
  }

  // Dropping the bytes needs no copy of them, and no recall: a content that close() has promised is left behind.
  async #empty(open: OpenFile): Promise<void> {
    const content = this.#parts.catalog.inode(open.ino)?.content ?? null;
    if (content === null) return;
    const { catalog, streams } = this.#parts;
    const isSpilled = content.phase === "writing" && streams.isSpilled(open);
    await streams.forsake(open);
    if (content.phase === "writing" && !isSpilled) {
      const file = await this.#versions.forWritingAtOnce(open);
      return file.truncate(0);
    }
    const next = await catalog.mutate(() => {
      catalog.updateInode(open.ino, { sizeBytes: 0 });
      const inserted = catalog.insertContent(open.ino, { newest: true });
      // Holes cannot be written again.
      if (isSpilled) catalog.removeContent(content.id);
      return inserted;
    });
    await this.#versions.replace(open, next, null);
  }

  // Parts of it are only in the vault: it is safe when the vault has the whole, and who closes it hears of that.
  async #complete(open: OpenFile, { pid, signal }: Closer): Promise<void> {
    const { holders, streams } = this.#parts;
    await streams.settled(open, signal);
    // The last of several writers completes it: nothing can be added to an archive.
    const isHeld = open.writers > 1 || (await holders.isHeld(open.ino, { closer: pid, writers: open.writerPids }));
    if (!isHeld) await this.#archive(open, signal);
  }

  // `--commit archived`: close() returns when the service has confirmed the bytes.
  async #archive(open: OpenFile, signal: AbortSignal): Promise<void> {
    const { catalog, room, schedule, settings, streams, uploads } = this.#parts;
    // Who renames it will have it archived under its name.
    if (schedule.isTemporary(open.ino) && !streams.isSpilled(open)) return;
    await room.sealing(this.#locks.run(open.ino, () => this.#journal.seal(open)));
    await archiveNewest({ catalog, uploads }, open.ino, { signal, patienceMs: settings.stallTimeoutMs });
    // What the service has confirmed, this catalog must not have forgotten after a power loss.
    await catalog.flush();
  }

  #now(): FileTime {
    return fileTime(this.#parts.clock.now());
  }
}

/** @throws what the disk said, now or before. */
async function syncFile(open: OpenFile): Promise<void> {
  const { file } = open;
  if (open.syncFailure !== undefined) throw open.syncFailure;
  try {
    await file?.sync();
  } catch (error) {
    if (open.file === file) open.syncFailure = error as Error;
    throw error;
  }
}
