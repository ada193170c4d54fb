/**
 * Driver `kernel`: the FUSE kernel protocol over /dev/fuse, without an addon. Linux, little-endian.
 *
 * Never: touches its own mount, not even asynchronously: it would wait for itself.
 */

import { closeSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { endianness } from "node:os";
import { describeError, FileSystemError } from "../../domain/errors.js";
import type { FuseDriver, FuseMountOptions, FuseOperations, FuseSession } from "../driver.js";
import { type MountEntry, unmountPath } from "../mount-table.js";
import { type MountedDevice, mountDevice } from "./mounted-device.js";
import { pipeHandleClass } from "./pipe-class.js";
import type { OperationErrorHandler } from "./replies.js";
import { KernelSession } from "./session.js";
import { Transport } from "./transport.js";

export interface KernelDriverOptions {
  /** An operation failed with something that is not a `CasfsError`; its caller got EIO. */
  readonly onError: OperationErrorHandler;
  /** Something about the host that the user should know; the mount works. */
  readonly onWarning: (message: string) => void;
}

export function kernelDriver(options: KernelDriverOptions): FuseDriver {
  return { mount: (mountOptions, operations) => mount(options, mountOptions, operations) };
}

async function mount(
  options: KernelDriverOptions,
  mountOptions: FuseMountOptions,
  operations: FuseOperations,
): Promise<FuseSession> {
  if (endianness() !== "LE") throw new FileSystemError("not-supported", "Cannot mount on a big-endian host");
  const Pipe = await pipeHandleClass();
  const device = await mountDevice(mountOptions);
  const connection = connect(device.fileDescriptor, Pipe, operations, options.onError);
  const { session, ended } = connection;
  const former = mountOptions.device?.former;
  try {
    if (former !== undefined) await session.succeed(former);
    await Promise.race([session.initialised, ended]);
    await session.initialised;
    const there = await device.find();
    await Promise.all([growReadahead(there?.device), warnOfTimeouts(options.onWarning)]);
    return fuseSession(connection, device, there);
  } catch (error) {
    await detach(device);
    throw error;
  }
}

interface Connection {
  readonly session: KernelSession;
  /** Settles when the connection has ended and everything it held is given up. */
  readonly ended: Promise<void>;
  /** Gives the device up, and with it the mount. */
  readonly end: () => void;
}

/** Starts to answer the kernel. */
function connect(
  fileDescriptor: number,
  Pipe: ConstructorParameters<typeof Transport>[1],
  operations: FuseOperations,
  onError: OperationErrorHandler,
): Connection {
  const transport: Transport = openTransport(fileDescriptor, Pipe, (request) => session.receive(request));
  const session = new KernelSession(transport, operations, onError);
  const ended = transport.closed.finally(() => session.end());
  // `closed` of the session hands it on; a mount that fails earlier has nobody to tell.
  ended.catch(() => undefined);
  return { session, ended, end: () => transport.end() };
}

/** Closing the device ends the connection: nothing then waits for answers that nobody will give. */
function openTransport(...[fileDescriptor, Pipe, onRequest]: ConstructorParameters<typeof Transport>): Transport {
  try {
    return new Transport(fileDescriptor, Pipe, onRequest);
  } catch (error) {
    closeSync(fileDescriptor);
    throw error;
  }
}

async function detach(device: MountedDevice): Promise<void> {
  const there = await device.find();
  if (there !== undefined) await unmountPath(there.mountpoint, { lazy: true }).catch(() => undefined);
}

/** @param mounted Undefined where the kernel does not tell. */
function fuseSession(connection: Connection, device: MountedDevice, mounted: MountEntry | undefined): FuseSession {
  const { session } = connection;
  let isGivenUp = false;
  const giveUp = () => {
    isGivenUp = true;
    connection.end();
  };
  const closed = connection.ended.then(() => (isGivenUp ? undefined : refuseAbort(device, mounted)));
  closed.catch(() => undefined);
  return {
    closed,
    invalidateInode: (ino, { data }) => session.invalidateInode(ino, data),
    invalidateEntry: (parent, name) => session.invalidateEntry(parent, name),
    async unmount({ lazy }) {
      if (mounted === undefined) return giveUp();
      await unmountPath(mounted.mountpoint, { lazy }).catch((error: unknown) => {
        // A mount that somebody else made may be theirs alone to unmount; without us it answers ENOTCONN.
        if (!lazy) throw error;
        giveUp();
      });
    },
  };
}

/** An abort (fusectl, a request timeout of the host) looks like an unmount, but leaves the mount behind. */
async function refuseAbort(device: MountedDevice, mounted: MountEntry | undefined): Promise<void> {
  if (mounted === undefined) return;
  const there = await device.find();
  if (there === undefined || there.device !== mounted.device) return;
  throw new FileSystemError("unavailable", `The kernel aborted the connection of ${mounted.mountpoint}`, {
    hint: `Unmount what is left with \`casfs unmount ${mounted.mountpoint}\` and mount again`,
  });
}

const readaheadKib = 1024;

/** Buffered reads become as large as our replies. Without the right to do so they are 128 KiB, and that is fine. */
async function growReadahead(device: string | undefined): Promise<void> {
  if (device === undefined) return;
  await writeFile(`/sys/class/bdi/${device}/read_ahead_kb`, String(readaheadKib)).catch(() => undefined);
}

const timeoutSettings = ["default_request_timeout", "max_request_timeout"];

async function warnOfTimeouts(onWarning: (message: string) => void): Promise<void> {
  for (const setting of timeoutSettings) {
    try {
      const seconds = Number(await readFile(`/proc/sys/fs/fuse/${setting}`, "utf8"));
      if (seconds > 0) {
        onWarning(
          `fs.fuse.${setting} is ${seconds} s: the kernel ends the mount when an open waits longer for a recall; ` +
            `set it to 0 with \`sysctl fs.fuse.${setting}=0\``,
        );
      }
    } catch (error) {
      // Kernels before 6.15 have no such setting.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT")
        onWarning(`Cannot read fs.fuse.${setting}: ${describeError(error)}`);
    }
  }
}
