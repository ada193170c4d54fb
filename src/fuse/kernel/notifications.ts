/**
 * Tells the kernel that something it caches has changed.
 *
 * Notifications wait in a queue and at most two are being written: each occupies a thread of the pool while the kernel
 * waits for a page, and the read that holds the page may need a thread of the same pool. Equal ones are sent once.
 */

import type { InodeNumber } from "../../domain/ids.js";
import { invalEntryNotification, invalInodeNotification } from "./wire-reply.js";

const concurrentWritesMax = 2;

export class Notifications {
  readonly #write: (bytes: Uint8Array) => Promise<unknown>;
  /** By what they are about; a Map keeps the order of asking. */
  readonly #queue = new Map<string | number, () => Buffer>();
  #writing = 0;

  constructor(write: (bytes: Uint8Array) => Promise<unknown>) {
    this.#write = write;
  }

  inodeChanged(ino: InodeNumber, data: boolean): void {
    // Negative keys are attributes only, positive ones pages too, which includes the attributes.
    if (!data && this.#queue.has(ino)) return;
    if (data) this.#queue.delete(-ino);
    this.#add(data ? ino : -ino, () => invalInodeNotification(ino, data));
  }

  entryChanged(parent: InodeNumber, name: string): void {
    this.#add(`${parent}/${name}`, () => invalEntryNotification(parent, name));
  }

  #add(key: string | number, notification: () => Buffer): void {
    this.#queue.set(key, notification);
    this.#pump();
  }

  #pump(): void {
    while (this.#writing < concurrentWritesMax) {
      const next = this.#queue.entries().next();
      if (next.done) return;
      const [key, notification] = next.value;
      this.#queue.delete(key);
      this.#writing++;
      void this.#write(notification()).then(() => {
        this.#writing--;
        this.#pump();
      });
    }
  }
}
