/**
 * Mounts as root: opens the FUSE device and runs the system's `mount`, which gets the descriptor by inheritance.
 *
 * Never: passes anything of the user as a mount option; source and mountpoint are arguments of their own.
 */

import { closeSync, openSync } from "node:fs";
import { FileSystemError, UsageError } from "../../domain/errors.js";
import type { FuseMountOptions } from "../driver.js";
import { casfsMountType } from "../mount-table.js";
import { inheritedDescriptor, runMountHelper } from "./mount-helper.js";

/**
 * @param options.mountpoint The real path of a directory.
 * @returns the mounted device.
 * @throws FileSystemError, UsageError with a hint.
 */
export async function mountAsRoot(options: FuseMountOptions): Promise<number> {
  refuseConfusingSource(options.source);
  const fileDescriptor = openDevice();
  try {
    await runMount(fileDescriptor, options);
    return fileDescriptor;
  } catch (error) {
    closeSync(fileDescriptor);
    throw error;
  }
}

/** `mount` takes some names for something else: tags of disks, and options. */
function refuseConfusingSource(source: string): void {
  if (source !== "" && !/^[A-Za-z]+=|^-|\0/.test(source)) return;
  throw new UsageError(`Cannot use ${JSON.stringify(source)} as the name of a mount`);
}

function openDevice(): number {
  try {
    return openSync("/dev/fuse", "r+");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EPERM") {
      throw new FileSystemError("not-permitted", "Cannot open /dev/fuse", {
        cause: error,
        hint: "In a container, allow the device: `docker run --device /dev/fuse --cap-add SYS_ADMIN`",
      });
    }
    throw new FileSystemError("not-supported", "Cannot open /dev/fuse", {
      cause: error,
      hint: "Load the kernel's module with `modprobe fuse`; in a container, pass the device: `docker run --device /dev/fuse`",
    });
  }
}

async function runMount(fileDescriptor: number, options: FuseMountOptions): Promise<void> {
  // -i: no helper program. -c: `mount` must not look at the path again once we are mounted there and do not answer yet.
  const mountArguments = ["-i", "-c", "-t", casfsMountType, "-o", mountOptions(options), "--"];
  const result = await runMountHelper("mount", [...mountArguments, options.source, options.mountpoint], {
    descriptor: fileDescriptor,
  }).catch((error: unknown) => {
    throw new FileSystemError("not-supported", "Cannot run the program `mount`", { cause: error });
  });
  if (!result.ok) throw mountError(options.mountpoint, result.said);
}

function mountOptions({ allowOther, readOnly }: FuseMountOptions): string {
  return [
    `fd=${inheritedDescriptor}`,
    "rootmode=40000",
    "user_id=0",
    "group_id=0",
    "default_permissions",
    "nosuid",
    "nodev",
    ...(allowOther ? ["allow_other"] : []),
    ...(readOnly ? ["ro"] : []),
  ].join(",");
}

function mountError(mountpoint: string, said: string): FileSystemError {
  const what = `Cannot mount on ${mountpoint}: ${said}`;
  if (/permission denied|not permitted|superuser/i.test(said)) {
    return new FileSystemError("not-permitted", what, {
      hint: "Mounting needs CAP_SYS_ADMIN; in a container: `docker run --cap-add SYS_ADMIN --device /dev/fuse`",
    });
  }
  if (/unknown filesystem type/i.test(said)) {
    return new FileSystemError("not-supported", what, { hint: "Load the kernel's module with `modprobe fuse`" });
  }
  return new FileSystemError(/busy/i.test(said) ? "busy" : "unavailable", what);
}
