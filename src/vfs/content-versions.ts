/**
 * The versions of a file's content, as its writers need them: which one a write goes to, and the local file it is in.
 *
 * Relies on: a content that is claimed or archived is immutable, so the first write goes to a copy, the next version.
 * Which version that is, is decided under the lock of the inode.
 */

import { MIB } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import type { ContentId, InodeNumber } from "../domain/ids.js";
import type { KeyedMutex } from "../lib/concurrency.js";
import type { CatalogPort, ContentRecord } from "./catalog-port.js";
import type { Caller } from "./cold-opens.js";
import type { FileStreams } from "./file-streams.js";
import type { OpenFile } from "./handle-table.js";
import type { CachedContents, ContentFile, LocalContent, StagingArea } from "./ports.js";
import type { RoomReservation, StagingRoom } from "./staging-room.js";

export interface ContentVersionsParts {
  readonly catalog: CatalogPort;
  readonly staging: StagingArea;
  readonly cache: CachedContents;
  readonly room: StagingRoom;
  readonly streams: FileStreams;
  readonly locks: KeyedMutex<InodeNumber>;
}

/** Of all files: it keeps nothing of its own. */
export class ContentVersions {
  readonly #parts: ContentVersionsParts;

  constructor(parts: ContentVersionsParts) {
    this.#parts = parts;
  }

  /** @returns the file to write to, made under the lock of the inode. @throws as `withFileForWriting`. */
  forWriting(open: OpenFile, caller: Caller): Promise<ContentFile> {
    return this.withFileForWriting(open, caller, async (file) => file);
  }

  /**
   * Runs `work` under the lock of the inode. Room for a copy is waited for before that: nobody is locked out.
   *
   * @throws FileSystemError "no-space", "corrupt" when parts of it are only in the vault, CancelledError when `caller`
   *   was interrupted while it waited.
   */
  async withFileForWriting<T>(open: OpenFile, caller: Caller, work: (file: ContentFile) => Promise<T>): Promise<T> {
    for (;;) {
      if (open.content?.phase !== "writing") this.#parts.streams.requireWhole(open);
      const bytes = this.#copyBytesNeeded(open);
      using room = bytes === 0 ? undefined : await this.#parts.room.reserve(open.ino, bytes, caller);
      const done = await this.#parts.locks.run(open.ino, async () => {
        // An upload may have claimed the content, or another handle made the copy larger, since that was looked at.
        if (this.#copyBytesNeeded(open) > (room?.bytes ?? 0)) return undefined;
        return { result: await work(await this.#makeWritable(open, room)) };
      });
      if (done !== undefined) return done.result;
    }
  }

  /** Under the lock, for requests that must not wait. @throws FileSystemError "no-space" when a copy has no room. */
  async forWritingAtOnce(open: OpenFile): Promise<ContentFile> {
    if (open.content?.phase !== "writing") this.#parts.streams.requireWhole(open);
    const bytes = this.#copyBytesNeeded(open);
    using room = bytes === 0 ? undefined : await this.#parts.room.reserve(open.ino, bytes, undefined);
    // Awaited here: the room is given back, unless it was settled, when this returns.
    return await this.#makeWritable(open, room);
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
  async #makeWritable(open: OpenFile, room: RoomReservation | undefined): Promise<ContentFile> {
    if (open.isWritable) return open.file!;
    const { catalog } = this.#parts;
    const content = catalog.inode(open.ino)?.content ?? null;
    if (content === null) {
      const first = await catalog.mutate(() => catalog.insertContent(open.ino, { newest: true }));
      await this.#begin(open, first);
    } else if (content.phase === "writing") {
      if (open.file === null) await this.#begin(open, content);
      else await this.replace(open, content, open.file);
    } else if (content.phase === "sealed") {
      await this.#unseal(open, content, room);
    } else {
      await this.#copy(open, content, room);
    }
    return open.file!;
  }

  async #begin(open: OpenFile, content: ContentRecord): Promise<void> {
    await this.replace(open, content, await this.#parts.staging.create(content.id));
    open.endsExactly = true;
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
    await this.replace(open, { ...content, phase: "writing", interrupted: false }, file);
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
      await this.replace(open, next, file);
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

  /** `file` has the bytes of `content`, and is what the handles read and write from now on. */
  async replace(open: OpenFile, content: ContentRecord, file: ContentFile | null): Promise<void> {
    const former = open.file;
    if (open.content?.id !== content.id) open.promised = false;
    if (open.file !== file) {
      open.syncFailure = undefined;
      open.endsExactly = false;
    }
    open.content = content;
    open.file = file;
    open.synced = false;
    // Reads that are under way finish first.
    if (former !== null && former !== file) await former.close();
  }

  /** @returns null where no bytes are; a copy in the cache may have been evicted (`isNotFound`). */
  async openLocal(content: ContentRecord | null): Promise<ContentFile | null> {
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

/** Whether a local file is not there: never written, or evicted meanwhile. */
export function isNotFound(error: unknown): boolean {
  if (error instanceof FileSystemError) return error.kind === "not-found";
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
