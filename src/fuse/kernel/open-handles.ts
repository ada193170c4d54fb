/**
 * Handles that the kernel holds. When a connection ends, RELEASE requests that were still queued are lost; whoever
 * opened a handle is told of its end all the same.
 */

import type { InodeNumber } from "../../domain/ids.js";
import type { HandleNumber } from "../driver.js";

export class OpenHandles {
  readonly #files = new Map<HandleNumber, InodeNumber>();
  readonly #directories = new Map<HandleNumber, InodeNumber>();

  opened(ino: InodeNumber, handle: HandleNumber): void {
    this.#files.set(handle, ino);
  }

  released(handle: HandleNumber): void {
    this.#files.delete(handle);
  }

  openedDirectory(ino: InodeNumber, handle: HandleNumber): void {
    this.#directories.set(handle, ino);
  }

  releasedDirectory(handle: HandleNumber): void {
    this.#directories.delete(handle);
  }

  /** Gives up all handles and returns them. */
  drain(): {
    readonly files: readonly (readonly [HandleNumber, InodeNumber])[];
    readonly directories: readonly (readonly [HandleNumber, InodeNumber])[];
  } {
    const left = { files: [...this.#files], directories: [...this.#directories] };
    this.#files.clear();
    this.#directories.clear();
    return left;
  }
}
