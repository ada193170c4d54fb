/**
 * What a process left behind that served the same mount and has ended: for the kernel, which remembers it.
 *
 * Relies on: `before` is called when nothing of the state directory has been recovered yet.
 */

import type { Catalog } from "../catalog/catalog.js";
import type { ContentId, InodeNumber } from "../domain/ids.js";
import type { KernelMemory } from "./kernel-memory.js";

export class FormerProcess {
  readonly #catalog: Catalog;
  /** Contents that were open for writing. */
  readonly #writing: readonly { readonly content: ContentId; readonly ino: InodeNumber }[];

  private constructor(catalog: Catalog) {
    this.#catalog = catalog;
    this.#writing = catalog.contents
      .unarchived()
      .filter(({ phase }) => phase === "writing")
      .map(({ id, ino }) => ({ content: id, ino }));
  }

  static before(catalog: Catalog): FormerProcess {
    return new FormerProcess(catalog);
  }

  /** After the recovery: whether a file is not as its writers left it. */
  cutOff(): ReadonlySet<InodeNumber> {
    const whole = ({ content, ino }: { readonly content: ContentId; readonly ino: InodeNumber }) => {
      const newest = this.#catalog.inode(ino)?.content;
      return newest?.id === content && !newest.interrupted;
    };
    return new Set(this.#writing.flatMap((one) => (whole(one) ? [] : one.ino)));
  }

  /** The kernel has sizes and pages of what was written last, which may be more than was kept. */
  forgetIn(kernel: KernelMemory): void {
    for (const { ino } of this.#writing) kernel.bytesChanged(ino);
  }
}
