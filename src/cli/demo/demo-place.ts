/** The temporary directory of a demo, and the certainty that it and the mount in it are gone afterwards. */

import type { ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GIB } from "../../domain/bytes.js";
import { UsageError } from "../../domain/errors.js";
import { seconds } from "../../domain/time.js";
import { findMountAt, unmountPath } from "../../fuse/mount-table.js";
import { formatSize } from "../../lib/amount-text.js";
import { ended } from "./programs.js";

/** The sample, its staged copy, its archives and its recalled copy. */
const spaceBytes = 1.5 * GIB;
const orderlyEndMs = seconds(15);

export class DemoPlace {
  readonly directory: string;
  /** The process that serves the mount. */
  mountProcess: ChildProcess | undefined;

  /** @throws UsageError when the temporary directory is missing or its disk too small. */
  static async create(): Promise<DemoPlace> {
    await refuseSmallDisk(tmpdir());
    const place = new DemoPlace(await realpath(await mkdtemp(join(tmpdir(), "casfs-demo-"))));
    for (const name of ["archive", "settings"]) await mkdir(place.path(name));
    return place;
  }

  private constructor(directory: string) {
    this.directory = directory;
  }

  path(...names: readonly string[]): string {
    return join(this.directory, ...names);
  }

  /** Also when a step in the middle failed. Nothing is removed through a mount that could not be unmounted. */
  async leave({ keep }: { readonly keep: boolean }): Promise<void> {
    await this.#endMount();
    if (!keep) await rm(this.directory, { recursive: true, force: true });
  }

  async #endMount(): Promise<void> {
    const child = this.mountProcess;
    if (child !== undefined) {
      child.kill("SIGTERM");
      const tooLate = setTimeout(() => child.kill("SIGKILL"), orderlyEndMs);
      await ended(child);
      clearTimeout(tooLate);
    }
    if ((await findMountAt(this.path("archive"))) !== undefined)
      await unmountPath(this.path("archive"), { lazy: true });
  }
}

async function refuseSmallDisk(directory: string): Promise<void> {
  const { bavail, bsize } = await statfs(directory).catch((cause: unknown) => {
    throw new UsageError(`Cannot run the demo in ${directory}`, { cause });
  });
  if (bavail * bsize >= spaceBytes) return;
  throw new UsageError(`Cannot run the demo in ${directory}: it needs ${formatSize(spaceBytes)} there`, {
    hint: "Set TMPDIR to a directory on a larger disk",
  });
}
