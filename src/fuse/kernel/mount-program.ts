/**
 * Opens the FUSE device and mounts it with the system's `mount`, which gets the descriptor by inheritance.
 *
 * Never: passes anything of the user as a mount option; source and mountpoint are arguments of their own.
 */

import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { Socket } from "node:net";
import { FileSystemError, UsageError } from "../../domain/errors.js";
import type { FuseMountOptions } from "../driver.js";
import { casfsMountType, programEnvironment } from "../mount-table.js";
import type { PipeClass } from "./transport.js";

export interface MountedDevice {
  readonly fileDescriptor: number;
  /** Node's pipe handle class, by way of the child's stderr. */
  readonly Pipe: PipeClass;
}

/** @param options.mountpoint The real path of a directory. @throws FileSystemError, UsageError with a hint. */
export async function mountDevice(options: FuseMountOptions): Promise<MountedDevice> {
  refuseConfusingSource(options.source);
  if (process.geteuid?.() !== 0) {
    throw new FileSystemError("not-permitted", `Cannot mount on ${options.mountpoint}: only root may`, {
      hint: "Mounting as an ordinary user is not supported yet; run casfs as root",
    });
  }
  const fileDescriptor = openDevice();
  try {
    return { fileDescriptor, Pipe: await runMount(fileDescriptor, options) };
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

/** The device's number in the child, where stdio ends. */
const inheritedDescriptor = 3;

async function runMount(fileDescriptor: number, options: FuseMountOptions): Promise<PipeClass> {
  // -i: no helper program. -c: `mount` must not look at the path again once we are mounted there and do not answer yet.
  const mountArguments = ["-i", "-c", "-t", casfsMountType, "-o", mountOptions(options), "--"];
  const child = spawn("mount", [...mountArguments, options.source, options.mountpoint], {
    stdio: ["ignore", "ignore", "pipe", fileDescriptor],
    env: programEnvironment,
    cwd: "/",
  });
  const stderr = child.stderr as Socket & { readonly _handle?: { readonly constructor: PipeClass } };
  const Pipe = stderr._handle?.constructor;
  let said = "";
  stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  }).catch((error: unknown) => {
    throw new FileSystemError("not-supported", "Cannot run the program `mount`", { cause: error });
  });
  if (status !== 0) throw mountError(options.mountpoint, said.trim());
  if (Pipe === undefined) throw new FileSystemError("not-supported", "Cannot find the pipe handle of this Node.js");
  return Pipe;
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
  const what = `Cannot mount on ${mountpoint}: ${said.replaceAll("\n", "; ")}`;
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
