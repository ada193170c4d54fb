/**
 * Whether those who list directories look at the attributes of what they find. Pure state.
 *
 * READDIRPLUS puts attributes into the kernel's caches, which a program that looks at each file (`ls -l`, `du`, `rsync`)
 * needs, and which cost a program that wants names (`find -name`) several times the listing itself. The kernel's own guess
 * (READDIRPLUS_AUTO) leaves out nearly all of them for who reads a directory to its end before it looks, for ever. Here an
 * entry without attributes is looked up, and that says who looks: listings have the attributes of all but one file, until
 * their reader has walked through several directories without asking for it. `du`, `find -size` and `rsync` read a
 * directory to its end before they look: what is left out too early costs them a look-up of every file.
 */

import type { InodeNumber } from "../../domain/ids.js";

/** - `all`; `all-but-one`: who looks at all asks for that one; `directories`: who walks a tree looks at those only. */
export type ShownAttributes = "all" | "all-but-one" | "directories";

const processesMax = 256;
const directoriesMax = 1024;
/** Who has listed so many directories and looked at nothing gets names from then on. */
const directoriesUnlookedMax = 8;
/** So many look-ups by anybody make a directory one that is looked at; single files are opened in any directory. */
const lookupsToShow = 32;
/** Of a process in another pid namespace: it may be anybody. */
const nobody = 0;

interface Reader {
  looks: boolean;
  directories: number;
}

interface ReadDirectory {
  reader: number;
  /** Of what was listed without attributes; those that are shown them from now on have no count. */
  lookups: number | undefined;
}

export class AttributeDemand {
  readonly #readers = new Recent<number, Reader>(processesMax);
  readonly #directories = new Recent<InodeNumber, ReadDirectory>(directoriesMax);

  /** For the page of `directory` that process `pid` is about to get. `isFirst`: a listing begins. */
  ofPage(directory: InodeNumber, pid: number, isFirst: boolean): ShownAttributes {
    const known = this.#directories.get(directory);
    if (known !== undefined && known.lookups === undefined) return "all";
    const reader = pid === nobody ? undefined : this.#reader(pid);
    if (reader?.looks === true) return "all";
    this.#directories.set(directory, { reader: pid, lookups: known?.lookups ?? 0 });
    if (reader !== undefined && isFirst) reader.directories += 1;
    if (reader !== undefined && reader.directories > directoriesUnlookedMax) return "directories";
    return isFirst ? "all-but-one" : "all";
  }

  /**
   * A file in `directory`, which is no directory itself, was looked up by process `pid`.
   *
   * @returns whether its listings show attributes from now on: the one that the kernel may have kept does not.
   */
  lookedUp(directory: InodeNumber, pid: number): boolean {
    const known = this.#directories.get(directory);
    if (known?.lookups === undefined) return false;
    if (known.reader === pid && pid !== nobody) this.#reader(pid).looks = true;
    known.lookups += 1;
    if (known.lookups < lookupsToShow) return false;
    known.lookups = undefined;
    return true;
  }

  #reader(pid: number): Reader {
    const known = this.#readers.get(pid);
    if (known !== undefined) return known;
    const reader = { looks: false, directories: 0 };
    this.#readers.set(pid, reader);
    return reader;
  }
}

/** The values that were put or read last. */
class Recent<Key, Value> {
  // A Map keeps the order of insertion.
  readonly #values = new Map<Key, Value>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  get(key: Key): Value | undefined {
    const value = this.#values.get(key);
    if (value !== undefined) this.set(key, value);
    return value;
  }

  set(key: Key, value: Value): void {
    this.#values.delete(key);
    this.#values.set(key, value);
    if (this.#values.size > this.#max) this.#values.delete(this.#values.keys().next().value as Key);
  }
}
