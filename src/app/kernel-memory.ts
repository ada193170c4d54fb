/** What the kernel remembers of a mount, and is told to forget. Before it is mounted it remembers nothing. */

import type { InodeNumber } from "../domain/ids.js";
import type { FuseSession } from "../fuse/driver.js";

export class KernelMemory {
  #session: FuseSession | undefined;

  /** The file system is mounted: from now on there is something to forget. */
  attach(session: FuseSession): void {
    this.#session = session;
  }

  /** The blocks of a file change with where its bytes are; the kernel may remember attributes for an hour. */
  placeChanged(ino: InodeNumber | undefined): void {
    if (ino !== undefined) this.#session?.invalidateInode(ino, { data: false });
  }

  /** What the kernel has of the file's bytes may be wrong. */
  bytesChanged(ino: InodeNumber | undefined): void {
    if (ino !== undefined) this.#session?.invalidateInode(ino, { data: true });
  }

  /** `name` in `parent` came or went without the kernel's doing. It may have cached the listing, too. */
  nameAppeared(parent: InodeNumber, name: string): void {
    this.#session?.invalidateEntry(parent, name);
    this.#session?.invalidateInode(parent, { data: true });
  }
}
