/** A file system of a few MiB that can be filled to the last block. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class SmallDisk implements Disposable {
  readonly directory: string;

  constructor(sizeBytes: number) {
    this.directory = mkdtempSync(join(tmpdir(), "casfs-small-disk-"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes}`, "casfs-test", this.directory], {
        stdio: "pipe",
      });
    } catch (error) {
      rmSync(this.directory, { recursive: true });
      throw error;
    }
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.directory);
    return bavail * bsize;
  }

  /** Takes all that is free but `leaveBytes`. */
  fill(leaveBytes = 0): void {
    writeFileSync(this.#ballast, Buffer.alloc(Math.max(0, this.freeBytes - leaveBytes)));
  }

  free(): void {
    rmSync(this.#ballast, { force: true });
  }

  get #ballast(): string {
    return join(this.directory, "ballast");
  }

  [Symbol.dispose](): void {
    // Lazy: a server that a failed test has left open must not keep it.
    execFileSync("umount", ["-l", this.directory], { stdio: "pipe" });
    rmSync(this.directory, { recursive: true });
  }
}

function mountFailure(): string | undefined {
  try {
    new SmallDisk(1 << 20)[Symbol.dispose]();
    return undefined;
  } catch (error) {
    return `cannot mount a tmpfs: ${(error as Error).message.trim()}`;
  }
}

/** Why no small disk can be made here; undefined when one can. */
export const noSmallDisk: string | undefined =
  process.getuid?.() === 0 ? mountFailure() : "needs root to mount a tmpfs";
