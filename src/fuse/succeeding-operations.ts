/**
 * Operations of a process that goes on where another has ended: the kernel still has handles of that one.
 *
 * Old handles can be read: the file is opened again. What was written through them is what a crash leaves: where
 * that is less than was written, flush, fsync and further writes fail with EIO, never with silence.
 * Relies on: handles of each process lie in a range of their own, so that old ones are known by their number.
 */

import { constants } from "node:fs";
import { FileSystemError } from "../domain/errors.js";
import type { InodeNumber } from "../domain/ids.js";
import { KeyedMutex } from "../lib/concurrency.js";
import type { ReadManner } from "../vfs/partial-reads.js";
import type { FuseCaller, HandleNumber, OpenReply } from "./driver.js";
import { FileSystemOperations, type FileSystemOperationsOptions } from "./operations.js";

export interface SucceedingOperationsOptions extends FileSystemOperationsOptions {
  /** How many processes have served the mount before: at least 1. */
  readonly generation: number;
  /** Whether the file was being written when the former process ended, and is not as its writers left it. */
  readonly wasCutOff: (ino: InodeNumber) => boolean;
}

type Opening = Parameters<FileSystemOperations["create"]>;
type Place = { readonly handle: HandleNumber; readonly offset: number };

/** More handles than one process can open. */
const handlesOfGeneration = 2 ** 32;

export class SucceedingOperations extends FileSystemOperations {
  readonly #base: number;
  readonly #wasCutOff: SucceedingOperationsOptions["wasCutOff"];
  /** Own handles by old ones, of files that were opened again to be read. */
  readonly #reopened = new Map<HandleNumber, HandleNumber>();
  readonly #reopening = new KeyedMutex<HandleNumber>();

  constructor(options: SucceedingOperationsOptions) {
    super(options);
    this.#base = options.generation * handlesOfGeneration;
    this.#wasCutOff = options.wasCutOff;
  }

  override async open(caller: FuseCaller, ino: InodeNumber, flags: number): Promise<OpenReply> {
    return this.#numbered(await super.open(caller, ino, flags));
  }

  override async create(...opening: Opening): ReturnType<FileSystemOperations["create"]> {
    const { entry, open } = await super.create(...opening);
    return { entry, open: this.#numbered(open) };
  }

  override async createNameless(
    ...opening: Parameters<FileSystemOperations["createNameless"]>
  ): ReturnType<FileSystemOperations["createNameless"]> {
    const { entry, open } = await super.createNameless(...opening);
    return { entry, open: this.#numbered(open) };
  }

  override async read(
    caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber,
    offset: number,
    into: Uint8Array,
    manner?: ReadManner,
  ): Promise<number> {
    const own = this.#own(handle) ?? (await this.#reopen(caller, ino, handle, manner?.isDirect));
    return super.read(caller, ino, own, offset, into, manner);
  }

  override async write(
    caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber,
    ...rest: [offset: number, data: Uint8Array, isAppend?: boolean]
  ): Promise<void> {
    await super.write(caller, ino, this.#writable(handle), ...rest);
  }

  override async flush(caller: FuseCaller, ino: InodeNumber, handle: HandleNumber): Promise<void> {
    const own = this.#own(handle);
    if (own !== undefined) await super.flush(caller, ino, own);
    else this.#requireWhole(ino);
  }

  override async fsync(caller: FuseCaller, ino: InodeNumber, handle: HandleNumber): Promise<void> {
    const own = this.#own(handle);
    if (own !== undefined) return super.fsync(caller, ino, own);
    this.#requireWhole(ino);
    await super.syncFileSystem();
  }

  override async release(ino: InodeNumber, handle: HandleNumber): Promise<void> {
    const own = this.#own(handle) ?? this.#reopened.get(handle);
    this.#reopened.delete(handle);
    if (own !== undefined) await super.release(ino, own);
  }

  override async copyRange(caller: FuseCaller, from: Place, to: Place, length: number): Promise<number> {
    const source = this.#own(from.handle);
    // The caller copies by reading and writing then.
    if (source === undefined) throw new FileSystemError("not-supported", "Cannot copy from a file of a former process");
    const target = this.#writable(to.handle);
    return super.copyRange(caller, { ...from, handle: source }, { ...to, handle: target }, length);
  }

  override async allocate(
    caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber,
    ...rest: [range: { readonly offset: number; readonly length: number }, mode: number]
  ): Promise<void> {
    await super.allocate(caller, ino, this.#writable(handle), ...rest);
  }

  override async seek(
    caller: FuseCaller,
    ino: InodeNumber,
    handle: HandleNumber,
    ...rest: [offset: number, whence: "data" | "hole"]
  ): Promise<number> {
    const own = this.#own(handle) ?? (await this.#reopen(caller, ino, handle));
    return super.seek(caller, ino, own, ...rest);
  }

  #numbered(reply: OpenReply): OpenReply {
    return { ...reply, handle: (reply.handle + this.#base) as HandleNumber };
  }

  /** The number that this process has given; undefined for a handle of a former one. */
  #own(handle: HandleNumber): HandleNumber | undefined {
    return handle >= this.#base ? ((handle - this.#base) as HandleNumber) : undefined;
  }

  #writable(handle: HandleNumber): HandleNumber {
    const own = this.#own(handle);
    if (own !== undefined) return own;
    throw new FileSystemError("unavailable", "Cannot write on: casfs was restarted since the file was opened");
  }

  #requireWhole(ino: InodeNumber): void {
    if (!this.#wasCutOff(ino)) return;
    throw new FileSystemError("unavailable", `Inode ${ino} was being written when casfs ended and started again`);
  }

  /**
   * An open that never waits: a read that waits could not be interrupted, and EAGAIN would be taken for the end. Only
   * a direct read can be, and files of which windows are here are read so.
   */
  #reopen(caller: FuseCaller, ino: InodeNumber, handle: HandleNumber, isDirect = false): Promise<HandleNumber> {
    return this.#reopening.run(handle, async () => {
      const known = this.#reopened.get(handle);
      if (known !== undefined) return known;
      this.#requireWhole(ino);
      try {
        const reply = await super.open(caller, ino, constants.O_RDONLY | (isDirect ? 0 : constants.O_NONBLOCK));
        this.#reopened.set(handle, reply.handle);
        return reply.handle;
      } catch (cause) {
        throw new FileSystemError("unavailable", `Cannot open inode ${ino} again after a restart`, { cause });
      }
    });
  }
}
