/**
 * Carries out the jobs that copy from and to COS (cas-api section 11.1): push-to-cos and pull-from-cos.
 *
 * Relies on: the database knows which copies have not ended. A copy that was cut short, by a crash or a stop, is made
 * again from its beginning: an object appears whole or not at all, and a new archive and the end of its job are one
 * transaction, so that a pull makes one archive however often it was tried.
 */

import { Readable } from "node:stream";
import { type ByteRange, byteRange, GIB, rangeLength, splitRange } from "../../domain/bytes.js";
import { CorruptError, describeError } from "../../domain/errors.js";
import type { Observer } from "../../domain/events.js";
import { type Clock, ms } from "../../domain/time.js";
import { backoffDelayMs } from "../../lib/backoff.js";
import { invariant } from "../../lib/invariant.js";
import { WorkSlots } from "../../lib/work-slots.js";
import { archiveSizeBytesMax } from "../../protocol/limits.js";
import { needsTag, unmetCondition } from "../../protocol/object-condition.js";
import { LeafHasher, treeHashOfLeaves } from "../../protocol/tree-hash.js";
import type { IncomingFile } from "../bytes/body-files.js";
import { type ObjectName, type ObjectStore, ObjectStoreError, type ObjectVersion } from "../objects/object-store.js";
import type { ArchiveStore } from "../store/archive-store.js";
import type { JobWithArchive } from "../store/job-table.js";
import type { JobAnnouncer } from "./job-announcer.js";
import { conditionOf, jobRange } from "./job-report.js";

export interface JobCopierOptions {
  readonly clock: Clock;
  /** How long an ended job is remembered, in milliseconds. */
  readonly outputLifetimeMs: number;
  readonly observer?: Observer | undefined;
  /** From 0 (included) to 1 (excluded). */
  readonly random: () => number;
  /** Told when a copy has ended: another may begin, and there may be something to announce. */
  readonly onProgress: () => void;
}

const concurrency = 2;
const attemptsMax = 5;
const delays = { delayMsMin: 1000, delayMsMax: 60_000 };
// A power of two, as the parts of an upload: tree hashes of parts then combine to the archive's.
const pullPartBytes = GIB;

/** The job fails for good; the message is shown to the client. */
class CopyFailure extends Error {
  override readonly name = "CopyFailure";
}

export class JobCopier {
  readonly #store: ArchiveStore;
  readonly #objects: ObjectStore;
  readonly #announcer: JobAnnouncer;
  readonly #options: JobCopierOptions;
  readonly #slots = new WorkSlots<number>(concurrency);

  constructor(store: ArchiveStore, objects: ObjectStore, announcer: JobAnnouncer, options: JobCopierOptions) {
    this.#store = store;
    this.#objects = objects;
    this.#announcer = announcer;
    this.#options = options;
  }

  /** Begins copies whose time has come. @returns when the time of the next comes. */
  begin(): number | undefined {
    const now = this.#store.now();
    if (this.#slots.free > 0) {
      // Those that are being copied are due too; with as many more there is one for every free slot.
      const due = this.#store.jobs.copiesDue(now, 2 * concurrency).filter((job) => !this.#slots.has(job.job_key));
      for (const job of due.slice(0, this.#slots.free)) this.#start(job);
    }
    return this.#store.jobs.nextCopy(now);
  }

  /** Cuts the copies that are going on; the next start makes them again. */
  async close(): Promise<void> {
    await this.#slots.close();
    await this.#objects.close();
  }

  #start(job: JobWithArchive): void {
    const work = (signal: AbortSignal) =>
      this.#copy(job, signal).catch((error: unknown) => this.#stuck(job, error, signal));
    this.#slots.start(job.job_key, work, this.#options.onProgress);
  }

  async #copy(job: JobWithArchive, signal: AbortSignal): Promise<void> {
    try {
      if (job.action === "push-to-cos") await this.#patiently(isTransient, signal, () => this.#push(job, signal));
      else await this.#patiently(isChange, signal, () => this.#pull(job, signal));
    } catch (error) {
      if (!signal.aborted) this.#fail(job, error);
    }
  }

  /** Repeats `work`, with pauses, after failures that are worth it. */
  async #patiently<T>(isWorthIt: (error: unknown) => boolean, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (signal.aborted || !isWorthIt(error) || attempt >= attemptsMax) throw error;
      }
      await this.#options.clock.sleep(ms(backoffDelayMs(attempt, delays, this.#options.random)), { signal });
    }
  }

  async #push(job: JobWithArchive, signal: AbortSignal): Promise<void> {
    const { body_key: bodyKey } = job;
    if (bodyKey === null) throw new CopyFailure("The archive was deleted");
    const range = jobRange(job);
    const read = (part: ByteRange) =>
      this.#verified(job, bodyKey, byteRange(range.start + part.start, range.start + part.end));
    await this.#objects.put(nameOf(job), { sizeBytes: rangeLength(range), read }, { key: job.job_id, signal });
    this.#end(job, { failure: null });
  }

  /** The bytes of the archive, which are not those that were stored when this throws at their end. */
  async *#verified(job: JobWithArchive, bodyKey: number, range: ByteRange): AsyncGenerator<Buffer, void, undefined> {
    const expected = this.#store.rangeTreeHash(bodyKey, range, job.archive_size_bytes ?? 0);
    const hasher = new LeafHasher();
    let sizeBytes = 0;
    for await (const block of this.#store.readBody(bodyKey, range)) {
      if (expected !== null) hasher.update(block);
      sizeBytes += block.length;
      // The block is only lent, and an object store may still be sending it when it asks for the next one.
      yield Buffer.from(block);
    }
    const isWhole = sizeBytes === rangeLength(range) && (expected === null || hasher.digest().treeHash === expected);
    if (!isWhole) throw new CorruptError(`Archive ${job.archive_id} is damaged on disk`);
  }

  async #pull(job: JobWithArchive, signal: AbortSignal): Promise<void> {
    const name = nameOf(job);
    const version = await this.#patiently(isTransient, signal, () => this.#objects.find(name, signal));
    if (version === undefined) throw new CopyFailure("The object does not exist");
    await checkCondition(job, version);
    const files: IncomingFile[] = [];
    try {
      for (const part of splitRange(rangeOfObject(job, version), pullPartBytes)) {
        const receive = () => this.#receive({ name, version, part, signal });
        files.push(await this.#patiently(isTransient, signal, receive));
      }
      this.#recordPull(job, files);
    } catch (error) {
      for (const file of files) await file.discard().catch(() => undefined);
      throw error;
    }
  }

  async #receive(from: {
    readonly name: ObjectName;
    readonly version: ObjectVersion;
    readonly part: ByteRange;
    readonly signal: AbortSignal;
  }): Promise<IncomingFile> {
    const { name, version, part, signal } = from;
    const stream = Readable.from(this.#objects.read(name, version, part, signal), { objectMode: false });
    try {
      const file = await this.#store.receive({ stream, signal });
      await publishWhole(file, rangeLength(part));
      return file;
    } finally {
      stream.destroy();
    }
  }

  #recordPull(job: JobWithArchive, files: readonly IncomingFile[]): void {
    this.#store.transaction(() => {
      // Deleting the vault takes its jobs with it.
      if (this.#store.jobs.get(job.job_key) === undefined) throw new CopyFailure("The vault was deleted");
      const bodyKey = this.#store.bodies.create({ held: true });
      for (const [index, file] of files.entries()) this.#store.addFile(bodyKey, index * pullPartBytes, file);
      const archiveId = this.#store.insertArchive(job.vault_key, {
        description: job.archive_description ?? "",
        size_bytes: files.reduce((sum, { digest }) => sum + digest.sizeBytes, 0),
        tree_hash: Buffer.from(treeHashOfFiles(files), "hex"),
        body_key: bodyKey,
      });
      this.#recordEnd(job, { failure: null, archiveId });
    });
  }

  #fail(job: JobWithArchive, error: unknown): void {
    const isTold = error instanceof CopyFailure || error instanceof ObjectStoreError || error instanceof CorruptError;
    if (!(error instanceof CopyFailure)) this.#warn(job, error);
    this.#end(job, { failure: isTold ? error.message : "The copy failed" });
  }

  #end(job: JobWithArchive, { failure }: { readonly failure: string | null }): void {
    this.#store.releasing(() => {
      if (this.#store.jobs.get(job.job_key) === undefined) return [];
      this.#recordEnd(job, { failure, archiveId: null });
      return [job.body_key];
    });
  }

  /** Within a transaction. */
  #recordEnd(job: JobWithArchive, end: { readonly failure: string | null; readonly archiveId: string | null }): void {
    const now = this.#store.now();
    this.#store.jobs.endCopy(job.job_key, {
      finished_at_ms: now,
      expires_at_ms: now + this.#options.outputLifetimeMs,
      failure: end.failure,
      archive_id: end.archiveId,
    });
    const ended = this.#store.jobs.get(job.job_key);
    invariant(ended !== undefined, "an ended job is still there");
    this.#announcer.announce(ended, now);
  }

  /** How the copy ended could not be recorded, because the disk is full for instance: it is made again, after a pause. */
  async #stuck(job: JobWithArchive, error: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#warn(job, error);
    await this.#options.clock.sleep(ms(delays.delayMsMax), { signal }).catch(() => undefined);
  }

  #warn({ job_id: id, action }: JobWithArchive, error: unknown): void {
    this.#options.observer?.({ type: "warning", message: `Job ${id} (${action}) failed: ${describeError(error)}` });
  }
}

/** A file that is not what it should be, or that the disk does not take, is removed again: every attempt makes one. */
async function publishWhole(file: IncomingFile, sizeBytes: number): Promise<void> {
  try {
    if (file.digest.sizeBytes !== sizeBytes) {
      throw new ObjectStoreError("The object store sent another number of bytes than the object has", "transient");
    }
    await file.publish();
  } catch (error) {
    await file.discard();
    throw error;
  }
}

function nameOf({ bucket, object }: JobWithArchive): ObjectName {
  invariant(bucket !== null && object !== null, "a copy names its object");
  return { bucket, object };
}

async function checkCondition(job: JobWithArchive, { modifiedAt, etag }: ObjectVersion): Promise<void> {
  const condition = conditionOf(job);
  const unmet = unmetCondition(condition, { modifiedAt, etag: needsTag(condition) ? await etag() : "" });
  if (unmet !== undefined) throw new CopyFailure(`The object does not meet the condition ${unmet}`);
}

/** An archive that is shorter than was ordered would be a surprise at the worst time. */
function rangeOfObject(job: JobWithArchive, { sizeBytes }: ObjectVersion): ByteRange {
  const start = job.range_start ?? 0;
  const end = job.range_end ?? sizeBytes;
  if (sizeBytes === 0) throw new CopyFailure("The object is empty, and an archive cannot be");
  if (start >= end || end > sizeBytes) throw new CopyFailure("Range is not within the object");
  if (end - start > archiveSizeBytesMax) throw new CopyFailure("The object is larger than an archive can be");
  return byteRange(start, end);
}

function treeHashOfFiles(files: readonly IncomingFile[]): string {
  return treeHashOfLeaves(files.map(({ digest }) => Buffer.from(digest.treeHash, "hex")));
}

/** Everything that is not known to stay as it is: the store may come back, and space may become free. */
function isTransient(error: unknown): boolean {
  if (error instanceof ObjectStoreError) return error.kind === "transient";
  return !(error instanceof CopyFailure || error instanceof CorruptError);
}

/** The object is another by now: a pull begins anew with that one. */
function isChange(error: unknown): boolean {
  return error instanceof ObjectStoreError && error.kind === "changed";
}
