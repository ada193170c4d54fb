/**
 * A mountpoint of the form /dev/fd/N: the file system is mounted already, by whoever started us, and N is its device.
 *
 * That is how mount.fuse3 starts a file system for fstab (`setuid=USER,drop_privileges`), and how a process without
 * any right to mount can serve one.
 */

import { fstatSync, readFileSync, type Stats } from "node:fs";
import { UsageError } from "../../domain/errors.js";

/** Device number of /dev/fuse: misc (10), minor 229 (Linux Documentation/admin-guide/devices.txt). */
const fuseDevice = { major: 10, minor: 229 };

/** The N of /dev/fd/N; undefined for any other mountpoint. */
export function givenDescriptor(mountpoint: string): number | undefined {
  const digits = /^\/dev\/fd\/(\d{1,9})$/.exec(mountpoint)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** @throws UsageError unless `fileDescriptor` is an open FUSE device. */
export function checkGivenDevice(fileDescriptor: number): void {
  const what = `Cannot mount on /dev/fd/${fileDescriptor}`;
  let stat: Stats;
  try {
    stat = fstatSync(fileDescriptor);
  } catch (cause) {
    throw new UsageError(`${what}: no such descriptor was handed to this process`, { cause });
  }
  const { major, minor } = deviceNumber(stat.rdev);
  if (!stat.isCharacterDevice() || major !== fuseDevice.major || minor !== fuseDevice.minor) {
    throw new UsageError(`${what}: it is not a FUSE device`);
  }
}

/** As in /sys/class/bdi, `0:MINOR`; undefined before Linux 6.17, which does not tell, and before it is mounted. */
export function mountOfDevice(fileDescriptor: number): string | undefined {
  const text = readFileSync(`/proc/self/fdinfo/${fileDescriptor}`, "utf8");
  const minor = /^fuse_connection:\s*(\d+)$/m.exec(text)?.[1];
  return minor === undefined ? undefined : `0:${minor}`;
}

/** The kernel's 32 bit encoding: 12 bits of major between the parts of minor (include/linux/kdev_t.h, new_encode_dev). */
function deviceNumber(rdev: number): { readonly major: number; readonly minor: number } {
  return { major: (rdev >>> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00) };
}
