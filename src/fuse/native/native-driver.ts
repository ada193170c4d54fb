/**
 * Driver `fuse-native`: libfuse 2.9 by way of an npm package, for systems where driver `kernel` cannot run.
 *
 * Its limits are those of the package and are listed in native-notes/fuse-native-driver.md: it hears of no interrupts
 * and of no callers, so whatever waits has a deadline and only the user who mounted may use it.
 */

import { FileSystemError } from "../../domain/errors.js";
import type { InodeNumber } from "../../domain/ids.js";
import type { Milliseconds } from "../../domain/time.js";
import type { FuseDriver, FuseMountOptions, FuseOperations, FuseSession } from "../driver.js";
import { casfsMountType, findMountAt, type MountEntry, unmountPath } from "../mount-table.js";
import { usableMountpoint } from "../mountpoint.js";
import { loadFuseNative, mountFuseNative } from "./fuse-native-package.js";
import { runOrphan } from "./orphan-program.js";
import { PathOperations } from "./path-operations.js";
import { RequestDeadlines } from "./request-deadline.js";

export interface NativeDriverOptions {
  /** How long a request may wait. */
  readonly deadlineMs: Milliseconds;
  /** An operation failed with something that is not a `CasfsError`; its caller got EIO. */
  readonly onError: (operation: string, ino: InodeNumber, error: unknown) => void;
}

/** The binding does not tell when it is unmounted, so the table of mounts is looked at. */
const pollIntervalMs = 200;

export function nativeDriver(options: NativeDriverOptions): FuseDriver {
  return { mount: (mountOptions, operations) => mount(options, mountOptions, operations) };
}

async function mount(
  { deadlineMs, onError }: NativeDriverOptions,
  { mountpoint: wanted, source, allowOther, readOnly }: FuseMountOptions,
  operations: FuseOperations,
): Promise<FuseSession> {
  if (allowOther) {
    throw new FileSystemError("not-supported", "Cannot let other users use a mount of the driver fuse-native", {
      hint: "It does not tell who calls, so their files would be somebody else's; use `--driver kernel`",
    });
  }
  const fusePackage = loadFuseNative();
  const mountpoint = await usableMountpoint(wanted);
  const paths = new PathOperations({ operations, deadlines: new RequestDeadlines(deadlineMs), onError });
  const subtype = casfsMountType.replace("fuse.", "");
  const native = await mountFuseNative(fusePackage, paths, { mountpoint, source, subtype, readOnly });
  const mounted = await findMountAt(mountpoint);
  const closed = unmounted(mountpoint, mounted).then(async () => {
    await paths.end();
    native.release();
  });
  closed.catch(() => undefined);
  return {
    closed,
    // Attributes and names live for a second in the kernel; nothing can be told to it.
    invalidateInode: () => undefined,
    invalidateEntry: () => undefined,
    unmount: ({ lazy }) => unmountPath(mountpoint, { lazy, run: runOrphan }),
  };
}

async function unmounted(mountpoint: string, mounted: MountEntry | undefined): Promise<void> {
  for (;;) {
    const there = await findMountAt(mountpoint);
    if (there === undefined || there.device !== mounted?.device) return;
    await new Promise((resolve) => setTimeout(resolve, pollIntervalMs));
  }
}
