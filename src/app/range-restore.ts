/**
 * `casfs restore --range`: a part of one file, in whole MiBs, without the rest.
 *
 * Relies on: parts whose every piece was verified before it counts as here (`cache/partial-contents.ts`).
 */

import { type ByteRange, byteCount, byteRange, rangeLength } from "../domain/bytes.js";
import { describeError, FileSystemError } from "../domain/errors.js";
import type { VaultName } from "../domain/ids.js";
import { abortable } from "../lib/abort-scope.js";
import { type ArchiveWindow, mebibytesAround } from "../protocol/archive-window.js";
import type { PriceTable } from "../protocol/prices.js";
import type { RetrievalTier } from "../protocol/service.js";
import type { ColdArchive } from "../restore/ports.js";
import type { RestoreManager } from "../restore/restore-manager.js";
import type { JobLookup } from "../restore/retrieval-orders.js";
import type { ColdOpens } from "../vfs/cold-opens.js";
import type { CachedContents, PartialCopies } from "../vfs/ports.js";
import type { MountPath, RestorePlan, RestoreRequest, RestoreResult } from "./control-api.js";
import type { MountPaths, NamedFile } from "./mount-paths.js";
import { RestoreTally } from "./restore-tally.js";

export interface RangeRestoreParts {
  readonly cache: Pick<CachedContents, "has" | "open">;
  readonly partial: Pick<PartialCopies, "openPartial">;
  readonly recalls: Pick<RestoreManager, "recallWindow" | "windowsToRecall" | "status">;
  readonly coldOpens: Pick<ColdOpens, "coldArchive">;
  readonly paths: MountPaths;
  readonly prices: PriceTable;
  readonly tier: RetrievalTier;
  readonly isLocal: boolean;
  /** Of files larger than this the mount recalls what is read; null: it recalls files whole. */
  readonly partialOverBytes: number | null;
}

export class RangeRestore {
  readonly #parts: RangeRestoreParts;

  constructor(parts: RangeRestoreParts) {
    this.#parts = parts;
  }

  /** @param jobsIn undefined when the service does not say. @throws FileSystemError "invalid" for a range behind the end. */
  async plan(
    request: RestoreRequest,
    jobsIn: (vault: VaultName) => Promise<JobLookup | undefined>,
  ): Promise<RestorePlan> {
    const { prices, isLocal, recalls, partialOverBytes } = this.#parts;
    const tally = new RestoreTally({ prices, isLocal, wanted: request.tier, usual: this.#parts.tier });
    const file = await this.#only(request);
    const archive = this.#archiveOf(file);
    if (archive === undefined || this.#parts.cache.has(archive.key)) {
      tally.here(archive === undefined ? "local" : "cached");
      return tally.plan(true);
    }
    const range = rangeOf(request, archive);
    const windows = recalls.windowsToRecall(archive, range);
    const unordered = [...windows.new];
    for (const window of windows.running) {
      const recall = recalls.status(archive.key, window);
      // One that ends with its reader is paid for because of this restore, so it has its price.
      if (!recall?.isCertain) {
        unordered.push(window);
        continue;
      }
      const isReady = recall.state === "landing" || recall.state === "landed";
      tally.cold(byteCount(rangeLength(window)), { tier: recall.tier, isReady, isOurs: true }, archive.sizeBytes);
    }
    const jobs = unordered.length === 0 ? undefined : await jobsIn(archive.vault);
    for (const window of unordered) {
      const job = jobs?.(archive, window);
      const underWay = job && { tier: job.tier, isReady: job.status === "succeeded", isOurs: false };
      tally.cold(byteCount(rangeLength(window)), underWay, archive.sizeBytes);
    }
    const { start, end } = mebibytesAround(range, archive.sizeBytes);
    const isReadable = partialOverBytes !== null && archive.sizeBytes > partialOverBytes;
    const plan = tally.plan(unordered.length === 0 || jobs !== undefined);
    return { ...plan, part: { path: file.path, start, end, isReadable } };
  }

  async restore(request: RestoreRequest & { readonly wait: boolean }, signal: AbortSignal): Promise<RestoreResult> {
    const file = await this.#only(request);
    const archive = this.#archiveOf(file);
    if (archive === undefined) return { started: 0, landed: 0, failed: [] };
    const windows = this.#parts.recalls.windowsToRecall(archive, rangeOf(request, archive));
    const reasons = new Set<string>();
    let landed = 0;
    const recalled = [...windows.running, ...windows.new].map((window) =>
      this.#recall(archive, window, request.tier).then(
        () => {
          landed += 1;
        },
        (error: unknown) => void reasons.add(describeError(error)),
      ),
    );
    if (request.wait) await abortable(Promise.all(recalled), signal);
    const failed = [...reasons].map((reason) => ({ path: file.path, reason }));
    return { started: recalled.length, landed, failed };
  }

  async read({
    path,
    start,
    length,
  }: {
    readonly path: MountPath;
    readonly start: number;
    readonly length: number;
  }): Promise<{ readonly data: string; readonly archiveId: string }> {
    const archive = this.#archiveOf(this.#parts.paths.find(path));
    if (archive === undefined) throw new FileSystemError("invalid", `${path.join("/")} is not archived`);
    const range = byteRange(Math.min(start, archive.sizeBytes), Math.min(start + length, archive.sizeBytes));
    const into = Buffer.alloc(rangeLength(range));
    if (into.length === 0) return { data: "", archiveId: archive.id };
    if (this.#parts.cache.has(archive.key)) {
      const copy = await this.#parts.cache.open(archive.key);
      await copy.read(range.start, into).finally(() => copy.close());
    } else await this.#readPart(archive, range, into);
    return { data: into.toString("base64"), archiveId: archive.id };
  }

  async #readPart(archive: ColdArchive, range: ByteRange, into: Buffer): Promise<void> {
    const part = this.#parts.partial.openPartial(archive);
    try {
      if (part.state !== "here" || part.missing(range).length > 0) {
        throw new FileSystemError("not-restored", `Bytes ${range.start}-${range.end} are not here any more`, {
          hint: "Restore them again: their job is joined for a day",
        });
      }
      await part.read(range.start, into);
    } finally {
      await part.close();
    }
  }

  #recall(archive: ColdArchive, window: ArchiveWindow, tier: RetrievalTier | undefined): Promise<void> {
    const wish = { tier: tier ?? this.#parts.tier, origin: "restore", faster: tier !== undefined } as const;
    return this.#parts.recalls.recallWindow(archive, window, wish);
  }

  async #only({ paths }: RestoreRequest): Promise<NamedFile> {
    const files: NamedFile[] = [];
    for await (const file of this.#parts.paths.files(paths, { recursive: false })) files.push(file);
    if (files.length === 1) return files[0]!;
    throw new FileSystemError("invalid", "Cannot restore a range of more or less than one file");
  }

  /** undefined: its bytes are here, and not archived. */
  #archiveOf({ record }: NamedFile): ColdArchive | undefined {
    return record.content?.archive == null ? undefined : this.#parts.coldOpens.coldArchive(record.content);
  }
}

/** @throws FileSystemError "invalid" when it begins behind the end. */
function rangeOf({ range }: RestoreRequest, { sizeBytes }: ColdArchive): ByteRange {
  const start = range?.start ?? 0;
  if (start < sizeBytes) return byteRange(start, Math.min(range?.end ?? sizeBytes, sizeBytes));
  throw new FileSystemError("invalid", `Cannot restore from byte ${start} on: the file has ${sizeBytes} bytes`);
}
