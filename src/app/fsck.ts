/**
 * `casfs fsck`: catalog, staging, cache and inventory against each other.
 *
 * Runs inside a mount that goes on, or on a state directory that nobody uses. What is found on the disk while a mount
 * works may be under way, so it is looked at twice.
 * Never: changes anything but this: a cached copy whose bytes are wrong, and whose archive is in the vault, is dropped.
 */

import { readdirSync, statSync } from "node:fs";
import type { HashPool } from "../cache/hash-pool.js";
import { type CacheLayout, numberOfName, shardCount } from "../cache/layout.js";
import type { CachedArchive, CatalogCheck, PartialArchive, StagedContent } from "../catalog/catalog-check.js";
import { byteRange, totalLength } from "../domain/bytes.js";
import { describeError } from "../domain/errors.js";
import type { ArchiveKey } from "../domain/ids.js";
import type { Clock } from "../domain/time.js";
import { seconds } from "../domain/time.js";
import { forEachConcurrently } from "../lib/concurrency.js";
import type { FsckProblem, FsckReport } from "./control-api.js";

export interface FsckParts {
  readonly check: CatalogCheck;
  readonly layout: CacheLayout;
  readonly hashPool: Pick<HashPool, "treeHash">;
  readonly clock: Clock;
  /** Of the kernel that runs now. */
  readonly bootId: string;
  /** Whether the file system is mounted: then the database file itself is left to another time. */
  readonly mounted: boolean;
  /** Drops a cached copy, so that the next open recalls it. */
  readonly drop: (archive: ArchiveKey) => Promise<void>;
}

export interface FsckRequest {
  /** Read every cached copy and compare it with its archive's tree hash. */
  readonly verify: boolean;
}

/** Copies that are read at a time. */
const verifyConcurrency = 2;
/** What is under way is done by then. */
const secondLookMs = seconds(1);
const notices: ReadonlySet<FsckProblem["kind"]> = new Set(["version-hidden", "staged-suspect", "staged-interrupted"]);

/** The problems are in the order in which they were found; an abort rejects with `signal.reason`. */
export async function runFsck(parts: FsckParts, { verify }: FsckRequest, signal: AbortSignal): Promise<FsckReport> {
  const fsck = new Fsck(parts, signal);
  const inCatalog = await fsck.catalog();
  const onDisk = await fsck.disk();
  const lasting = parts.mounted && onDisk.length > 0 ? await fsck.stillThere(onDisk) : onDisk;
  const verified = verify ? await fsck.verify() : { files: 0, bytes: 0, problems: [] };
  const problems = [...inCatalog, ...lasting, ...verified.problems];
  return {
    ...parts.check.counts(),
    ...fsck.counts,
    databaseChecked: !parts.mounted,
    verifiedFiles: verified.files,
    verifiedBytes: verified.bytes,
    errors: problems.filter(({ severity }) => severity === "error").length,
    problems,
  };
}

class Fsck {
  readonly counts = { stagedFiles: 0, cachedFiles: 0, partialFiles: 0 };
  readonly #parts: FsckParts;
  readonly #signal: AbortSignal;

  constructor(parts: FsckParts, signal: AbortSignal) {
    this.#parts = parts;
    this.#signal = signal;
  }

  async catalog(): Promise<FsckProblem[]> {
    const { check, mounted } = this.#parts;
    const found = mounted ? [] : check.damage();
    for (const slices of [check.names(), check.files(), check.archives()]) {
      for await (const slice of this.#sliced(slices)) found.push(...slice);
    }
    return found.map((finding) => problem(finding.kind, finding.path, finding.detail));
  }

  async disk(): Promise<FsckProblem[]> {
    const { check, layout } = this.#parts;
    const found: FsckProblem[] = [];
    this.counts.stagedFiles = 0;
    this.counts.cachedFiles = 0;
    this.counts.partialFiles = 0;
    for await (const slice of this.#sliced(check.staged())) {
      this.counts.stagedFiles += slice.length;
      found.push(...slice.flatMap((content) => this.#staged(content)));
    }
    for await (const slice of this.#sliced(check.cached())) {
      this.counts.cachedFiles += slice.length;
      found.push(...slice.flatMap((copy) => this.#sizeOnDisk(copy, layout.cached(copy.key))));
    }
    for await (const slice of this.#sliced(check.partial())) {
      this.counts.partialFiles += slice.length;
      found.push(...slice.flatMap((copy) => this.#sizeOnDisk(copy, layout.partial(copy.key))));
    }
    found.push(...strangers(layout.partialDirectory, "cached-stranger", (key) => check.hasPartial(key)));
    found.push(...strangers(layout.stagingDirectory, "staged-stranger", (key) => check.hasContent(key)));
    for (let shard = 0; shard < shardCount; shard++) {
      found.push(...strangers(layout.shardDirectory(shard), "cached-stranger", (key) => check.hasCached(key)));
      await this.#pause();
    }
    return found;
  }

  /** Those of `first` that a second look finds, too. */
  async stillThere(first: readonly FsckProblem[]): Promise<FsckProblem[]> {
    await this.#parts.clock.sleep(secondLookMs, { signal: this.#signal });
    const second = new Set((await this.disk()).map(({ kind, path }) => `${kind} ${path}`));
    return first.filter(({ kind, path }) => second.has(`${kind} ${path}`));
  }

  async verify(): Promise<{ readonly files: number; readonly bytes: number; readonly problems: FsckProblem[] }> {
    const problems: FsckProblem[] = [];
    let files = 0;
    let bytes = 0;
    for await (const slice of this.#sliced(this.#parts.check.cached())) {
      await forEachConcurrently(slice, { concurrency: verifyConcurrency, signal: this.#signal }, async (copy) => {
        const verdict = await this.#verifyOne(copy);
        if (verdict === "gone") return;
        files += 1;
        bytes += copy.sizeBytes;
        if (verdict !== "right") problems.push(verdict);
      });
    }
    for await (const slice of this.#sliced(this.#parts.check.partial())) {
      for (const copy of slice) {
        const verdict = await this.#verifyPieces(copy);
        if (verdict === "gone") continue;
        files += 1;
        bytes += totalLength(copy.pieces);
        if (verdict !== "right") problems.push(verdict);
      }
    }
    return { files, bytes, problems };
  }

  /** The rest of the sparse file is no bytes of anybody's. */
  async #verifyPieces({ key, path, archiveId, pieces }: PartialArchive): Promise<"right" | "gone" | FsckProblem> {
    const { check, drop, hashPool, layout } = this.#parts;
    for (const piece of pieces) {
      const found = await hashPool.treeHash(layout.partial(key), piece).catch(describeError);
      if (found === piece.treeHash) continue;
      if (!check.hasPartial(key)) return "gone";
      await drop(key);
      const wrong = `bytes ${piece.start}-${piece.end} of archive ${archiveId} are damaged here`;
      return problem(
        "cached-damaged",
        path,
        `${wrong}; what was here of it was dropped, and is recalled when it is read`,
      );
    }
    return "right";
  }

  async #verifyOne(copy: CachedArchive): Promise<"right" | "gone" | FsckProblem> {
    const { check, drop } = this.#parts;
    // Twice: it may have been replaced while it was read.
    if ((await this.#isRight(copy)) || (await this.#isRight(copy))) return "right";
    if (!check.hasCached(copy.key)) return "gone";
    const wrong = `the cached copy of archive ${copy.archiveId} is damaged`;
    if (copy.missing) {
      return problem("cached-damaged", copy.path, `${wrong}; it stays, because the vault lacks the archive`);
    }
    await drop(copy.key);
    return problem("cached-damaged", copy.path, `${wrong}; it was dropped, and the next open recalls it`);
  }

  async #isRight({ key, sizeBytes, treeHash }: CachedArchive): Promise<boolean> {
    const { hashPool, layout } = this.#parts;
    const found = await hashPool.treeHash(layout.cached(key), byteRange(0, sizeBytes)).catch(describeError);
    return found === treeHash;
  }

  #staged(content: StagedContent): FsckProblem[] {
    const { path, phase, flushed, sizeBytes, interrupted } = content;
    const size = sizeOf(this.#parts.layout.staged(content.id));
    const isPromised = flushed || phase !== "writing";
    if (isPromised && size === undefined && sizeBytes > 0) {
      return [problem("staged-missing", path, `its ${sizeBytes} bytes are not in staging, and nowhere else`)];
    }
    if (isPromised && size !== undefined && size < sizeBytes) {
      return [problem("staged-short", path, `staging has ${size} of its ${sizeBytes} bytes`)];
    }
    if (interrupted)
      return [problem("staged-interrupted", path, "its writing was interrupted: it is kept here and not uploaded")];
    const isSuspect = phase === "sealed" && !content.durable && content.bootId !== this.#parts.bootId;
    return isSuspect ? [problem("staged-suspect", path, "a power failure may have taken some of its bytes")] : [];
  }

  #sizeOnDisk({ path, sizeBytes, archiveId }: PartialArchive | CachedArchive, file: string): FsckProblem[] {
    const size = sizeOf(file);
    if (size === sizeBytes) return [];
    const what = size === undefined ? "is not on the disk" : `has ${size} bytes instead of ${sizeBytes}`;
    return [problem("cached-missing", path, `the cached copy of archive ${archiveId} ${what}`)];
  }

  /** The event loop is let go after each slice. */
  async *#sliced<T>(slices: Iterable<T>): AsyncGenerator<T> {
    for (const slice of slices) {
      yield slice;
      await this.#pause();
    }
  }

  async #pause(): Promise<void> {
    this.#signal.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Files of which the catalog knows nothing. */
function strangers(
  directory: string,
  kind: "staged-stranger" | "cached-stranger",
  isKnown: (key: number) => boolean,
): FsckProblem[] {
  return namesIn(directory).flatMap((name) => {
    const key = numberOfName(name);
    if (key !== undefined && isKnown(key)) return [];
    return problem(kind, `${directory}/${name}`, "the catalog does not know this file");
  });
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    // A state directory that was never mounted has none.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

function sizeOf(path: string): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true ? found.size : undefined;
}

function problem(kind: FsckProblem["kind"], path: string, detail: string): FsckProblem {
  return { kind, severity: notices.has(kind) ? "notice" : "error", path, detail };
}
