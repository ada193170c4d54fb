/** The FUSE device of a mount, in whichever way this process may come by it. */

import type { FuseMountOptions } from "../driver.js";
import { findMountAt, findMountOfDevice, type MountEntry } from "../mount-table.js";
import { usableMountpoint } from "../mountpoint.js";
import { mountAsUser } from "./fusermount.js";
import { checkGivenDevice, givenDescriptor, mountOfDevice } from "./given-device.js";
import { mountAsRoot } from "./mount-program.js";

export interface MountedDevice {
  readonly fileDescriptor: number;
  /** The mount as the system lists it; undefined when it is gone, or where the kernel does not tell which it is. */
  find(): Promise<MountEntry | undefined>;
}

/** @throws FileSystemError, UsageError with a hint. */
export async function mountDevice(options: FuseMountOptions): Promise<MountedDevice> {
  const { device, mountpoint: place } = options;
  if (device !== undefined) return { fileDescriptor: device.fileDescriptor, find: () => findMountAt(place) };
  const given = givenDescriptor(options.mountpoint);
  if (given !== undefined) return givenDevice(given);
  const mountpoint = await usableMountpoint(options.mountpoint);
  const mount = process.geteuid?.() === 0 ? mountAsRoot : mountAsUser;
  return { fileDescriptor: await mount({ ...options, mountpoint }), find: () => findMountAt(mountpoint) };
}

async function givenDevice(fileDescriptor: number): Promise<MountedDevice> {
  checkGivenDevice(fileDescriptor);
  const device = mountOfDevice(fileDescriptor);
  const find = async () => (device === undefined ? undefined : findMountOfDevice(device));
  return { fileDescriptor, find };
}
