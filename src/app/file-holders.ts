/**
 * Which processes have a file of the mount open, from /proc; see `FileHolders`.
 *
 * Relies on: Linux, where `fdinfo` tells inode and mount of a descriptor without asking the file system. A process that
 * may not be looked into, or that sees the mount by way of another mount namespace, counts as one that has nothing open.
 */

import { readdir, readFile } from "node:fs/promises";
import type { InodeNumber } from "../domain/ids.js";
import type { FileHolders } from "../vfs/ports.js";

// Shells in shells; nobody's parents go further.
const ancestorsMax = 16;

/** @param directory Where processes are listed, usually `/proc`. */
export function fileHolders(mountpoint: string, directory = "/proc"): FileHolders {
  return {
    async isHeld(ino, { closer, writers }) {
      const mount = await mountIdOf(mountpoint, directory);
      if (mount === undefined) return false;
      const candidates = new Set([closer, ...writers, ...(await ancestorsOf(closer, directory))]);
      for (const pid of candidates) if (await holds(`${directory}/${pid}`, ino, mount)) return true;
      return false;
    },
  };
}

async function holds(process: string, ino: InodeNumber, mount: string): Promise<boolean> {
  const descriptors = await readdir(`${process}/fdinfo`).catch(() => []);
  for (const descriptor of descriptors) {
    const info = await readFile(`${process}/fdinfo/${descriptor}`, "utf8").catch(() => "");
    const isThere = fieldOf(info, "ino") === String(ino) && fieldOf(info, "mnt_id") === mount;
    // O_WRONLY and O_RDWR.
    if (isThere && (Number.parseInt(fieldOf(info, "flags") ?? "0", 8) & 3) !== 0) return true;
  }
  return false;
}

async function ancestorsOf(pid: number, directory: string): Promise<number[]> {
  const ancestors: number[] = [];
  let status = await readFile(`${directory}/${pid}/status`, "utf8").catch(() => "");
  while (ancestors.length < ancestorsMax) {
    const parent = Number(fieldOf(status, "PPid") ?? 0);
    if (parent <= 1) break;
    ancestors.push(parent);
    status = await readFile(`${directory}/${parent}/status`, "utf8").catch(() => "");
  }
  return ancestors;
}

/** Of the mount that is seen at `mountpoint`: the last one there. */
async function mountIdOf(mountpoint: string, directory: string): Promise<string | undefined> {
  const mounts = await readFile(`${directory}/self/mountinfo`, "utf8").catch(() => "");
  const found = mounts.split("\n").findLast((line) => unescaped(line.split(" ")[4] ?? "") === mountpoint);
  return found?.split(" ")[0];
}

/** Blanks and the like are written in octal. */
function unescaped(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function fieldOf(text: string, name: string): string | undefined {
  return new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(text)?.[1];
}
