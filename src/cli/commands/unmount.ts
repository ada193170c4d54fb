/** `casfs unmount`: unmounts, and returns when the daemon is gone, so that the next mount finds its state free. */

import type { Command } from "commander";
import { systemClock } from "../../app/system-clock.js";
import { FileSystemError } from "../../domain/errors.js";
import { ms, seconds } from "../../domain/time.js";
import { unmountPath } from "../../fuse/mount-table.js";
import { formatSize } from "../../lib/amount-text.js";
import { type CasfsMount, failureLine, mountAt, statusOf, untilInterrupted, withControl } from "../casfs-mount.js";
import { isRunning, tellWhileWaiting } from "../mount-process.js";
import { counted, type Terminal } from "../terminal.js";

interface UnmountFlags {
  readonly drain?: boolean;
  readonly lazy?: boolean;
}

/** How long a daemon may take to end in order; a detached one ends when its last user does, which is not waited for. */
const endTimeoutMs = { orderly: seconds(60), detached: seconds(2) };
const pollIntervalMs = ms(50);

export function addUnmountCommand(program: Command, terminal: Terminal): void {
  program
    .command("unmount")
    .description("unmount a casfs mount, also one whose process has died")
    .argument("<MOUNTPOINT>")
    .option("--drain", "first wait until nothing is staged any more")
    .option("--lazy", "detach it at once; those who use it go on until they are done")
    .action((path: string, flags: UnmountFlags) => unmount(path, flags, terminal));
}

async function unmount(path: string, { drain = false, lazy = false }: UnmountFlags, terminal: Terminal): Promise<void> {
  const mount = await mountAt(path);
  if (drain && !(await drained(mount, terminal))) {
    terminal.exitCode = 1;
    return;
  }
  const what = `the mount at ${mount.mountpoint} has ended`;
  const staged = await tellWhileWaiting({ mount, what, terminal }, unmountNow(mount, { lazy }, terminal));
  if (staged !== undefined && staged.files > 0) {
    const left = `${counted(staged.files, "file")} (${formatSize(staged.bytes)})`;
    terminal.tell(`casfs: ${left} not archived yet; the next mount goes on with the uploads`);
  }
}

/** @returns what is staged still. */
async function unmountNow(mount: CasfsMount, { lazy }: { readonly lazy: boolean }, terminal: Terminal) {
  const staged = await stagedFiles(mount);
  // What a dead process left has nothing to lose, and files that are still open in it would keep it busy.
  const isDead = !(await isRunning(mount));
  await unmountPath(mount.mountpoint, { lazy: lazy || isDead });
  await waitForEnd(mount, { lazy }, terminal);
  return staged;
}

async function drained(mount: CasfsMount, terminal: Terminal): Promise<boolean> {
  const what = `everything in ${mount.mountpoint} is archived`;
  const drain = withControl(mount, (api) => api.drain({}, untilInterrupted()));
  const { left } = await tellWhileWaiting({ mount, what, terminal }, drain);
  if (left.length === 0) return true;
  terminal.tell(`casfs: Cannot drain ${mount.mountpoint}, so it stays mounted: ${counted(left.length, "file")} left`);
  for (const failure of left) terminal.tell(`  ${failureLine(mount, failure)}`);
  return false;
}

/** Undefined when the daemon does not say; it may be dead. */
async function stagedFiles(mount: CasfsMount) {
  return statusOf(mount).then(
    ({ staged }) => staged,
    () => undefined,
  );
}

async function waitForEnd(mount: CasfsMount, { lazy }: { readonly lazy: boolean }, terminal: Terminal): Promise<void> {
  const timeoutMs = lazy ? endTimeoutMs.detached : endTimeoutMs.orderly;
  const deadline = systemClock.now() + timeoutMs;
  while (await isRunning(mount)) {
    if (systemClock.now() < deadline) {
      await systemClock.sleep(pollIntervalMs);
    } else if (lazy) {
      terminal.tell("casfs: detached; its process ends when the last file in it is closed");
      return;
    } else {
      throw new FileSystemError("busy", `Unmounted ${mount.mountpoint}, but its process still works on its state`, {
        hint: "Wait a little before you mount it again",
      });
    }
  }
}
