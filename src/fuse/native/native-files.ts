/** Open files of a mount, by the numbers that libfuse hands back: 32 bits, never 0. */

import { FileSystemError } from "../../domain/errors.js";
import type { InodeNumber } from "../../domain/ids.js";
import type { HandleNumber } from "../driver.js";

export interface NativeFile {
  readonly ino: InodeNumber;
  readonly handle: HandleNumber;
}

const numberMax = 0x7fff_ffff;

export class NativeFiles {
  readonly #files = new Map<number, NativeFile>();
  readonly #openOf = new Map<InodeNumber, number>();
  #last = 0;

  /** @returns its number. */
  add(file: NativeFile): number {
    do this.#last = (this.#last % numberMax) + 1;
    while (this.#files.has(this.#last));
    this.#files.set(this.#last, file);
    this.#openOf.set(file.ino, (this.#openOf.get(file.ino) ?? 0) + 1);
    return this.#last;
  }

  /** @throws FileSystemError "bad-handle". */
  get(number: number): NativeFile {
    const file = this.#files.get(number);
    if (file === undefined) throw new FileSystemError("bad-handle", `File ${number} is not open`);
    return file;
  }

  remove(number: number): NativeFile {
    const file = this.get(number);
    this.#files.delete(number);
    const left = (this.#openOf.get(file.ino) ?? 1) - 1;
    if (left === 0) this.#openOf.delete(file.ino);
    else this.#openOf.set(file.ino, left);
    return file;
  }

  isOpen(ino: InodeNumber): boolean {
    return this.#openOf.has(ino);
  }

  /** Takes out all that is open. */
  drain(): NativeFile[] {
    const files = [...this.#files.values()];
    this.#files.clear();
    this.#openOf.clear();
    return files;
  }
}
