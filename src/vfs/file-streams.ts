/**
 * Files whose upload begins before they are closed: which, when, and what that means for the one who writes.
 *
 * A file that outgrows the threshold sends its whole parts ahead, and nothing else changes for it. A file for which no
 * room can be made otherwise is spilled: its sent parts leave the disk, they can neither be read nor written any more,
 * and close() waits until the vault has the whole.
 * Relies on: changes of a content's phase being made under the lock of its inode.
 */

import type { ByteRange } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import type { ContentId, InodeNumber } from "../domain/ids.js";
import type { StreamPlan } from "../upload/part-plan.js";
import type { CatalogPort } from "./catalog-port.js";
import type { HandleTable, OpenFile } from "./handle-table.js";
import type { StagingArea, StreamRequests } from "./ports.js";
import type { UploadSchedule } from "./upload-schedule.js";

export interface FileStreamsParts {
  readonly catalog: CatalogPort;
  readonly handles: HandleTable;
  readonly staging: Pick<StagingArea, "isWhole">;
  readonly schedule: Pick<UploadSchedule, "isTemporary">;
  readonly streams: StreamRequests;
  /** undefined: files are uploaded when they are closed, and have to fit. */
  readonly plan: StreamPlan | undefined;
}

export class FileStreams {
  readonly #parts: FileStreamsParts;

  constructor(parts: FileStreamsParts) {
    this.#parts = parts;
  }

  /** After a write: the file may have outgrown the threshold. */
  consider(open: OpenFile): void {
    const { plan, schedule } = this.#parts;
    if (plan === undefined || open.stream !== undefined) return;
    if (open.sizeBytes <= plan.thresholdBytes || open.sizeBytes < open.streamLookBytes) return;
    // A name that will change is of no use in a description; nor is it asked for with every write.
    open.streamLookBytes = open.sizeBytes + plan.partSizeBytes;
    if (this.#mayStream(open) && !schedule.isTemporary(open.ino)) this.#begin(open, plan);
  }

  /** There is no other room for a writer of this content. @returns whether some will come from its own sent parts. */
  spill({ ino, content }: { readonly ino: InodeNumber; readonly content: ContentId }): boolean {
    const { plan, handles, streams } = this.#parts;
    const open = handles.file(ino);
    if (plan === undefined || open?.content?.id !== content || !this.#mayStream(open)) return false;
    const isNew = open.stream === undefined;
    const stream = open.stream ?? this.#begin(open, plan);
    const helps = stream.spill();
    if (helps || !isNew) return helps;
    open.stream = undefined;
    void streams.end(stream);
    return false;
  }

  /** Whether a file that is spilled will give room back by itself. */
  get hasRoomComing(): boolean {
    return this.#parts.streams.hasRoomComing;
  }

  /** Whether somebody else's file will, as soon as its writer goes on. */
  hasOther(content: ContentId): boolean {
    return this.#parts.streams.hasOther(content);
  }

  /** Whether the file can only become an archive by what was sent while it was written. */
  isSpilled(open: OpenFile): boolean {
    return open.stream?.isSpilled === true || !this.#isWhole(open);
  }

  /**
   * Before bytes of a file are written, or its length is changed.
   *
   * @throws FileSystemError "corrupt" where the file must not be changed any more, "too-large".
   */
  requireWritable(open: OpenFile, range: ByteRange): void {
    if (open.content?.phase !== "writing") this.requireWhole(open);
    open.stream?.requireWritable(range);
  }

  /** @throws FileSystemError "corrupt" when parts of the file are only in the vault: no next version can be made of it. */
  requireWhole(open: OpenFile): void {
    if (this.#isWhole(open)) return;
    throw new FileSystemError("corrupt", `Cannot change inode ${open.ino}: parts of it have left the disk`, {
      hint: "Close the file, and open it again when it is archived",
    });
  }

  /** Resolves when every whole part of a spilled file is confirmed. @throws what the sending of a part fails with. */
  async settled(open: OpenFile, signal: AbortSignal | undefined): Promise<void> {
    if (open.stream?.isSpilled) await open.stream.settled(signal);
  }

  /**
   * Under the lock: nothing more is sent while the file is written.
   *
   * @returns what is to be journaled with the change that follows, inside its `mutate`.
   */
  async end(open: OpenFile): Promise<StreamEnd> {
    const { stream, content } = open;
    if (stream === undefined || content === null) return { isWhole: this.#isWhole(open), lost: false, journal() {} };
    open.stream = undefined;
    open.streamLookBytes = 0;
    await this.#parts.streams.end(stream);
    const isWhole = this.#isWhole(open);
    const { catalog } = this.#parts;
    // All is here, so the upload begins anew, with the description that the file has now.
    const journal = () => {
      if (isWhole) catalog.restartUpload(content.id);
    };
    return { isWhole, lost: stream.lost !== undefined, journal };
  }

  /**
   * Under the lock, before a file is cut, but not to nothing.
   *
   * @throws FileSystemError "corrupt" when what was sent would be longer than the file: the service cannot cut.
   */
  async cut(open: OpenFile, sizeBytes: number): Promise<void> {
    const { stream } = open;
    if (stream === undefined) return;
    if (!stream.hasDropped) return this.forsake(open);
    if (stream.sentEndBytes > sizeBytes) {
      throw new FileSystemError("corrupt", `Cannot cut inode ${open.ino} to ${sizeBytes} bytes: more was sent already`);
    }
    // At once: no part may be begun that reaches beyond.
    open.setSize(sizeBytes);
  }

  /** Under the lock: the upload of a file that is still written is given up; it may begin anew. */
  async forsake(open: OpenFile): Promise<void> {
    const { content } = open;
    if (open.stream === undefined || content === null) return;
    await this.end(open);
    const { catalog } = this.#parts;
    await catalog.mutate(() => catalog.restartUpload(content.id));
  }

  #begin(open: OpenFile, plan: StreamPlan): NonNullable<OpenFile["stream"]> {
    const stream = this.#parts.streams.begin(open.content!.id, open, plan);
    open.joinStream(stream);
    return stream;
  }

  #mayStream(open: OpenFile): boolean {
    return open.isWritable && (this.#parts.catalog.inode(open.ino)?.nlink ?? 0) > 0;
  }

  #isWhole({ content }: OpenFile): boolean {
    return content === null || content.archive !== null || this.#parts.staging.isWhole(content.id);
  }
}

export interface StreamEnd {
  /** Whether all bytes of the file are here. */
  readonly isWhole: boolean;
  /** Whether it can never become an archive. */
  readonly lost: boolean;
  readonly journal: () => void;
}
