/** Random names for files, in their archives' descriptions. Drawn many at a time: each draw is a system call. */

import { randomFillSync } from "node:crypto";

const idBytes = 12;
const idsPerDraw = 256;

export class RandomIds {
  readonly #pool = Buffer.alloc(idBytes * idsPerDraw);
  #used = this.#pool.length;

  /** 16 characters of `A-Z a-z 0-9 _ -`: 96 bits. */
  next(): string {
    if (this.#used === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    this.#used += idBytes;
    return this.#pool.toString("base64url", this.#used - idBytes, this.#used);
  }
}
