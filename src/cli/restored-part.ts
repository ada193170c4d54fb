/**
 * `casfs restore --range` and `--output`: a part of a file, and its bytes written to a file of their own.
 *
 * Never: overwrites a file; shows one that has not all bytes under its name; puts bytes of two versions together.
 */

import { randomUUID } from "node:crypto";
import { type FileHandle, lstat, open, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { ControlApi, MountPath, RestorePlan } from "../app/control-api.js";
import { MIB } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";
import { syncDirectory } from "../lib/durable-file.js";
import { renameToNew } from "../lib/rename-to-new.js";

/**
 * The mount has understood that a part of a file is meant, and what it brings can be used by itself.
 *
 * @param isWritten Whether the bytes go to a file of their own, and need not be read in the mount.
 * @throws FileSystemError "not-supported" before anything is ordered.
 */
export function requirePart(plan: Pick<RestorePlan, "part" | "files">, isWritten: boolean): void {
  // A mount that an earlier casfs has begun passes the range over, and would recall all of the file.
  if (plan.part == null) {
    if (plan.files === 0) return; // All of it is here.
    throw new FileSystemError("not-supported", "Cannot restore a part: this mount knows whole files only", {
      hint: "An earlier casfs has begun it: unmount it, and mount it again",
    });
  }
  if (plan.part.isReadable || isWritten) return;
  throw new FileSystemError(
    "not-supported",
    `Cannot restore a part of ${plan.part.path} for reading: this mount would recall the rest of it, too`,
    { hint: "Write the part with --output FILE, or mount with --partial-recall and a size below that of the file" },
  );
}

/** An output file: it can be written, which is known before anything is paid for, and has its name once it is whole. */
export class PartOutput {
  readonly #path: string;
  readonly #temporary: string;
  readonly #file: FileHandle;

  private constructor(path: string, temporary: string, file: FileHandle) {
    this.#path = path;
    this.#temporary = temporary;
    this.#file = file;
  }

  /** @throws FileSystemError when it cannot be made, or is there already. */
  static async create(path: string): Promise<PartOutput> {
    if ((await lstat(path).catch(() => undefined)) !== undefined) throw existing(path);
    const temporary = join(dirname(resolve(path)), `.casfs-part-${randomUUID()}`);
    try {
      return new PartOutput(path, temporary, await open(temporary, "wx"));
    } catch (cause) {
      throw cannotWrite(path, cause);
    }
  }

  /**
   * Writes `range` of `file`, of which all has been restored, syncs it, and gives it its name.
   *
   * @returns the number of bytes. @throws FileSystemError "stale" when the file is rewritten meanwhile; "exists" when
   *   something has appeared in its place.
   */
  async fill(
    api: Pick<ControlApi, "readRestored">,
    file: MountPath,
    { start, end }: { readonly start: number; readonly end: number | null },
    signal: AbortSignal,
  ): Promise<number> {
    let position = start;
    let version: string | undefined;
    while (end === null || position < end) {
      const length = end === null ? MIB : Math.min(MIB, end - position);
      signal.throwIfAborted();
      const { data, archiveId } = await api.readRestored({ path: file, start: position, length });
      version ??= archiveId;
      if (archiveId !== version) {
        throw new FileSystemError("stale", `${file.join("/")} was rewritten while it was read`, {
          hint: "The same command writes the bytes that it has now",
        });
      }
      const bytes = Buffer.from(data, "base64");
      if (bytes.length === 0) break; // The end of the file.
      await this.#file.writeFile(bytes).catch((cause: unknown) => {
        throw cannotWrite(this.#path, cause);
      });
      position += bytes.length;
    }
    await this.#publish();
    return position - start;
  }

  /** Nothing comes of it. */
  async remove(): Promise<void> {
    await this.#file.close().catch(() => undefined);
    await rm(this.#temporary, { force: true });
  }

  async #publish(): Promise<void> {
    try {
      await this.#file.sync();
      await this.#file.close();
      if (!(await renameToNew(this.#temporary, this.#path))) throw existing(this.#path);
      await syncDirectory(dirname(resolve(this.#path)));
    } catch (cause) {
      throw cause instanceof FileSystemError ? cause : cannotWrite(this.#path, cause);
    }
  }
}

function existing(path: string): FileSystemError {
  return new FileSystemError("exists", `Cannot write to ${path}: it is there already`);
}

function cannotWrite(path: string, cause: unknown): FileSystemError {
  const { message } = cause as NodeJS.ErrnoException;
  return new FileSystemError("unavailable", `Cannot write to ${path}: ${message}`, { cause });
}
