/**
 * What the kernel holds of each inode: its lookup count, and set-id bits that a write would have to drop. Pure state.
 */

import type { InodeNumber } from "../../domain/ids.js";
import { isRegular } from "../../vfs/attributes.js";
import { rootNode } from "./protocol.js";

const setUserId = 0o4000;
const setGroupId = 0o2000;
const groupExecute = 0o010;

export class KnownInodes {
  readonly #lookups = new Map<InodeNumber, number>();
  /** Modes of files with set-user-id or set-group-id, as last told to the kernel; nearly always empty. */
  readonly #privilegedModes = new Map<InodeNumber, number>();
  /** An earlier process may have told the kernel of any inode. */
  #knowsMore = false;

  /** How many inodes the kernel has references to, the root aside. */
  get size(): number {
    return this.#lookups.size;
  }

  /** Whether the kernel may have something cached of `ino`. */
  isKnown(ino: InodeNumber): boolean {
    return this.#knowsMore || ino === rootNode || this.#lookups.has(ino);
  }

  /** The kernel was served by another process before: it may know any inode, and has set-id bits of these. */
  inherit(privilegedModes: Iterable<readonly [InodeNumber, number]>): void {
    this.#knowsMore = true;
    for (const [ino, mode] of privilegedModes) this.sawMode(ino, mode);
  }

  /** Counts one lookup: a reply that named `ino` goes out. */
  count(ino: InodeNumber): void {
    if (ino === rootNode) return;
    this.#lookups.set(ino, (this.#lookups.get(ino) ?? 0) + 1);
  }

  /** Takes `lookups` back; returns whether the kernel has now dropped its last reference. */
  forget(ino: InodeNumber, lookups: number): boolean {
    const before = this.#lookups.get(ino);
    if (before === undefined) return false;
    if (before > lookups) {
      this.#lookups.set(ino, before - lookups);
      return false;
    }
    this.#lookups.delete(ino);
    this.#privilegedModes.delete(ino);
    return true;
  }

  /** Forgets everything; returns the inodes that the kernel still knew. */
  drain(): InodeNumber[] {
    const inodes = [...this.#lookups.keys()];
    this.#lookups.clear();
    this.#privilegedModes.clear();
    return inodes;
  }

  /** Remembers `mode` as the kernel is about to learn it. */
  sawMode(ino: InodeNumber, mode: number): void {
    if ((mode & (setUserId | setGroupId)) !== 0 && isRegular(mode)) this.#privilegedModes.set(ino, mode);
    else if (this.#privilegedModes.size > 0) this.#privilegedModes.delete(ino);
  }

  /**
   * The mode after a change of content or owner, or undefined when nothing is to be dropped.
   *
   * Set-group-id without group execution once meant mandatory locking and stays, as on Linux file systems.
   */
  modeWithoutPrivileges(ino: InodeNumber): number | undefined {
    if (this.#privilegedModes.size === 0) return undefined;
    const mode = this.#privilegedModes.get(ino);
    if (mode === undefined) return undefined;
    const dropped = (mode & groupExecute) === 0 ? mode & ~setUserId : mode & ~(setUserId | setGroupId);
    return dropped === mode ? undefined : dropped;
  }
}
