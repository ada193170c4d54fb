/** Open files: what is shared by all handles of one inode, and what each handle asked for. */

import type { ByteRange } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import type { InodeNumber } from "../domain/ids.js";
import type { FileTime } from "../domain/time.js";
import { IntervalSet } from "../lib/interval-set.js";
import type { StreamedFile, UploadStream } from "../upload/upload-stream.js";
import type { ContentRecord, InodeRecord } from "./catalog-port.js";
import type { ContentFile } from "./ports.js";

/** What the O_* flags of open(2) ask for. */
export interface OpenIntent {
  readonly write: boolean;
  readonly append: boolean;
  readonly truncate: boolean;
  readonly nonBlock: boolean;
  /** By execve(2), which maps the file. */
  readonly execute?: boolean;
}

/** With more pieces than this it is no longer followed which bytes of a file were written. */
const writtenPiecesMax = 10_000;
const writerPidsMax = 32;

/** An inode while handles are open. Size and times are newer here than in the catalog while `dirty`. */
export class OpenFile implements StreamedFile {
  readonly ino: InodeNumber;
  /** The content that `file` belongs to; null for an empty file. */
  content: ContentRecord | null;
  /** null when there are no bytes: an empty file, or a new content before its first write. */
  file: ContentFile | null;
  sizeBytes: number;
  mtime: FileTime;
  /** Of the last write; a chmod or rename may have been later. */
  ctime: FileTime;
  dirty = false;
  /** The catalog says that a FLUSH has promised this content; to be taken back before it is written again. */
  promised = false;
  /** Nothing was written since the last fsync. */
  synced = false;
  /**
   * Why the disk did not take what was written. It says so once: the next sync would succeed although bytes are lost, so
   * this stays until there is another file.
   */
  syncFailure: Error | undefined;
  /** `file` was made for this content, and nothing failed since: it ends where the content does. */
  endsExactly = false;
  /** Counts writes, so that a sync knows whether one came while it ran. */
  writes = 0;
  handles = 0;
  writers = 0;
  /** The upload that began before the file was closed. */
  stream: UploadStream | undefined;
  /** It is not asked before this size whether one should begin. */
  streamLookBytes = 0;
  /** Bytes that were written, and holes that a writer left behind itself: nobody will come back to them. */
  readonly #written: IntervalSet;
  readonly #writerPids = new Set<number>();
  /** Ranges that are being written. */
  readonly #writing = new Set<ByteRange>();

  constructor(record: InodeRecord, file: ContentFile | null) {
    this.ino = record.ino;
    this.content = record.content;
    this.file = file;
    this.sizeBytes = record.sizeBytes;
    this.mtime = record.mtime;
    this.ctime = record.ctime;
    this.#written = new IntervalSet([{ start: 0, end: record.sizeBytes }], { countMax: writtenPiecesMax });
  }

  covers(range: ByteRange): boolean {
    return this.#written.has(range);
  }

  /** Before `range` is written; `endWrite` has to follow with the same. @throws as `UploadStream.beginWrite`. */
  beginWrite(range: ByteRange): void {
    this.stream?.beginWrite(range);
    this.#writing.add(range);
  }

  endWrite(range: ByteRange): void {
    this.#writing.delete(range);
    this.stream?.endWrite(range);
  }

  /** Whether some of its bytes are on their way to the file. */
  get isBeingWritten(): boolean {
    return this.#writing.size > 0;
  }

  joinStream(stream: UploadStream): void {
    for (const range of this.#writing) stream.beginWrite(range);
    this.stream = stream;
  }

  /** Whether a write may go straight to `file`. */
  get isWritable(): boolean {
    return this.file !== null && this.content?.phase === "writing";
  }

  /**
   * Whether a close() has promised all that was written, and its RELEASE, of which the kernel tells a moment later, is
   * still to come or to be journaled: before that its content waits for no upload.
   */
  get isClosing(): boolean {
    const phase = this.content?.phase;
    return (this.promised && !this.dirty && phase === "writing") || (phase === "sealed" && this.writers > 0);
  }

  /** `range` was written at `time`. */
  wrote({ start, end }: ByteRange, time: FileTime): void {
    this.#written.add({ start: Math.min(start, this.sizeBytes), end });
    this.grew(end, time);
  }

  /** The processes, or threads, that wrote it lately. */
  get writerPids(): Iterable<number> {
    return this.#writerPids;
  }

  wroteBy(pid: number): void {
    if (this.#writerPids.has(pid)) return;
    this.#writerPids.add(pid);
    if (this.#writerPids.size > writerPidsMax) this.#writerPids.delete(this.#writerPids.values().next().value!);
  }

  /** The file reaches up to `end`, whether or not anything was written there. */
  grew(end: number, time: FileTime): void {
    if (end > this.sizeBytes) this.sizeBytes = end;
    this.mtime = time;
    this.ctime = time;
    this.dirty = true;
    this.synced = false;
    this.writes += 1;
  }

  /** The file has this length now. */
  setSize(sizeBytes: number): void {
    this.#written.cut(sizeBytes);
    this.sizeBytes = sizeBytes;
  }
}

export interface Handle {
  readonly open: OpenFile;
  readonly intent: OpenIntent;
}

export class HandleTable {
  readonly #files = new Map<InodeNumber, OpenFile>();
  readonly #handles = new Map<number, Handle>();
  #lastNumber = 0;

  file(ino: InodeNumber): OpenFile | undefined {
    return this.#files.get(ino);
  }

  /** @throws FileSystemError "bad-handle" for a number that is not open. */
  handle(number: number): Handle {
    const handle = this.#handles.get(number);
    if (handle === undefined) throw new FileSystemError("bad-handle", `Handle ${number} is not open`);
    return handle;
  }

  add(open: OpenFile, intent: OpenIntent): number {
    this.#files.set(open.ino, open);
    open.handles += 1;
    if (intent.write) open.writers += 1;
    this.#lastNumber += 1;
    this.#handles.set(this.#lastNumber, { open, intent });
    return this.#lastNumber;
  }

  /** Forgets the handle, and with the last one the open file. */
  remove(number: number): void {
    const { open, intent } = this.handle(number);
    this.#handles.delete(number);
    open.handles -= 1;
    if (intent.write) open.writers -= 1;
    if (open.handles === 0) this.#files.delete(open.ino);
  }

  counts(): { readonly files: number; readonly handles: number } {
    return { files: this.#files.size, handles: this.#handles.size };
  }

  *numbers(): Iterable<number> {
    yield* this.#handles.keys();
  }
}
