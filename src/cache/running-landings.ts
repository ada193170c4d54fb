/** The archives that land in the cache now, as whole ones: what they will occupy, and what is still to be written. */

import { totalLength } from "../domain/bytes.js";
import type { ArchiveKey } from "../domain/ids.js";
import { invariant } from "../lib/invariant.js";
import type { ColdArchive, Landing } from "../restore/ports.js";

export class RunningLandings {
  /** Without a landing until its file is open. */
  readonly #landings = new Map<ArchiveKey, { readonly archive: ColdArchive; readonly landing: Landing | undefined }>();

  begin(archive: ColdArchive): void {
    invariant(!this.#landings.has(archive.key), "an archive lands once at a time");
    this.#landings.set(archive.key, { archive, landing: undefined });
  }

  opened(archive: ColdArchive, landing: Landing): void {
    this.#landings.set(archive.key, { archive, landing });
  }

  end(archive: ColdArchive): void {
    this.#landings.delete(archive.key);
  }

  /** Their full sizes. */
  get bytes(): number {
    let sum = 0;
    for (const { archive } of this.#landings.values()) sum += archive.sizeBytes;
    return sum;
  }

  /** What they, but for `except`, are still going to write. */
  unwrittenBytes(except?: ArchiveKey): number {
    let sum = 0;
    for (const [key, { archive, landing }] of this.#landings) {
      if (key !== except) sum += landing === undefined ? archive.sizeBytes : totalLength(landing.missing());
    }
    return sum;
  }
}
