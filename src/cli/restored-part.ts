/**
 * `casfs restore --range` and `--output`: a part of a file, and its bytes written to a file of their own.
 *
 * Never: overwrites a file; leaves one that has not all bytes, but for kill -9; puts bytes of two versions together.
 */

import { type FileHandle, open, rm } from "node:fs/promises";
import type { ControlApi, MountPath, RestorePlan } from "../app/control-api.js";
import { MIB } from "../domain/bytes.js";
import { FileSystemError } from "../domain/errors.js";

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

/** An output file that is there, and empty, before anything is paid for. */
export class PartOutput {
  readonly #path: string;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** @throws FileSystemError when it cannot be made, or is there already. */
  static async create(path: string): Promise<PartOutput> {
    try {
      return new PartOutput(path, await open(path, "wx"));
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === "EEXIST") throw new FileSystemError("exists", `Cannot write to ${path}: it is there already`);
      throw cannotWrite(path, cause);
    }
  }

  /**
   * Writes `range` of `file`, of which all has been restored, and syncs it.
   *
   * @returns the number of bytes. @throws FileSystemError "stale" when the file is rewritten meanwhile.
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
    await this.#file.sync();
    await this.#file.close();
    return position - start;
  }

  /** Nothing comes of it. */
  async remove(): Promise<void> {
    await this.#file.close().catch(() => undefined);
    await rm(this.#path, { force: true });
  }
}

function cannotWrite(path: string, cause: unknown): FileSystemError {
  const { message } = cause as NodeJS.ErrnoException;
  return new FileSystemError("unavailable", `Cannot write to ${path}: ${message}`, { cause });
}
