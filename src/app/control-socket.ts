/**
 * Where a mount's control socket is, and how to name it to the kernel.
 *
 * A socket's address holds 107 bytes, and a state directory may have a longer path: the kernel is given the socket
 * through the descriptor of its directory instead. So whoever connects or listens keeps that directory open meanwhile.
 */

import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname, join } from "node:path";

/** The control socket of the mount whose state is in `stateDirectory`. */
export function controlSocketPath(stateDirectory: string): string {
  return join(stateDirectory, "control.sock");
}

/** The directory of `socketPath`, opened so that `addressIn` can use it; the caller closes it. */
export function openSocketDirectory(socketPath: string): Promise<FileHandle> {
  return open(dirname(socketPath), constants.O_RDONLY | constants.O_DIRECTORY);
}

/** A short name of the entry `name` of an open directory, for as long as it is open. */
export function addressIn(directory: FileHandle, name: string): string {
  return `/proc/self/fd/${directory.fd}/${name}`;
}
