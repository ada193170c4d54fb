/**
 * Bytes that are written but not archived yet: the only copy there is. One file per content version.
 *
 * Never: evicts or removes anything that it was not told to remove.
 */

import { constants, statSync } from "node:fs";
import { copyFile, mkdir, open, readdir, rm } from "node:fs/promises";
import { type ByteRange, byteCount, KIB, MIB } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import type { ArchiveKey, ContentId } from "../domain/ids.js";
import { KeyedMutex } from "../lib/concurrency.js";
import { removeIfPresent, syncDirectory } from "../lib/durable-file.js";
import { lentBlocks } from "../lib/lent-blocks.js";
import { SharedRun } from "../lib/shared-run.js";
import type { DroppableFiles, StagedFile, StagedFiles } from "../upload/ports.js";
import type { ContentFile, LocalContent, StagingArea } from "../vfs/ports.js";
import { ContentFileHandle, statBlockBytes } from "./content-file.js";
import { DroppedRanges } from "./dropped-ranges.js";
import { probeHolePunching, punchHole } from "./hole-punch.js";
import { type CacheLayout, numberOfName } from "./layout.js";
import type { StagingBudget } from "./staging-budget.js";
import type { WrittenFile, WrittenHashes } from "./written-hashes.js";

/** Lends the path of a cached copy, which is not evicted meanwhile. */
export interface CachedCopies {
  use<T>(archive: ArchiveKey, work: (path: string) => Promise<T>): Promise<T>;
}

export interface StagingDirectoryParts {
  readonly layout: CacheLayout;
  readonly hashes: WrittenHashes;
  readonly cachedCopies: CachedCopies;
  readonly budget: StagingBudget;
  /** What the journal says has left the disk. */
  readonly dropped?: Iterable<{ readonly content: ContentId; readonly range: ByteRange }>;
}

const readPieceBytes = 512 * KIB;
const countedAtOnce = 1000;

/** What a staging file takes from the disk; undefined when it is not there. */
export function allocatedBytes(path: string): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found && found.blocks * statBlockBytes;
}

/** The staging directory, for writers and for the upload. */
export class StagingDirectory implements StagingArea, StagedFiles, DroppableFiles {
  readonly #layout: CacheLayout;
  readonly #hashes: WrittenHashes;
  readonly #cachedCopies: CachedCopies;
  readonly #budget: StagingBudget;
  readonly #removals = new Set<Promise<void>>();
  readonly #dropped = new DroppedRanges();
  readonly #punching = new KeyedMutex<ContentId>();
  #probe: Promise<void> | undefined;
  /** One fsync serves all who asked before it began. */
  readonly #directorySync: SharedRun;

  private constructor({ layout, hashes, cachedCopies, budget, dropped = [] }: StagingDirectoryParts) {
    this.#layout = layout;
    this.#hashes = hashes;
    this.#cachedCopies = cachedCopies;
    this.#budget = budget;
    this.#directorySync = new SharedRun(() => syncDirectory(layout.stagingDirectory));
    for (const { content, range } of dropped) this.#dropped.mark(content, range);
  }

  /** Opens the directory, and counts what is there. */
  static async open(parts: StagingDirectoryParts): Promise<StagingDirectory> {
    await mkdir(parts.layout.stagingDirectory, { recursive: true, mode: 0o700 });
    const staging = new StagingDirectory(parts);
    await staging.#count();
    return staging;
  }

  async #count(): Promise<void> {
    let counted = 0;
    for (const content of await this.list()) {
      // Synchronously: by way of the thread pool each takes twenty times as long. With pauses, so that nothing stalls.
      const { size, blocks } = statSync(this.#layout.staged(content));
      this.#budget.found(content, { sizeBytes: size, allocatedBytes: blocks * statBlockBytes });
      counted += 1;
      if (counted % countedAtOnce === 0) await new Promise(setImmediate);
    }
  }

  // A file that is already there is emptied: its number was minted by a transaction that a crash undid.
  async create(content: ContentId): Promise<ContentFileHandle> {
    const file = await this.#open(content, "w+", this.#hashes.begin(content, this.#layout.staged(content)));
    this.#budget.cut(content, 0);
    return file;
  }

  async copyOf(source: LocalContent, content: ContentId, sizeBytes: number): Promise<ContentFile> {
    if (sizeBytes === 0) return this.create(content);
    this.#hashes.forget(content);
    const target = this.#layout.staged(content);
    if (source.place === "staging") this.#dropped.require(source.content, { start: 0, end: sizeBytes });
    if (source.place === "staging") await copyPrefix(this.#layout.staged(source.content), target, sizeBytes);
    else await this.#cachedCopies.use(source.archive, (path) => copyPrefix(path, target, sizeBytes));
    return this.open(content);
  }

  async open(content: ContentId): Promise<ContentFileHandle> {
    return this.#open(content, "r+", this.#hashes.find(content));
  }

  syncDirectory(): Promise<void> {
    return this.#directorySync.request();
  }

  remove(content: ContentId): Promise<void> {
    this.#hashes.forget(content);
    const removal = removeIfPresent(this.#layout.staged(content)).finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
    this.#budget.leave(content, removal);
    return removal;
  }

  async removalsDone(): Promise<void> {
    await Promise.allSettled(this.#removals);
  }

  async #open(content: ContentId, flags: "r+" | "w+", changes: WrittenFile | undefined): Promise<ContentFileHandle> {
    const onCut = (sizeBytes: number) => this.#budget.cut(content, sizeBytes);
    const onClose = () => changes?.closed();
    const require = this.#requireOf(content);
    changes?.opened();
    try {
      return await ContentFileHandle.open(this.#layout.staged(content), flags, { onCut, onClose, changes, require });
    } catch (error) {
      onClose();
      throw error;
    }
  }

  #requireOf(content: ContentId): (start: number, end: number) => void {
    return (start, end) => this.#dropped.require(content, { start, end });
  }

  isWhole(content: ContentId): boolean {
    return !this.#dropped.has(content);
  }

  requireDropping(): Promise<void> {
    this.#probe ??= probeHolePunching(this.#layout.stagingProbe).catch((error: unknown) => {
      this.#probe = undefined;
      throw error;
    });
    return this.#probe;
  }

  markDropped(content: ContentId, range: ByteRange): void {
    this.#dropped.mark(content, range);
  }

  drop(content: ContentId, range: ByteRange): Promise<void> {
    const path = this.#layout.staged(content);
    // One hole at a time: what two free together, each would count for itself.
    return this.#punching.run(content, async () => {
      const before = allocatedBytes(path) ?? 0;
      await punchHole(path, range);
      // What was written meanwhile makes it less; then more is counted than there is, until it is measured.
      this.#budget.punched(content, Math.max(0, before - (allocatedBytes(path) ?? 0)));
    });
  }

  async free(content: ContentId, range: ByteRange): Promise<void> {
    // The bytes are right without it, and the next one tries again.
    await this.requireDropping()
      .then(() => this.drop(content, range))
      .catch(() => undefined);
  }

  async openStaged(content: ContentId): Promise<StagedFile> {
    const path = this.#layout.staged(content);
    const require = this.#requireOf(content);
    const file = await ContentFileHandle.open(path, "r", { require });
    const syncName = () => this.syncDirectory();
    return new StagedContentFile({ content, path, file, hashes: this.#hashes, require, syncName });
  }

  /** The contents that have a staging file, in no order; for the comparison with the catalog at start. */
  async list(): Promise<ContentId[]> {
    const numbers = (await readdir(this.#layout.stagingDirectory)).map(numberOfName);
    return numbers.filter((number) => number !== undefined).map((number) => number as ContentId);
  }
}

interface StagedContentParts {
  readonly content: ContentId;
  readonly path: string;
  readonly file: ContentFileHandle;
  readonly hashes: WrittenHashes;
  /** Throws when bytes are not on the disk any more. */
  readonly require: (start: number, end: number) => void;
  readonly syncName: () => Promise<void>;
}

class StagedContentFile implements StagedFile {
  readonly sizeBytes;
  readonly #parts: StagedContentParts;

  constructor(parts: StagedContentParts) {
    this.#parts = parts;
    this.sizeBytes = byteCount(parts.file.sizeBytes);
  }

  async sync(): Promise<void> {
    await this.#parts.file.sync();
    await this.#parts.syncName();
  }

  read(range: ByteRange): AsyncGenerator<Uint8Array> {
    const fill = async (block: Buffer, offset: number) => {
      const length = await this.#parts.file.read(offset, block);
      if (length < block.length) throw endsTooEarly(this.#parts.path, range, offset + length);
    };
    return lentBlocks({ ...range, blockBytes: readPieceBytes, fill });
  }

  hash(range: ByteRange): ReturnType<StagedFile["hash"]> {
    const { hashes, content, path } = this.#parts;
    return this.#ofPresent(range, () => hashes.hash(content, path, range));
  }

  treeHash(range: ByteRange): ReturnType<StagedFile["treeHash"]> {
    const { hashes, content, path } = this.#parts;
    return this.#ofPresent(range, () => hashes.treeHash(content, path, range));
  }

  async #ofPresent<T>(range: ByteRange, hash: () => Promise<T>): Promise<T> {
    const { require } = this.#parts;
    require(range.start, range.end);
    const hashed = await hash();
    require(range.start, range.end);
    return hashed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.file.close();
  }
}

function endsTooEarly(path: string, range: ByteRange, endsAt: number): FileSystemError {
  return new FileSystemError("corrupt", `Cannot read ${path} up to ${range.end}: it ends at ${endsAt}`);
}

/** Makes `target` the first `sizeBytes` of `source`; by reflink where the file system can, which costs no space. */
async function copyPrefix(source: string, target: string, sizeBytes: number): Promise<void> {
  await rm(target, { force: true });
  if (!(await reflink(source, target))) await copyBytes(source, target, sizeBytes);
  const file = await ContentFileHandle.open(target, "r+");
  try {
    if (file.sizeBytes > sizeBytes) await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
}

async function reflink(source: string, target: string): Promise<boolean> {
  try {
    await copyFile(source, target, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    if (missing) throw new FileSystemError("not-found", `Cannot copy ${source}: it is not there`, { cause: error });
    return false; // ENOTSUP, EXDEV, EINVAL: this file system copies bytes.
  }
}

async function copyBytes(source: string, target: string, sizeBytes: number): Promise<void> {
  const from = await open(source, "r");
  await using _closeSource = { [Symbol.asyncDispose]: () => from.close() };
  // The kernel copies a whole file faster than we can.
  // Awaited here: it may fail while the source is being closed, and then nobody would hear of it but the process.
  if ((await from.stat()).size <= sizeBytes) return await copyFile(source, target);
  const into = await open(target, "w", 0o600);
  await using _closeTarget = { [Symbol.asyncDispose]: () => into.close() };
  const buffer = Buffer.allocUnsafeSlow(MIB);
  for (let offset = 0; offset < sizeBytes; ) {
    const { bytesRead } = await from.read(buffer, 0, Math.min(buffer.length, sizeBytes - offset), offset);
    if (bytesRead === 0) return;
    let written = 0;
    while (written < bytesRead) {
      written += (await into.write(buffer, written, bytesRead - written, offset + written)).bytesWritten;
    }
    offset += bytesRead;
  }
}
