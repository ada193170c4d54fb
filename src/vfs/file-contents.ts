/**
 * The bytes of regular files: open, read, write, truncate, flush, seal.
 *
 * Relies on: `ColdOpens` has made a content local before a handle exists. A content that is claimed or archived is
 * immutable: the first write goes to a copy, the next version. What belongs to a version is decided under the lock of
 * its inode; a plain read or write takes no lock.
 * Never: the network, nor a removal of staged bytes (the catalog's listener does that after the commit).
 */

import { byteRange, MIB } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import type { Observer } from "../domain/events.js";
import type { ContentId, InodeNumber } from "../domain/ids.js";
import { type Clock, type FileTime, fileTime, laterTime } from "../domain/time.js";
import { KeyedMutex } from "../lib/concurrency.js";
import { archiveNewest } from "./archived-close.js";
import { isDirectory, isRegular, isSymlink } from "./attributes.js";
import type { CatalogPort, ContentRecord, InodeRecord } from "./catalog-port.js";
import type { Caller, ColdOpens } from "./cold-opens.js";
import { clearRange } from "./content-ranges.js";
import type { FileStreams } from "./file-streams.js";
import { type HandleTable, OpenFile, type OpenIntent } from "./handle-table.js";
import type {
  CachedContents,
  ContentFile,
  FileHolders,
  LocalContent,
  StagedRange,
  StagingArea,
  UploadRequests,
} from "./ports.js";
import type { FileSystemSettings } from "./settings.js";
import type { RoomReservation, StagingRoom } from "./staging-room.js";
import type { UploadSchedule } from "./upload-schedule.js";

export interface FileContentsParts {
  readonly catalog: CatalogPort;
  readonly staging: StagingArea;
  readonly cache: CachedContents;
  readonly uploads: UploadRequests;
  readonly coldOpens: ColdOpens;
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

const writeIntent: OpenIntent = { write: true, append: false, truncate: false, nonBlock: false };

export class FileContents {
  readonly handles: HandleTable;
  readonly #parts: FileContentsParts;
  readonly #locks = new KeyedMutex<InodeNumber>();

  constructor(parts: FileContentsParts) {
    this.#parts = parts;
    this.handles = parts.handles;
  }

  /** @returns the number of the handle. Waits for a cold content as the settings say. */
  async open(ino: InodeNumber, intent: OpenIntent, caller: Caller): Promise<number> {
    for (;;) {
      const record = this.#regularFile(ino);
      if (!intent.truncate && !(await this.#bring(record, intent, caller))) continue;
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

  async read(number: number, offset: number, into: Uint8Array): Promise<number> {
    const { open } = this.handles.handle(number);
    if (open.file === null || offset >= open.sizeBytes) return 0;
    const wanted = Math.min(into.length, open.sizeBytes - offset);
    const target = wanted === into.length ? into : into.subarray(0, wanted);
    return open.file.read(offset, target);
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
      const file = open.isWritable ? open.file! : await this.#lockedForWriting(open, caller);
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
        await this.#locks.run(open.ino, () => this.#takeBackPromise(open));
        admitted = { content, end: range.end };
        continue;
      }
      open.beginWrite(range);
      try {
        await file.write(start, data);
        // A close() of another handle may have sealed the content meanwhile: then the bytes go to what follows it.
        if (!open.isWritable || open.file !== file) continue;
        open.wrote(range, this.#now());
        open.wroteBy(caller.pid);
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
      if (sizeBytes > 0 && this.handles.file(ino) === undefined && coldOpens.isCold(record.content)) {
        await coldOpens.startRecall(record);
        throw new FileSystemError("not-restored", `Cannot cut inode ${ino}: it is in cold storage`);
      }
      const open = this.handles.file(ino);
      if (open === undefined) return this.#setSizeWithoutHandle(ino, sizeBytes);
      await this.#setSize(open, sizeBytes);
      // Readers alone never seal.
      if (open.writers === 0) await this.#seal(open);
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
    await this.#lockedForWriting(open, caller);
    const content = open.content?.id;
    const { room, streams } = this.#parts;
    streams.requireWritable(open, byteRange(range.end, range.end));
    if (content !== undefined && !room.take(content, range)) await room.wait({ ino: open.ino, caller }, content, range);
    await this.#withFileForWriting(open, caller, async (file) => {
      await file.extendTo(range.end);
      open.grew(range.end, this.#now());
      await this.#journal(open);
    });
  }

  /**
   * Makes a range zero, as far as the file goes (FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE).
   *
   * @throws as `write`.
   */
  async clear(number: number, range: StagedRange, caller: Caller): Promise<void> {
    const { open } = this.handles.handle(number);
    if (range.start >= open.sizeBytes) return;
    await this.#withFileForWriting(open, caller, async (file) => {
      await this.#takeBackPromise(open);
      const cleared = byteRange(range.start, Math.min(range.end, open.sizeBytes));
      this.#parts.streams.requireWritable(open, cleared);
      open.beginWrite(cleared);
      try {
        await clearRange(file, cleared);
        open.wrote(cleared, this.#now());
      } finally {
        open.endWrite(cleared);
      }
    });
  }

  /** close() promises what was written so far: size and times are journaled; see design "when is it safe". */
  async flush(number: number, closer: Closer): Promise<void> {
    const { open, intent } = this.handles.handle(number);
    if (!intent.write && !intent.truncate) return;
    if (open.syncFailure !== undefined) throw open.syncFailure;
    if (open.dirty) await this.#journal(open);
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
    if (open.dirty || open.content?.phase === "writing") await this.#journal(open);
    else if (open.synced) await this.#markDurable(open);
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
        if (otherWriters === 0) await this.#seal(open, { soon: true });
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
    if (present !== undefined && !intent.truncate && !(await this.#refresh(present))) return undefined;
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
  async #refresh(open: OpenFile): Promise<boolean> {
    const { content } = this.#regularFile(open.ino);
    const isStale = content?.archive != null && content.id === open.content?.id && open.content.archive === null;
    if (!isStale || this.#parts.staging.isWhole(content.id)) return true;
    if (this.#parts.coldOpens.isCold(content)) return false;
    await this.#replaceFile(open, content, await this.#openContent(content));
    return true;
  }

  async #openFile(ino: InodeNumber, intent: OpenIntent): Promise<OpenFile | undefined> {
    const record = this.#regularFile(ino);
    if (intent.truncate) return new OpenFile(record, null);
    if (this.#parts.coldOpens.isCold(record.content)) return undefined;
    try {
      return new OpenFile(record, await this.#openContent(record.content));
    } catch (error) {
      if (record.content?.archive != null && isNotFound(error)) return undefined;
      throw error;
    }
  }

  async #openContent(content: ContentRecord | null): Promise<ContentFile | null> {
    if (content === null) return null;
    const place = placeOf(content);
    if (place.place === "cache") return this.#parts.cache.open(place.archive);
    try {
      return await this.#parts.staging.open(place.content);
    } catch (error) {
      // A content that was never written has no staging file yet.
      if (content.phase === "writing" && isNotFound(error)) return null;
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
      await this.#seal(open);
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
      const file = await this.#forWritingAtOnce(open);
      if (sizeBytes < open.sizeBytes) {
        await streams.cut(open, sizeBytes);
        cut = file;
      } else await file.truncate(sizeBytes);
    }
    open.setSize(sizeBytes);
    open.mtime = this.#now();
    open.ctime = open.mtime;
    open.synced = false;
    await this.#journal(open, { promised });
    await cut?.truncate(sizeBytes);
    // The close() that follows has to promise it.
    if (!promised) open.dirty = true;
  }

  // Dropping the bytes needs no copy of them, and no recall: a content that close() has promised is left behind.
  async #empty(open: OpenFile): Promise<void> {
    const content = this.#parts.catalog.inode(open.ino)?.content ?? null;
    if (content === null) return;
    const { catalog, streams } = this.#parts;
    const isSpilled = content.phase === "writing" && streams.isSpilled(open);
    await streams.forsake(open);
    if (content.phase === "writing" && !isSpilled) {
      const file = await this.#forWritingAtOnce(open);
      return file.truncate(0);
    }
    const next = await catalog.mutate(() => {
      catalog.updateInode(open.ino, { sizeBytes: 0 });
      const inserted = catalog.insertContent(open.ino, { newest: true });
      // Holes cannot be written again.
      if (isSpilled) catalog.removeContent(content.id);
      return inserted;
    });
    await this.#replaceFile(open, next, null);
  }

  // A child that inherited the descriptor has closed its copy, and the writer goes on: a crash from here on must not take
  // a half-written content for a promised one.
  async #takeBackPromise(open: OpenFile): Promise<void> {
    const { content } = open;
    if (!open.promised || content?.phase !== "writing") return;
    const { catalog } = this.#parts;
    await catalog.mutate(() => catalog.updateContent(content.id, { flushed: false }));
    open.promised = false;
  }

  #lockedForWriting(open: OpenFile, caller: Caller): Promise<ContentFile> {
    return this.#withFileForWriting(open, caller, async (file) => file);
  }

  /** Runs `work` under the lock of the inode. Room for a copy is waited for before that: nobody is locked out. */
  async #withFileForWriting<T>(open: OpenFile, caller: Caller, work: (file: ContentFile) => Promise<T>): Promise<T> {
    for (;;) {
      if (open.content?.phase !== "writing") this.#parts.streams.requireWhole(open);
      const bytes = this.#copyBytesNeeded(open);
      using room = bytes === 0 ? undefined : await this.#parts.room.reserve(open.ino, bytes, caller);
      const done = await this.#locks.run(open.ino, async () => {
        // An upload may have claimed the content, or another handle made the copy larger, since that was looked at.
        if (this.#copyBytesNeeded(open) > (room?.bytes ?? 0)) return undefined;
        return { result: await work(await this.#forWriting(open, room)) };
      });
      if (done !== undefined) return done.result;
    }
  }

  /** Under the lock, for requests that must not wait. @throws FileSystemError "no-space" when a copy has no room. */
  async #forWritingAtOnce(open: OpenFile): Promise<ContentFile> {
    if (open.content?.phase !== "writing") this.#parts.streams.requireWhole(open);
    const bytes = this.#copyBytesNeeded(open);
    using room = bytes === 0 ? undefined : await this.#parts.room.reserve(open.ino, bytes, undefined);
    // Awaited here: the room is given back, unless it was settled, when this returns.
    return await this.#forWriting(open, room);
  }

  /** What a copy takes of the content that the next write must not change; 0 when it may be written in place. */
  #copyBytesNeeded(open: OpenFile): number {
    if (open.isWritable) return 0;
    const phase = this.#parts.catalog.inode(open.ino)?.content?.phase;
    return phase === "claimed" || phase === "archived" ? open.sizeBytes : 0;
  }

  /**
   * Under the lock: makes `open.file` a staging file that may be written.
   *
   * @param room For the copy, where one is needed.
   */
  async #forWriting(open: OpenFile, room: RoomReservation | undefined): Promise<ContentFile> {
    if (open.isWritable) return open.file!;
    const { catalog, staging } = this.#parts;
    const content = catalog.inode(open.ino)?.content ?? null;
    if (content === null) {
      const first = await catalog.mutate(() => catalog.insertContent(open.ino, { newest: true }));
      await this.#replaceFile(open, first, await staging.create(first.id));
    } else if (content.phase === "writing") {
      await this.#replaceFile(open, content, open.file ?? (await staging.create(content.id)));
    } else if (content.phase === "sealed") {
      await this.#unseal(open, content, room);
    } else {
      await this.#copy(open, content, room);
    }
    return open.file!;
  }

  async #unseal(open: OpenFile, content: ContentRecord, room: RoomReservation | undefined): Promise<void> {
    const { catalog, staging } = this.#parts;
    const file = open.file ?? (await staging.open(content.id));
    // Checked again by the catalog's own state: the upload may have claimed it while the file was opened.
    const present = catalog.inode(open.ino)?.content;
    if (present?.phase !== "sealed") {
      if (file !== open.file) await file.close();
      return this.#copy(open, present!, room);
    }
    await catalog.mutate(() => catalog.updateContent(content.id, { phase: "writing", interrupted: false }));
    await this.#replaceFile(open, { ...content, phase: "writing", interrupted: false }, file);
  }

  // The copy becomes the newest version only when its bytes are there: a crash in between leaves the former one.
  async #copy(open: OpenFile, content: ContentRecord, reserved: RoomReservation | undefined): Promise<void> {
    const { catalog } = this.#parts;
    // Nothing is reserved when an upload claimed the content in the last moment: then there is room, or ENOSPC.
    using room = reserved ?? (await this.#parts.room.reserve(open.ino, open.sizeBytes, undefined));
    const next = await catalog.mutate(() => catalog.insertContent(open.ino, { newest: false }));
    try {
      const file = await this.#copyBytes(open, content, next.id);
      room.settle(next.id);
      await catalog.mutate(() => catalog.updateInode(open.ino, { content: next.id }));
      await this.#replaceFile(open, next, file);
    } catch (error) {
      // Half a copy is of no use to anybody, and takes room; should this fail too, the next start removes it.
      await catalog.mutate(() => catalog.removeContent(next.id)).catch(() => undefined);
      throw error;
    }
  }

  async #copyBytes(open: OpenFile, content: ContentRecord, into: ContentId): Promise<ContentFile> {
    const { catalog, staging } = this.#parts;
    // An upload may have been confirmed since the record was read.
    const present = catalog.contentsOf(open.ino).find((one) => one.id === content.id) ?? content;
    try {
      return await staging.copyOf(placeOf(present), into, open.sizeBytes);
    } catch (error) {
      if (!isNotFound(error) || open.file === null) throw error;
      // Archived and evicted while it was open: the open file still has the bytes.
      const file = await staging.create(into);
      await copyThrough(open.file, file, open.sizeBytes);
      return file;
    }
  }

  async #replaceFile(open: OpenFile, content: ContentRecord, file: ContentFile | null): Promise<void> {
    const former = open.file;
    if (open.content?.id !== content.id) open.promised = false;
    if (open.file !== file) open.syncFailure = undefined;
    open.content = content;
    open.file = file;
    open.synced = false;
    // Reads that are under way finish first.
    if (former !== null && former !== file) await former.close();
  }

  // fsync of a file that was closed before: its content waits for the upload.
  async #markDurable(open: OpenFile): Promise<void> {
    const { catalog } = this.#parts;
    const content = catalog.inode(open.ino)?.content;
    if (content == null || content.id !== open.content?.id || content.phase === "archived") return;
    await catalog.mutate(() => catalog.updateContent(content.id, { durable: true }));
  }

  async #journal(open: OpenFile, { promised } = { promised: true }): Promise<void> {
    const { catalog } = this.#parts;
    const { sizeBytes } = open;
    open.dirty = false;
    try {
      await catalog.mutate(() => {
        catalog.updateInode(open.ino, { sizeBytes, ...this.#timesOf(open) });
        const flushed = promised ? { flushed: true } : {};
        if (open.content?.phase !== "writing") return;
        catalog.updateContent(open.content.id, { sizeBytes, durable: open.synced, ...flushed });
      });
      if (promised) open.promised = true;
    } catch (error) {
      open.dirty = true;
      throw error;
    }
  }

  /** Under the lock: what was written becomes a content that waits for its upload. */
  async #seal(open: OpenFile, { soon } = { soon: false }): Promise<ContentId | undefined> {
    const content = open.content;
    if (content?.phase !== "writing") return undefined;
    const { catalog, uploads, observer } = this.#parts;
    // A file without a name goes with its last handle.
    if ((catalog.inode(open.ino)?.nlink ?? 0) === 0) return undefined;
    if (open.sizeBytes === 0) {
      await this.#sealEmpty(open);
      return undefined;
    }
    const { streams, schedule, clock } = this.#parts;
    const stream = await streams.end(open);
    const { sizeBytes, synced: durable } = open;
    // What the disk may have lost is kept for a person to judge.
    const interrupted = open.syncFailure !== undefined;
    if (stream.lost || (interrupted && !stream.isWhole)) {
      await this.#keepInterrupted(open, content);
      return undefined;
    }
    // An upload that has begun lives for a day.
    const dueAt = stream.isWhole ? schedule.dueAt(open.ino) : clock.now();
    open.content = { ...content, phase: "sealed" };
    open.dirty = false;
    try {
      // A write that failed half-way may have left bytes behind the end.
      await open.file?.truncate(sizeBytes);
      const change = () => {
        catalog.updateInode(open.ino, { sizeBytes, ...this.#timesOf(open) });
        stream.journal();
        catalog.updateContent(content.id, {
          phase: "sealed",
          sizeBytes,
          flushed: true,
          recovered: false,
          interrupted,
          durable,
          dueAt,
        });
        if (content.version > 1 && !interrupted) this.#dropSealedVersions(open.ino, content.id);
      };
      await (soon ? catalog.mutateSoon(change) : catalog.mutate(change));
    } catch (error) {
      open.content = content;
      open.dirty = true;
      throw error;
    }
    observer({ type: "content-sealed", content: content.id, sizeBytes });
    if (interrupted) return undefined;
    uploads.enqueue(content.id, dueAt);
    return content.id;
  }

  /** Under the lock: parts of it are nowhere any more. */
  async #keepInterrupted(open: OpenFile, content: ContentRecord): Promise<void> {
    const { catalog, observer } = this.#parts;
    const path = catalog.pathInVault(open.ino).join("/");
    open.content = { ...content, phase: "sealed", interrupted: true };
    open.dirty = false;
    const kept = await catalog.mutate(() => catalog.keepInterrupted(content.id, open.sizeBytes));
    observer({ type: "warning", message: `${path} cannot be archived, its upload was forgotten: ${kept}` });
  }

  /** Inside `mutate`: of several versions that are not on their way yet only the newest is uploaded. */
  #dropSealedVersions(ino: InodeNumber, newest: ContentId): void {
    const { catalog } = this.#parts;
    for (const { id, phase } of catalog.contentsOf(ino)) {
      if (id < newest && phase === "sealed") catalog.removeContent(id);
    }
  }

  // There are no zero-byte archives: an empty file has no content, and what it had before is no longer wanted.
  async #sealEmpty(open: OpenFile): Promise<void> {
    const { catalog } = this.#parts;
    const { content, file } = open;
    // At once, so that a write through another handle makes a content of its own.
    open.content = null;
    open.file = null;
    open.dirty = false;
    try {
      await catalog.mutate(() => {
        catalog.updateInode(open.ino, { sizeBytes: 0, ...this.#timesOf(open), content: null });
        for (const one of catalog.contentsOf(open.ino)) catalog.removeContent(one.id);
      });
    } catch (error) {
      open.content = content;
      open.file = file;
      open.dirty = true;
      throw error;
    }
    await file?.close();
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
    await room.sealing(this.#locks.run(open.ino, () => this.#seal(open)));
    await archiveNewest({ catalog, uploads }, open.ino, { signal, patienceMs: settings.stallTimeoutMs });
    // What the service has confirmed, this catalog must not have forgotten after a power loss.
    await catalog.flush();
  }

  /** Inside `mutate`: the last write, unless a chmod or rename was later. */
  #timesOf({ ino, mtime, ctime }: OpenFile): { readonly mtime: FileTime; readonly ctime: FileTime } {
    return { mtime, ctime: laterTime(ctime, this.#parts.catalog.inode(ino)?.ctime ?? ctime) };
  }

  #now(): FileTime {
    return fileTime(this.#parts.clock.now());
  }
}

function placeOf(content: ContentRecord): LocalContent {
  return content.archive === null
    ? { place: "staging", content: content.id }
    : { place: "cache", archive: content.archive };
}

async function copyThrough(from: ContentFile, into: ContentFile, sizeBytes: number): Promise<void> {
  const buffer = Buffer.allocUnsafe(MIB);
  for (let offset = 0; offset < sizeBytes; ) {
    const length = await from.read(offset, buffer.subarray(0, Math.min(MIB, sizeBytes - offset)));
    if (length === 0) throw new FileSystemError("corrupt", `A file of ${sizeBytes} bytes ends at ${offset}`);
    await into.write(offset, buffer.subarray(0, length));
    offset += length;
  }
}

function isNotFound(error: unknown): boolean {
  if (error instanceof FileSystemError) return error.kind === "not-found";
  return (error as NodeJS.ErrnoException).code === "ENOENT";
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
