/**
 * When a sealed content is uploaded.
 *
 * CAS bills every archive for 90 days, so what will not last is not uploaded at once: a file under a temporary name
 * waits to be renamed, and a file that was archived a short while ago waits for its next version.
 * Never: starts or holds an upload; it only says and records when one is due.
 */

import type { ContentId, InodeNumber } from "../domain/ids.js";
import { type Clock, hours, type Instant } from "../domain/time.js";
import type { CatalogPort, InodeRecord } from "./catalog-port.js";
import type { StagingArea } from "./ports.js";
import type { FileSystemSettings } from "./settings.js";

export interface UploadScheduleParts {
  readonly catalog: Pick<CatalogPort, "inode" | "pathInVault" | "lastArchivedAt" | "dueAt" | "updateContent">;
  readonly staging: Pick<StagingArea, "isWhole">;
  readonly clock: Clock;
  readonly settings: Pick<FileSystemSettings, "settleMs" | "rewriteIntervalMs" | "isTemporary">;
}

/** A content whose upload has another time now. */
export interface Rescheduled {
  readonly content: ContentId;
  readonly dueAt: Instant;
}

const temporarySettleMs = hours(24);

export class UploadSchedule {
  readonly #parts: UploadScheduleParts;

  constructor(parts: UploadScheduleParts) {
    this.#parts = parts;
  }

  /** For a content that is sealed now. */
  dueAt(ino: InodeNumber): Instant {
    return this.#dueAt(ino, this.#earliest(ino));
  }

  /** Whether the file has a name that programs give to what they will rename or remove. */
  isTemporary(ino: InodeNumber): boolean {
    return this.#parts.settings.isTemporary(this.#parts.catalog.pathInVault(ino));
  }

  /**
   * Inside `mutate`, after a file got another name: what waits for its upload may have to wait less or longer.
   *
   * @param wasTemporary Of the former name. Between two ordinary names nothing changes: a rename restarts nothing.
   * @param replaced The file that had the name before, whose archive the upload will replace.
   */
  renamed(file: InodeRecord, wasTemporary: boolean, replaced?: InodeRecord): Rescheduled | undefined {
    const { content, ino } = file;
    if (content?.phase !== "sealed" || content.interrupted) return undefined;
    // The service forgets after a day what it alone has.
    if (!this.#parts.staging.isWhole(content.id)) return undefined;
    const rest = replaced === undefined ? -Infinity : this.#restOf(replaced);
    const mustRest = rest > this.#parts.clock.now();
    if (!mustRest && wasTemporary === this.isTemporary(ino)) return undefined;
    const dueAt = this.#dueAt(ino, Math.max(this.#earliest(ino), rest));
    this.#parts.catalog.updateContent(content.id, { dueAt });
    return { content: content.id, dueAt };
  }

  #dueAt(ino: InodeNumber, earliest: number): Instant {
    const { clock, settings } = this.#parts;
    const settleMs = this.isTemporary(ino) ? Math.max(temporarySettleMs, settings.settleMs) : settings.settleMs;
    return Math.max(clock.now() + settleMs, earliest) as Instant;
  }

  /** The end of the rewrite interval of a file; in the past when it has none. */
  #earliest(ino: InodeNumber): number {
    const { catalog, clock, settings } = this.#parts;
    const content = catalog.inode(ino)?.content;
    // It is the only one that the file has ever had.
    if (content?.version === 1 && content.phase !== "archived") return -Infinity;
    // The time may be the service's, whose clock may be ahead.
    const archivedAt = Math.min(catalog.lastArchivedAt(ino) ?? -Infinity, clock.now());
    return archivedAt + settings.rewriteIntervalMs;
  }

  /** What replaces a file that rests itself, as with every run of rsync, goes on with its rest. */
  #restOf({ ino, content }: InodeRecord): number {
    const own = content?.phase === "sealed" ? this.#parts.catalog.dueAt(content.id) : undefined;
    return Math.max(this.#earliest(ino), own ?? -Infinity);
  }
}
