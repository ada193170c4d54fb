/** What the kernel remembers of a mount, and is told to forget. Before it is mounted it remembers nothing. */

import type { InodeNumber } from "../domain/ids.js";
import type { FuseSession } from "../fuse/driver.js";

export class KernelMemory {
  #session: FuseSession | undefined;
  /** What was to be forgotten before the mount was served here. */
  #early: ((session: FuseSession) => void)[] = [];

  /**
   * The file system is mounted: from now on there is something to forget.
   *
   * @param options.remembers Another process has served it before: what changed since is to be forgotten, too.
   */
  attach(session: FuseSession, { remembers }: { readonly remembers: boolean }): void {
    this.#session = session;
    if (remembers) for (const forget of this.#early) forget(session);
    this.#early = [];
  }

  /** The blocks of a file change with where its bytes are; the kernel may remember attributes for an hour. */
  placeChanged(ino: InodeNumber | undefined): void {
    if (ino !== undefined) this.#forget((session) => session.invalidateInode(ino, { data: false }));
  }

  /** What the kernel has of the file's bytes may be wrong. */
  bytesChanged(ino: InodeNumber | undefined): void {
    if (ino !== undefined) this.#forget((session) => session.invalidateInode(ino, { data: true }));
  }

  /** `name` in `parent` came or went without the kernel's doing. It may have cached the listing, too. */
  nameAppeared(parent: InodeNumber, name: string): void {
    this.#forget((session) => {
      session.invalidateEntry(parent, name);
      session.invalidateInode(parent, { data: true });
    });
  }

  #forget(forget: (session: FuseSession) => void): void {
    if (this.#session === undefined) this.#early.push(forget);
    else forget(this.#session);
  }
}
