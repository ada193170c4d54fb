/** Whether a directory can be mounted upon, said before trying, in words that help. */

import { realpath, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { FileSystemError, UsageError } from "../domain/errors.js";
import { findMountAt } from "./mount-table.js";

/**
 * The real path of an existing directory that nothing is mounted on.
 *
 * @throws UsageError when it is missing, no directory or a stale mount; FileSystemError "busy" when something is
 *   mounted there.
 */
export async function usableMountpoint(path: string): Promise<string> {
  const absolute = resolve(path);
  const mounted = await findMountAt(absolute);
  try {
    const real = await realpath(absolute);
    if (!(await stat(real)).isDirectory()) throw new UsageError(`Cannot mount on ${path}: it is not a directory`);
    const there = mounted ?? (await findMountAt(real));
    if (there !== undefined) {
      throw new FileSystemError("busy", `Cannot mount on ${path}: ${there.source} is already mounted there`, {
        hint: `Unmount it first: \`casfs unmount ${path}\``,
      });
    }
    return real;
  } catch (error) {
    throw explained(path, error);
  }
}

function explained(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") {
    return new UsageError(`Cannot mount on ${path}: there is no such directory`, {
      cause: error,
      hint: `Make it first: \`mkdir -p ${path}\``,
    });
  }
  if (code === "ENOTCONN" || code === "ECONNABORTED") {
    return new UsageError(`Cannot mount on ${path}: Transport endpoint is not connected, a daemon has died there`, {
      cause: error,
      hint: `Unmount what it left: \`casfs unmount ${path}\``,
    });
  }
  if (code === "ENOTDIR" || code === "EACCES" || code === "ELOOP") {
    return new UsageError(`Cannot mount on ${path}`, { cause: error });
  }
  return error;
}
