/**
 * Mounts as an ordinary user, by the setuid program fusermount3: it opens the device, mounts, and sends it back.
 *
 * Relies on: fusermount3 decides what the user may do; it adds nosuid and nodev by itself.
 */

import { closeSync } from "node:fs";
import { FileSystemError } from "../../domain/errors.js";
import type { FuseMountOptions } from "../driver.js";
import { casfsMountType } from "../mount-table.js";
import { inheritedDescriptor, runMountHelper } from "./mount-helper.js";
import { socketPair } from "./passed-descriptor.js";

/** @returns the mounted device. @throws FileSystemError with a hint. */
export async function mountAsUser(options: FuseMountOptions): Promise<number> {
  const sockets = await socketPair();
  try {
    await runFusermount(sockets.theirs, options);
    const fileDescriptor = sockets.receive();
    if (fileDescriptor !== undefined) return fileDescriptor;
    throw new FileSystemError("unavailable", `Cannot mount on ${options.mountpoint}: fusermount3 sent no device`);
  } finally {
    closeSync(sockets.ours);
    closeSync(sockets.theirs);
  }
}

async function runFusermount(socket: number, options: FuseMountOptions): Promise<void> {
  const programArguments = ["-o", fusermountOptions(options), "--", options.mountpoint];
  const result = await runMountHelper("fusermount3", programArguments, {
    descriptor: socket,
    env: { _FUSE_COMMFD: String(inheritedDescriptor) },
  }).catch((cause: unknown) => {
    throw new FileSystemError("not-supported", "Cannot run the program `fusermount3`, which mounts for users", {
      cause,
      hint: "Install it (Debian: `apt install fuse3`), or mount as root",
    });
  });
  if (!result.ok) throw fusermountError(options.mountpoint, result.said);
}

/** @see fusermount3(1): commas and backslashes in a value are escaped. */
function fusermountOptions({ source, allowOther, readOnly }: FuseMountOptions): string {
  return [
    `fsname=${source.replace(/[\\,]/g, "\\$&")}`,
    `subtype=${casfsMountType.replace("fuse.", "")}`,
    "default_permissions",
    ...(allowOther ? ["allow_other"] : []),
    ...(readOnly ? ["ro"] : []),
  ].join(",");
}

function fusermountError(mountpoint: string, said: string): FileSystemError {
  const what = `Cannot mount on ${mountpoint}: ${said}`;
  if (/user_allow_other/.test(said)) {
    return new FileSystemError("not-permitted", what, {
      hint: "Put a line `user_allow_other` into /etc/fuse.conf, or mount without --allow-other",
    });
  }
  if (/no write access|not owned/i.test(said)) {
    return new FileSystemError("not-permitted", what, { hint: "Mount on a directory that is your own" });
  }
  if (/too many FUSE filesystems/i.test(said)) {
    return new FileSystemError("not-permitted", what, { hint: "Raise mount_max in /etc/fuse.conf" });
  }
  if (/failed to open \/dev\/fuse: Permission denied/i.test(said)) {
    return new FileSystemError("not-permitted", what, {
      hint: "Users need the device: as root, `chmod 666 /dev/fuse` (udev's rule on most systems)",
    });
  }
  if (/fuse device not found|failed to open \/dev\/fuse/i.test(said)) {
    return new FileSystemError("not-supported", what, {
      hint: "Load the kernel's module with `modprobe fuse`; in a container, pass the device: `docker run --device /dev/fuse`",
    });
  }
  if (/permission denied|not permitted/i.test(said)) {
    return new FileSystemError("not-permitted", what, { hint: "Is fusermount3 setuid root, and the directory yours?" });
  }
  return new FileSystemError(/busy/i.test(said) ? "busy" : "unavailable", what);
}
